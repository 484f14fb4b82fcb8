//! Flags and answers as JSON.

use alloc::string::String;

use rollout_rules::context::{Context, Wanted};
use rollout_rules::evaluate::Answer;
use rollout_rules::feed::ClientState;
use rollout_rules::flag::FlagKind;
use rollout_rules::json_text::JsonText;

use crate::client::Entry;

/// A list of flags with their ids.
pub(crate) fn flags<'a>(
    state: Option<&ClientState>,
    entries: impl Iterator<Item = (usize, &'a mut Entry)>,
) -> String {
    let mut json = JsonText::new();
    json.open('[');
    for (id, entry) in entries {
        json.open('{');
        json.field("id");
        json.number(id as u64);
        json.field("key");
        json.text(entry.key.as_str());
        match state {
            Some(state) if entry.flag.is_some() => flag(state, entry, &mut json),
            _ => {
                json.field("gone");
                json.raw("true");
            }
        }
        json.close('}');
    }
    json.close(']');
    json.finish()
}

fn flag(state: &ClientState, entry: &mut Entry, json: &mut JsonText) {
    let Some(flag) = &entry.flag else { return };
    let definition = flag.definition().flag();
    json.field("type");
    json.text(match definition.kind {
        FlagKind::Boolean => "boolean",
        FlagKind::String => "string",
        FlagKind::Number => "number",
        FlagKind::Object => "object",
    });
    json.field("variants");
    json.open('[');
    for variant in &definition.variants {
        json.open('{');
        json.field("key");
        json.text(variant.key.as_str());
        json.field("value");
        json.value(&variant.value);
        json.close('}');
    }
    json.close(']');
    json.field("off");
    json.text(definition.off_variant.as_str());
    json.field("revision");
    json.number(flag.revision().0);
    json.field("needs");
    let needs = state.flag_set().needs(entry.key.as_str());
    json.texts(needs.iter().map(|name| &**name));
    entry.wanted = Wanted::new(needs.iter().map(|name| &**name));
    if let Some(until) = state.guarded_until(&entry.key) {
        json.field("guarded_until");
        json.number(until.0);
    }
    if flag.told().is_some() {
        json.field("told");
        json.raw("true");
    }
}

/// An answer, with what its outcome counts for.
pub(crate) fn answer(answer: &Answer<'_>, context: &Context) -> String {
    let assigned = answer.assigned(context);
    let mut json = JsonText::new();
    json.open('{');
    let mut field = |name: &str, text: Option<&str>| {
        json.field(name);
        match text {
            Some(text) => json.text(text),
            None => json.raw("null"),
        }
    };
    field("variant", Some(answer.variant().as_str()));
    field("reason", Some(answer.reason.code()));
    field("standard", Some(answer.standard_reason().as_str()));
    field("rule", answer.rule().map(|rule| rule.as_str()));
    field("split", assigned.as_ref().map(|assigned| assigned.split.as_str()));
    json.field("unit");
    match assigned.as_ref().and_then(|assigned| assigned.unit) {
        Some(unit) => json.shown(&unit),
        None => json.raw("null"),
    }
    json.field("revision");
    json.number(answer.revision().0);
    json.close('}');
    json.finish()
}
