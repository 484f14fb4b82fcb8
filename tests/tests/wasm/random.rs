//! Random flag sets, changes and contexts over a small set of names, so that they meet.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollout_rules::compile::compile_regex;
use serde_json::{Map, Value, json};

/// When the flags are asked, about.
pub(crate) const NOW: u64 = 1_800_000_000_000;
const FLAGS: [&str; 3] = ["f", "g", "h"];
const VARIANTS: [&str; 3] = ["a", "b", "off"];
const UNITS: [&str; 6] = ["ann", "bob", "eve", "joe", "Ünit-7", "4711"];
const NAMES: [&str; 5] = ["a", "b", "c", "a.b", "mail"];
const PATTERNS: [&str; 6] = ["^a", "[0-9]+", "b.*c$", "(?i)ß|ss", "\\w+@ex.mple", "["];
const TEXTS: [&str; 24] = [
    "",
    "a",
    "B",
    "abc",
    "aBC",
    "ß",
    "ẞ",
    "SS",
    "ann@example",
    "1.2.3",
    "v2",
    "1.2.3-rc.1",
    "10.0.0.1",
    "10.0.0.0/8",
    "::1",
    "::ffff:10.1.2.3",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.5+01:00",
    "12",
    "-1e3",
    "0.1",
    "1e23",
    "true",
    "σίσυφος",
];
const OPERATORS: [&str; 19] = [
    "in",
    "starts_with",
    "ends_with",
    "contains",
    "regex",
    "num_eq",
    "num_gt",
    "num_gte",
    "num_lt",
    "num_lte",
    "date_after",
    "date_before",
    "semver_eq",
    "semver_gt",
    "semver_gte",
    "semver_lt",
    "semver_lte",
    "cidr",
    "exists",
];

/// Numbers that look drawn, the same for the same seed.
pub(crate) struct Lots(pub(crate) u64);

impl Lots {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("small")
    }

    /// One in so many.
    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn some<T>(&mut self, most: usize, mut one: impl FnMut(&mut Lots) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    fn moment(&mut self) -> u64 {
        NOW - 2 + self.next() % 5
    }
}

/// A value of an attribute, nested at times.
fn attribute(lots: &mut Lots, depth: usize) -> Value {
    match lots.below(if depth < 3 { 10 } else { 8 }) {
        0 => Value::Null,
        1 => lots.one_in(2).into(),
        2 => i64::from_le_bytes(lots.next().to_le_bytes()).rem_euclid(100).into(),
        3 => f64::from_bits(lots.next()).into(),
        4 => lots.pick(&[0.1, 0.1 + 0.2, 12.0, 1e23].each_ref()).to_owned().into(),
        5 => lots.pick(&UNITS).into(),
        8 => lots.some(3, |lots| attribute(lots, depth + 1)).into(),
        9 => lots
            .some(3, |lots| (lots.pick(&NAMES).to_owned(), attribute(lots, depth + 1)))
            .into_iter()
            .collect(),
        _ => lots.pick(&TEXTS).into(),
    }
}

/// A context, mostly with a targeting key.
pub(crate) fn context(lots: &mut Lots) -> Map<String, Value> {
    let mut context: Map<String, Value> =
        lots.some(4, |lots| (lots.pick(&NAMES).to_owned(), attribute(lots, 0))).into_iter().collect();
    if !lots.one_in(8) {
        let unit =
            if lots.one_in(2) { lots.pick(&UNITS).to_owned() } else { format!("unit-{}", lots.below(500)) };
        context.insert("targetingKey".into(), unit.into());
    }
    context
}

fn test(lots: &mut Lots) -> Value {
    let op = lots.pick(&OPERATORS);
    let path = match lots.below(8) {
        0 => json!("targetingKey"),
        1 => json!(["a", "b"]),
        2 => json!("a.b.c"),
        _ => json!(lots.pick(&NAMES)),
    };
    if op == "regex" {
        let values = lots.some(3, |lots| lots.pick(&PATTERNS));
        let ci = lots.one_in(2);
        return json!({"attribute": path, "op": op, "values": values, "ci": ci, "dfa": dfas(&values, ci)});
    }
    json!({"attribute": path, "op": op, "values": lots.some(4, |lots| attribute(lots, 1)), "ci": lots.one_in(2)})
}

