//! What the gate judges by: policy, roles, waivers.

use serde_json::{Value, json};

use super::{
    LIVE, deployed, entry, fixture, gated, log, open_shop, passing, person, send, set, set_policy, wanted,
};
use crate::served::Served;

const POLICY: &str = "/v1/gate/policy";
const ROLES: &str = "/v1/gate/roles";
const WAIVERS: &str = "/v1/apps/shop/waivers";
const REASON: &str = "The parser never sees what users send";

#[test]
fn a_policy_is_set_with_what_was_seen_and_one_that_is_broken_is_refused_in_all_its_faults() {
    let served = open_shop();
    let first = served.get(POLICY);
    assert_eq!((&first.expect(200)["revision"], first.header("etag")), (&json!(0), "\"0\""));
    let changed = set_policy(&served, |policy| policy["checklist"] = json!(["Somebody looked"]));
    let changed_policy = changed.expect(200);
    assert_ne!(changed_policy["digest"], first.json()["digest"]);
    assert_eq!(changed.header("etag"), format!("\"{}\"", changed_policy["revision"]));
    let stale = json!({ "policy": first.json()["policy"], "reason": "back" });
    let seen = [("If-Match", first.header("etag"))];
    served.call(&served.admin, "PUT", POLICY, &seen, &stale).refused(412, "stale");
    let wordless = json!({ "policy": first.json()["policy"] });
    served.call(&served.admin, "PUT", POLICY, &[], &wordless).refused(400, "reason_required");
    let refused = set_policy(&served, |policy| {
        policy["trust"]["keys"] =
            json!([{ "name": "ci", "pem": "-----BEGIN PUBLIC KEY-----", "signs": ["artifact"] }]);
        policy["modules"] = json!([{ "name": "regions.rego", "text": "package tidegate\ndeny contains {" }]);
        policy["tiers"]["tier1"]["coverage"]["deny_below_percent"] = json!(101);
    });
    let refused = refused.refused(400, "invalid");
    let fields: Vec<&str> = refused["problems"]
        .as_array()
        .expect("problems")
        .iter()
        .map(|one| one["field"].as_str().expect("a field"))
        .collect();
    for field in ["tiers.tier1.coverage", "trust", "modules"] {
        assert!(fields.contains(&field), "{fields:?}");
    }
    let mistyped = set_policy(&served, |policy| {
        policy["tiers"]["tier0"]["code"] = json!("maybe");
        policy["tiers"]["tier2"]["sbom"]["missing"] = json!(1);
    });
    let mistyped = mistyped.refused(400, "invalid");
    assert_eq!(mistyped["field"], "tiers.tier0.code");
    assert_eq!(mistyped["problems"].as_array().map(Vec::len), Some(2), "{mistyped}");
    let tried = served.post("/v1/gate/policy/test", &json!({ "policy": { "tiers": 1 } }));
    let tried = tried.refused(400, "invalid");
    assert_eq!(tried["problems"][0]["problem"], "it has to be an object {…}, and is 1");
    assert_eq!(served.get(POLICY).json()["digest"], changed_policy["digest"], "it stays");
    let editor = served.token("editor");
    served.call(&editor, "PUT", POLICY, &[], &stale).refused(403, "not_allowed");
    served.call(&served.token("sdk-server"), "GET", POLICY, &[], &Value::Null).refused(403, "not_allowed");
}

#[test]
fn trying_a_policy_names_the_checks_that_deny_and_the_flags_that_would_fall() {
    let served = gated();
    let answer = passing(&served, 1);
    deployed(&served, 1);
    served.flag_on("f");
    let policy = served.get(POLICY).expect(200)["policy"].clone();
    let tried =
        |policy: &Value| served.post("/v1/gate/policy/test", &json!({ "policy": policy })).expect(200);
    let same = tried(&policy);
    assert_eq!(same["digest"], served.get(POLICY).json()["digest"]);
    assert_eq!((&same["builds"][0]["flags"], &same["builds"][0]["checks"]), (&json!([]), &json!([])));
    let mut stricter = policy.clone();
    stricter["tiers"]["tier0"]["signature"] = json!("deny");
    let build = tried(&stricter)["builds"][0].clone();
    assert_eq!(build["before"], answer["decision"]["verdict"]);
    assert_eq!((&build["after"], &build["checks"]), (&json!("deny"), &json!(["signature"])));
    assert_eq!((&build["flags"], &build["decision"]), (&json!(["f"]), &answer["decision"]["id"]));
    stricter["checklist"] = json!([""]);
    let broken = tried(&stricter);
    assert_eq!((&broken["problems"][0]["field"], &broken["builds"]), (&json!("checklist"), &json!([])));
    let state = served.get("/v1/apps/shop/flags/f/environments/live").expect(200);
    assert_eq!(state["hold"], Value::Null, "nothing was done");
}

