//! Evidence as large as it may be.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use tidegate_loadtest::evidence::Piece;

/// Just below what a piece may have.
const LARGE_BYTES: usize = 10 * 1024 * 1024 - 1024;
/// How much of nothing one part of a bomb holds.
const PART_BYTES: usize = 64 * 1024 * 1024;

/// A SARIF report of 10 MB: some 47,000 findings of one rule.
pub(crate) fn sarif() -> (Piece, usize) {
    let mut text = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"semgrep","version":"1.0.0","rules":[{"id":"r","defaultConfiguration":{"level":"warning"}}]}},"invocations":[{"executionSuccessful":true}],"results":["#.to_owned();
    let mut count = 0;
    while text.len() < LARGE_BYTES {
        let comma = if count == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}{{"ruleId":"r","message":{{"text":"the value of request number {count:06} is used as it came"}},"locations":[{{"physicalLocation":{{"artifactLocation":{{"uri":"src/module_{:03}.py"}},"region":{{"startLine":{}}}}}}}]}}"#,
            count % 500,
            count + 1
        );
        count += 1;
    }
    text.push_str("]}]}");
    (Piece { name: "large.sarif".to_owned(), bytes: text.into() }, count)
}

/// A CycloneDX document of 10 MB.
pub(crate) fn sbom() -> (Piece, usize) {
    let mut text = r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":["#.to_owned();
    let mut count = 0;
    while text.len() < LARGE_BYTES {
        let comma = if count == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}{{"type":"library","name":"part-{count:06}","version":"1.{count}.0","purl":"pkg:pypi/part-{count:06}@1.{count}.0","licenses":[{{"license":{{"id":"MIT"}}}}]}}"#
        );
        count += 1;
    }
    text.push_str("]}");
    (Piece { name: "large.cdx.json".to_owned(), bytes: text.into() }, count)
}

/// Ten megabytes of gzip that come to ten gigabytes. Gives how much it would be, in bytes, too.
pub(crate) fn bomb() -> (Piece, usize) {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&vec![0; PART_BYTES]).expect("memory takes everything");
    let part = packer.finish().expect("memory takes everything");
    let parts = LARGE_BYTES / part.len();
    (Piece { name: "bomb.json.gz".to_owned(), bytes: part.repeat(parts) }, parts * PART_BYTES)
}
