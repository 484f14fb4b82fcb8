//! The form of each part of a frame. Beside every type stands what serde says at its definition.

use serde_json::Value;

use super::parts::{Fields, Read, Write, choice, write_choice, write_field};
use crate::change::Reach;
use crate::condition::{AttributePath, Condition, Operator, SegmentRef, Test};
use crate::evaluate::{Told, ToldReason, ToldStep};
use crate::feed::{
    ChangeFrame, FeedHeight, Frame, FrameBody, Op, Overlay, Served, ServedFlag, ServedHold, ServedKills,
    ServedSegment,
};
use crate::flag::{
    FlagKind, HoldCause, Kill, Prerequisite, Rule, ScheduledChange, Serve, Split, Target, Targeting, Variant,
    Weight,
};
use crate::ids::{
    AppKey, EnvKey, FlagKey, KillId, LogId, RuleId, ScheduleId, SegmentKey, SplitId, VariantKey,
};
use crate::json_text::JsonText;

macro_rules! keys {
    ($($key:ident),*) => {$(
        impl Read for $key {
            fn read(value: &Value) -> Option<$key> {
                $key::new(value.as_str()?).ok()
            }
        }

        impl Write for $key {
            fn write(&self, json: &mut JsonText) {
                json.text(self.as_str());
            }
        }
    )*};
}

keys!(AppKey, EnvKey, FlagKey, KillId, LogId, RuleId, ScheduleId, SegmentKey, SplitId, VariantKey);

/// An enum of plain words.
macro_rules! words {
    ($($type:ident { $($word:literal $case:ident),* $(,)? })*) => {$(
        const _: () = {
            const WORDS: &[(&str, $type)] = &[$(($word, $type::$case)),*];

            impl Read for $type {
                fn read(value: &Value) -> Option<$type> {
                    let word = value.as_str()?;
                    WORDS.iter().find(|(known, _)| *known == word).map(|(_, case)| *case)
                }
            }

            impl Write for $type {
                fn write(&self, json: &mut JsonText) {
                    json.text(WORDS.iter().find(|(_, case)| case == self).map_or("", |(word, _)| *word));
                }
            }
        };
    )*};
}

/// An object. `must`: the field has to be there; `may`: it is left out where it is empty; `can`: it may be left out but
/// is always written; `flat`: its own fields stand among the others. `strict`: there are no other fields.
macro_rules! read_objects {
    ($($type:ident $($strict:ident)? { $($mode:ident $name:literal $field:ident),* $(,)? })*) => {$(
        impl Read for $type {
            fn read(value: &Value) -> Option<$type> {
                let mut fields = Fields::of(value)?;
                let read = $type { $($field: read_objects!(@read $mode fields $name)),* };
                let fits = true $(&& read_objects!(@$strict fields))?;
                fits.then_some(read)
            }
        }
    )*};
    (@strict $fields:ident) => { $fields.are_known() };
    (@read must $fields:ident $name:literal) => { $fields.must($name)? };
    (@read may $fields:ident $name:literal) => { $fields.may($name)? };
    (@read can $fields:ident $name:literal) => { $fields.may($name)? };
    (@read flat $fields:ident $name:literal) => { kills(&mut $fields)? };
}

/// An object that is written, too.
macro_rules! objects {
    ($($type:ident $($strict:ident)? { $($mode:ident $name:literal $field:ident),* $(,)? })*) => {
        read_objects! { $($type $($strict)? { $($mode $name $field),* })* }
        $(
            impl Write for $type {
                fn write(&self, json: &mut JsonText) {
                    json.open('{');
                    $(objects!(@write $mode json $name self.$field);)*
                    json.close('}');
                }
            }
        )*
    };
    (@write must $json:ident $name:literal $value:expr) => { write_field($name, &$value, false, $json) };
    (@write may $json:ident $name:literal $value:expr) => { write_field($name, &$value, true, $json) };
    (@write can $json:ident $name:literal $value:expr) => { write_field($name, &$value, false, $json) };
    (@write flat $json:ident $name:literal $value:expr) => { write_kills(&$value, $json) };
}

