//! A receipt of the real server, checked by a library that nobody here wrote, and by the tool.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate_tests::Discount;
use tidegate_tests::discount::{ARTIFACT, fixtures};
use tidegate_tests::prerequisites::repository;

/// What securesystemslib says: whether it takes the receipt, and what it prints.
fn verified(folder: &Path, receipt: &str, key: &Path) -> (bool, String) {
    let ended = Command::new(repository().join("target/clients/gate/bin/python"))
        .arg(repository().join("tests/clients/receipts/verify.py"))
        .args([Path::new(receipt), key])
        .current_dir(folder)
        .output()
        .expect("python runs");
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The receipt of the newest decision as a file, beside the key that it is checked with.
fn receipt_of(app: &Discount) -> Value {
    app.ada.run(&["gate", "receipt", "latest", "--output", "receipt.json"]).expect(0);
    std::fs::write(app.folder().join("gate.pem"), app.ada.run(&["gate", "key"]).expect(0).out)
        .expect("a file");
    let text = std::fs::read_to_string(app.folder().join("receipt.json")).expect("a receipt");
    serde_json::from_str(&text).expect("JSON")
}

/// A letter of base64 in the middle is another one.
fn altered(text: &str) -> String {
    let (before, after) = text.split_at(text.len() / 2);
    let letter = if after.starts_with('A') { "B" } else { "A" };
    format!("{before}{letter}{}", &after[1..])
}

#[test]
#[cfg_attr(not(has_gate_clients), ignore = "needs the clients of the gate: make clients")]
fn another_library_takes_a_receipt_and_refuses_it_once_it_is_altered() {
    let app = Discount::mended(None);
    app.pipeline.run(&app.check(&[])).expect(0);
    let receipt = receipt_of(&app);
    let key = app.folder().join("gate.pem");
    assert_eq!(verified(app.folder(), "receipt.json", &key), (true, "OK\n".to_owned()));
    let verify = |key| app.ada.run(&["gate", "verify", "receipt.json", "--key", key, "--artifact", ARTIFACT]);
    verify("gate.pem").expect(0);

    let stranger = fixtures().join("keys/stranger-p256.pub.pem");
    assert!(!verified(app.folder(), "receipt.json", &stranger).0, "another key");
    verify(stranger.to_str().expect("a path")).expect(1);
    for place in ["/payload", "/signatures/0/sig", "/payloadType"] {
        let mut changed = receipt.clone();
        let text = changed.pointer_mut(place).expect("a member");
        *text = altered(text.as_str().expect("text")).into();
        std::fs::write(app.folder().join("receipt.json"), changed.to_string()).expect("a file");
        let (is_taken, said) = verified(app.folder(), "receipt.json", &key);
        assert!(!is_taken && said.contains("not good"), "{place}: {said}");
        verify("gate.pem").expect(1);
    }
}

#[test]
#[cfg_attr(not(has_gate_clients), ignore = "needs the clients of the gate: make clients")]
fn a_denial_has_a_receipt_too_and_another_library_takes_it() {
    let app = Discount::begin(None);
    app.pipeline.run(&app.check(&[])).expect(1);
    receipt_of(&app);
    let (is_taken, said) = verified(app.folder(), "receipt.json", &app.folder().join("gate.pem"));
    assert!(is_taken, "{said}");
}
