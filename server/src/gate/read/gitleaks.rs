//! Reports of gitleaks as JSON: a list of findings, and nothing else.
//!
//! Neither the rules, nor the files, nor the version of the tool are in it, so `[]` proves nothing alone; [`super::merge`] takes it
//! beside evidence that the folder holds files, and only if the piece is called after gitleaks: any list without items reads the same. What a comment or a baseline hides, the format does not show at all.
//!
//! Format: the JSON of gitleaks 8, as its README shows it: <https://github.com/gitleaks/gitleaks>.

use rollout_rules::gate::facts::{Facts, Finding, Problem, Proof, Scan, ScanKind, Severity, Tool};
use rollout_rules::ids::Digest;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::{fingerprint, name, one_line, path};
use super::worst::Worst;
use crate::gate::json::{each, parse};

/// What the name of a report without findings has in it, in any case.
const OWN_NAME: &str = "gitleaks";

/// Reads a report. Also tells whether it has no finding and is called after gitleaks. The secret and the line around it are never taken.
pub(super) fn read(called: &str, piece: Digest, bytes: &[u8]) -> Result<(Facts, bool), Problem> {
    let list: &RawValue = parse(bytes)?;
    let mut found = Worst::default();
    each(list, |leak: Leak| {
        found.add(finding(&leak));
        Ok(())
    })?;
    let (total, findings) = found.finish();
    let is_called_so = called.to_ascii_lowercase().contains(OWN_NAME);
    let proof = if total == 0 && !is_called_so {
        Proof::Missing(
            "It is a list without items, as gitleaks writes it where it finds nothing, and as any other data may be. If it is of gitleaks, \
             call it so: `gitleaks dir . --report-path gitleaks.json`, or let it write SARIF: `gitleaks dir . --report-format sarif \
             --report-path gitleaks.sarif`."
                .to_owned(),
        )
    } else if total == 0 {
        Proof::Missing(
            "It lists no finding and nothing that it looked at, and nothing else shows that \
            there was anything. Run `tidegate gate check` in the app's folder: it adds what the folder \
            holds."
                .to_owned(),
        )
    } else {
        Proof::Given("it lists what it found".to_owned())
    };
    let tool = Tool { name: "gitleaks".to_owned(), version: None };
    let scan = Scan { piece, kind: ScanKind::Secrets, tool, proof, total, findings };
    Ok((Facts { scans: vec![scan], ..Facts::default() }, total == 0 && is_called_so))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Leak {
    #[serde(rename = "RuleID")]
    rule: String,
    description: Option<String>,
    file: Option<String>,
    start_line: Option<i64>,
}

fn finding(leak: &Leak) -> Finding {
    let rule = name(&leak.rule);
    let file = leak.file.as_deref().map(path).filter(|file| !file.is_empty());
    let said = one_line(leak.description.as_deref().unwrap_or_default());
    Finding {
        fingerprint: fingerprint(&[&rule, file.as_deref().unwrap_or_default()]),
        title: if said.is_empty() { format!("A secret, by the rule {rule}") } else { said },
        rule,
        severity: Severity::Critical,
        file,
        line: leak.start_line.and_then(|line| u32::try_from(line).ok()).filter(|line| *line > 0),
        ..Finding::default()
    }
}
