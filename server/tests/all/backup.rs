//! Backups of a running server, and what becomes of them: checked, damaged, restored.

use crate::running;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rollout_rules::change::Reach;
use rollout_rules::ids::{AppKey, FlagKey, KillId};
use rollout_rules::time::UnixMs;
use running::{Said, Server, data, folder, run, tidegate};
use serde_json::Value;
use tidegate::backup::{BackupReader, Encoder, Header, KillAhead};

/// A server with the app `shop`, the flag `checkout` on in the sandbox, and a segment.
fn shop() -> Server {
    let server = Server::first_start();
    server.tool("app create shop --owner ada@example.org").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    server.tool("flag on checkout -a shop -e sandbox --exposure 30%").ends(0);
    server.tool("segment put beta -a shop").ends(0);
    server.tool("segment add beta -a shop alice bob").ends(0);
    server
}

fn backup(server: &Server, file: &Path) -> Said {
    run(server.command().arg("backup").arg(file))
}

fn verify(path: &Path) -> Said {
    run(tidegate().arg("verify").arg(path))
}

fn restore(file: &Path, directory: &Path) -> Said {
    run(tidegate().arg("restore").arg(file).arg("--data-dir").arg(directory))
}

/// Every entry of the log with its hash, as the server shows it.
fn log_of(server: &Server) -> Vec<Value> {
    let said = server.tool("log --after 0 --json").ends(0);
    said.out.lines().map(|line| serde_json::from_str(line).expect("an entry a line")).collect()
}

/// What a feed says first that is resumed at a token: an event and its id, or a heartbeat.
fn first_event(url: &str, token: &str, resume: &str) -> (String, String) {
    let address = url.strip_prefix("http://").expect("plain HTTP");
    let mut stream = TcpStream::connect(address).expect("the server listens");
    write!(
        stream,
        "GET /v1/feed?app=shop&environment=sandbox HTTP/1.1\r\nHost: tidegate\r\nAuthorization: Bearer {token}\r\n\
         Last-Event-ID: {resume}\r\n\r\n"
    )
    .expect("sent");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a bound");
    let (mut event, mut id) = (String::new(), String::new());
    for line in BufReader::new(stream).lines() {
        let line = line.expect("the stream goes on");
        if line.starts_with(':') {
            return ("heartbeat".to_owned(), String::new());
        }
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut event);
        } else if let Some(given) = line.strip_prefix("id: ") {
            given.clone_into(&mut id);
        } else if line.trim().is_empty() && !event.is_empty() {
            return (event, id);
        }
    }
    panic!("the feed ended without an event");
}

#[test]
fn a_backup_is_checked_restored_and_serves_the_same_flags_under_a_new_name() {
    let server = shop();
    let sdk = server.token("--scope sdk-server -a shop --env sandbox");
    let here = folder();
    let file = here.path().join("night.backup");
    backup(&server, &file).ends(0).says("up to revision 7 of log").says("night.backup; the chain holds");
    let flags = server.tool("flag show checkout -a shop --json").ends(0).json();
    let entries = log_of(&server);
    let (_, resume) = first_event(&server.url, &sdk, "");
    let (again, _) = first_event(&server.url, &sdk, &resume);
    assert_eq!(again, "heartbeat", "the same log goes on where the client was");

    verify(&file).ends(0).says("a sound backup").says("7 entries, up to revision 7");
    verify(&server.data_dir()).ends(4).complains("a server uses").complains("stop it first");
    let to = folder();
    restore(&file, &server.data_dir()).ends(1).complains("is not empty");
    restore(&file, &data(&to)).ends(0).says("restored 7 entries").says("serve --data-dir");
    restore(&file, &data(&to)).ends(1).complains("is not empty");
    verify(&data(&to)).ends(0).says("a sound data directory").says("revision 7 agrees with the entries");

    let mut restored = Server::start(to, &[]);
    restored.token.clone_from(&server.token);
    assert_eq!(log_of(&restored), entries, "revisions, hashes and entries are the same");
    assert_eq!(restored.tool("flag show checkout -a shop --json").ends(0).json(), flags);
    restored.tool("segment show beta -a shop").ends(0).says("alice").says("bob");
    let (event, id) = first_event(&restored.url, &sdk, &resume);
    assert_eq!(event, "snapshot", "whoever followed the old log fetches everything anew");
    assert_ne!(id.split(':').next(), resume.split(':').next(), "the log has a new name");
    // The log goes on where the backup ended.
    restored.tool("flag off checkout -a shop -e sandbox").ends(0);
    let (to, _) = restored.stop();
    verify(&data(&to)).ends(0).says("8 entries");
}

