//! What the machine says, as JSON.

use alloc::string::String;

use rollout_rules::feed::machine::{Output, Standing, Trouble};
use rollout_rules::json_text::JsonText;

/// A list of outputs; empty if there are none.
pub(crate) fn outputs(outputs: &[Output]) -> String {
    let mut json = JsonText::new();
    if !outputs.is_empty() {
        json.open('[');
        outputs.iter().for_each(|output| said(output, &mut json));
        json.close(']');
    }
    json.finish()
}

fn said(output: &Output, json: &mut JsonText) {
    json.open('{');
    json.field("do");
    match output {
        Output::Connect { resume } => {
            json.text("connect");
            json.field("resume");
            match resume {
                Some(token) => json.shown(token),
                None => json.raw("null"),
            }
        }
        Output::Disconnect => json.text("disconnect"),
        Output::Serve { applied, .. } => {
            json.text("serve");
            json.field("revision");
            json.number(applied.revision.0);
            json.field("everything");
            json.raw(if applied.everything { "true" } else { "false" });
            json.field("flags");
            json.texts(applied.flags.iter().map(|key| key.as_str()));
            json.field("kill_ids");
            json.texts(applied.kill_ids.iter().map(|id| id.as_str()));
        }
        Output::Ack { revision, kill_ids } => {
            json.text("ack");
            json.field("revision");
            json.number(revision.0);
            json.field("kill_ids");
            json.texts(kill_ids.iter().map(|id| id.as_str()));
        }
        Output::Standing(now) => {
            json.text("standing");
            json.field("standing");
            standing(now, json);
        }
        Output::Said { name, data } => {
            json.text("said");
            json.field("name");
            json.text(name);
            json.field("data");
            json.text(core::str::from_utf8(data).unwrap_or_default());
        }
    }
    json.close('}');
}

fn standing(standing: &Standing, json: &mut JsonText) {
    json.open('{');
    json.field("state");
    match standing {
        Standing::Starting => json.text("starting"),
        Standing::Live => json.text("live"),
        Standing::Stale { since, why } => {
            json.text("stale");
            json.field("since");
            json.number(since.0);
            json.field("code");
            json.text(code(why));
            json.field("why");
            why_in_words(why, json);
        }
    }
    json.close('}');
}

fn code(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::Ended => "ended",
        Trouble::Unreachable(_) => "unreachable",
        Trouble::Silent => "silent",
        Trouble::Unauthorized => "unauthorized",
        Trouble::Refused { .. } => "refused",
        Trouble::OutOfStep(_) => "out_of_step",
        Trouble::Unreadable(_) => "unreadable",
        Trouble::Resting => "resting",
    }
}

fn why_in_words(trouble: &Trouble, json: &mut JsonText) {
    match trouble {
        Trouble::Ended => json.text("the stream ended"),
        Trouble::Unreachable(what) => json.text(what),
        Trouble::Silent => json.text("the stream was silent for too long"),
        Trouble::Unauthorized => json.text("the key is not accepted"),
        Trouble::Refused { status } => json.shown(&format_args!("the server answered {status}")),
        Trouble::OutOfStep(error) => json.shown(error),
        Trouble::Unreadable(error) => json.shown(error),
        Trouble::Resting => json.text("nobody looks at the page"),
    }
}
