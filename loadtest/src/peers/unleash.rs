//! The server of Unleash, with a PostgreSQL of its own.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::place::Place;
use super::program::{End, PATIENCE, Program, Start, as_user, free_address, run};
use super::{Peer, PeerError, Running, TOKEN, folder, strategy};
use crate::checks::{is_on, key};
use crate::sender::ask;

/// Where Debian keeps PostgreSQL, a folder for each version.
const DATABASES: &str = "/usr/lib/postgresql";
/// What it is, for people.
const WHAT: &str = "PostgreSQL";
/// A question whether it is up that takes longer is a no.
const MAX_PROBE: Duration = Duration::from_secs(5);
/// Who it runs as where we may not be it: it does not run as root.
const DATABASE_USER: &str = "postgres";
/// The token of whoever makes flags.
const ADMIN_TOKEN: &str = "*:*.loadtest";
const FEATURES: &str = "/api/admin/projects/default/features";

/// Where the parts of it are.
pub(super) struct Parts {
    server: PathBuf,
    database: PathBuf,
}

pub(super) fn find() -> Result<Parts, PeerError> {
    let server = folder().join("unleash/node_modules/unleash-server");
    if !server.join("dist/server.js").exists() {
        return Err(PeerError::Absent { peer: Peer::Unleash, path: server });
    }
    let versions = std::fs::read_dir(DATABASES).into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let found = folders.filter(|folder| folder.join("initdb").exists()).max();
    Ok(Parts { server, database: found.ok_or(PeerError::NoDatabase)? })
}

/// Starts it, makes the flags, and starts it again: it reads changes when it gets to it, and all flags at its start.
pub(super) fn start(flags: u64) -> Result<Running, PeerError> {
    let parts = find()?;
    let place = Place::new()?;
    let database = database(&parts.database, place.path())?;
    let (program, address) = server(&parts.server, place.path())?;
    (0..flags).try_for_each(|place| make(address, place))?;
    drop(program);
    let (program, address) = server(&parts.server, place.path())?;
    let process = program.process();
    let label = format!("Unleash {}", version(&parts.server));
    // The server first: it says so when its database goes.
    Ok(Running {
        peer: Peer::Unleash,
        label,
        address,
        process,
        _programs: vec![program, database],
        _place: place,
    })
}

fn version(server: &Path) -> String {
    let text = std::fs::read(server.join("package.json")).unwrap_or_default();
    let package: Value = serde_json::from_slice(&text).unwrap_or_default();
    package["version"].as_str().unwrap_or_default().to_owned()
}

/// A PostgreSQL in a folder, to be reached by a socket there.
fn database(binaries: &Path, place: &Path) -> Result<Program, PeerError> {
    let failed = |source| PeerError::System { what: WHAT, source };
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let user = is_root.then_some(DATABASE_USER);
    let folder = data_of(place);
    std::fs::create_dir(&folder).map_err(failed)?;
    if let Some(user) = user {
        // What is ours alone it could not come through.
        std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o711)).map_err(failed)?;
        run(WHAT, Command::new("chown").arg(format!("{user}:")).arg(&folder), PATIENCE)?;
    }
    let make = ["--auth=trust", "--username=unleash", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"];
    let mut initdb = as_user(user);
    initdb.arg("--").arg(binaries.join("initdb")).args(make).arg(&folder).current_dir("/");
    run(WHAT, &mut initdb, PATIENCE)?;
    let mut words: Vec<OsString> = vec![binaries.join("postgres").into(), "-D".into(), folder.clone().into()];
    let sockets = format!("unix_socket_directories={}", folder.display());
    // It is gone after the run, and nobody else reaches it.
    for setting in ["listen_addresses=", "fsync=off", &sockets] {
        words.extend(["-c".into(), setting.into()]);
    }
    let start = Start { what: WHAT, words, user, settings: &[], folder: place, end: End::Interrupt };
    let mut program = Program::start(start)?;
    let mut probe = as_user(user);
    probe
        .arg("--")
        .arg(binaries.join("pg_isready"))
        .args(["--quiet", "--host"])
        .arg(&folder)
        .current_dir("/");
    program.await_up(|| run(WHAT, &mut probe, MAX_PROBE).is_ok())?;
    Ok(program)
}

fn data_of(place: &Path) -> PathBuf {
    place.join("postgresql")
}

fn server(package: &Path, place: &Path) -> Result<(Program, SocketAddr), PeerError> {
    let address = free_address()?;
    let (port, sockets) = (OsString::from(address.port().to_string()), data_of(place));
    let settings: [(&str, &OsStr); 12] = [
        ("NODE_ENV", "production".as_ref()),
        ("DATABASE_HOST", sockets.as_ref()),
        ("DATABASE_NAME", "postgres".as_ref()),
        ("DATABASE_USERNAME", "unleash".as_ref()),
        ("DATABASE_PASSWORD", "none".as_ref()),
        ("DATABASE_SSL", "false".as_ref()),
        ("HTTP_HOST", "127.0.0.1".as_ref()),
        ("HTTP_PORT", &port),
        // It tells its makers nothing, and asks them for nothing.
        ("CHECK_VERSION", "false".as_ref()),
        ("SEND_TELEMETRY", "false".as_ref()),
        ("INIT_ADMIN_API_TOKENS", ADMIN_TOKEN.as_ref()),
        ("INIT_FRONTEND_API_TOKENS", TOKEN.as_ref()),
    ];
    let words = vec!["node".into(), package.join("dist/server.js").into()];
    let start =
        Start { what: "Unleash", words, user: None, settings: &settings, folder: place, end: End::Kill };
    let mut program = Program::start(start)?;
    program.await_answer(address, "/health")?;
    Ok((program, address))
}

/// Makes a flag.
fn make(address: SocketAddr, place: u64) -> Result<(), PeerError> {
    let key = key(place);
    post(address, "a flag", FEATURES, &json!({"name": key, "type": "release"}))?;
    if !is_on(place) {
        return Ok(());
    }
    let environment = format!("{FEATURES}/{key}/environments/development");
    post(address, "a rollout", &format!("{environment}/strategies"), &strategy(&key))?;
    post(address, "a flag that is on", &format!("{environment}/on"), &json!({}))
}

fn post(address: SocketAddr, what: &'static str, path: &str, body: &Value) -> Result<(), PeerError> {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {ADMIN_TOKEN}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    match ask(address, request.as_bytes())?.status {
        200 | 201 => Ok(()),
        status => Err(PeerError::Refused { peer: Peer::Unleash, what, status }),
    }
}
