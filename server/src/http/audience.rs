//! Which app and environment a request means: what its token is bound to, and what the query or the
//! headers add where the token leaves it open.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use super::problem::{self, Problem};

const APP: HeaderName = HeaderName::from_static("tidegate-app");
const ENVIRONMENT: HeaderName = HeaderName::from_static("tidegate-environment");
/// Most parameters of a query that are looked at.
const MAX_PARAMETERS: usize = 32;

/// The parameters of a query, each at most once.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a request; a name that is there twice is refused.
    pub fn of(request: &HttpRequest) -> Result<Query, Problem> {
        Query::read(request.query_string())
    }

    fn read(text: &str) -> Result<Query, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        if text.is_empty() {
            return Ok(Query(parameters));
        }
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name), decode(value));
            if parameters.iter().any(|(known, _)| *known == name) {
                let detail = format!("the parameter `{name}` is there more than once");
                return Err(Problem::new(problem::INVALID_PARAMETER, detail));
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(Problem::new(problem::INVALID_PARAMETER, "there are too many parameters"));
            }
            parameters.push((name, value));
        }
        Ok(Query(parameters))
    }

    /// One parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// One parameter, read as what it has to be.
    pub fn parse<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| {
            Problem::new(problem::INVALID_PARAMETER, format!("the parameter `{name}`: {error}"))
                .with("parameter", name)
        })
    }

    /// One parameter that is a moment: RFC 3339, or milliseconds since 1970.
    pub fn moment(&self, name: &str) -> Result<Option<UnixMs>, Problem> {
        self.as_one_of(name, "a moment such as 2027-01-31T18:00:00Z", |text| {
            UnixMs::parse_rfc3339(text).or_else(|| text.parse().ok().map(UnixMs))
        })
    }

    /// One parameter that is a whole number.
    pub fn whole_number(&self, name: &str) -> Result<Option<u64>, Problem> {
        self.as_one_of(name, "a whole number", |text| text.parse().ok())
    }

    /// One parameter that is true or false.
    pub fn truth(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.as_one_of(name, "true or false", |text| text.parse().ok())
    }

    fn as_one_of<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        read(text).map(Some).ok_or_else(|| {
            let detail = format!("the parameter `{name}` has to be {expected}, not `{text}`");
            Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", name)
        })
    }

    /// Refuses parameters other than these, by name.
    pub fn only(&self, names: &[&str]) -> Result<(), Problem> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let known =
                    if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) };
                let detail = format!("there is no parameter `{name}` here; known: {known}");
                Err(Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", name.as_str()))
            }
        }
    }
}

fn decode(text: &str) -> String {
    problem::percent_decoded(&text.replace('+', " "))
}

/// The app and environment that a request means.
pub fn resolve(
    bound_app: Option<&AppKey>,
    bound_environment: Option<&EnvKey>,
    request: &HttpRequest,
    query: &Query,
) -> Result<(AppKey, EnvKey), Problem> {
    let app = one(bound_app, "app", &APP, request, query)?;
    let environment = one(bound_environment, "environment", &ENVIRONMENT, request, query)?;
    Ok((app, environment))
}

/// The environment that a batch of reports is of: what the token or the batch names, or the query or the headers do.
pub fn reported(
    (app, environment): (Option<&AppKey>, Option<&EnvKey>),
    request: &HttpRequest,
    snapshot: &Snapshot,
) -> Result<(AppKey, EnvKey), Problem> {
    let query = Query::of(request)?;
    query.only(&["app", "environment"])?;
    let (app, environment) = resolve(app, environment, request, &query)?;
    if snapshot.app(&app).is_none_or(|app| app.environment(&environment).is_none()) {
        let detail = format!("there is no environment `{environment}` of an app `{app}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    }
    Ok((app, environment))
}

fn one<K>(
    bound: Option<&K>,
    name: &str,
    header: &HeaderName,
    request: &HttpRequest,
    query: &Query,
) -> Result<K, Problem>
where
    K: std::str::FromStr<Err: std::fmt::Display> + PartialEq + Clone + std::fmt::Display,
{
    let asked: Option<K> = match query.parse(name)? {
        Some(asked) => Some(asked),
        None => request
            .headers()
            .get(header)
            .map(|value| {
                value.to_str().unwrap_or("").parse::<K>().map_err(|error| {
                    Problem::new(problem::INVALID_PARAMETER, format!("the header `{header}`: {error}"))
                })
            })
            .transpose()?,
    };
    match (bound, asked) {
        (Some(bound), Some(asked)) if *bound != asked => Err(Problem::new(
            problem::NOT_ALLOWED,
            format!("this token is bound to the {name} `{bound}` and cannot ask for `{asked}`"),
        )),
        (Some(bound), _) => Ok(bound.clone()),
        (None, Some(asked)) => Ok(asked),
        (None, None) => Err(Problem::new(
            problem::AUDIENCE_MISSING,
            format!("this token is bound to no {name}: name one with `?{name}=…` or the header `{header}`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_decoded_and_refused_where_it_says_two_things() {
        let query = Query::read("app=shop&environment=pre%2Dview&x=a+b&empty").unwrap();
        assert_eq!(query.get("app"), Some("shop"));
        assert_eq!(query.get("environment"), Some("pre-view"));
        assert_eq!(query.get("x"), Some("a b"));
        assert_eq!(query.get("empty"), Some(""));
        assert!(Query::read("a=1&a=2").is_err());
        assert!(query.only(&["app", "environment", "x"]).unwrap_err().to_string().contains("`empty`"));
        assert!(query.parse::<u32>("app").is_err());
    }
}
