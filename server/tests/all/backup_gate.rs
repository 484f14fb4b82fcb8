//! What the gate keeps, in backups: it is restored, and what is damaged or was never copied is said by name.

use crate::running;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rollout_rules::ids::Digest;
use running::{Said, Server, data, folder, run, tidegate};
use serde_json::Value;
use tempfile::TempDir;
use tidegate::backup::{BackupReader, Header};

/// What stands in a receipt alone.
const OF_A_RECEIPT: &str = "application/vnd.in-toto+json";

fn evidence() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/gate/clean/evidence")
}

fn artifact() -> String {
    format!("sha256:{:064x}", 7)
}

/// Asks the gate in the folder of the reports.
fn ask(server: &Server, more: &[&str]) -> Said {
    let mut command = server.command();
    command.args(["gate", "check", "--app", "shop", "--env", "sandbox", "--artifact", &artifact()]);
    run(command.args(more).current_dir(evidence()))
}

/// A server that judged a build.
fn judged() -> Server {
    let server = Server::first_start();
    server.tool("app create shop --owner ada@example.org").ends(0);
    let said = ask(&server, &["--json"]);
    assert!(said.out.contains("\"verdict\""), "{} {}", said.out, said.err);
    server
}

/// What a server tells of the newest decision: all that was found, and its receipt.
fn told(server: &Server) -> (Value, Value) {
    let of = |what: &str| server.tool(&format!("gate {what} latest --app shop --json")).ends(0).json();
    (of("explain"), of("receipt"))
}

fn key(server: &Server) -> String {
    server.tool("gate key").ends(0).out
}

fn backup(server: &Server, file: &Path) -> Said {
    run(server.command().arg("backup").arg(file))
}

fn verify(path: &Path) -> Said {
    run(tidegate().arg("verify").arg(path))
}

fn restore(file: &Path, directory: &Path, more: &[&str]) -> Said {
    run(tidegate().arg("restore").arg(file).arg("--data-dir").arg(directory).args(more))
}

/// A server on what was restored, by the tokens of the one before.
fn started(folder: TempDir, before: &Server) -> Server {
    let mut restored = Server::start(folder, &[]);
    restored.token.clone_from(&before.token);
    restored
}

fn flip(bytes: &mut [u8], part: &str) {
    let at = bytes.windows(part.len()).position(|window| window == part.as_bytes());
    bytes[at.unwrap_or_else(|| panic!("{part} is not there"))] ^= 1;
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o777
}

#[test]
fn decisions_are_told_as_before_after_a_restore_and_old_receipts_are_good_by_the_key_of_the_new_server() {
    let server = judged();
    let before = told(&server);
    let here = folder();
    let (file, receipt, pem) =
        (here.path().join("night.backup"), here.path().join("receipt.json"), here.path().join("key.pem"));
    fs::write(&receipt, before.1.to_string()).expect("written");
    backup(&server, &file).ends(0).says("files of the gate and its key");
    assert_eq!(mode(&file), 0o600, "it holds the key");
    verify(&file).ends(0).says("files of 1 decision, each what its name says, and the key");
    let to = folder();
    restore(&file, &data(&to), &[])
        .ends(0)
        .says("What the gate keeps is back")
        .says("signed with the same key as before");
    assert_eq!(mode(&data(&to).join("gate/receipt-key.pem")), 0o600);
    verify(&data(&to)).ends(0).says("files of 1 decision, each what its name says");
    let restored = started(to, &server);
    assert_eq!(told(&restored), before);
    assert_eq!(key(&restored), key(&server));
    fs::write(&pem, key(&restored)).expect("written");
    let checked = run(tidegate().args(["gate", "verify"]).arg(&receipt).arg("--key").arg(&pem));
    assert!(
        checked.out.contains("signed by this key") || checked.err.contains("is the gate's, and it says no")
    );
    // What it was judged from is there: new evidence is joined with it.
    let pieces = |it: &Value| it["decision"]["evidence"].as_array().map_or(0, Vec::len);
    ask(&restored, &["--add", "--evidence", "cosign.pub"]);
    ask(&restored, &["--add", "--json"]);
    let (again, _) = told(&restored);
    assert_eq!(again["decision"]["occasion"], "new_evidence");
    assert!(pieces(&again) >= pieces(&before.0) && pieces(&again) > 3, "{again}");
}

