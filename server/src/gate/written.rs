//! A policy as somebody wrote it: all that is not as it has to be, at once, by its place and in plain words.

use rollout_rules::gate::policy::{BadPolicy, Policy};
use serde_json::{Map, Value};

/// Most problems that are told at once; the next ones show when these are mended.
const MAX_PROBLEMS: usize = 50;
/// Longest name or text that is quoted, in characters.
const MAX_QUOTED_CHARS: usize = 60;
/// How alike two names have to be, so that one is taken for the other mistyped: 1 is the same.
const ALIKE: f64 = 0.6;

/// Reads a policy; else everything that is wrong with it. What Rego and keys say is looked at by whoever compiles them.
pub fn read(written: &Value) -> Result<Policy, Vec<BadPolicy>> {
    if !written.is_object() {
        // A list of nothing would do for the program.
        let problem = format!("it has to be an object {{…}}, and is {}", is(written));
        return Err(vec![BadPolicy { field: "policy".to_owned(), problem }]);
    }
    let error = match serde_path_to_error::deserialize::<_, Policy>(written) {
        Ok(policy) => {
            let wrong = policy.check();
            return if wrong.is_empty() { Ok(policy) } else { Err(wrong) };
        }
        Err(error) => error,
    };
    let schema = schemars::schema_for!(Policy).to_value();
    let mut walk = Walk { root: &schema, wrong: Vec::new() };
    walk.look("", &schema, written);
    if walk.wrong.is_empty() {
        let place = error.path().to_string();
        walk.say(if place == "." { "policy" } else { &place }, error.inner().to_string());
    }
    Err(walk.wrong)
}

/// Goes through what was written along the schema of what has to be.
struct Walk<'s> {
    root: &'s Value,
    wrong: Vec<BadPolicy>,
}

impl<'s> Walk<'s> {
    fn say(&mut self, field: &str, problem: String) {
        if self.wrong.len() < MAX_PROBLEMS {
            let field = if field.is_empty() { "policy" } else { field };
            self.wrong.push(BadPolicy { field: field.to_owned(), problem });
        }
    }