words! {
    FlagKind { "boolean" Boolean, "string" String, "number" Number, "object" Object }
    FeedHeight { "everything" Everything, "app" App }
    HoldCause { "guardrail" Guardrail, "budget" Budget, "gate" Gate }
    Operator {
        "in" In, "starts_with" StartsWith, "ends_with" EndsWith, "contains" Contains, "regex" Regex,
        "num_eq" NumEq, "num_gt" NumGt, "num_gte" NumGte, "num_lt" NumLt, "num_lte" NumLte,
        "date_after" DateAfter, "date_before" DateBefore,
        "semver_eq" SemverEq, "semver_gt" SemverGt, "semver_gte" SemverGte, "semver_lt" SemverLt,
        "semver_lte" SemverLte, "cidr" Cidr, "exists" Exists,
    }
    ToldReason {
        "off" Off, "prerequisite_failed" PrerequisiteFailed, "target" Target, "rule" Rule,
        "rule_split" RuleSplit, "split" Split, "exposed" Exposed, "default" Default,
        "not_exposed" NotExposed, "no_unit" NoUnit, "broken" Broken,
    }
}

read_objects! {
    Frame { must "v" version, must "log" log, must "revision" revision, must "body" body }
    ChangeFrame { must "follows" follows, may "kill_id" kill_id, may "ops" ops }
}

objects! {
    Overlay { must "kill_id" kill_id, must "reach" reach, must "at" at }
    Kill strict { must "id" id, must "at" at }
    ServedHold { must "cause" cause, must "at" at }
    ServedSegment { must "segment" segment, may "when" when, may "members" members }
    ServedFlag {
        must "key" key, must "type" kind, must "variants" variants, must "off_variant" off_variant,
        must "targeting" targeting, must "expires_at" expires_at,
        may "targeting_revision" targeting_revision, may "hold" hold, flat "" kills,
        must "revision" revision, may "told" told, may "guarded_until" guarded_until,
    }
    Served {
        must "app" app, must "environment" environment, may "gone" gone, may "ends_at" ends_at,
        can "everything" everything, can "app_kills" app_kills, can "flags" flags, may "segments" segments,
        may "overlays" overlays,
    }
    Variant strict { must "key" key, must "value" value }
    Weight strict { must "variant" variant, must "weight" weight }
    Split strict {
        must "id" id, must "weights" weights, may "control" control, may "unit" unit, may "seed" seed,
    }
    Target strict { must "variant" variant, must "units" units }
    Rule strict { must "id" id, may "description" description, must "when" when, must "serve" serve }
    Prerequisite strict { must "flag" flag, must "variants" variants }
    ScheduledChange strict { must "id" id, must "at" at, may "on" on, may "exposure" exposure }
    Targeting strict {
        must "on" on, must "exposure" exposure, must "serve" serve, may "targets" targets,
        may "rules" rules, may "prerequisites" prerequisites, may "schedule" schedule,
    }
    Test strict {
        must "attribute" attribute, must "op" op, can "values" values, may "ci" ci, may "dfa" dfa,
    }
    Told strict { may "variant" variant, may "steps" steps, may "targeted" targeted }
    ToldStep strict { may "at" at, must "reason" reason, may "split" split }
}

/// The kills among the fields of what they stand in.
fn kills(fields: &mut Fields<'_>) -> Option<ServedKills> {
    Some(ServedKills { killed: fields.may("killed")?, off_before: fields.may("off_before")? })
}

fn write_kills(kills: &ServedKills, json: &mut JsonText) {
    write_field("killed", &kills.killed, true, json);
    write_field("off_before", &kills.off_before, true, json);
}

impl Read for ServedKills {
    fn read(value: &Value) -> Option<ServedKills> {
        kills(&mut Fields::of(value)?)
    }
}

impl Write for ServedKills {
    fn write(&self, json: &mut JsonText) {
        json.open('{');
        write_kills(self, json);
        json.close('}');
    }
}

impl Read for FrameBody {
    fn read(value: &Value) -> Option<FrameBody> {
        let (name, value) = choice(value)?;
        match name {
            "snapshot" => Read::read(value).map(FrameBody::Snapshot),
            "change" => Read::read(value).map(FrameBody::Change),
            "overlay" => Read::read(value).map(FrameBody::Overlay),
            _ => None,
        }
    }
}

