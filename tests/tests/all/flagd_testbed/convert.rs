//! flagd's flags as Tidegate's: the targeting, an expression of JSON logic, becomes a list of rules.

use serde_json::{Map, Value, json};

/// Why a flag has no counterpart.
pub(crate) type NotApplicable = &'static str;

/// How the ids of rules begin whose expression led to nothing, which is the default.
pub(crate) const NOTHING: &str = "nothing";

/// What an expression leads to: if the condition holds, this is served. First match counts.
type Cases<T> = Vec<(Value, T)>;

/// Converts one flag: its definition and its state, in the JSON that Tidegate reads.
pub(crate) fn convert(key: &str, flag: &Value, shared: &Value) -> Result<(Value, Value), NotApplicable> {
    let Some(default) = flag["defaultVariant"].as_str() else {
        return Err("a Tidegate flag always has a variant to fall back to");
    };
    let variants = flag["variants"].as_object().expect("variants");
    let converter = Converter { key, default, variants, shared };
    let rules: Vec<Value> = match flag.get("targeting") {
        None => Vec::new(),
        Some(logic) => converter.serve(logic)?,
    }
    .into_iter()
    .enumerate()
    .map(|(at, (when, serve))| match serve {
        Value::Null => {
            json!({"id": format!("{NOTHING}{at}"), "when": when, "serve": {"variant": default}})
        }
        serve => json!({"id": format!("rule{at}"), "when": when, "serve": serve}),
    })
    .collect();
    let kind = match variants.values().next() {
        Some(Value::Bool(_)) => "boolean",
        Some(Value::String(_)) => "string",
        Some(Value::Number(_)) => "number",
        _ => "object",
    };
    let listed: Vec<Value> =
        variants.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let definition =
        json!({"key": key, "type": kind, "variants": listed, "off_variant": default, "created_at": 0});
    let targeting = json!({"on": flag["state"] == "ENABLED", "exposure": 100,
                           "serve": {"variant": default}, "rules": rules});
    Ok((definition, json!({"targeting": targeting, "expires_at": "2099-01-01T00:00:00Z"})))
}

struct Converter<'f> {
    key: &'f str,
    default: &'f str,
    variants: &'f Map<String, Value>,
    shared: &'f Value,
}

/// The only operator of an expression, with its arguments.
fn operator(logic: &Value) -> Option<(&str, &[Value])> {
    let (name, arguments) = logic.as_object()?.iter().next()?;
    Some((name, arguments.as_array().map_or(std::slice::from_ref(arguments), Vec::as_slice)))
}

fn always() -> Value {
    json!({"all": []})
}

fn guarded<T>(guard: &Value, cases: Cases<T>) -> Cases<T> {
    cases.into_iter().map(|(when, what)| (json!({"all": [guard, when]}), what)).collect()
}