/// A backup as a server makes it whose log could not take a kill of the flag `checkout`.
fn with_kill(backup: &[u8], id: &str) -> Vec<u8> {
    let mut reader = BackupReader::open(backup).expect("a backup");
    let mut out = Vec::new();
    // Of a server whose gate was closed.
    let mut encoder = Encoder::begin(&Header { gate_files: None, ..reader.header().clone() }, &mut out);
    while let Some(item) = reader.next_entry().expect("whole") {
        encoder.entry(item.revision, item.hash, &item.bytes, &mut out);
    }
    let (app, flag) = (AppKey::new("shop").expect("a key"), FlagKey::new("checkout").expect("a key"));
    let kill = KillAhead {
        kill_id: KillId::new(id).expect("an id"),
        reach: Reach::Flag { app, flag },
        environment: None,
        at: UnixMs(1_800_000_000_000),
    };
    encoder.kill(&kill, &mut out);
    encoder.log_ends(&mut out);
    encoder.end(&mut out);
    out
}

#[test]
fn a_kill_that_the_log_could_not_take_is_in_the_backup_and_in_effect_where_it_is_restored() {
    let server = shop();
    let here = folder();
    let (file, full) = (here.path().join("quiet.backup"), here.path().join("full-disk.backup"));
    let quiet = run(server.command().args(["backup", "--json"]).arg(&file)).ends(0).json();
    assert_eq!((&quiet["kills_ahead"], &quiet["last"]), (&0.into(), &6.into()));
    std::fs::write(&full, with_kill(&std::fs::read(&file).expect("the backup"), "k-night")).expect("written");
    verify(&full)
        .ends(0)
        .says("6 entries")
        .says("in effect and not taken by the log when it was copied: k-night");
    let to = folder();
    restore(&full, &data(&to)).ends(0).says("restored 6 entries").says("as entries at its end: k-night");
    verify(&data(&to)).ends(0).says("7 entries").says("revision 7 agrees with the entries");
    let mut restored = Server::start(to, &[]);
    restored.token.clone_from(&server.token);
    let flag = restored.tool("flag show checkout -a shop --json").ends(0).json();
    assert_eq!(flag["environments"]["sandbox"]["serving"], "killed", "{flag}");
    let entries = log_of(&restored);
    assert_eq!(entries[..6], log_of(&server)[..], "what came before is a prefix of the log");
    assert_eq!(entries[6]["change"]["kill_id"], "k-night", "{}", entries[6]);
}

/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets the writers end, also when a test fails before they would.
struct Ends<'e>(&'e AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_during_a_thousand_writes_is_a_prefix_of_the_log() {
    const WRITERS: usize = 4;
    const WRITES: usize = 250;
    let server = shop();
    let here = folder();
    let file = here.path().join("busy.backup");
    let (url, token) = (&server.url, &server.token);
    let config = || ureq::Agent::config_builder().http_status_as_error(true).build().into();
    let (writes, begun) = std::sync::mpsc::sync_channel::<()>(WRITERS);
    let is_taken = AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        let ends = Ends(&is_taken);
        for writer in 0..WRITERS {
            let (writes, is_taken) = (writes.clone(), &is_taken);
            scope.spawn(move || {
                let agent: ureq::Agent = config();
                for number in 0_usize.. {
                    // However slow the backup is, there are writes to its end, and the last comes after it.
                    let is_last = number >= WRITES && is_taken.load(Ordering::Relaxed);
                    let body = serde_json::json!({"add": [format!("unit-{writer}-{number}")]});
                    let request = agent.post(format!("{url}/v1/apps/shop/segments/beta/members"));
                    let request = request.header("Authorization", format!("Bearer {token}"));
                    let request = request.header("Content-Type", "application/json");
                    request.send(body.to_string()).expect("written");
                    if number == WRITES / 5 {
                        writes.send(()).expect("all writers are waited for");
                    }
                    if is_last {
                        break;
                    }
                }
            });
        }
        (0..WRITERS).for_each(|_| begun.recv_timeout(PATIENCE).expect("the writers write"));
        let said = run(server.command().args(["backup", "--json"]).arg(&file)).ends(0);
        drop(ends);
        said.json()["last"].as_u64().expect("a revision")
    });
    let entries = log_of(&server);
    let all = entries.len() as u64;
    assert!(last > 200 && last < all, "the backup was taken in between: {last} of {all}");
    verify(&file).ends(0);
    let to = folder();
    restore(&file, &data(&to)).ends(0);
    let mut restored = Server::start(to, &[]);
    restored.token.clone_from(&server.token);
    let kept = log_of(&restored);
    assert_eq!(kept.len() as u64, last);
    assert!(kept == entries[..kept.len()], "every entry that was there is there, with its hash");
    let (to, _) = restored.stop();
    verify(&data(&to)).ends(0).says(&format!("up to revision {last}"));
}

