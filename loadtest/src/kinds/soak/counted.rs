//! What the server counts of those who use it, before they come and after they have gone.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::problem::Problem;
use crate::server::Server;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long the server may take to notice that everybody has gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server counts of those who use it.
fn counted(server: &Server) -> Result<Vec<(String, u64)>, Problem> {
    let mut admin = Client::connect(server.address(), server.admin_token())?;
    let mut get = |path: &str| admin.ask("GET", path, &[], &Value::Null);
    let metrics = get("/metrics")?.body;
    let gauges = [
        "streams",
        "requests_in_flight",
        "overlays",
        "feed_clients",
        "feed_clients_behind",
        "webhook_lag_entries",
    ];
    let gauge = |name: &str| {
        let of_name = |line: &str| {
            let (label, value) = line.strip_prefix("tidegate_")?.strip_prefix(name)?.split_once(' ')?;
            (label.is_empty() || label.starts_with('{')).then(|| value.parse::<f64>().ok()).flatten()
        };
        let without = || Problem::Wrong(format!("its metrics do not say {name}"));
        Ok((name.to_owned(), metrics.lines().find_map(of_name).ok_or_else(without)? as u64))
    };
    let mut counted = gauges.into_iter().map(gauge).collect::<Result<Vec<(String, u64)>, Problem>>()?;
    for (what, path) in [
        ("open proposals", "/v1/proposals?state=open&limit=1000"),
        ("environments", "/v1/apps/shop/environments?limit=1000"),
        ("flags", "/v1/apps/shop/flags?limit=1000"),
        ("members of the segment", "/v1/apps/shop/segments/staff/members?limit=1000"),
    ] {
        let listed = get(path)?.if_granted()?;
        let without = || Problem::Wrong(format!("{path} gives no list"));
        let items = listed["items"].as_array().ok_or_else(without)?.len();
        counted.push((what.to_owned(), u64::try_from(items).unwrap_or(u64::MAX)));
    }
    counted.push(("open files".to_owned(), u64::try_from(server.open_files()).unwrap_or(u64::MAX)));
    Ok(counted)
}

/// What is counted once the webhook has been told of everything.
pub(super) fn told_all(server: &Server) -> Result<Vec<(String, u64)>, Problem> {
    let waited = Instant::now();
    loop {
        let start = counted(server)?;
        let lag = start.iter().any(|(what, lag)| what == "webhook_lag_entries" && *lag > 0);
        if !lag || waited.elapsed() > PATIENCE {
            return Ok(start);
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until everything is counted as at the start, and says what is not.
pub(super) fn unsettled(server: &Server, start: &[(String, u64)]) -> Result<Vec<String>, Problem> {
    let waited = Instant::now();
    let mut now = counted(server)?;
    while now != start && waited.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
        now = counted(server)?;
    }
    let differs = start.iter().zip(&now).filter(|((_, before), (_, after))| before != after);
    let said = |((what, before), (_, after)): (&(String, u64), &(String, u64))| {
        format!("{what}: {before} at the start, {after} at the end")
    };
    Ok(differs.map(said).collect())
}
