//! Reading bodies: JSON only, bounded in size and time, unknown fields refused by name.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{FromRequest, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

use super::Shared;
use super::problem::{self, Problem};
use super::unrepeated::Unrepeated;

/// A body that has to be there, as JSON.
pub struct Json<T>(pub T);

/// A body that may be left out; then every field has its default.
pub struct OptionalJson<T>(pub T);

/// A body that a page sends as it is left: JSON, marked as such or as plain text, since browsers send other media types to
/// other origins only after asking.
pub struct Beacon<T>(pub T);

/// The bytes of a JSON body, not parsed yet.
pub struct JsonBytes(pub Bytes);

impl FromRequest for JsonBytes {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        let request = request.clone();
        Box::pin(async move {
            let bytes = read(&request, payload).await?;
            check_media_type(&request)?;
            Ok(JsonBytes(bytes))
        })
    }
}

impl<T: DeserializeOwned> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = JsonBytes::from_request(request, payload);
        Box::pin(async move { parse(&body.await?.0).map(Json) })
    }
}

impl<T: DeserializeOwned> FromRequest for Beacon<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        let request = request.clone();
        Box::pin(async move {
            let bytes = read(&request, payload).await?;
            if !media_type(&request).is_some_and(|media_type| media_type.eq_ignore_ascii_case("text/plain")) {
                check_media_type(&request)?;
            }
            parse(&bytes).map(Beacon)
        })
    }
}

impl<T: DeserializeOwned + Default> FromRequest for OptionalJson<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        let request = request.clone();
        Box::pin(async move {
            let bytes = read(&request, payload).await?;
            if bytes.is_empty() {
                return Ok(OptionalJson(T::default()));
            }
            check_media_type(&request)?;
            parse(&bytes).map(OptionalJson)
        })
    }
}

async fn read(request: &HttpRequest, payload: Payload) -> Result<Bytes, Problem> {
    let (limit, time) = request.app_data::<web::Data<Shared>>().map_or((0, Duration::ZERO), |shared| {
        (shared.settings.max_body_bytes, shared.settings.request_timeout)
    });
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let collect = async move {
        let mut payload = payload;
        let mut all = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                tracing::debug!(%error, "a body broke off");
                Problem::new(problem::INVALID_BODY, "the body broke off or was not framed as HTTP asks")
            })?;
            if all.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    };
    match tokio::time::timeout(time, collect).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(problem::REQUEST_TIMEOUT, "the body took too long to arrive")),
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(problem::TOO_LARGE, format!("a body may have at most {limit} bytes"))
        .with("limit_bytes", limit)
}

/// The media type of a body, without its parameters; none: it says nothing.
fn media_type(request: &HttpRequest) -> Option<&str> {
    request.headers().get(header::CONTENT_TYPE).map(named)
}

fn named(content_type: &HeaderValue) -> &str {
    content_type.to_str().unwrap_or("").split(';').next().unwrap_or("").trim()
}

/// Whether a body of this type is JSON, whatever its parameters.
pub(super) fn is_json(content_type: &HeaderValue) -> bool {
    const JSON: &str = "application/json";
    content_type == JSON || named(content_type).eq_ignore_ascii_case(JSON)
}

fn check_media_type(request: &HttpRequest) -> Result<(), Problem> {
    if request.headers().get(header::CONTENT_TYPE).is_none_or(is_json) {
        return Ok(());
    }
    let detail = "send the body as JSON, with the header `Content-Type: application/json`";
    Err(Problem::new(problem::UNSUPPORTED_MEDIA_TYPE, detail))
}

/// Reads JSON into a form; errors name the field. A name that stands twice in an object is one: programs differ
/// in which of the two they take, so one that was looked at on the way need not be the one that counts.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // To know at each value in which field it is takes longer than reading it: only for who has to be told.
    match serde_json::from_slice(bytes) {
        Ok(value) if serde_json::from_slice::<Unrepeated>(bytes).is_ok() => Ok(value),
        _ => parse_in_places(bytes),
    }
}

/// The same, and knows at each step where it is.
fn parse_in_places<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value = parse_once(bytes)?;
    // Only maps and values of any form still hold repeated names here: they keep the last.
    parse_once::<Unrepeated>(bytes)?;
    Ok(value)
}

fn parse_once<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        if cause.is_data() {
            let field = if path == "." { String::new() } else { path };
            let shown = if field.is_empty() { "the body".to_owned() } else { format!("`{field}`") };
            Problem::new(problem::INVALID_BODY, format!("{shown}: {}", without_position(&cause)))
                .with("field", field)
        } else {
            Problem::new(problem::INVALID_JSON, format!("the body is not JSON: {cause}"))
        }
    })?;
    reader
        .end()
        .map_err(|error| Problem::new(problem::INVALID_JSON, format!("more than one JSON value: {error}")))?;
    Ok(value)
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        #[allow(dead_code, reason = "only read by the parser")]
        limits: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[allow(dead_code, reason = "only read by the parser")]
        size: u32,
    }

    #[test]
    fn an_error_names_the_field_it_is_about() {
        let problem = parse::<Form>(br#"{"limits":[{"size":1},{"size":"x"}]}"#).unwrap_err();
        assert!(problem.to_string().contains("`limits[1].size`"), "{problem}");
        let problem = parse::<Form>(br#"{"limits":[],"colour":1}"#).unwrap_err();
        assert!(problem.to_string().contains("unknown field `colour`"), "{problem}");
        assert_eq!(problem.kind(), problem::INVALID_BODY);
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_wherever_it_is() {
        for twice in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":[],"a":2}}]"#, r#"{"\u0061":1,"a":1}"#] {
            let problem = parse::<serde_json::Value>(twice.as_bytes()).unwrap_err();
            assert_eq!(problem.kind(), problem::INVALID_BODY);
            assert!(problem.to_string().contains("`a` stands twice"), "{problem}");
        }
        parse::<serde_json::Value>(br#"{"a":{"a":[{"a":1.5e3},{"a":null}]},"b":-1}"#).unwrap();
    }

    #[test]
    fn broken_json_is_told_from_json_of_another_form() {
        assert_eq!(parse::<Form>(b"{\"limits\":").unwrap_err().kind(), problem::INVALID_JSON);
        assert_eq!(parse::<Form>(b"").unwrap_err().kind(), problem::INVALID_JSON);
        assert_eq!(parse::<Form>(b"{\"limits\":[]} x").unwrap_err().kind(), problem::INVALID_JSON);
        assert_eq!(parse::<Form>(b"[1]").unwrap_err().kind(), problem::INVALID_BODY);
    }
}
