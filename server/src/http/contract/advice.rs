//! What each problem means and what to do about it, for the pages that their types lead to.

/// What is told of a kind of problem.
pub(super) struct Advice {
    /// What it means.
    pub(super) means: &'static str,
    /// What to do.
    pub(super) remedy: &'static str,
}

/// What is told of a kind of problem; a test sees that each has something.
pub(super) fn advice(code: &str) -> Option<&'static Advice> {
    ALL.iter().find(|(known, _)| *known == code).map(|(_, advice)| advice)
}

macro_rules! all {
    ($($code:literal: $means:literal, $remedy:literal;)*) => {
        const ALL: &[(&str, Advice)] = &[$(($code, Advice { means: $means, remedy: $remedy })),*];
    };
}

all! {
    "invalid_json": "The body could not be read as JSON.",
        "Send JSON. The detail says at which line and column the reading ended; a body that was cut off or is not UTF-8 fails so too.";
    "invalid_body": "The body is JSON, but a member is missing, unknown, there twice or of another type than asked for.",
        "`field` names the member. Compare the body with the schema of the operation; members that the server does not know are refused, so that a typing error is noticed.";
    "invalid_parameter": "A parameter of the query or a header is unknown, there twice or not of the form that is asked for.",
        "`parameter` or the detail names it. Correct it or leave it out.";
    "invalid_context": "The evaluation context is no object, is too large or nested too deep, or its targeting key is no text.",
        "Send `{\"context\": {\"targetingKey\": \"…\"}}` with at most 64 attributes and 32 KiB.";
    "targeting_key_missing": "The evaluation context does not say who is asking, so no split could be decided.",
        "Give the context a `targetingKey` that is not empty and stays the same for one user.";
    "audience_missing": "The token is bound to no app or no environment, and the request names none.",
        "Name them with `?app=…&environment=…` or the headers `Tidegate-App` and `Tidegate-Environment`, or use a token that is bound to one environment.";
    "invalid": "What was asked for is well formed, but cannot be: a value is out of range, a name is unknown, or parts contradict each other.",
        "`field` says where, the detail says what would be right.";
    "reason_required": "This act is looked at later by people who will want to know why it was done.",
        "Give a `reason` in the body, or `--reason` on the command line.";
    "unauthenticated": "There is no token, or it is unknown, was revoked or has expired.",
        "Send `Authorization: Bearer tg_…` or `X-API-Key: tg_…`. An admin makes tokens with `tidegate token create`; `tidegate serve --new-admin-token` makes one for who has lost the last.";
    "not_allowed": "The token is valid, but its scope or what it is bound to does not cover this.",
        "`GET /v1/whoami` (or `tidegate whoami`) shows what the token may do; the description of the operation names the scopes that may call it.";
    "agents_only_propose": "The request names an agent, and agents may lower and propose, never raise in production on their own.",
        "Send the same change to `POST /v1/proposals` (`--propose` on the command line); a human applies it.";
    "approvals_needed": "A raise in production needs the approval of other people, as the app's tier says.",
        "Propose the change, have others approve it, then apply it. `needed` and `have` count the approvals, `roles` names the roles in which somebody still has to approve.";
    "roles_missing": "A raise in production takes people with certain roles who approve it, as the policy says for the app's tier.",
        "Propose the change and have somebody with each role of `roles` approve it in that role, each a person of their own. `tidegate policy show` says which roles a tier asks for.";
    "role_needed": "It takes somebody with a role who does it in that role.",
        "`role` names it. Ask somebody who has it, or have an admin give it: `POST /v1/gate/roles`.";
    "gate_missing": "The release that is live has not passed the gate for this environment.",
        "`missing` says what the gate lacks, and which command shows more. Mend it and ask the gate again. If approvals are missing besides, the last line says so, with `needed`, `have` and `roles`.";
    "tier_limit": "How far a CI token or a person may take a flag in production is said by the policy for the app's tier (`tidegate policy show`).",
        "Where a pipeline is limited a person does the rest, or the pipeline proposes it. `one_list`: exposure 0, one list of targets, no rules. `staged`: start a rollout of at least two stages.";
    "own_approval": "Nobody approves what they proposed, or what an agent proposed for them.",
        "Ask somebody else.";
    "not_found": "What the address or the command names does not exist, or the token may not know of it.",
        "Check the spelling, the app and the environment. Slashes in flag keys are written as `%2F` in addresses.";
    "flag_not_found": "There is no such flag in this environment, or it is archived.",
        "Check the key and the environment that the token is bound to. Clients serve their default value meanwhile.";
    "origin_not_allowed": "The token is a browser's key, and names the sites whose pages may use it. The page that sent the request is of another one.",
        "Make a key that names this site (`tidegate token create --scope sdk-browser --origin https://…`), exactly as the browser writes it: scheme, host, and the port if it is not the usual one.";
    "sdk_not_built": "The files of the browser SDK are taken in when the server is built, and were not there.",
        "Run `make wasm`, then build the server again; or load the SDK from the package `@tidegate/sdk`.";
    "page_gone": "The token in the address is no longer good: it is too old, of another server, or of a page that was left more than a minute ago.",
        "Open the page anew with `POST /v1/page`; the SDK does it by itself.";
    "method_not_allowed": "The address exists, but not with this method.",
        "The header `Allow` lists the methods.";
    "request_timeout": "The body did not arrive in the time that the settings allow.",
        "Send it again; `limits.request_timeout` is for networks that are slow.";
    "already_exists": "There is one of this name already. Keys of archived flags stay taken.",
        "Use the one that exists, or choose another name. To repeat a creation safely, send an `Idempotency-Key`.";
    "idempotency_key_taken": "The same key was used for another request, or for a token whose secret cannot be shown again.",
        "Draw a new key for each new request, and keep it for its repetitions only. `revision` names the entry that the first made.";
    "in_use": "Something else refers to it, and would break.",
        "`by` names some of those. Change them first.";
    "prerequisite_cycle": "By its prerequisites the flag would depend on itself.",
        "`path` shows the circle. Leave one of its steps out.";
    "killed": "A kill is in effect above what was to be raised, so raising would change nothing.",
        "Find out why it was killed (`tidegate log`), take the kill back with `revive` at the height that is named, then raise.";
    "not_killed": "There is no kill here to take back.",
        "If the detail names another height, revive there.";
    "killed_everywhere": "Everything is killed in all environments at once, which cannot be taken back in one.",
        "Revive in all environments, and kill in those that should stay dead.";
    "kill_id_taken": "This kill id stands for another kill.",
        "Use one id for one act, and draw a new one for the next. `revision` names the entry of the first.";
    "expired": "The flag's life has ended; it serves its off variant.",
        "Extend it with a reason, if it is still needed, or archive it and take it out of the code.";
    "environment_ended": "The preview's end has come, and its flags with it.",
        "Extend the environment, or make a new one.";
    "held": "A guardrail, a budget or the gate holds the flag at its off variant.",
        "Look at why it is held before raising it again.";
    "glass_spent": "The glass of an environment is broken for at most eight hours within any 24, so that an emergency is no habit.",
        "`again` says from when on it may be for as long. Until then mend what the gate denies, have a waiver approved, turn the flags off, or break it for a shorter time.";
    "waiver_over": "The waiver has lapsed or was ended, and does not come back.",
        "`state` says which. Ask for another one if the risk is still to be taken.";
    "proposal_closed": "The proposal was applied, rejected or has lapsed.",
        "`state` says which. Propose it anew if it is still wanted.";
    "proposal_changed": "The hash is not that of the proposal as it is stored.",
        "Read the proposal again, look at what it would do, and name the hash that it has.";
    "proposal_outdated": "Since it was proposed another build runs in production, the policy changed, or the build stands on other waivers.",
        "Approvals count for what was there alone: propose it again, and have that approved.";
    "effect_claimed": "Another server does this already.",
        "Nothing: it will be done.";
    "not_due": "The scheduled change waits for its time.",
        "Nothing: it is done when it is due.";
    "stale": "It was changed by somebody since the revision that the request names.",
        "Read it again, look at what changed (`changed` lists it), and decide anew with the new `ETag`. Do not repeat it blindly. Turning off and killing need no revision.";
    "too_large": "The body is larger than the settings allow, or the change does not fit one entry of the log (64 KiB).",
        "Send long lists in parts: units belong in segments, whose members come in chunks.";
    "unsupported_media_type": "The body is marked as something else than JSON.",
        "Send `Content-Type: application/json`.";
    "too_many": "A bound is reached: everything here is bounded, so that nothing grows without end.",
        "`what` and `limit` name the bound. Remove what is not needed any more, or put long lists into segments.";
    "expiry_beyond_cap": "Flags and previews live no longer than their tier allows.",
        "`cap` is the latest moment. Extend it again later, with a reason.";
    "rollout_runs": "A flag has one rollout in an environment at a time.",
        "Look at it with `tidegate rollout show`; advance or resume it, or abort it before another is started.";
    "no_rollout": "No rollout runs for this flag in this environment: none was started, or the last one is over.",
        "`ended` says how it ended. Start another one with `tidegate rollout start`.";
    "rollout_not_paused": "Only a rollout that somebody paused can be resumed.",
        "One that waits for approval, or is held, goes on with `tidegate rollout advance`, which takes the approvals of the app's tier.";
    "past_too_far": "The log would have to be read over too far a stretch to know what was so at that moment.",
        "Ask about a moment nearer to a stored checkpoint: `flag history` lists the revisions. A backup that is restored elsewhere can be asked too.";
    "left_to_people": "Automation acts on one app three times within a day, and then leaves what comes to people.",
        "Look at what it did: `tidegate log --app APP`. Turn off by hand what does harm; `tidegate flag kill` is never refused.";
    "webhook_disabled": "The webhook sends nothing, so nothing can be sent again.",
        "Look at why with `tidegate webhook deliveries`, mend the receiver, then `tidegate webhook update ID --enable`.";
    "not_proposable": "Commands of this kind wait for nobody, or there is nothing left to do.",
        "Do it directly: kills, holds and tokens are not proposed.";
    "revision_required": "A change that does more than lower has to say which state it was made for.",
        "Read the flag, and send its `ETag` as `If-Match`.";
    "rate_limited": "This token asks more often than the settings allow.",
        "Wait for as many seconds as `Retry-After` says, and spread requests. Kills are never limited.";
    "too_many_failed_logins": "From this address came many requests with invalid tokens.",
        "Correct the token of whatever sends them; wait for as many seconds as `Retry-After` says.";
    "internal": "The server met something that it was not made for.",
        "The log has the cause under the `X-Request-ID` of the answer. If it was a change, read whether it was made before repeating it.";
    "busy": "More requests are under way than the server works on at once.",
        "Try again after `Retry-After` seconds. Kills are always taken. If it lasts, look at the server's load.";
    "gate_closed": "The gate could not be opened when the server started, so that no build can be judged and no receipt signed.",
        "The server's log says why, most often that the folder `gate` in `data_dir` cannot be written. Mend that and start the server again. Checks and kills go on.";
    "too_many_streams": "The server holds as many event streams as its settings allow.",
        "Come back later, or raise `limits.streams`; the SDKs serve what they have meanwhile.";
    "not_ready": "The server reads its log, cannot follow it, or is stopping.",
        "Wait for `/readyz`. If the detail speaks of an entry that is not known, start a newer version.";
    "log_unavailable": "The change log takes no changes now, or cannot be read. Checks go on.",
        "Try again after `Retry-After` seconds. A kill is taken all the same. If it lasts, look at the disk.";
    "outcome_unknown": "The log did not say in time whether it stored the change.",
        "Read what is there before asking again; under an `Idempotency-Key` or a kill id repeating is safe.";
    "log_full": "There is no space left for changes. Checks and kills go on.",
        "Free space on the disk of `data_dir`; the server takes changes again by itself.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem;

    #[test]
    fn every_problem_has_a_page_that_says_what_to_do() {
        let silent: Vec<&str> =
            problem::TABLE.iter().map(|kind| kind.code).filter(|code| advice(code).is_none()).collect();
        assert!(silent.is_empty(), "add them to server/src/http/contract/advice.rs: {silent:?}");
        for (index, (code, _)) in ALL.iter().enumerate() {
            assert!(problem::kind_of(code).is_some(), "there is no problem `{code}`");
            assert!(!ALL[..index].iter().any(|(other, _)| other == code), "{code} twice");
        }
    }
}
