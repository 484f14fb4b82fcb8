//! What a pipeline sends: evidence of the clean build, as a form.

use std::path::{Path, PathBuf};

use rollout_rules::ids::Digest;
use serde_json::json;

const BOUNDARY: &str = "----a-boundary-that-no-evidence-holds";
const ARTIFACT: &str = "artifact/discount-1.0.0.tar.gz";
/// A form of SBOM that is refused with its reason, so that no build passes with it.
const REFUSED: &str = "evidence/sbom.cdx1.6.xml";
/// Blanks that make a piece another one than before.
const MARK_BITS: u32 = 20;

/// What one build of the app sends.
const BUILD: [&str; 15] = [
    "evidence/junit.xml",
    "evidence/coverage.cobertura.xml",
    "evidence/detect-secrets.json",
    "evidence/gitleaks.json",
    "evidence/semgrep.sarif",
    "evidence/zizmor.sarif",
    "evidence/checkov.json",
    "evidence/tfplan.json",
    "evidence/sbom.cdx1.6.json",
    "evidence/grype.json",
    "evidence/osv.json",
    "attest/provenance.dsse.json",
    "attest/sbom.cyclonedx.dsse.json",
    "attest/test-result.dsse.json",
    "artifact/discount-1.0.0.tar.gz.sigstore.json",
];

/// A file of evidence.
pub struct Piece {
    /// As it is handed in.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/gate")
}

/// Whether the evidence is still where it was when this program was built.
pub fn is_there() -> bool {
    folder().is_dir()
}

/// A file beside the evidence.
///
/// # Panics
/// When it is not there.
pub fn fixture(path: &str) -> Vec<u8> {
    let path = folder().join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn clean(path: &str) -> Piece {
    Piece { name: path.to_owned(), bytes: fixture(&format!("clean/{path}")) }
}

/// What the tool that runs in the app's folder says of it, and a run of tests of its contracts.
fn of_the_folder() -> [Piece; 3] {
    let file = |path: &str, test: &str| json!({ "path": path, "functions": 2, "tests": [test] });
    let files = [file("src/app.py", "test_health"), file("src/discount.py", "test_happy_path")];
    let presence = json!({ "format": "tidegate.test-presence/1", "files": files });
    let inventory = json!({
        "format": "tidegate.inventory/1", "files": 9, "sources": 2, "infrastructure": ["infra/main.tf"],
        "manifests": ["requirements.txt"],
    });
    // The clean build has no tests of its contracts, and the highest tier asks for some.
    let contracts = r#"<testsuite name="contract"><testcase name="test_prices_are_as_agreed"/></testsuite>"#;
    [
        ("presence.json", presence.to_string()),
        ("inventory.json", inventory.to_string()),
        ("contract.junit.xml", contracts.to_owned()),
    ]
    .map(|(name, text)| Piece { name: name.to_owned(), bytes: text.into() })
}

/// The evidence of one build: each kind once.
pub fn build() -> Vec<Piece> {
    BUILD.iter().map(|path| clean(path)).chain(of_the_folder()).collect()
}

/// All evidence of the clean build, in every format that is taken.
pub fn everything() -> Vec<Piece> {
    let mut paths: Vec<String> = ["evidence", "attest", "artifact"]
        .iter()
        .flat_map(|part| {
            let files = std::fs::read_dir(folder().join("clean").join(part)).expect("a folder of fixtures");
            files.map(move |file| {
                format!("{part}/{}", file.expect("a file").file_name().to_string_lossy().into_owned())
            })
        })
        .filter(|path| path != ARTIFACT && path != REFUSED)
        .collect();
    paths.sort();
    paths.iter().map(|path| clean(path)).chain(of_the_folder()).collect()
}

/// The digest of what the clean build made.
pub fn artifact() -> String {
    format!("sha256:{}", Digest::of(&fixture(&format!("clean/{ARTIFACT}"))))
}

/// A request that hands in the pieces. No two marks give the same evidence: as when each build is another one, every piece has
/// blanks at its end that it had not before.
pub fn request(path: &str, host: &str, token: &str, pieces: &[Piece], mark: u32) -> Vec<u8> {
    let asked = json!({ "artifact": artifact(), "version": "1.0.0" }).to_string();
    let blanks: Vec<u8> =
        (0..MARK_BITS).map(|bit| if mark >> bit & 1 == 0 { b' ' } else { b'\n' }).chain([b'\n']).collect();
    let mut body = part("request", "", asked.as_bytes());
    for piece in pieces {
        let bytes = if piece.bytes.starts_with(&[0x1f, 0x8b]) {
            piece.bytes.clone()
        } else {
            [&piece.bytes[..], &blanks].concat()
        };
        body.extend(part("evidence", &format!("; filename=\"{}\"", piece.name), &bytes));
    }
    body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\ncontent-type: multipart/form-data; boundary={BOUNDARY}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

fn part(name: &str, file: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
    [head.as_bytes(), bytes, b"\r\n"].concat()
}
