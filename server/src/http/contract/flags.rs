//! Flags, and the kills and revivals of everything, an app or a flag.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::operation::{CHANGERS, OPERATORS, Operation, READERS, SHAPERS};
use super::views::{FlagState, FlagView, Killed, KilledAhead, Page, Revived};
use crate::http::apps::OnlyReason;
use crate::http::flags::{Extension, FlagPatch, NewFlag, StatePatch};
use crate::http::kill::{KillBody, ReviveBody};
use crate::http::problem;

const FLAGS: &str = "/v1/apps/{app}/flags";
const FLAG: &str = "/v1/apps/{app}/flags/{flag}";
const STATE: &str = "/v1/apps/{app}/flags/{flag}/environments/{environment}";

fn state() -> Value {
    json!({
        "on": true, "exposure": 30, "serve": { "variant": "on" }, "targets": [], "rules": [], "prerequisites": [],
        "schedule": [], "expires_at": "2027-01-31T18:00:00.000Z", "expired": false, "hold": null, "killed": null,
        "rollout": null, "serving": "on for 30%",
    })
}

pub(super) fn flag() -> Value {
    json!({
        "key": "checkout", "type": "boolean",
        "variants": [{ "key": "on", "value": true }, { "key": "off", "value": false }], "off_variant": "off",
        "description": "The new checkout", "owner": "ada@example.org", "critical": false,
        "created_at": "2027-01-17T18:00:00.000Z", "extensions": 0, "app": "shop", "revision": 42,
        "killed": { "all": null, "environments": {} }, "environments": { "production": state() },
    })
}

/// Definitions.
pub(super) fn flags() -> Vec<Operation> {
    vec![
        Operation::new(Method::GET, FLAGS, "list_flags")
            .title("List the flags of an app")
            .by(READERS)
            .page()
            .query::<bool>("archived", "Archived flags instead of the others.")
            .refused(&[problem::NOT_FOUND])
            .answers::<Page<FlagView>>(200, "A page of flags, by key.", json!({ "items": [flag()] })),
        Operation::new(Method::POST, FLAGS, "create_flag")
            .title("Make a flag")
            .about("It is off everywhere, and dies on a date.")
            .by(CHANGERS)
            .change()
            .body::<NewFlag>(json!({
                "key": "search/v2", "description": "The new search", "owner": "ada@example.org",
            }))
            .refused(&[problem::ALREADY_EXISTS, problem::EXPIRY_BEYOND_CAP])
            .answers::<FlagView>(201, "The flag.", flag())
            .with_header("Location")
            .with_header("ETag")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::GET, FLAG, "get_flag")
            .title("Show a flag")
            .by(READERS)
            .refused(&[problem::NOT_FOUND])
            .answers::<FlagView>(200, "The flag.", flag())
            .with_header("ETag"),
        Operation::new(Method::PATCH, FLAG, "update_flag")
            .title("Change a flag's definition")
            .about("Absent members stay as they are.")
            .by(CHANGERS)
            .change()
            .body::<FlagPatch>(json!({ "description": "The checkout of 2027" }))
            .refused(&[
                problem::REVISION_REQUIRED,
                problem::AGENTS_ONLY_PROPOSE,
                problem::APPROVALS_NEEDED,
                problem::ROLES_MISSING,
            ])
            .refused(&[problem::GATE_MISSING, problem::IN_USE, problem::EXPIRED, problem::TIER_LIMIT])
            .answers::<FlagView>(200, "The flag as it is now.", flag())
            .with_header("ETag"),
        archiving(Operation::new(Method::DELETE, FLAG, "delete_flag"))
            .query::<String>("reason", "Why, if there is no body."),
        archiving(Operation::new(Method::POST, format!("{FLAG}/archive"), "archive_flag"))
            .query::<String>("reason", "Why, if there is no body."),
        Operation::new(Method::POST, format!("{FLAG}/extend"), "extend_flag")
            .title("Give a flag a longer life")
            .about("Needs a reason.")
            .by(CHANGERS)
            .change()
            .optional_body::<Extension>(json!({ "environment": "production", "reason": "The trial goes on" }))
            .refused(&[problem::REASON_REQUIRED, problem::EXPIRY_BEYOND_CAP, problem::REVISION_REQUIRED])
            .refused(&[
                problem::AGENTS_ONLY_PROPOSE,
                problem::APPROVALS_NEEDED,
                problem::ROLES_MISSING,
                problem::GATE_MISSING,
            ])
            .refused(&[problem::ENVIRONMENT_ENDED, problem::KILLED, problem::HELD, problem::TIER_LIMIT])
            .answers::<FlagView>(200, "The flag as it is now.", flag())
            .with_header("ETag"),
    ]
}