impl Read for Op {
    fn read(value: &Value) -> Option<Op> {
        if value == "environment_gone" {
            return Some(Op::EnvironmentGone);
        }
        let (name, value) = choice(value)?;
        if name == "put_flag" {
            return Read::read(value).map(Op::PutFlag);
        }
        if name == "put_segment" {
            return Read::read(value).map(Op::PutSegment);
        }
        let fields = &mut Fields::of(value)?;
        Some(match name {
            "remove_flag" => Op::RemoveFlag { flag: fields.must("flag")? },
            "flag_kills" => Op::FlagKills {
                flag: fields.must("flag")?,
                kills: kills(fields)?,
                revision: fields.must("revision")?,
            },
            "segment_condition" => {
                Op::SegmentCondition { segment: fields.must("segment")?, when: fields.may("when")? }
            }
            "segment_members" => Op::SegmentMembers {
                segment: fields.must("segment")?,
                add: fields.may("add")?,
                remove: fields.may("remove")?,
            },
            "remove_segment" => Op::RemoveSegment { segment: fields.must("segment")? },
            "kills" => Op::Kills { height: fields.must("height")?, kills: kills(fields)? },
            "environment" => Op::Environment { ends_at: fields.may("ends_at")? },
            _ => return None,
        })
    }
}

fn write_step(name: &str, json: &mut JsonText, fields: impl FnOnce(&mut JsonText)) {
    write_choice(name, json, |json| {
        json.open('{');
        fields(json);
        json.close('}');
    });
}

impl Read for Reach {
    fn read(value: &Value) -> Option<Reach> {
        if value == "everything" {
            return Some(Reach::Everything);
        }
        let (name, value) = choice(value)?;
        let mut fields = Fields::of(value)?;
        let app = fields.must("app")?;
        match name {
            "app" => Some(Reach::App { app }),
            "flag" => Some(Reach::Flag { app, flag: fields.must("flag")? }),
            _ => None,
        }
    }
}

impl Write for Reach {
    fn write(&self, json: &mut JsonText) {
        match self {
            Reach::Everything => json.text("everything"),
            Reach::App { app } => write_step("app", json, |json| write_field("app", app, false, json)),
            Reach::Flag { app, flag } => write_step("flag", json, |json| {
                write_field("app", app, false, json);
                write_field("flag", flag, false, json);
            }),
        }
    }
}

impl Read for Serve {
    fn read(value: &Value) -> Option<Serve> {
        let (name, value) = choice(value)?;
        match name {
            "variant" => Read::read(value).map(Serve::Variant),
            "split" => Read::read(value).map(Serve::Split),
            _ => None,
        }
    }
}

impl Write for Serve {
    fn write(&self, json: &mut JsonText) {
        match self {
            Serve::Variant(variant) => write_choice("variant", json, |json| variant.write(json)),
            Serve::Split(split) => write_choice("split", json, |json| split.write(json)),
        }
    }
}

impl Read for Condition {
    /// The first form that fits, whatever other fields there are; only a test has no others.
    fn read(value: &Value) -> Option<Condition> {
        let all = || Some(Condition::All { all: Read::read(value.get("all")?)? });
        let any = || Some(Condition::Any { any: Read::read(value.get("any")?)? });
        let not = || Some(Condition::Not { not: Read::read(value.get("not")?)? });
        let segment = || Some(Condition::Segment { segment: Read::read(value.get("segment")?)? });
        let test = || Read::read(value).map(Condition::Test);
        all().or_else(any).or_else(not).or_else(segment).or_else(test)
    }
}

impl Write for Condition {
    fn write(&self, json: &mut JsonText) {
        match self {
            Condition::All { all } => write_choice("all", json, |json| all.write(json)),
            Condition::Any { any } => write_choice("any", json, |json| any.write(json)),
            Condition::Not { not } => write_choice("not", json, |json| not.write(json)),
            Condition::Segment { segment } => write_choice("segment", json, |json| segment.write(json)),
            Condition::Test(test) => test.write(json),
        }
    }
}

impl Read for AttributePath {
    fn read(value: &Value) -> Option<AttributePath> {
        match value {
            Value::String(_) => Read::read(value).map(AttributePath::Dotted),
            _ => Read::read(value).map(AttributePath::Names),
        }
    }
}

impl Write for AttributePath {
    fn write(&self, json: &mut JsonText) {
        match self {
            AttributePath::Dotted(path) => path.write(json),
            AttributePath::Names(names) => names.write(json),
        }
    }
}

impl Read for SegmentRef {
    fn read(value: &Value) -> Option<SegmentRef> {
        let text = value.as_str()?;
        let read = match text.strip_prefix("shared:") {
            Some(key) => SegmentKey::new(key).map(SegmentRef::Shared),
            None => SegmentKey::new(text).map(SegmentRef::App),
        };
        read.ok()
    }
}

impl Write for SegmentRef {
    fn write(&self, json: &mut JsonText) {
        json.shown(self);
    }
}
