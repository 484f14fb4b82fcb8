//! Asking: good and bad builds, forms that are none, and who may ask at all.

use std::io::{BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rollout_rules::release::ArtifactDigest;
use serde_json::{Value, json};
use tidegate::gate::trust::receipt;
use tidegate::http::Settings;

use super::{BOUNDARY, LIVE, Part, TRIAL, artifact, body, denied_checks, fixture, open_shop, passing, send};
use super::{send_bytes, set, wanted};
use crate::served::{Served, next_reply, ungated};

#[test]
fn a_clean_build_passes_and_its_receipt_is_checked_with_the_key_alone() {
    let served = open_shop();
    let answer = passing(&served, 1);
    let id = answer["decision"]["id"].as_str().expect("an id");
    let key = served.get("/v1/gate/key").expect(200);
    let text = served.get(&format!("/v1/apps/shop/decisions/{id}/receipt"));
    assert_eq!(text.header("content-type"), "application/json");
    let read =
        receipt::verify(text.text.as_bytes(), key["pem"].as_str().expect("a key")).expect("it is signed");
    assert_eq!(json!(read.key), key["key_id"]);
    assert!(read.summary.passed);
    assert_eq!(read.summary.artifact, artifact(1).parse::<ArtifactDigest>().expect("a digest"));
    assert_eq!(json!(read.summary.policy_digest), answer["decision"]["policy"]);
    assert_eq!(read.summary.inputs.len(), answer["decision"]["evidence"].as_array().expect("evidence").len());
    let another = Served::start();
    let others = another.get("/v1/gate/key").expect(200)["pem"].as_str().expect("a key").to_owned();
    assert!(receipt::verify(text.text.as_bytes(), &others).is_err(), "it is of this server");
}

#[test]
fn a_faulty_build_is_denied_with_an_answer_that_names_what_to_mend() {
    let served = open_shop();
    let answer = send(&served, &served.admin, LIVE, &set("faulty", &wanted(1, &Value::Null))).expect(200);
    assert_eq!(answer["decision"]["verdict"], "deny");
    let denied = denied_checks(&answer);
    for check in ["secrets", "tests_pass", "infrastructure"] {
        assert!(denied.contains(&check.to_owned()), "{denied:?}");
    }
    assert_eq!(answer["lacks_only_evidence"], false);
    let checks = answer["judgement"]["checks"].as_array().expect("checks").iter();
    for check in checks.filter(|check| check["level"] == "deny") {
        for text in ["found", "why", "fix"] {
            assert!(!check[text].as_str().expect("text").is_empty(), "{check}");
        }
    }
    let nothing = send(&served, &served.admin, LIVE, &[Part::request(&wanted(2, &Value::Null))]).expect(200);
    assert_eq!(
        (&nothing["decision"]["verdict"], &nothing["lacks_only_evidence"]),
        (&json!("deny"), &json!(true))
    );
}

#[test]
fn a_form_that_is_none_is_refused_in_words_that_say_what_to_send() {
    let served = open_shop();
    let good = wanted(1, &Value::Null);
    let evidence = || Part::evidence("junit.xml", fixture("clean/evidence/junit.xml"));
    let ask = |parts: &[Part<'_>]| send(&served, &served.admin, LIVE, parts);
    let says = |reply: &Value, text: &str| {
        assert!(reply["detail"].as_str().expect("words").contains(text), "{reply}");
    };
    says(&ask(&[evidence()]).refused(400, "invalid_body"), "`request` is missing");
    let twice = [Part::request(&good), Part::request(&good)];
    says(&ask(&twice).refused(400, "invalid_body"), "`request` is there twice");
    let unknown = [Part::request(&good), Part { name: "proof", ..evidence() }];
    says(&ask(&unknown).refused(400, "invalid_body"), "no part `proof`");
    let many: Vec<Part<'_>> =
        std::iter::once(Part::request(&good)).chain((0..51).map(|_| evidence())).collect();
    let refused = ask(&many).refused(422, "too_many");
    assert_eq!(refused["limit"], 50);
    let large = Part::evidence("large.json", vec![b' '; 10 * 1024 * 1024 + 1]);
    let refused = ask(&[Part::request(&good), large]).refused(413, "too_large");
    says(&refused, "`large.json`");
    ask(&[Part::request("{\"artifact\":")]).refused(400, "invalid_json");
    let unknown = wanted(1, &json!({ "tag": "x" }));
    assert_eq!(ask(&[Part::request(&unknown)]).refused(400, "invalid_body")["field"], "tag");
    let capitals = json!({ "artifact": artifact(171).to_uppercase().replace("SHA", "sha") }).to_string();
    let refused = ask(&[Part::request(&capitals)]).refused(400, "invalid_body");
    assert_eq!(refused["field"], "artifact");
    says(&refused, "lower case");
    for (field, more) in [
        ("version", json!({ "version": "1\n2" })),
        ("agents", json!({ "agents": vec![json!({ "agent": "a", "model": "m", "files": [] }); 21] })),
    ] {
        let refused = ask(&[Part::request(&wanted(1, &more))]).refused(400, "invalid");
        assert_eq!(refused["field"], field);
    }
    let json = served.post(LIVE, &json!({ "artifact": artifact(1) })).refused(400, "invalid_body");
    says(&json, "multipart/form-data");
    let whole = body(&[Part::request(&good), evidence()]);
    let media = format!("multipart/form-data; boundary={BOUNDARY}");
    for cut in [whole.len() / 2, whole.len() - 8] {
        send_bytes(&served, &served.admin, LIVE, &media, &whole[..cut]).refused(400, "invalid_body");
    }
    let nowhere = LIVE.replace("live", "nowhere");
    send(&served, &served.admin, &nowhere, &[Part::request(&good)]).refused(404, "not_found");
    assert_eq!(served.get("/v1/apps/shop/decisions").expect(200)["items"], json!([]), "none is kept");
}

/// A request whose form stops after so much.
fn stalled(served: &Served, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let head = format!(
        "POST {LIVE} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; \
         boundary={BOUNDARY}\r\nContent-Length: 100000\r\n\r\n",
        served.admin
    );
    stream.write_all(&[head.as_bytes(), sent].concat()).expect("sent");
    stream
}

#[test]
fn who_sends_slowly_keeps_nobody_else_waiting() {
    let served = open_shop();
    let whole = body(&[Part::request(&wanted(1, &Value::Null)), Part::evidence("a.json", "{}")]);
    let _slow: Vec<TcpStream> = (0..7).map(|_| stalled(&served, &whole[..whole.len() - 20])).collect();
    send(&served, &served.admin, LIVE, &[Part::request(&wanted(2, &Value::Null))]).expect(200);
}

#[test]
fn a_form_that_never_ends_costs_no_more_than_its_time() {
    // The head has this long too, by a clock that ticks every half second.
    let brisk = Settings { workers: 1, request_timeout: Duration::from_millis(600), ..Settings::default() };
    let served = Served::with(brisk, ungated());
    served.shop();
    let whole = body(&[Part::request(&wanted(1, &Value::Null)), Part::evidence("a.json", "{}")]);
    let stream = stalled(&served, &whole[..whole.len() - 20]);
    let refused = next_reply(&mut BufReader::new(stream)).refused(408, "request_timeout");
    assert!(refused["detail"].as_str().expect("words").contains("did not arrive"), "{refused}");
    send(&served, &served.admin, LIVE, &[Part::request(&wanted(1, &Value::Null))]).expect(200);
}

#[test]
fn only_who_may_change_the_app_asks_and_agents_only_where_no_user_is() {
    let served = open_shop();
    let good = wanted(1, &Value::Null);
    let asks = |token: &str, path: &str| send(&served, token, path, &[Part::request(&good)]);
    asks("", LIVE).refused(401, "unauthenticated");
    for scope in ["viewer", "sdk-server", "sdk-browser"] {
        asks(&served.token(scope), LIVE).refused(403, "not_allowed");
    }
    served.post("/v1/apps", &json!({ "key": "other" })).expect(201);
    let made = served.post("/v1/tokens", &json!({ "scope": "ci", "app": "other" })).expect(201);
    asks(made["secret"].as_str().expect("a secret"), LIVE).refused(403, "not_allowed");
    let of_live = served.token("ci");
    asks(&of_live, TRIAL).refused(403, "not_allowed");
    let by = asks(&of_live, LIVE).expect(200)["by"].clone();
    assert_eq!(by["type"], "service", "{by}");
    let agent = |path: &str| {
        let bytes = body(&[Part::request(&good)]);
        let media = format!(
            "multipart/form-data; boundary={BOUNDARY}\r\nTidegate-Agent: model=m; tool=t; on-behalf-of=ada"
        );
        send_bytes(&served, &served.admin, path, &media, &bytes)
    };
    let refused = agent(LIVE).refused(403, "not_allowed");
    assert!(refused["detail"].as_str().expect("words").contains("previews and sandboxes"), "{refused}");
    assert_eq!(agent(TRIAL).expect(200)["by"]["type"], "agent");
}