#[test]
fn another_policy_judges_what_runs_again_by_itself() {
    let served = gated();
    let before = passing(&served, 1);
    deployed(&served, 1);
    served.flag_on("f");
    let mut log = log(&served);
    set_policy(&served, |policy| policy["tiers"]["tier0"]["signature"] = json!("deny")).expect(200);
    let decided = entry(&mut log, "gate_decided");
    assert_eq!((&decided["occasion"], &decided["verdict"]), (&json!("policy_changed"), &json!("deny")));
    assert_eq!(decided["evidence"], before["decision"]["evidence"]);
    let held = entry(&mut log, "guardrail_acted");
    assert_eq!(held["act"]["environment"], "live", "{held}");
    let standing = served.get(LIVE).expect(200);
    assert!(standing["missing"][0].as_str().expect("words").contains("signature"), "{standing}");
}

#[test]
fn roles_are_given_by_admins_for_an_app_or_a_tier_and_taken_back() {
    let served = open_shop();
    let grant = json!({ "role": "platform", "person": "bo", "app": "shop", "reason": "on call" });
    let shown = json!({ "role": "platform", "person": "bo", "app": "shop" });
    served.call(&person(&served, "cy", "operator"), "POST", ROLES, &[], &grant).refused(403, "not_allowed");
    assert_eq!(served.post(ROLES, &grant).expect(200)["items"], json!([shown]));
    assert_eq!(served.post(ROLES, &grant).expect(200)["items"], json!([shown]), "once");
    for wrong in [
        json!({ "role": "platform", "person": "bo" }),
        json!({ "role": "security", "person": " ", "tier": 2 }),
    ] {
        served.post(ROLES, &wrong).refused(400, "invalid");
    }
    served.post("/v1/apps", &json!({ "key": "other" })).expect(201);
    let made = served.post("/v1/tokens", &json!({ "scope": "ci", "app": "other" })).expect(201);
    let elsewhere = made["secret"].as_str().expect("a secret");
    assert_eq!(served.call(elsewhere, "GET", ROLES, &[], &Value::Null).expect(200)["items"], json!([]));
    assert_eq!(served.post(&format!("{ROLES}/revoke"), &grant).expect(200)["items"], json!([]));
    served.post(&format!("{ROLES}/revoke"), &grant).refused(404, "not_found");
}

fn asked(served: &Served, token: &str, more: &Value) -> crate::served::Reply {
    let mut body = json!({
        "check": "code", "fingerprint": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
        "risk": "python.eval", "reason": REASON, "expires_at": "2027-01-20T18:00:00.000Z",
    });
    more.as_object().into_iter().flatten().for_each(|(name, value)| body[name] = value.clone());
    served.call(token, "POST", WAIVERS, &[], &body)
}

#[test]
fn a_waiver_is_asked_for_approved_by_another_in_the_role_and_ended() {
    let served = open_shop();
    let ada = served.admin.clone();
    for (more, code) in [
        (json!({ "expires_at": null }), "invalid"),
        (json!({ "reason": "short" }), "invalid"),
        (json!({ "fingerprint": null }), "invalid"),
        (json!({ "check": "secrets" }), "invalid"),
        (json!({ "risk": "CVE-*" }), "invalid"),
        (json!({ "severity": "low" }), "invalid_body"),
    ] {
        asked(&served, &ada, &more).refused(400, code);
    }
    asked(&served, &ada, &json!({ "expires_at": "2027-06-01T00:00:00Z" })).refused(422, "expiry_beyond_cap");
    let made = asked(&served, &ada, &Value::Null);
    assert_eq!(made.expect(201)["state"], "requested");
    let path = made.header("location").to_owned();
    assert_eq!(served.get(&path).expect(200), made.json());
    let approve = |token: &str| {
        served.call(token, "POST", &format!("{path}/approve"), &[], &json!({ "role": "platform" }))
    };
    approve(&ada).refused(403, "own_approval");
    approve(&served.token("viewer")).refused(403, "not_allowed");
    let bo = person(&served, "bo", "operator");
    assert_eq!(approve(&bo).refused(403, "role_needed")["role"], "platform");
    served.post(ROLES, &json!({ "role": "platform", "person": "bo", "tier": 0 })).expect(200);
    let approved = approve(&bo).expect(200);
    assert_eq!(
        (&approved["state"], &approved["waiver"]["approval"]["role"]),
        (&json!("active"), &json!("platform"))
    );
    let states = |state: &str| {
        let page = served.get(&format!("{WAIVERS}?state={state}")).expect(200);
        page["items"].as_array().expect("items").len()
    };
    assert_eq!((states("active"), states("requested")), (1, 0));
    served.get(&format!("{WAIVERS}?state=gone")).refused(400, "invalid_parameter");
    let ended = served.post(&format!("{path}/revoke"), &json!({ "reason": "mended" })).expect(200);
    assert_eq!((&ended["state"], states("revoked")), (&json!("revoked"), 1));
    assert_eq!(approve(&bo).refused(409, "waiver_over")["state"], "revoked");
    served.get(&format!("{WAIVERS}/no-such")).refused(404, "not_found");
}