/// The compiled forms; nothing for what is no regular expression.
fn dfas(patterns: &[&str], ci: bool) -> Vec<String> {
    let one =
        |pattern: &&str| compile_regex(pattern, ci).map(|bytes| STANDARD.encode(bytes)).unwrap_or_default();
    patterns.iter().map(one).collect()
}

fn condition(lots: &mut Lots, depth: usize, segments: bool) -> Value {
    match lots.below(if depth < 3 { 9 } else { 5 }) {
        0 if segments => json!({"segment": lots.pick(&["beta", "shared:beta", "shared:gone"])}),
        5 | 6 => json!({"all": lots.some(3, |lots| condition(lots, depth + 1, segments))}),
        7 => json!({"any": lots.some(3, |lots| condition(lots, depth + 1, segments))}),
        8 => json!({"not": condition(lots, depth + 1, segments)}),
        _ => test(lots),
    }
}

fn serve(lots: &mut Lots) -> Value {
    if lots.one_in(2) {
        return json!({"variant": lots.pick(&VARIANTS)});
    }
    let weights: Vec<Value> =
        VARIANTS.iter().map(|variant| json!({"variant": variant, "weight": 1 + lots.below(4)})).collect();
    let mut split = json!({"id": "s", "weights": weights});
    if lots.one_in(3) {
        split["unit"] = lots.pick(&NAMES).into();
    }
    if lots.one_in(3) {
        split["seed"] = "seed".into();
    }
    json!({"split": split})
}

fn exposure(lots: &mut Lots) -> Value {
    match lots.below(4) {
        0 => json!(0),
        1 => json!(33.333),
        2 => json!(lots.below(101)),
        _ => json!(100),
    }
}

fn kills(lots: &mut Lots) -> Map<String, Value> {
    let mut kills = Map::new();
    if lots.one_in(12) {
        kills.insert("killed".into(), json!({"id": format!("kill-{}", lots.below(9)), "at": NOW - 9}));
    }
    if lots.one_in(6) {
        kills.insert("off_before".into(), (1 + lots.below(8)).into());
    }
    kills
}

fn flag(lots: &mut Lots, key: &str, revision: u64) -> Value {
    let rules: Vec<Value> = lots.some(3, |lots| {
        json!({"id": format!("r{}", lots.below(99)), "when": condition(lots, 0, true), "serve": serve(lots)})
    });
    let schedule: Vec<Value> = lots.some(2, |lots| {
        let mut step = json!({"id": "x", "at": lots.moment()});
        if lots.one_in(3) {
            step["on"] = lots.one_in(2).into();
        }
        if lots.one_in(2) {
            step["exposure"] = exposure(lots);
        }
        step
    });
    let prerequisites: Vec<Value> = if lots.one_in(3) {
        vec![json!({"flag": lots.pick(&FLAGS), "variants": lots.some(2, |lots| lots.pick(&VARIANTS))})]
    } else {
        Vec::new()
    };
    let mut flag = json!({
        "key": key, "type": "string", "off_variant": "off",
        "variants": VARIANTS.map(|variant| json!({"key": variant, "value": variant})),
        "targeting": {
            "on": !lots.one_in(8), "exposure": exposure(lots), "serve": serve(lots), "rules": rules,
            "targets": lots.some(1, |lots| json!({"variant": "b", "units": lots.some(2, |lots| lots.pick(&UNITS))})),
            "prerequisites": prerequisites, "schedule": schedule,
        },
        "expires_at": if lots.one_in(4) { lots.moment() } else { NOW + 1_000_000 },
        "targeting_revision": 1 + lots.below(9), "revision": revision,
    });
    if lots.one_in(10) {
        flag["hold"] = json!({"cause": lots.pick(&["guardrail", "budget", "gate"]), "at": NOW - 9});
    }
    if lots.one_in(6) {
        let mut told = json!({"targeted": lots.one_in(2)});
        if !lots.one_in(5) {
            told["variant"] = lots.pick(&VARIANTS).into();
            let reasons = ["exposed", "default", "target", "rule", "rule_split", "split", "not_exposed"];
            told["steps"] = json!([
                {"reason": lots.pick(&reasons), "split": ".exposure"},
                {"at": lots.moment(), "reason": lots.pick(&["off", "prerequisite_failed", "not_exposed"])},
            ]);
        }
        flag["told"] = told;
        flag["targeting"]["rules"] = json!([]);
        flag["targeting"]["targets"] = json!([]);
    }
    flag.as_object_mut().expect("an object").extend(kills(lots));
    flag
}

