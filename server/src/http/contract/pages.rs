//! The description as it is sent, and the pages for people: self-contained, so that they work without a network, and
//! with a policy that lets nothing else in.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::advice::{Advice, advice};
use super::sent;
use crate::http::problem::{self, Kind, Problem};

/// A page may use what comes from this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("style.css");
const DOCS: &str = include_str!("docs.html");
const SCRIPT: &str = include_str!("docs.js");

/// `GET /openapi.json`.
pub(in crate::http) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(sent())
}

/// A page's style, its script, or the page itself.
pub(in crate::http) fn part(
    media: &'static str,
    text: impl actix_web::body::MessageBody + 'static,
) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(media)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(text)
}

/// `GET /docs`.
pub(in crate::http) async fn docs() -> HttpResponse {
    part("text/html; charset=utf-8", DOCS)
}

/// `GET /docs/script.js`.
pub(in crate::http) async fn script() -> HttpResponse {
    part("text/javascript; charset=utf-8", SCRIPT)
}

/// `GET /docs/style.css`.
pub(in crate::http) async fn style() -> HttpResponse {
    part("text/css; charset=utf-8", STYLE)
}

/// `GET /problems/{code}`: HTML for browsers, JSON otherwise.
pub(in crate::http) async fn problem_page(
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = problem::kind_of(&path).and_then(|kind| Some((kind, advice(kind.code)?)));
    let Some((kind, advice)) = found else {
        return Err(Problem::new(problem::NOT_FOUND, format!("there is no problem `{path}`")));
    };
    if wants_html(request.headers().get(header::ACCEPT)) {
        return Ok(part("text/html; charset=utf-8", page_of(kind, advice)));
    }
    Ok(HttpResponse::Ok().insert_header((header::VARY, "Accept")).json(json!({
        "type": format!("/problems/{}", kind.code),
        "code": kind.code,
        "title": kind.title,
        "status": kind.status,
        "means": advice.means,
        "remedy": advice.remedy,
    })))
}

/// Whether a reader would rather have HTML: browsers name it, programs name JSON or nothing in particular.
pub(in crate::http) fn wants_html(accept: Option<&HeaderValue>) -> bool {
    let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let at = |media: &str| accept.find(media).unwrap_or(usize::MAX);
    at("text/html") < at("application/json")
}

fn page_of(kind: &Kind, advice: &Advice) -> String {
    let Kind { code, status, title } = kind;
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{code} · Tidegate</title>\n<link rel=\"stylesheet\" href=\"/docs/style.css\">\n\
         <main>\n<p class=\"code\"><code>{code}</code> · {status}</p>\n<h1>{}</h1>\n\
         <h2>What it means</h2>\n<p>{}</p>\n<h2>What to do</h2>\n<p>{}</p>\n\
         <p><a href=\"/docs\">All operations</a></p>\n</main>\n</html>\n",
        marked(title),
        marked(advice.means),
        marked(advice.remedy),
    )
}

/// A text of ours as HTML: what stands between backticks is code.
pub(in crate::http) fn marked(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let parts = escaped.split('`').enumerate();
    parts
        .map(|(at, part)| if at % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_html_and_programs_json() {
        let html = |text: &str| wants_html(HeaderValue::from_str(text).ok().as_ref());
        assert!(html("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(!html("application/json"));
        assert!(!html("application/json, text/html"));
        assert!(!html("*/*"));
        assert!(!wants_html(None));
    }

    #[test]
    fn a_text_cannot_become_anything_but_text_and_code() {
        assert_eq!(marked("a `<b>` & \"c\""), "a <code>&lt;b&gt;</code> &amp; &quot;c&quot;");
    }
}
