//! The form by which evidence comes in over HTTP: whatever is sent, the server answers, and goes on answering.
//!
//! An input is what a client sends: a line with the `Content-Type`, a line that says by how much the `Content-Length` is wrong, and the body.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::Server;

use super::fixture;
use crate::mutate::{Chance, EDGES};
use crate::run::{Outcome, Target};

const APP: &str = "shop";
const BOUNDARY: &str = "a-boundary-that-no-evidence-holds";
/// No answer of the server is longer, in bytes.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(9);
/// Most by which a length is wrong.
const MAX_WRONG: i64 = 100_000;
/// A text that is longer than what is shown of it.
const LONG: usize = 30_000;
/// How often a part is repeated at most.
const REPEATS: [usize; 4] = [1, 3, 60, 3_000];

const TOKENS: &[&str] = &[
    "--a-boundary-that-no-evidence-holds\r\n",
    "--a-boundary-that-no-evidence-holds--\r\n",
    "\r\n\r\n",
    "\r\n",
    "--",
    "Content-Disposition: form-data; name=\"evidence\"\r\n\r\n",
    "Content-Disposition: form-data; name=\"request\"\r\n\r\n",
    "; filename=\"../../etc/passwd\"",
    "; filename*=UTF-8''%00%0a%e2%80%ae",
    "Content-Length: 3\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Encoding: gzip\r\n",
    "Content-Type: multipart/mixed; boundary=inner\r\n",
    "multipart/form-data; boundary=",
    "\u{1f}\u{8b}\u{8}",
    "{\"artifact\":\"sha256:0\"}",
    "\"add\":true",
    "\"add\":true,",
    "\"reason\":\"\\u0000\"",
    "null",
    "\u{0}",
];

fn artifact() -> String {
    format!("sha256:{:064x}", 1)
}

/// A part of a form.
fn part(name: &str, more: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n");
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

fn request(text: &str) -> Vec<u8> {
    part("request", "", text.as_bytes())
}

fn evidence(file: &str, bytes: &[u8]) -> Vec<u8> {
    part("evidence", &format!("; filename=\"{file}\""), bytes)
}

/// An input that sends parts as they should be sent.
fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    let head = format!("multipart/form-data; boundary={BOUNDARY}\n0\n");
    [head.into_bytes(), parts.concat(), format!("--{BOUNDARY}--\r\n").into_bytes()].concat()
}

/// Forms as pipelines send them. The evidence is short, so that much of what is changed is the form.
fn golden() -> Vec<Vec<u8>> {
    let plain = request(&format!("{{\"artifact\":\"{}\"}}", artifact()));
    let full = request(&format!(
        "{{\"artifact\":\"{}\",\"version\":\"1.2.0\",\"reason\":\"a fix\",\"agents\":[{{\"agent\":\"a\",\"model\":\"m\"}}]}}",
        artifact()
    ));
    let added = request(&format!("{{\"artifact\":\"{}\",\"add\":true}}", artifact()));
    let junit = evidence("junit.xml", &fixture("clean/evidence/junit.node.xml"));
    let secrets = evidence("secrets.json", &fixture("faulty/evidence/gitleaks.json"));
    let signature = evidence("a.sig", &fixture("clean/artifact/discount-1.0.0.tar.gz.sig"));
    let lcov = evidence("lcov.info", &fixture("clean/evidence/coverage.lcov"));
    let hostile = evidence("bomb.xml", &fixture("faulty/hostile/junit.billion-laughs.xml"));
    let nothing = evidence("", b"");
    let typed = part("evidence", "\r\nContent-Type: application/json", b"[]");
    let all = [&junit, &secrets, &signature, &lcov, &hostile, &nothing, &typed];
    let mut forms = vec![
        form(std::slice::from_ref(&plain)),
        form(std::slice::from_ref(&full)),
        form(&[junit.clone(), plain.clone()]),
        form(&[added.clone(), secrets.clone()]),
        // Refused, each in its own way.
        form(std::slice::from_ref(&added)),
        form(std::slice::from_ref(&junit)),
        form(&[plain.clone(), plain.clone()]),
        form(&[plain.clone(), part("other", "", b"x")]),
        form(&[plain.clone(), part(&"e".repeat(LONG), "", b"x")]),
        form(&[plain.clone(), evidence(&"n".repeat(LONG), b"[]")]),
        form(&[request(&format!("{{\"artifact\":\"{}\",\"reason\":\"{}\"}}", artifact(), "r".repeat(LONG)))]),
        form(&[vec![plain.clone()], vec![nothing.clone(); 3_000]].concat()),
    ];
    forms.extend(all.iter().map(|piece| form(&[plain.clone(), (*piece).clone()])));
    forms.push(form(&[vec![full], all.into_iter().cloned().collect()].concat()));
    forms
}

/// An input taken apart: the `Content-Type`, by how much the length is wrong, and the body.
fn sent(input: &[u8]) -> (String, i64, &[u8]) {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let media = String::from_utf8_lossy(lines.next().unwrap_or_default());
    // What no header can hold is never sent: the form is under test, not the parser of HTTP.
    let media: String = media.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(1_000).collect();
    let wrong = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok()).unwrap_or(0);
    (media, i64::clamp(wrong, -MAX_WRONG, MAX_WRONG), lines.next().unwrap_or_default())
}