#[test]
fn who_breaks_the_glass_has_an_hour_and_then_the_build_is_denied_again() {
    let served = gated();
    set_policy(&served, |policy| policy["tiers"]["tier0"]["vulnerabilities"]["critical"] = json!("deny"))
        .expect(200);
    let mut parts = set("clean", &wanted(1, &Value::Null));
    parts.retain(|part| part.file != Some("grype.json"));
    parts.push(super::Part::evidence("grype.json", fixture("faulty/evidence/grype.json")));
    let answer = send(&served, &served.admin, LIVE, &parts).expect(200);
    assert_eq!(super::denied_checks(&answer), ["vulnerabilities"], "{}", super::denied(&answer));
    deployed(&served, 1);
    let mut log = log(&served);
    let glass =
        json!({ "check": "vulnerabilities", "fingerprint": null, "break_glass": true, "expires_at": null });
    let pipeline = served.token("ci");
    asked(&served, &pipeline, &glass).refused(403, "not_allowed");
    let broken = asked(&served, &served.admin, &glass).expect(201);
    assert_eq!(
        (&broken["state"], &broken["waiver"]["expires_at"]),
        (&json!("active"), &json!("2027-01-15T09:00:00.000Z"))
    );
    let why = broken["notice"]["problem"].as_str().expect("nobody is told");
    assert!(why.contains("tidegate app update --owner"), "{why}");
    let passes = entry(&mut log, "gate_decided");
    assert_eq!(
        (&passes["occasion"], &passes["waivers"][0]),
        (&json!("waiver_changed"), &broken["waiver"]["id"])
    );
    assert_ne!(passes["verdict"], "deny");
    served.flag_on("f");
    served.clock.advance(rollout_rules::time::HOUR);
    let lapsed = entry(&mut log, "gate_decided");
    assert_eq!((&lapsed["occasion"], &lapsed["verdict"]), (&json!("waiver_changed"), &json!("deny")));
    entry(&mut log, "guardrail_acted");
    let effects = served.get("/v1/apps/shop/effects").expect(200);
    assert!(
        effects["items"].as_array().is_some_and(|all| all.len() >= 2),
        "the owner is told twice: {effects}"
    );
}

