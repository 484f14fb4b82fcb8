//! Making and revoking tokens.

use alloc::format;
use alloc::string::ToString as _;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::authority::{Envs, Right, Row};
use super::validate::{check_text, invalid, too_many};
use super::{Case, Decided, Refusal, What};
use crate::change::Change;
use crate::governance::{ANY_ORIGIN, Actor, MAX_ORIGIN_BYTES, MAX_ORIGINS, Scope, Token};
use crate::ids::TokenId;
use crate::snapshot::MAX_TOKENS;

impl<'a> Case<'a> {
    pub(super) fn create_token(&self, token: &Token) -> Result<Decided, Refusal> {
        self.may_change_tokens()?;
        if self.snapshot.token(&token.id).is_some() {
            let what = What::Other("token", token.id.to_string());
            return Err(Refusal::AlreadyExists { what });
        }
        too_many("tokens", self.snapshot.token_count() + 1, MAX_TOKENS)?;
        check_actor(&token.actor)?;
        let bound_to_app = matches!(token.scope, Scope::Editor | Scope::Ci);
        let bound_to_environment = matches!(token.scope, Scope::SdkServer | Scope::SdkBrowser);
        if token.app.is_none() && (bound_to_app || bound_to_environment) {
            return Err(invalid("app", "a token of this scope is for one app: name it"));
        }
        if token.environment.is_none() && bound_to_environment {
            return Err(invalid("environment", "an SDK's token is for one environment: name it"));
        }
        match (&token.app, &token.environment) {
            (None, Some(_)) => return Err(invalid("app", "an environment belongs to an app: name it")),
            (Some(app), Some(environment)) => {
                self.environment(self.app(app)?, environment)?;
            }
            (Some(app), None) => {
                self.app(app)?;
            }
            (None, None) => {}
        }
        check_origins(token)?;
        if token.expires_at.is_some_and(|at| at <= self.now) {
            return Err(invalid("expires_at", "not in the future"));
        }
        let token = Token { created_at: self.now, revoked_at: None, ..token.clone() };
        Ok(Decided::Change(Change::TokenCreated { token }))
    }

    pub(super) fn revoke_token(&self, id: &TokenId) -> Result<Decided, Refusal> {
        self.may_change_tokens()?;
        let what = || What::Other("token", id.to_string());
        let token = self.snapshot.token(id).ok_or_else(|| Refusal::NotFound { what: what() })?;
        if token.revoked_at.is_some() {
            return Ok(Decided::Already(self.snapshot.revision()));
        }
        Ok(Decided::Change(Change::TokenRevoked { token: id.clone() }))
    }

    /// An agent that made tokens could act as a human.
    fn may_change_tokens(&self) -> Result<(), Refusal> {
        self.may(Right::Tokens, None, Envs::All)?;
        if self.row() == Row::Agent {
            return Err(Refusal::NotAllowed { who_may: "a human admin that is bound to no app" });
        }
        Ok(())
    }
}

/// Anyone can read the key of a page: it is bound to the pages that it was made for.
fn check_origins(token: &Token) -> Result<(), Refusal> {
    if token.scope != Scope::SdkBrowser {
        let other = "only a key for browsers (scope `sdk-browser`) has";
        return match token {
            Token { origins, .. } if !origins.is_empty() => {
                Err(invalid("origins", format!("{other} origins: leave them out")))
            }
            Token { outcomes: Some(_), .. } => {
                Err(invalid("outcomes", format!("{other} this: leave it out")))
            }
            _ => Ok(()),
        };
    }
    if token.origins.is_empty() {
        return Err(invalid(
            "origins",
            "name the sites whose pages may use the key, such as `https://shop.example`; `*` for any page",
        ));
    }
    too_many("origins of one key", token.origins.len(), MAX_ORIGINS)?;
    for (nth, origin) in token.origins.iter().enumerate() {
        let field = format!("origins[{nth}]");
        if token.origins[..nth].contains(origin) {
            return Err(invalid(field, format!("`{origin}` is there twice")));
        }
        if origin == ANY_ORIGIN && token.origins.len() > 1 {
            return Err(invalid(field, "`*` is any page: name it alone, or name the sites"));
        }
        origin_fault(origin).map_or(Ok(()), |problem| Err(invalid(field, problem)))?;
    }
    if token.outcomes == Some(true) && !token.names_origins() {
        let problem =
            "outcomes are taken from sites that are named only: name them in `origins` in place of `*`";
        return Err(invalid("outcomes", problem));
    }
    Ok(())
}

/// Why a text is no origin as browsers write it; `None` if it is one.
fn origin_fault(origin: &str) -> Option<&'static str> {
    const FORM: &str = "write it as browsers do: `https://shop.example`, or `http://localhost:5173` with a port of its own; \
        in lower case, without a path or `/` at the end, other alphabets as `xn--…`, and each subdomain by its name";
    if origin == ANY_ORIGIN {
        return None;
    }
    if origin == "null" {
        return Some(
            "files and sandboxed frames of every site are `null`: serve the page from a site of its own",
        );
    }
    let Some((scheme, rest)) = origin.split_once("://") else { return Some(FORM) };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b));
    let (host, port) = match rest.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    if origin.len() > MAX_ORIGIN_BYTES || !is_scheme || !is_host(host, matches!(scheme, "https" | "http")) {
        return Some(FORM);
    }
    let port = port?;
    match (scheme, port.parse::<u16>()) {
        _ if port.starts_with(['0', '+']) => Some(FORM),
        (_, Err(_)) => Some(FORM),
        ("https", Ok(443)) | ("http", Ok(80)) => {
            Some("leave the port out: browsers do where it is the scheme's own")
        }
        _ => None,
    }
}

/// Whether a host stands as browsers write it. Schemes that are not `of_web` have names of their own making.
fn is_host(host: &str, of_web: bool) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let Some(address) = address.strip_suffix(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok_and(|parsed| {
            let [.., high, low] = parsed.segments();
            match parsed.to_ipv4_mapped() {
                Some(_) => address == format!("::ffff:{high:x}:{low:x}"),
                None => address == parsed.to_string(),
            }
        });
    }
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    if host.is_empty() || !host.bytes().all(is_letter) {
        return false;
    }
    // What ends in a number is an address.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let is_label = |label: &str| label.bytes().any(|b| b != b'-');
    !of_web || (host.split('.').all(is_label) && (!is_number || host.parse::<Ipv4Addr>().is_ok()))
}

/// Tokens sign for people, services and agents. Tidegate's own parts hold none.
fn check_actor(actor: &Actor) -> Result<(), Refusal> {
    let named = |field: &str, name: &str| {
        check_text(field, name)?;
        if name.trim().is_empty() { Err(invalid(field, "name who acts")) } else { Ok(()) }
    };
    match actor {
        Actor::Human { name } | Actor::Service { name } => named("actor.name", name),
        Actor::Agent { work: Some(_), .. } => Err(invalid(
            "actor.work",
            "leave it out: a token says who acts, and each request what it came from",
        )),
        Actor::Agent { model, tool, on_behalf_of, work: None } => {
            named("actor.model", model)?;
            named("actor.tool", tool)?;
            named("actor.on_behalf_of", on_behalf_of)
        }
        Actor::Evaluator | Actor::Timer | Actor::Tidegate => {
            Err(invalid("actor.type", "use `human`, `service` or `agent`"))
        }
    }
}