impl Converter<'_> {
    fn variant(&self, name: &str) -> Value {
        // A name that is no variant falls back, as a missing one does.
        let name = if self.variants.contains_key(name) { name } else { self.default };
        json!({"variant": name})
    }

    /// What an expression in the place of a variant serves.
    fn serve(&self, logic: &Value) -> Result<Cases<Value>, NotApplicable> {
        match (logic, operator(logic)) {
            (Value::Null, _) => Ok(vec![(always(), Value::Null)]),
            (Value::String(name), _) => Ok(vec![(always(), self.variant(name))]),
            (_, Some(("if", [condition, then, rest @ ..]))) => self.branch(condition, then, rest),
            (_, Some(("fractional", shares))) => self.fractional(shares, |_, logic| self.name(logic)),
            (_, Some((name @ ("sem_ver" | "starts_with" | "ends_with"), arguments))) => {
                Ok(self.truth(name, arguments))
            }
            _ => Err("an expression that the runner cannot read"),
        }
    }

    fn branch(&self, condition: &Value, then: &Value, rest: &[Value]) -> Result<Cases<Value>, NotApplicable> {
        let other = rest.first().unwrap_or(&Value::Null);
        if let Some(("fractional", shares)) = operator(condition) {
            let (Some(then), Some(other)) = (then.as_str(), other.as_str()) else {
                return Err("a split between expressions");
            };
            let name = |is: &Value| if is == &Value::Bool(true) { then } else { other };
            return self.fractional(shares, |_, logic| Ok(vec![(always(), name(logic).to_owned())]));
        }
        let mut cases = guarded(&self.condition(condition)?, self.serve(then)?);
        cases.extend(self.serve(other)?);
        Ok(cases)
    }

    /// A split. Where a share's variant or weight is an expression there is a rule for each of its cases.
    fn fractional(
        &self,
        arguments: &[Value],
        name: impl Fn(&Self, &Value) -> Result<Cases<String>, NotApplicable>,
    ) -> Result<Cases<Value>, NotApplicable> {
        let (seed, unit, shares) = match arguments {
            [key, shares @ ..] if !key.is_array() => {
                let (seed, unit) = self.bucket_key(key)?;
                (seed, unit, shares)
            }
            shares => (self.key.to_owned(), "targetingKey".to_owned(), shares),
        };
        let mut splits: Cases<Vec<Value>> = vec![(always(), Vec::new())];
        for share in shares {
            let names = name(self, &share[0])?;
            let weights = share.get(1).map_or(Ok(vec![(always(), 1)]), |logic| self.weight(logic))?;
            let mut next = Vec::new();
            for (when, split) in &splits {
                for (name_when, name) in &names {
                    for (weight_when, weight) in &weights {
                        let mut split = split.clone();
                        split.push(json!({"variant": self.variant(name)["variant"], "weight": weight}));
                        next.push((json!({"all": [when, name_when, weight_when]}), split));
                    }
                }
            }
            splits = next;
        }
        let serve =
            |weights| json!({"split": {"id": "fractional", "weights": weights, "unit": unit, "seed": seed}});
        Ok(splits.into_iter().map(|(when, weights)| (when, serve(weights))).collect())
    }

    /// What is hashed: a text, then an attribute.
    fn bucket_key(&self, logic: &Value) -> Result<(String, String), NotApplicable> {
        match operator(logic) {
            Some(("var", [Value::String(name)])) => Ok((String::new(), name.clone())),
            Some(("cat", [first, second])) => {
                let Some(("var", [Value::String(unit)])) = operator(second) else {
                    return Err("a bucket key that does not end with an attribute");
                };
                match (first, operator(first)) {
                    (Value::String(seed), _) => Ok((seed.clone(), unit.clone())),
                    (_, Some(("var", [Value::String(name)]))) if name == "$flagd.flagKey" => {
                        Ok((self.key.to_owned(), unit.clone()))
                    }
                    _ => Err("a bucket key that begins with an attribute"),
                }
            }
            _ => Err("a bucket key that the runner cannot read"),
        }
    }

    /// The cases of an expression in the place of a variant's name.
    fn name(&self, logic: &Value) -> Result<Cases<String>, NotApplicable> {
        match (logic, operator(logic)) {
            (Value::String(name), _) => Ok(vec![(always(), name.clone())]),
            (_, Some(("if", [condition, then, other]))) => {
                let mut cases = guarded(&self.condition(condition)?, self.name(then)?);
                cases.extend(self.name(other)?);
                Ok(cases)
            }
            (_, Some(("var", [Value::String(attribute)]))) => {
                let is = |name: &String| json!({"attribute": attribute, "op": "in", "values": [name]});
                let mut cases: Cases<String> =
                    self.variants.keys().map(|name| (is(name), name.clone())).collect();
                cases.push((always(), self.default.to_owned()));
                Ok(cases)
            }
            _ => Err("a variant's name that the runner cannot read"),
        }
    }

    /// The cases of an expression in the place of a weight. Weights below zero count as zero.
    fn weight(&self, logic: &Value) -> Result<Cases<i64>, NotApplicable> {
        match (logic.as_i64(), operator(logic)) {
            (Some(weight), _) => Ok(vec![(always(), weight.max(0))]),
            (_, Some(("if", [condition, then, other]))) => {
                let mut cases = guarded(&self.condition(condition)?, self.weight(then)?);
                cases.extend(self.weight(other)?);
                Ok(cases)
            }
            _ => Err("a weight that the runner cannot read"),
        }
    }

    fn condition(&self, logic: &Value) -> Result<Value, NotApplicable> {
        match operator(logic) {
            Some(("$ref", [Value::String(name)])) => match self.shared.get(name) {
                Some(logic) => self.condition(logic),
                None => Err("Tidegate refuses a reference to nothing when it is written"),
            },
            Some(("==", [a, b])) => {
                let (attribute, value) = match (operator(a), operator(b)) {
                    (Some(("var", [name])), None) => (name, b),
                    (None, Some(("var", [name]))) => (name, a),
                    _ => return Err("a comparison of something else than an attribute and a value"),
                };
                Ok(json!({"attribute": attribute, "op": "in", "values": [value]}))
            }
            Some((name, arguments)) => self.test(name, arguments).ok_or("a test that Tidegate refuses"),
            None => Err("a condition that the runner cannot read"),
        }
    }

    /// A test by one of flagd's own operators; none if it is malformed.
    fn test(&self, name: &str, arguments: &[Value]) -> Option<Value> {
        let (attribute, rest) = arguments.split_first()?;
        let Some(("var", [Value::String(attribute)])) = operator(attribute) else { return None };
        let test = |op: &str, value: &str| json!({"attribute": attribute, "op": op, "values": [value]});
        match (name, rest) {
            ("starts_with" | "ends_with", [Value::String(value)]) => Some(test(name, value)),
            ("sem_ver", [Value::String(op), Value::String(version)]) => match op.as_str() {
                "=" => Some(test("semver_eq", version)),
                "!=" => Some(json!({"any": [test("semver_lt", version), test("semver_gt", version)]})),
                "<" => Some(test("semver_lt", version)),
                "<=" => Some(test("semver_lte", version)),
                ">" => Some(test("semver_gt", version)),
                ">=" => Some(test("semver_gte", version)),
                "^" => {
                    Some(json!({"all": [test("semver_gte", version), test("semver_lt", &after(version, 0))]}))
                }
                "~" => {
                    Some(json!({"all": [test("semver_gte", version), test("semver_lt", &after(version, 1))]}))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// A test in the place of a variant: serves the variant `true` or `false`; neither if the test makes
    /// no sense, or none for this attribute.
    fn truth(&self, name: &str, arguments: &[Value]) -> Cases<Value> {
        let Some(test) = self.test(name, arguments) else { return Vec::new() };
        let sensible = if name == "sem_ver" {
            let least = json!({"attribute": test["attribute"], "op": "semver_gte", "values": ["0.0.0-0"]});
            json!({"all": [least, {"not": test}]})
        } else {
            let text = json!({"attribute": test["attribute"], "op": "contains", "values": [""]});
            json!({"all": [text, {"not": test}]})
        };
        vec![(test, self.variant("true")), (sensible, self.variant("false"))]
    }
}

/// The first version that differs in the major (0) or minor (1) number.
fn after(version: &str, part: usize) -> String {
    let mut numbers: Vec<u64> =
        version.trim_start_matches('v').split('.').map(|number| number.parse().unwrap_or(0)).collect();
    numbers.resize(3, 0);
    numbers[part] += 1;
    numbers[part + 1..].fill(0);
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}