#[test]
fn trying_a_tier_or_a_source_of_an_app_says_what_it_would_take_down() {
    let served = gated();
    passing(&served, 1);
    deployed(&served, 1);
    served.flag_on("f");
    const TRY: &str = "/v1/gate/policy/test";
    let tried = |body: &Value| served.post(TRY, body).expect(200)["builds"][0].clone();
    let as_it_is = tried(&json!({ "app": "shop", "tier": 0 }));
    assert_eq!((&as_it_is["flags"], &as_it_is["checks"]), (&json!([]), &json!([])));
    let organisation = tried(&json!({ "app": "shop", "tier": 2 }));
    let checks = organisation["checks"].as_array().expect("checks");
    assert!(checks.contains(&json!("signature")), "{organisation}");
    assert_eq!((&organisation["after"], &organisation["flags"]), (&json!("deny"), &json!(["f"])));
    // A source that a team's builds are not of, by a policy that asks for it in tier 0 too.
    let mut policy = served.get(POLICY).expect(200)["policy"].clone();
    policy["tiers"]["tier0"]["provenance"] = json!("deny");
    let source = json!({ "repository": "https://git.example.org/team/shop" });
    let moved = tried(&json!({ "policy": policy, "app": "shop", "source": source }));
    assert_eq!((&moved["checks"], &moved["flags"]), (&json!(["provenance"]), &json!(["f"])));
    let shop = served.get("/v1/apps/shop").expect(200);
    assert_eq!(
        (&shop["tier"], &served.get("/v1/apps/shop/source").expect(200)["source"]),
        (&json!(0), &Value::Null)
    );
    for (body, field) in [(json!({}), "policy"), (json!({ "tier": 2 }), "app")] {
        assert_eq!(served.post(TRY, &body).refused(400, "invalid")["field"], field);
    }
    served.post(TRY, &json!({ "app": "none", "tier": 2 })).refused(404, "not_found");
    let body = json!({ "app": "shop", "tier": 2 });
    let pipeline = served.call(&served.token("ci"), "POST", TRY, &[], &body).expect(200);
    assert_eq!(pipeline["builds"].as_array().map(Vec::len), Some(1), "whoever reads the app");
    let all = json!({ "policy": policy });
    served.call(&served.token("ci"), "POST", TRY, &[], &all).refused(403, "not_allowed");
}

#[test]
fn a_waiver_for_what_the_last_decision_lists_is_refused_where_it_could_never_count() {
    let served = gated();
    let answer = send(&served, &served.admin, LIVE, &set("faulty", &wanted(1, &Value::Null))).expect(200);
    let checks = answer["judgement"]["checks"].as_array().expect("checks");
    let listed = |name: &str, is: &dyn Fn(&Value) -> bool| {
        let findings = checks.iter().filter(|check| check["name"] == name);
        let mut findings = findings.flat_map(|check| check["findings"].as_array().expect("findings"));
        findings.find(|judged| is(judged)).expect("the faulty set has one")["finding"].clone()
    };
    let of = |check: &str, finding: &Value| {
        let more = json!({ "check": check, "fingerprint": finding["fingerprint"], "risk": finding["rule"] });
        asked(&served, &served.admin, &more)
    };
    let mended = listed("vulnerabilities", &|judged| judged["finding"]["fix"].is_string());
    let refused = of("vulnerabilities", &mended).refused(400, "invalid");
    let words = refused["detail"].as_str().expect("words");
    assert!(words.contains(mended["fix"].as_str().expect("a fix")), "{refused}");
    let rights = listed("infrastructure", &|judged| judged["hard_stop"] == true);
    let refused = of("infrastructure", &rights).refused(400, "invalid");
    assert!(refused["detail"].as_str().expect("words").contains("never waived"), "{refused}");
    let waivable =
        listed("infrastructure", &|judged| judged["hard_stop"] != true && judged["level"] == "deny");
    let misnamed =
        json!({ "check": "infrastructure", "fingerprint": waivable["fingerprint"], "risk": "OTHER" });
    assert_eq!(asked(&served, &served.admin, &misnamed).refused(400, "invalid")["field"], "risk");
    of("infrastructure", &waivable).expect(201);
}

#[test]
fn a_scheduled_step_waits_for_the_gate_and_is_made_as_soon_as_it_passes() {
    let served = gated();
    passing(&served, 1);
    deployed(&served, 1);
    let path = "/v1/apps/shop/flags/f/environments/live";
    let made = served.post("/v1/apps/shop/flags", &json!({ "key": "f" }));
    let at = served.clock.clock().now().plus(rollout_rules::time::HOUR);
    let steps = json!({ "schedule": [{ "id": "go", "at": at, "on": true }] });
    served.patch(path, made.header("etag"), &steps).expect(200);
    // What runs by then was never judged.
    deployed(&served, 2);
    let mut log = log(&served);
    served.clock.advance(rollout_rules::time::HOUR);
    let told = entry(&mut log, "guardrail_acted");
    assert_eq!((&told["act"]["cause"], &told["act"]["flag"]), (&json!("step_waits"), &json!("f")), "{told}");
    assert_eq!(served.get(path).expect(200)["on"], false);
    passing(&served, 2);
    // No minute has to go by.
    let changed = entry(&mut log, "targeting_changed");
    assert_eq!((&changed["schedule"], &changed["targeting"]["on"]), (&json!("go"), &json!(true)));
    let effects = served.get("/v1/apps/shop/effects").expect(200);
    assert_eq!(effects["items"].as_array().map(Vec::len), Some(1), "the owner was told once: {effects}");
}
