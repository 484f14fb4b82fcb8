//! What the token at hand is good for, and whether the app that is named is one of those.

use rollout_rules::ids::AppKey;
use rollout_rules::time::UnixMs;
use serde_json::Value;

use super::{Finding, WARN_DAYS};
use crate::certificate::days_left;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::reading::{actor, moment, text};

/// What a scope may do, in a few words; nothing of one that this tool does not know.
fn rights(scope: &str) -> &'static str {
    match scope {
        "admin" => "may do everything, tokens included",
        "operator" => "may change, kill and revive everything",
        "editor" => "may change, kill and revive flags",
        "viewer" => "may read and approve",
        "ci" => "may change and kill flags, as far as the tier lets a pipeline",
        "sdk-server" => "may check flags and follow the feed",
        "sdk-browser" => "may check flags",
        _ => "",
    }
}

/// The token's rights, bounds and end.
pub(super) fn examine(who: &Value, now: UnixMs) -> Finding {
    let scope = text(who, "scope");
    let mut found = format!("{scope} of {}", actor(&who["actor"]));
    let rights = rights(&scope);
    if !rights.is_empty() {
        found.push_str(&format!(", {rights}"));
    }
    for name in ["app", "environment"] {
        if who.get(name).is_some() {
            found.push_str(&format!(", only for the {name} {}", text(who, name)));
        }
    }
    match moment(who, "expires_at") {
        None => Finding::ok("token", format!("{found}, without an end")),
        Some(until) => match days_left(until, now) {
            Some(days) if days >= WARN_DAYS => Finding::ok("token", format!("{found}, for {days} days more")),
            left => {
                let advice = "make the next one with `tidegate token create` and hand it out before";
                let found = format!("{found}, for only {} days more", left.unwrap_or(0));
                Finding::warning("token", found, advice)
            }
        },
    }
}

/// Whether commands about the app that is named can work.
pub(super) fn app(client: &Client, who: &Value, app: &AppKey) -> Finding {
    const OTHER: &str = "--app or TIDEGATE_APP names another";
    let bound = text(who, "app");
    if !bound.is_empty() && bound != app.as_str() {
        let found = format!("`{app}` is named, and the token is only for `{bound}`");
        return Finding::failed("app", found, format!("take a token for `{app}`; {OTHER}"));
    }
    if text(who, "scope").starts_with("sdk") {
        return Finding::skipped("app", format!("an SDK's token cannot look up `{app}`"), "");
    }
    match client.get(&format!("/v1/apps/{app}")) {
        Ok(_) => Finding::ok("app", format!("`{app}` is there")),
        Err(Failure::Refused(problem)) if problem.status == 404 => Finding::warning(
            "app",
            format!("there is no app `{app}`"),
            format!("`tidegate app create {app}` makes it; {OTHER}"),
        ),
        Err(failure) => Finding::of_failure("app", &failure),
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::governance::Scope;
    use rollout_rules::time::DurationMs;
    use serde_json::json;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_token_that_ends_soon_is_warned_of() {
        let now = UnixMs(1_800_000_000_000);
        let verdict = |days: u64| {
            let until = now.plus(DurationMs::days(days)).plus(DurationMs(1)).to_string();
            examine(&json!({"scope": "ci", "expires_at": until}), now).verdict
        };
        assert_eq!((verdict(13), verdict(14)), (Verdict::Warning, Verdict::Ok));
        assert_eq!(examine(&json!({"scope": "ci"}), now).verdict, Verdict::Ok);
    }

    #[test]
    fn the_rights_of_every_scope_are_told() {
        let scopes = [
            Scope::Admin,
            Scope::Operator,
            Scope::Editor,
            Scope::Viewer,
            Scope::Ci,
            Scope::SdkServer,
            Scope::SdkBrowser,
        ];
        for scope in scopes {
            let found = examine(&json!({ "scope": scope }), UnixMs(0)).found;
            assert!(found.contains(", may "), "{found}");
        }
    }
}