    /// The schema itself, where it only names another one.
    fn resolved(&self, schema: &'s Value) -> &'s Value {
        let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
        named.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    fn look(&mut self, field: &str, schema: &'s Value, value: &Value) {
        let schema = self.resolved(schema);
        if let Some(forms) = forms(schema) {
            return self.look_at_forms(field, schema, forms, value);
        }
        if !words(schema).is_empty() || !has_type(schema, value) {
            let is_one = value.as_str().is_some_and(|text| words(schema).contains(&text));
            if !is_one {
                self.say(field, format!("it has to be {}, and is {}", self.expected(schema), is(value)));
            }
            return;
        }
        match value {
            Value::Object(members) => self.look_at_members(field, schema, members),
            Value::Array(items) => {
                for (nth, item) in items.iter().enumerate() {
                    self.look(&format!("{field}[{nth}]"), &schema["items"], item);
                }
            }
            Value::Number(number) => {
                let beyond = |bound: &str, is_out: fn(f64, f64) -> bool| {
                    let bound = schema[bound].as_f64();
                    bound.zip(number.as_f64()).is_some_and(|(bound, number)| is_out(number, bound))
                };
                if beyond("minimum", |number, least| number < least)
                    || beyond("maximum", |number, most| number > most)
                {
                    self.say(field, format!("it has to be {}, and is {}", self.expected(schema), is(value)));
                }
            }
            _ => {}
        }
    }

    /// A value that may have one of several forms: one of several words, nothing, or an object with a certain member.
    fn look_at_forms(&mut self, field: &str, schema: &'s Value, forms: &'s [Value], value: &Value) {
        let forms: Vec<&Value> = forms.iter().map(|form| self.resolved(form)).collect();
        let of_type = |form: &&&Value| {
            words(form).is_empty() && has_type(form, value) || words(form).iter().any(|word| value == word)
        };
        let fits: Vec<&Value> = forms.iter().filter(of_type).copied().collect();
        let has_its_member = |form: &&&Value| {
            let asked = form["required"].as_array().map(Vec::as_slice).unwrap_or_default();
            asked.iter().filter_map(Value::as_str).any(|name| value.get(name).is_some())
        };
        match fits[..] {
            [] => self.say(field, format!("it has to be {}, and is {}", self.expected(schema), is(value))),
            [only] if !words(only).is_empty() => {}
            [only] => self.look(field, only, value),
            _ => match fits.iter().find(has_its_member) {
                Some(form) => self.look(field, form, value),
                None => self.say(field, format!("it has to be {}", self.expected(schema))),
            },
        }
    }

    fn look_at_members(&mut self, field: &str, schema: &'s Value, members: &Map<String, Value>) {
        let known = schema["properties"].as_object();
        let at = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
        let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in missing.filter(|name| !members.contains_key(*name)) {
            let expected = known.and_then(|known| known.get(name)).map(|schema| self.expected(schema));
            let expected = expected.unwrap_or_else(|| "something".to_owned());
            self.say(&at(name), format!("it is missing: write {expected}"));
        }
        for (name, value) in members {
            match known.and_then(|known| known.get(name)) {
                Some(schema) => self.look(&at(name), schema, value),
                None if schema["additionalProperties"] == false => {
                    let nearest = known.and_then(|known| nearest(name, known.keys()));
                    let told = nearest.map_or_else(
                        || {
                            let names: Vec<&str> =
                                known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                            format!("leave it out; there are {}", names.join(", "))
                        },
                        |nearest| format!("did you mean `{nearest}`?"),
                    );
                    self.say(&at(&short(name)), format!("there is nothing of this name: {told}"));
                }
                None => {}
            }
        }
    }

    /// What a schema asks for, in words.
    fn expected(&self, schema: &'s Value) -> String {
        let schema = self.resolved(schema);
        let listed = words(schema);
        if !listed.is_empty() {
            return any_of(&listed.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>());
        }
        if let Some(forms) = forms(schema) {
            return any_of(&forms.iter().map(|form| self.expected(form)).collect::<Vec<_>>());
        }
        let types = types(schema);
        let said = types.iter().map(|one| match *one {
            "integer" | "number" => number(schema),
            "string" => "a text".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => format!("a list, each {}", self.expected(&schema["items"])),
            "null" => "null".to_owned(),
            _ => match schema["required"].as_array().map(Vec::as_slice) {
                Some([only]) => format!("an object {{{only}: …}}"),
                _ => "an object {…}".to_owned(),
            },
        });
        let said: Vec<String> = said.collect();
        if said.is_empty() { "something else".to_owned() } else { any_of(&said) }
    }
}

fn forms(schema: &Value) -> Option<&[Value]> {
    let forms = schema.get("oneOf").or_else(|| schema.get("anyOf"))?;
    // Words that are each described alone are no forms but a list.
    forms.as_array().map(Vec::as_slice).filter(|_| words(schema).is_empty())
}

/// The words of which a schema asks for one; empty: it asks for none.
fn words(schema: &Value) -> Vec<&str> {
    if let Some(all) = schema["enum"].as_array() {
        return all.iter().filter_map(Value::as_str).collect();
    }
    if let Some(only) = schema["const"].as_str() {
        return vec![only];
    }
    let forms = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    let each: Option<Vec<Vec<&str>>> =
        forms.iter().map(|form| Some(words(form)).filter(|words| !words.is_empty())).collect();
    each.unwrap_or_default().into_iter().flatten().collect()
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a value is of a type that a schema names; one that names none takes all.
fn has_type(schema: &Value, value: &Value) -> bool {
    let types = types(schema);
    types.is_empty()
        || types.iter().any(|name| match *name {
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "null" => value.is_null(),
            _ => value.is_object(),
        })
}

fn number(schema: &Value) -> String {
    let bound = |name: &str| schema[name].as_f64();
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
        (Some(least), None) => format!("a whole number from {least} on"),
        _ => "a whole number".to_owned(),
    }
}

/// `a, b or c`.
fn any_of(said: &[String]) -> String {
    match said {
        [] => "something else".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// What somebody wrote, in words.
fn is(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the text `{}`", short(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A text cut to what is quoted, on one line.
fn short(text: &str) -> String {
    let cut: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_QUOTED_CHARS).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

/// The name that was most likely meant.
fn nearest<'n>(typed: &str, names: impl Iterator<Item = &'n String>) -> Option<&'n str> {
    let alike = names.map(|name| (strsim::normalized_damerau_levenshtein(typed, name), name.as_str()));
    let best = alike.filter(|(alike, _)| *alike >= ALIKE).max_by(|one, other| one.0.total_cmp(&other.0));
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut written = json!(Policy::default());
        change(&mut written);
        let problems = read(&written).expect_err("wrong");
        problems.into_iter().map(|one| format!("{}: {}", one.field, one.problem)).collect()
    }

    #[test]
    fn every_member_of_another_type_is_told_by_its_place_in_plain_words() {
        let told = wrong(|it| {
            it["tiers"]["tier0"]["tests_pass"] = "maybe".into();
            it["tiers"]["tier1"]["coverage"]["deny_below_percent"] = "forty".into();
            it["tiers"]["tier1"]["secrets"]["scanners"] = json!(300);
            it["tiers"]["tier2"]["infrastructure"]["cap_by_app"] = "yes".into();
            it["tiers"]["tier2"]["approvers"] = json!(["security", "boss"]);
            it["checklist"] = "look at it".into();
        });
        assert_eq!(
            told,
            [
                "checklist: it has to be a list, each a text, and is the text `look at it`",
                "tiers.tier0.tests_pass: it has to be `off`, `note`, `warn` or `deny`, and is the text `maybe`",
                "tiers.tier1.coverage.deny_below_percent: it has to be a whole number from 0 to 255 or null, and is the text `forty`",
                "tiers.tier1.secrets.scanners: it has to be a whole number from 0 to 255, and is 300",
                "tiers.tier2.approvers[1]: it has to be `platform`, `security` or `business_owner`, and is the text `boss`",
                "tiers.tier2.infrastructure.cap_by_app: it has to be true or false, and is the text `yes`",
            ]
        );
    }

    #[test]
    fn what_is_missing_and_what_is_not_known_is_told_with_what_was_meant() {
        let told = wrong(|it| {
            let tier = it["tiers"]["tier1"].as_object_mut().expect("an object");
            let level = tier.remove("signature").expect("it was there");
            tier.insert("signatures".to_owned(), level);
            it["tiers"]["tier1"]["code"] = Value::Null;
            it["frobnicate"] = json!(1);
        });
        assert_eq!(
            told,
            [
                "frobnicate: there is nothing of this name: leave it out; there are checklist, modules, tiers, trust",
                "tiers.tier1.signature: it is missing: write `off`, `note`, `warn` or `deny`",
                "tiers.tier1.code: it has to be `off`, `note`, `warn` or `deny`, and is null",
                "tiers.tier1.signatures: there is nothing of this name: did you mean `signature`?",
            ]
        );
    }

    #[test]
    fn parts_that_have_several_forms_are_told_by_their_forms() {
        let issuer = json!({
            "name": "ci", "shape": "jenkins", "issuer": "https://ci.example.org", "audience": "gate", "jwks": {"web": "x"},
        });
        let told = wrong(|it| {
            it["trust"] = json!({ "issuers": [issuer], "keys": [{ "name": "k", "pem": 1, "signs": [] }] })
        });
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told.iter().any(|one| one.starts_with("trust.issuers[0].jwks: ")), "{told:#?}");
        assert!(
            told.iter().any(|one| one
                == "trust.issuers[0].shape: it has to be `github` or `gitlab`, and is the text `jenkins`"),
            "{told:#?}"
        );
        assert!(
            told.iter().any(|one| one == "trust.keys[0].pem: it has to be a text, and is 1"),
            "{told:#?}"
        );
    }

    #[test]
    fn what_is_no_policy_at_all_and_what_is_one_but_unfit_is_told_too() {
        assert_eq!(
            read(&json!([])).expect_err("a list")[0].problem,
            "it has to be an object {…}, and is a list"
        );
        let told = wrong(|it| it["tiers"]["tier1"]["coverage"]["deny_below_percent"] = json!(101));
        assert!(
            told.iter().any(|one| one == "tiers.tier1.coverage: a percentage is from 0 to 100"),
            "{told:?}"
        );
        assert_eq!(read(&json!(Policy::default())), Ok(Policy::default()));
        let long = wrong(|it| it["checklist"] = json!(vec![1; 200]));
        assert_eq!(long.len(), MAX_PROBLEMS, "not all of many");
    }
}
