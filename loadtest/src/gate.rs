//! A gate that trusts the keys of the evidence.

use serde_json::{Value, json};

use crate::client::{Client, ClientError};
use crate::evidence;

/// Who signs the evidence.
const KEYS: [&str; 3] = ["ci-p256", "ci-ed25519", "gate-p256"];
/// Everything that a key may sign.
const ANYTHING: [&str; 6] = ["artifact", "provenance", "sbom", "test_result", "verification", "vex"];

/// Where a pipeline asks for a decision.
pub fn path(app: &str, environment: &str) -> String {
    format!("/v1/apps/{app}/environments/{environment}/gate")
}

/// Prepares an app of the second tier for the evidence of its clean build: what it was made from, by whom, and who may
/// sign it.
///
/// # Errors
/// When the server does not grant it, or the evidence is not where it was when this was built.
pub fn prepare(admin: &mut Client, app: &str) -> Result<(), ClientError> {
    admin.ask("PATCH", &format!("/v1/apps/{app}"), &[], &json!({"tier": 2}))?.if_granted()?;
    trust_keys(admin)?;
    let source = json!({
        "repository": "https://github.com/example-org/discount", "repository_id": "100200300", "owner_id": "400500",
        "builders": ["https://github.com/actions/runner/github-hosted"],
        "build_types": ["https://actions.github.io/buildtypes/workflow/v1"],
        "signers": KEYS, "refs": ["main"],
    });
    admin.ask("PUT", &format!("/v1/apps/{app}/source"), &[], &json!({ "source": source }))?.if_granted()?;
    Ok(())
}

fn trust_keys(admin: &mut Client) -> Result<(), ClientError> {
    let held = admin.ask("GET", "/v1/gate/policy", &[], &Value::Null)?;
    let tag = held.header("etag").to_owned();
    let mut policy = held.if_granted()?["policy"].clone();
    let key = |name: &str| {
        let pem = String::from_utf8_lossy(&evidence::fixture(&format!("keys/{name}.pub.pem"))).into_owned();
        json!({"name": name, "pem": pem, "signs": ANYTHING, "shared": true})
    };
    policy["trust"]["keys"] = KEYS.map(key).to_vec().into();
    let changed = json!({ "policy": policy, "reason": "the keys of the evidence" });
    admin.ask("PUT", "/v1/gate/policy", &[("if-match", &tag)], &changed)?.if_granted()?;
    Ok(())
}
