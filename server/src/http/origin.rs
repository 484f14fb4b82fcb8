//! Which web pages may use a token. A browser says where a page comes from, and pages cannot change what it says; a
//! program that is no browser can say what it likes. So this keeps a key that anybody can read in a page's source from
//! being used in other people's pages, and nothing more.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use rollout_rules::governance::Token;

use super::problem::{self, Problem};

/// What browsers say of how a request relates to the page that makes it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where a request comes from, as the browser says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source<'r> {
    /// The header `Origin`; none: there is none, more than one, or it is no text.
    pub origin: Option<&'r str>,
    /// It only reads, and the browser says that the page is of this server itself. Such requests bear no `Origin`.
    pub is_own_page: bool,
}

impl<'r> Source<'r> {
    /// That of a request.
    pub fn of(request: &'r HttpRequest) -> Source<'r> {
        let only = |name: HeaderName| {
            let mut all = request.headers().get_all(name);
            all.next().filter(|_| all.next().is_none())?.to_str().ok()
        };
        let has_origin = request.headers().contains_key(header::ORIGIN);
        let is_own_page =
            !has_origin && request.method() == Method::GET && only(FETCH_SITE) == Some("same-origin");
        Source { origin: only(header::ORIGIN), is_own_page }
    }

    /// Whether a token may be used from here.
    fn is_admitted_by(self, token: &Token) -> bool {
        !token.names_origins()
            || self.is_own_page
            || self.origin.is_some_and(|origin| token.admits_origin(origin))
    }
}

/// Refuses a request from a page that a token is not for.
pub fn check(token: &Token, source: Source<'_>) -> Result<(), Problem> {
    if source.is_admitted_by(token) {
        return Ok(());
    }
    let sites = token.origins.join(" and ");
    let detail = match source.origin {
        Some(origin) => format!("this token is for pages of {sites}, not of `{origin}`"),
        None => format!(
            "this token is for pages of {sites}, and the request does not say which page it comes from: browsers send `Origin`"
        ),
    };
    Err(Problem::new(problem::ORIGIN_NOT_ALLOWED, detail))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::json;

    use super::*;

    const SHOP: &[&str] = &["https://shop.example", "http://localhost:5173"];

    fn may(origins: &[&str], request: TestRequest) -> bool {
        let token = json!({
            "id": "page", "hash": "00".repeat(32), "scope": "sdk-browser", "created_at": 0,
            "actor": { "type": "service", "name": "page" }, "origins": origins,
        });
        let token = serde_json::from_value(token).expect("a token");
        Source::of(&request.to_http_request()).is_admitted_by(&token)
    }

    fn from(origin: &str) -> TestRequest {
        TestRequest::post().insert_header((header::ORIGIN, origin))
    }

    #[test]
    fn a_token_is_for_the_pages_that_it_names_and_for_no_others() {
        assert!(may(SHOP, from("https://shop.example")) && may(SHOP, from("http://localhost:5173")));
        for other in [
            "https://shop.example:8443",
            "http://shop.example",
            "https://www.shop.example",
            "https://shop.example.org",
            "https://shop.example/",
            "HTTPS://SHOP.EXAMPLE",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!may(SHOP, from(other)), "{other}");
            assert!(may(&["*"], from(other)) && may(&[], from(other)), "{other}");
        }
    }

    #[test]
    fn a_request_that_does_not_say_where_it_comes_from_only_reads_for_a_page_of_this_server() {
        let site = |request: TestRequest, site: &'static str| request.insert_header((FETCH_SITE, site));
        assert!(!may(SHOP, TestRequest::get()) && !may(SHOP, TestRequest::post()));
        assert!(may(SHOP, site(TestRequest::get(), "same-origin")));
        assert!(!may(SHOP, site(TestRequest::post(), "same-origin")));
        assert!(!may(SHOP, site(TestRequest::get(), "same-site")));
        assert!(!may(SHOP, site(TestRequest::get(), "none")));
        let other = TestRequest::get().insert_header((header::ORIGIN, "https://other.example"));
        assert!(!may(SHOP, site(other, "same-origin")), "the header counts more than its absence");
        let two = from("https://shop.example").append_header((header::ORIGIN, "https://other.example"));
        assert!(!may(SHOP, two));
    }
}