#[test]
fn a_file_that_is_torn_on_the_server_is_named_and_the_rest_is_copied() {
    let server = judged();
    let before = told(&server);
    let id = before.0["decision"]["id"].as_str().expect("an id").to_owned();
    let packs = server.data_dir().join("gate/files");
    let pack = fs::read_dir(&packs).expect("packs").next().expect("one").expect("one").path();
    let mut bytes = fs::read(&pack).expect("a pack");
    flip(&mut bytes, OF_A_RECEIPT);
    fs::write(&pack, bytes).expect("written");
    let here = folder();
    let file = here.path().join("night.backup");
    backup(&server, &file)
        .ends(0)
        .complains("missing or damaged on the server")
        .complains(&format!("{id} of shop"));
    let said = run(server.command().args(["backup", "--json"]).arg(&file)).ends(0).json();
    assert_eq!(said["gate_files_lost"][0]["decision"], id.as_str());
    verify(&file).ends(0).says("1 file, missing or damaged on the server");
    let to = folder();
    restore(&file, &data(&to), &[]).ends(0).says("Not in the backup: 1 file,").says(&id);
    let restored = started(to, &server);
    let explained = restored.tool("gate explain latest --app shop --json").ends(0).json();
    assert_eq!(explained, before.0, "what was found is whole");
    restored.tool("gate receipt latest --app shop").ends(3).complains("is not there").complains("gate check");
    let (kept, _) = restored.stop();
    verify(&data(&kept)).ends(0).says("; of 1 decision not all is there any more");
    let (kept, _) = server.stop();
    verify(&data(&kept))
        .ends(1)
        .complains("is not what its name says")
        .complains(&format!("decision {id} of shop"));
}

#[test]
fn a_file_that_is_torn_in_the_backup_is_refused_unless_the_loss_is_accepted() {
    let server = judged();
    let before = told(&server);
    let here = folder();
    let (whole, torn, cut) =
        (here.path().join("whole.backup"), here.path().join("torn.backup"), here.path().join("cut.backup"));
    backup(&server, &whole).ends(0);
    let mut bytes = fs::read(&whole).expect("the backup");
    fs::write(&cut, &bytes[..bytes.len() - 1_000]).expect("written");
    flip(&mut bytes, OF_A_RECEIPT);
    fs::write(&torn, &bytes).expect("written");
    for (file, problem) in [(&torn, "in it is not what was written"), (&cut, "it ends before the last line")]
    {
        let to = here.path().join("made");
        verify(file).ends(1).complains("the log in the backup is as it was written").complains(problem);
        restore(file, &to, &[]).ends(1).complains(problem).complains("--accept-loss");
        assert!(!to.exists(), "nothing was made of it");
        let to = folder();
        restore(file, &data(&to), &["--accept-loss"]).ends(0).says("Damaged in the backup").says(problem);
        let restored = started(to, &server);
        assert_eq!(key(&restored), key(&server), "the key is whole");
        if file == &torn {
            let explained = restored.tool("gate explain latest --app shop --json").ends(0).json();
            assert_eq!(explained, before.0);
            restored.tool("gate receipt latest --app shop").ends(3).complains("is not there");
        }
    }
    // The log is never restored in part.
    flip(&mut bytes, "ada@example.org");
    fs::write(&torn, &bytes).expect("written");
    let to = here.path().join("made");
    restore(&torn, &to, &["--accept-loss"]).ends(1).complains("the backup is damaged after revision");
}

/// A backup as it was made when one held the log alone.
fn of_the_log_alone(backup: &[u8]) -> Vec<u8> {
    let mut reader = BackupReader::open(backup).expect("a backup");
    let header = Header { gate_files: None, ..reader.header().clone() };
    let mut text = format!("tidegate-backup 1\n{}\n", serde_json::to_string(&header).expect("JSON"));
    let mut entries = 0;
    while let Some(item) = reader.next_entry().expect("whole") {
        entries += 1;
        let entry = String::from_utf8(item.bytes).expect("JSON");
        text.push_str(&format!("{} {} {}\n{entry}\n", item.revision, item.hash, entry.len()));
    }
    let end = format!("end {entries} {}\n", Digest::of(text.as_bytes()));
    (text + &end).into_bytes()
}

#[test]
fn a_backup_of_the_log_alone_is_restored_and_says_so_and_builds_are_judged_by_evidence_handed_in_anew() {
    let server = judged();
    let before = told(&server);
    let here = folder();
    let (file, old) = (here.path().join("new.backup"), here.path().join("old.backup"));
    backup(&server, &file).ends(0);
    fs::write(&old, of_the_log_alone(&fs::read(&file).expect("the backup"))).expect("written");
    verify(&old).ends(0).says("what it keeps (evidence, receipts, its key) is not in it");
    let to = folder();
    restore(&old, &data(&to), &[])
        .ends(0)
        .says("What the gate keeps is not in this backup")
        .says("older receipts are checked with the public key");
    let restored = started(to, &server);
    restored.tool("gate explain latest --app shop").ends(3).complains("is not there").complains("gate check");
    let listed = restored.tool("gate list --app shop --json").ends(0).json();
    let (first, gone) = (&listed["items"][0], &listed["items"][0]["evidence_gone"]);
    assert_eq!(first["decision"], before.0["decision"], "the log has it");
    assert!(gone.as_str().is_some_and(|gone| gone.contains("is not there")), "{gone}");
    assert_ne!(key(&restored), key(&server), "it made a key of its own");
    let refused = ask(&restored, &["--add"]);
    assert!(refused.err.contains("ask with all evidence"), "{} {}", refused.out, refused.err);
    ask(&restored, &[]);
    let (again, _) = told(&restored);
    assert_ne!(again["decision"]["id"], before.0["decision"]["id"]);
    assert_eq!(again["judgement"]["checks"], before.0["judgement"]["checks"]);
}