/// Sends an input; gives the status, the head and the body of the answer. None: the connection ended without one.
fn answer(server: &Server, token: &str, input: &[u8]) -> Option<(u16, String, Vec<u8>)> {
    let (media, wrong, body) = sent(input);
    let length = i64::try_from(body.len()).expect("a short body").saturating_add(wrong).max(0);
    let head = format!(
        "POST /v1/apps/{APP}/environments/live/gate HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: {media}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(server.address()).expect("the server takes connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // A server that has heard enough closes: its answer is there all the same.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    // Whoever goes away before all has come waits for no answer.
    if wrong > 0 {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut all = Vec::new();
    let _ = stream.take(MAX_ANSWER).read_to_end(&mut all);
    assert!((all.len() as u64) < MAX_ANSWER, "an answer without end");
    let end = all.windows(4).position(|part| part == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut answer = all.split_off(end + 4);
    // To a body that never came whole, a refusal of the connection itself may follow.
    answer.truncate(length.unwrap_or(usize::MAX));
    Some((status, head, answer))
}

/// What became of an input: never a failure of the server, and an answer in the form of all answers.
fn outcome(server: &Server, token: &str, input: &[u8]) -> Outcome {
    let (_, wrong, body) = sent(input);
    let Some((status, head, answer)) = answer(server, token, input) else {
        // Whoever says that more comes and goes away, or sends more than was said, which is no request, need not be answered.
        assert!(wrong != 0, "no answer to a body of {} bytes", body.len());
        return Outcome::Refused("no answer".to_owned());
    };
    let text = String::from_utf8_lossy(&answer);
    assert!(status < 500, "{head}\n{text}");
    let is = |media: &str| head.contains(&format!("content-type: {media}\r\n")) || head.ends_with(media);
    let value: Value = serde_json::from_slice(&answer).unwrap_or_else(|_| panic!("no JSON: {head}\n{text}"));
    if status == 200 {
        assert!(is("application/json"), "{head}");
        let verdict = value["decision"]["verdict"].as_str().expect("a verdict");
        assert!(matches!(verdict, "pass" | "warn" | "deny"), "{verdict}");
        let evidence = value["decision"]["evidence"].as_array().expect("what it was made from");
        let named = |piece: &Value| format!("{} {}", piece["format"], piece["name"]);
        return Outcome::Taken(
            evidence.iter().map(named).chain([format!("{verdict} {}", evidence.len())]).collect(),
        );
    }
    assert!(is("application/problem+json"), "{head}");
    assert_eq!(value["status"], status, "{text}");
    let detail = value["detail"].as_str().expect("words for people");
    assert!(!detail.is_empty() && detail.len() < 2_000, "{detail}");
    Outcome::Refused(format!("{} {detail}", value["type"]))
}

/// Where parts begin.
fn places(input: &[u8]) -> Vec<usize> {
    let mark = format!("--{BOUNDARY}");
    let begins = |at: &usize| input[*at..].starts_with(mark.as_bytes());
    (0..input.len()).filter(begins).collect()
}

/// Changes a form by its parts, its lengths and its boundary.
fn rearrange(input: &mut Vec<u8>, other: &[u8], chance: &mut Chance) -> bool {
    let (known, given) = (places(input), places(other));
    let range = |places: &[usize], nth: usize| Some(*places.get(nth)?..*places.get(nth + 1)?);
    let Some(one) = range(&known, chance.below(known.len())) else { return false };
    match chance.below(8) {
        0 => drop(input.drain(one)),
        1 => {
            let again = input[one.clone()].repeat(REPEATS[chance.below(REPEATS.len())]);
            input.splice(one.start..one.start, again);
        }
        2 | 3 => {
            let Some(from) = range(&given, chance.below(given.len())) else { return false };
            input.splice(one.start..one.start, other[from].iter().copied());
        }
        4 => input.truncate(one.start + chance.below(one.len())),
        5 => {
            let start = input.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let length = input[start..].iter().take_while(|byte| **byte != b'\n').count();
            let wrong = if chance.below(2) == 0 { "-7" } else { chance.pick(&EDGES) };
            input.splice(start..start + length, wrong.bytes());
        }
        6 => {
            // Another name of what is sent, or of the file.
            let Some(quote) = input[one.clone()].iter().position(|byte| *byte == b'"') else { return false };
            let start = one.start + quote + 1;
            let length = input[start..one.end].iter().take_while(|byte| **byte != b'"').count();
            input
                .splice(start..start + length, chance.pick(&["request", "evidence", "", "Evidence"]).bytes());
        }
        _ => {
            // In the head alone, or in one part alone.
            let at = if chance.below(2) == 0 {
                one.start + 2
            } else {
                input.iter().position(|byte| *byte == b'=').unwrap_or(0)
            };
            input.insert(at, b'-');
        }
    }
    true
}

#[test]
fn whatever_is_sent_as_a_form_is_answered_and_the_server_goes_on() {
    let server = Server::start();
    let admin = server.admin();
    admin.create_app(APP, &[("live", "production")]);
    let token = admin.token().to_owned();
    let read = |input: &[u8]| outcome(&server, &token, input);
    let golden = golden();
    let honest = golden[0].clone();
    Target { name: "form", golden, tokens: TOKENS, restructure: &rearrange, inputs: 400, read: &read }.run();
    assert!(matches!(outcome(&server, &token, &honest), Outcome::Taken(_)), "it answers as before");
    let said = server.said();
    assert!(!said.contains("panicked"), "{said}");
}