fn segment(lots: &mut Lots, name: &str) -> Value {
    let mut segment = json!({"segment": name, "members": lots.some(3, |lots| lots.pick(&UNITS))});
    if lots.one_in(2) {
        segment["when"] = condition(lots, 1, false);
    }
    segment
}

fn reach(lots: &mut Lots) -> Value {
    match lots.below(6) {
        0 => json!("everything"),
        1 => json!({"app": {"app": "shop"}}),
        2 => json!({"app": {"app": "other"}}),
        _ => json!({"flag": {"app": "shop", "flag": lots.pick(&FLAGS)}}),
    }
}

fn framed(revision: u64, body: &Value) -> String {
    json!({"v": 2, "log": "log-1", "revision": revision, "body": body}).to_string()
}

/// A snapshot, and some of what may follow it.
pub(crate) fn frames(lots: &mut Lots) -> Vec<String> {
    let flags: Vec<Value> = FLAGS.iter().map(|key| flag(lots, key, 9)).collect();
    let segments = ["beta", "shared:beta"].map(|name| segment(lots, name));
    let mut served = json!({
        "app": "shop", "environment": "production", "everything": kills(lots), "app_kills": kills(lots), "flags": flags,
        "segments": segments,
    });
    if lots.one_in(8) {
        served["ends_at"] = lots.moment().into();
    }
    if lots.one_in(8) {
        served["overlays"] = json!([{"kill_id": "kill-7", "reach": reach(lots), "at": NOW - 9}]);
    }
    let mut frames = vec![framed(10, &json!({"snapshot": served}))];
    let mut revision = 10;
    for _ in 0..lots.below(4) {
        if lots.one_in(5) {
            let overlay =
                json!({"kill_id": format!("kill-{}", lots.below(9)), "reach": reach(lots), "at": NOW - 8});
            frames.push(framed(revision, &json!({"overlay": overlay})));
            continue;
        }
        revision += 1;
        let op = operation(lots, revision);
        let mut change = json!({"follows": revision - 1, "ops": [op]});
        if lots.one_in(4) {
            change["kill_id"] = format!("kill-{}", lots.below(9)).into();
        }
        frames.push(framed(revision, &json!({"change": change})));
    }
    frames
}

fn operation(lots: &mut Lots, revision: u64) -> Value {
    let key = lots.pick(&FLAGS);
    let name = lots.pick(&["beta", "shared:beta"]);
    match lots.below(8) {
        0..3 => json!({"put_flag": flag(lots, key, revision)}),
        3 => {
            let mut fields = kills(lots);
            fields.insert("flag".into(), key.into());
            fields.insert("revision".into(), revision.into());
            json!({"flag_kills": fields})
        }
        4 => json!({"put_segment": segment(lots, name)}),
        5 => {
            json!({"segment_members": {"segment": name, "add": [lots.pick(&UNITS)], "remove": [lots.pick(&UNITS)]}})
        }
        6 => json!({"segment_condition": {"segment": name, "when": condition(lots, 1, false)}}),
        _ => {
            let mut fields = kills(lots);
            fields.insert("height".into(), lots.pick(&["everything", "app"]).into());
            json!({"kills": fields})
        }
    }
}