fn archiving(operation: Operation) -> Operation {
    operation
        .title("End a flag for good")
        .about("It answers as not found, and its key stays taken.")
        .by(CHANGERS)
        .change()
        .optional_body::<OnlyReason>(json!({ "reason": "Everybody has it" }))
        .refused(&[problem::IN_USE, problem::AGENTS_ONLY_PROPOSE, problem::REVISION_REQUIRED])
        .answers::<FlagView>(200, "The flag as it was at its end.", flag())
        .with_header("ETag")
}

/// What a flag does in an environment.
pub(super) fn states() -> Vec<Operation> {
    vec![
        Operation::new(Method::GET, STATE, "get_flag_state")
            .title("Show what a flag does in an environment")
            .by(READERS)
            .refused(&[problem::NOT_FOUND])
            .answers::<FlagState>(200, "Its state.", state())
            .with_header("ETag"),
        Operation::new(Method::PATCH, STATE, "set_flag_state")
            .title("Turn a flag on or off, or change whom it serves")
            .about(
                "Absent members stay as they are. What only lowers needs no `If-Match`; what raises in production needs \
                 the approvals that the app's tier asks for.",
            )
            .by(CHANGERS)
            .change()
            .body::<StatePatch>(json!({ "on": true, "exposure": 30, "reason": "The first third" }))
            .refused(&[problem::REVISION_REQUIRED, problem::AGENTS_ONLY_PROPOSE, problem::APPROVALS_NEEDED, problem::ROLES_MISSING])
            .refused(&[problem::GATE_MISSING, problem::TIER_LIMIT, problem::KILLED, problem::EXPIRED])
            .refused(&[problem::ENVIRONMENT_ENDED, problem::HELD, problem::PREREQUISITE_CYCLE])
            .refused(&[problem::REASON_REQUIRED])
            .answers::<FlagView>(200, "The flag as it is now.", flag())
            .with_header("ETag"),
    ]
}

/// Kills and revivals at three heights.
pub(super) fn kills() -> Vec<Operation> {
    let mut all = Vec::new();
    for (under, what, words, killers, revivers) in [
        ("/v1", "everything", "every flag of every app", OPERATORS, OPERATORS),
        ("/v1/apps/{app}", "app", "every flag of an app", CHANGERS, SHAPERS),
        (FLAG, "flag", "a flag", CHANGERS, SHAPERS),
    ] {
        all.push(
            Operation::new(Method::POST, format!("{under}/kill"), format!("kill_{what}"))
                .title(format!("Kill {words}"))
                .about(
                    "It serves its off variant everywhere at once. Never stale, never refused for load; repeating it under \
                     its id is safe, and whoever repeats it should name one.",
                )
                .by(killers)
                .change()
                .optional_body::<KillBody>(json!({ "kill_id": format!("incident-{what}"), "reason": "Payments fail" }))
                .refused(&[problem::KILL_ID_TAKEN])
                .answers::<Killed>(200, "In effect, and in the log.", json!({
                    "kill_id": "incident-7", "revision": 43, "durable": true, "already": false, "in_effect": true,
                }))
                .answers::<KilledAhead>(202, "In effect; the log could not take it yet.", json!({
                    "kill_id": "incident-7", "durable": false, "journaled": true,
                })),
        );
        all.push(
            Operation::new(Method::POST, format!("{under}/revive"), format!("revive_{what}"))
                .title(format!("Take the kill of {words} back"))
                .about("Nothing comes back by itself: what was killed is off, until someone turns it on. Needs a reason.")
                .by(revivers)
                .change()
                .optional_body::<ReviveBody>(json!({ "reason": "Fixed in 1.4.2" }))
                .refused(&[problem::NOT_KILLED, problem::KILLED_EVERYWHERE, problem::REASON_REQUIRED])
                .refused(&[problem::AGENTS_ONLY_PROPOSE])
                .answers::<Revived>(200, "It is off now.", json!({ "revision": 44, "already": false })),
        );
    }
    all
}
