use std::fs;

use clap::Parser as _;
use rollout_rules::ids::{DecisionId, Digest};
use tempfile::TempDir;

use super::*;
use crate::cli::{Cli, Command};
use crate::gate::trust::receipt::Summary;
use crate::gate::trust::receipt_key::ReceiptKey;

const JUDGED: UnixMs = UnixMs(1_800_000_000_000);
const UNTIL: UnixMs = UnixMs(1_800_000_600_000);

fn summary(passed: bool, besides: Besides) -> Summary {
    Summary {
        verifier: "https://gate.example.org/\u{1b}[2J".to_owned(),
        time_verified: JUDGED,
        resource_uri: "tidegate:discount/production".to_owned(),
        policy_uri: "tidegate:policy".to_owned(),
        policy_digest: Digest::of(b"policy"),
        inputs: vec![Digest::of(b"junit")],
        passed,
        levels: Vec::new(),
        subject_name: "1.4.2".to_owned(),
        artifact: format!("sha256:{}", Digest::of(b"the app")).parse().expect("a digest"),
        besides,
    }
}

fn stands() -> Besides {
    Besides { valid_until: Some(UNTIL), decision: DecisionId::new("d1").ok(), ..Besides::default() }
}

/// A folder with an artifact, its receipt, and the key.
fn receipt(passed: bool, besides: Besides) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.tar.gz"), "the app").expect("written");
    fs::write(folder.path().join("other.tar.gz"), "another one").expect("written");
    let key = ReceiptKey::load_or_create(&folder.path().join("signing.pem")).expect("a key");
    let signed = key.sign(&summary(passed, besides)).expect("signed");
    fs::write(folder.path().join("receipt.json"), signed).expect("written");
    fs::write(folder.path().join("key.pem"), key.public_pem()).expect("written");
    folder
}

/// As it is typed, in that folder, at that moment.
fn typed(folder: &TempDir, more: &[&str], now: UnixMs) -> Result<Said, (u8, &'static str)> {
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let line = ["tidegate", "gate", "verify", &at("receipt.json"), "--key", &at("key.pem")];
    let command = Cli::try_parse_from(line.iter().chain(more)).expect("a command").command;
    let Some(Command::Client(command)) = command else { panic!("it is of the client") };
    checked(&command.receipt().expect("a receipt"), now)
        .map_err(|error| (error.exit_code() as u8, error.code()))
}

fn check(folder: &TempDir, artifact: Option<&str>) -> Result<Said, (u8, &'static str)> {
    let path = artifact.map(|name| folder.path().join(name).to_string_lossy().into_owned());
    let more: Vec<&str> = path.iter().flat_map(|path| ["--artifact", path]).collect();
    typed(folder, &more, JUDGED)
}

#[test]
fn a_receipt_that_the_key_signed_is_good_for_its_artifact_alone() {
    let folder = receipt(true, stands());
    let said = check(&folder, None).expect("good");
    assert!(said.lines.iter().any(|line| line.contains("tidegate:discount/production")), "{:?}", said.lines);
    assert!(
        said.lines.iter().all(|line| !line.contains('\u{1b}')),
        "its words steer no terminal: {:?}",
        said.lines
    );
    assert_eq!(said.json["passed"], true);
    check(&folder, Some("app.tar.gz")).expect("good for it");
    assert_eq!(check(&folder, Some("other.tar.gz")).err(), Some((1, "other_artifact")));
    assert_eq!(check(&folder, Some("nowhere.tar.gz")).err(), Some((3, "artifact")));
}

#[test]
fn a_receipt_is_good_for_its_app_and_environment_alone() {
    let folder = receipt(true, stands());
    let ask = |more: &[&str]| typed(&folder, more, JUDGED);
    let asked = ask(&["--app", "discount", "--env", "production"]).expect("good for it");
    assert_eq!(asked.lines[1], "PASSED for tidegate:discount/production alone");
    for other in [&["--env", "preview"][..], &["--app", "shop"], &["--app", "shop", "--env", "production"]] {
        assert_eq!(ask(other).err(), Some((1, "other_place")), "{other:?}");
    }
    let open = ask(&[]).expect("good for what it says");
    assert!(open.lines[1].ends_with("(not asked for what: give --app and --env)"), "{:?}", open.lines);
}

#[test]
fn a_receipt_that_lapsed_is_refused_unless_it_only_has_to_have_been_good_then() {
    let folder = receipt(true, stands());
    typed(&folder, &[], UnixMs(UNTIL.0 - 1)).expect("it stands yet");
    assert_eq!(typed(&folder, &[], UNTIL).err(), Some((1, "lapsed")));
    typed(&folder, &["--at", "2027-01-15T08:00Z"], UnixMs(UNTIL.0 * 2)).expect("it was good then");
    let of_another_maker = receipt(true, Besides::default());
    let said = typed(&of_another_maker, &[], UNTIL).expect("it says nothing of an end");
    assert!(said.lines.iter().any(|line| line.contains("it does not say")), "{:?}", said.lines);
}

#[test]
fn waivers_and_broken_glass_are_marked() {
    let named = |id: &str| vec![WaiverId::new(id).expect("an id")];
    let besides = Besides { waivers: named("w1"), broken_glass: named("g1"), ..stands() };
    let said = check(&receipt(true, besides), None).expect("good");
    assert!(said.lines[2].contains("BROKEN GLASS") && said.lines[2].contains("g1"), "{:?}", said.lines);
    assert!(said.lines[3].contains("WAIVERS") && said.lines[3].contains("w1"), "{:?}", said.lines);
    assert_eq!((&said.json["waivers"][0], &said.json["broken_glass"][0]), (&"w1".into(), &"g1".into()));
    let plain = check(&receipt(true, stands()), None).expect("good");
    assert!(!plain.lines.concat().contains("WAIVERS") && !plain.lines.concat().contains("GLASS"));
}

#[test]
fn a_receipt_of_a_denial_lets_nothing_pass() {
    assert_eq!(check(&receipt(false, Besides::default()), None).err(), Some((1, "denied")));
}

#[test]
fn what_another_key_signed_or_nobody_is_refused() {
    let folder = receipt(true, stands());
    let at = |name: &str| folder.path().join(name);
    fs::copy(receipt(true, stands()).path().join("key.pem"), at("key.pem")).expect("copied");
    assert_eq!(check(&folder, None).err(), Some((1, "not_signed")));
    fs::write(at("receipt.json"), "{}").expect("written");
    assert_eq!(check(&folder, None).err(), Some((1, "not_a_receipt")));
    fs::write(at("receipt.json"), vec![b' '; MAX_RECEIPT_BYTES + 1]).expect("written");
    assert_eq!(check(&folder, None).err(), Some((1, "not_a_receipt")));
    fs::write(at("key.pem"), "no key").expect("written");
    assert_eq!(check(&folder, None).err(), Some((2, "bad_key")));
    fs::remove_file(at("key.pem")).expect("removed");
    assert_eq!(check(&folder, None).err(), Some((3, "not_found")));
}
