//! Unleash Edge with a file of flags, and no server behind it.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::place::Place;
use super::program::{End, Program, Start, free_address};
use super::{Peer, PeerError, Running, TOKEN, folder, strategy};
use crate::checks::{is_on, key};

/// The token of services, which nobody uses.
const TOKEN_OF_SERVICES: &str = "default:development.services";
/// Where it says that it is up.
const HEALTH: &str = "/internal-backstage/health";

pub(super) fn find() -> Result<PathBuf, PeerError> {
    let path = folder().join("bin/unleash-edge");
    if path.exists() { Ok(path) } else { Err(PeerError::Absent { peer: Peer::Edge, path }) }
}

/// Starts one with a worker.
pub(super) fn start(flags: u64) -> Result<Running, PeerError> {
    let binary = find()?;
    let failed = |source| PeerError::System { what: "Unleash Edge", source };
    let place = Place::new()?;
    let file = place.path().join("flags.json");
    std::fs::write(&file, features(flags).to_string()).map_err(failed)?;
    let address = free_address()?;
    let port = OsString::from(address.port().to_string());
    let settings = [
        ("BOOTSTRAP_FILE", file.as_os_str()),
        ("FRONTEND_TOKENS", TOKEN.as_ref()),
        // Without one of services it does not start.
        ("CLIENT_TOKENS", TOKEN_OF_SERVICES.as_ref()),
        ("INTERFACE", "127.0.0.1".as_ref()),
        ("PORT", &port),
        ("WORKERS", "1".as_ref()),
        ("RUST_LOG", "warn".as_ref()),
    ];
    let mut program = Program::start(Start {
        what: "Unleash Edge",
        words: vec![binary.into(), "offline".into()],
        user: None,
        settings: &settings,
        folder: place.path(),
        end: End::Kill,
    })?;
    program.await_answer(address, HEALTH)?;
    let process = program.process();
    let label = format!("Unleash Edge {}", version());
    Ok(Running { peer: Peer::Edge, label, address, process, _programs: vec![program], _place: place })
}

/// As cargo noted it when it was installed; it does not say it itself.
fn version() -> String {
    let noted = std::fs::read_to_string(folder().join(".crates.toml")).unwrap_or_default();
    let version = noted.split_once("\"unleash-edge ").and_then(|(_, rest)| rest.split_whitespace().next());
    version.unwrap_or_default().to_owned()
}

/// The flags, as a server of Unleash would hand them to it.
fn features(flags: u64) -> Value {
    let feature = |place: u64| {
        let key = key(place);
        let strategies = if is_on(place) { json!([strategy(&key)]) } else { json!([]) };
        json!({"name": key, "type": "release", "enabled": is_on(place), "project": "default",
            "strategies": strategies, "variants": []})
    };
    json!({"version": 2, "features": (0..flags).map(feature).collect::<Vec<Value>>()})
}