#[test]
fn what_is_no_whole_backup_is_refused_by_name_and_nothing_is_made_of_it() {
    let server = shop();
    let here = folder();
    let whole = here.path().join("whole.backup");
    backup(&server, &whole).ends(0);
    let bytes = std::fs::read(&whole).expect("the backup");
    let refused = |name: &str, bytes: &[u8], code: i32, text: &str| {
        let file = here.path().join(name);
        std::fs::write(&file, bytes).expect("written");
        verify(&file).ends(code).complains(text);
        let to = here.path().join(format!("{name}.data"));
        restore(&file, &to).ends(code).complains(text);
        assert!(!to.exists(), "nothing was made of {name}");
    };
    refused("short", &bytes[..bytes.len() - 1], 1, "it ends before the last line");
    let log = bytes.windows(5).position(|window| window == b"\nlog ").expect("the end of the log");
    refused("log", &bytes[..log + 4], 1, "truncated: it ends after revision 6");
    refused("half", &bytes[..log / 2], 1, "truncated: it ends after revision");
    let at = |part: &str| {
        bytes.windows(part.len()).position(|window| window == part.as_bytes()).expect("it is in the backup")
    };
    let flipped = |position: usize| {
        let mut bytes = bytes.clone();
        bytes[position] ^= 1;
        bytes
    };
    refused("entry", &flipped(at("checkout")), 1, "damaged after revision 2: the entry that follows");
    refused("header", &flipped(at("\"at\":\"20") + 7), 1, "damaged after revision 6: the checksum");
    refused("other", b"PK\x03\x04 and more", 2, "neither a backup nor a data directory");
    verify(&here.path().join("nothing")).ends(3).complains("no such file");
    verify(here.path()).ends(2).complains("neither a backup nor a data directory");
    let said = run(tidegate().args(["verify", "--json"]).arg(here.path().join("log"))).ends(1).json();
    assert_eq!((&said["sound"], said["faults"].as_array().map(Vec::len)), (&false.into(), Some(1)));
    let to = here.path().join("made-of-nothing");
    let said =
        run(tidegate().args(["restore", "--json"]).arg(here.path().join("log")).arg("--data-dir").arg(&to));
    assert_eq!(said.out, "", "a failure is one object on standard error");
    let failure: Value = serde_json::from_str(&said.err).expect("an object");
    assert_eq!((&failure["code"], &failure["exit_code"]), (&"unsound".into(), &1.into()));
    assert!(failure["detail"].as_str().is_some_and(|text| text.contains("truncated")), "{failure}");
}

#[test]
fn only_an_admin_of_everything_takes_backups_and_a_failed_one_leaves_the_last_in_place() {
    let server = shop();
    let here = folder();
    let file = here.path().join("last.backup");
    backup(&server, &file).ends(0);
    let before = std::fs::read(&file).expect("the backup");
    for options in ["--scope operator", "--scope admin -a shop", "--scope sdk-server -a shop --env sandbox"] {
        let token = server.token(options);
        let said = run(server.command().env("TIDEGATE_TOKEN", token).arg("backup").arg(&file));
        said.ends(7).complains("takes an admin's token that is bound to no app");
    }
    assert_eq!(std::fs::read(&file).expect("the backup"), before);
    let names: Vec<PathBuf> =
        std::fs::read_dir(here.path()).expect("a folder").map(|entry| entry.expect("one").path()).collect();
    assert_eq!(names, std::slice::from_ref(&file), "no unfinished file is left");
    let nowhere = here.path().join("no").join("such").join("place");
    backup(&server, &nowhere).ends(1).complains("place.partial");

    let piped = run(server.command().args(["backup", "-"])).ends(0).complains("are in standard output");
    std::fs::write(&file, &piped.out).expect("written");
    verify(&file).ends(0);
    run(server.command().args(["backup", "-", "--json"])).ends(2).complains("name a file");
    run(server.command().arg("backup").current_dir(here.path())).ends(0).says(".backup; the chain holds");
}

#[test]
fn a_data_directory_is_checked_without_being_changed() {
    let server = shop();
    let (kept, _) = server.stop();
    let directory = data(&kept);
    let said = verify(&directory).ends(0).says("6 entries").says("revision 6 agrees with the entries");
    assert_eq!(verify(&directory).ends(0).out, said.out, "a look changes nothing");
    // A checkpoint that is whole and of these entries, and holds something else.
    let checkpoints = directory.join("checkpoints");
    let file =
        std::fs::read_dir(&checkpoints).expect("checkpoints").next().expect("one").expect("one").path();
    let files = tidegate::log::checkpoints::CheckpointFiles::open(&checkpoints).expect("opens");
    let mut stored = files.load(rollout_rules::ids::Revision(6)).expect("loads").expect("one");
    let text = String::from_utf8(stored.bytes).expect("JSON");
    stored.bytes = text.replace("ada@example.org", "eve@example.org").into_bytes();
    files.store(&stored).expect("stored");
    verify(&directory).ends(1).complains("checkpoint at revision 6 holds something else than its entries");
    let mut bytes = std::fs::read(&file).expect("readable");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&file, bytes).expect("writable");
    verify(&directory).ends(1).complains("checkpoint at revision 6 is not what was written");
    std::fs::remove_file(&file).expect("removed");
    verify(&directory).ends(0).says("none to compare");
}
