//! What a pipeline's shell is told, and what stays when the server dies.

use serde_json::Value;
use tidegate_tests::Discount;
use tidegate_tests::discount::{ARTIFACT, fixtures};

#[test]
fn the_exit_code_tells_a_pipeline_how_it_ended() {
    let app = Discount::mended(None);
    app.pipeline.run(&app.check(&[])).expect(0);
    app.pipeline.run(&app.check(&["--fail-on-warn"])).expect(2).says("--fail-on-warn");
    app.pipeline.run(&app.check(&["--no-discover"])).expect(3).says("no report of tests was handed in");
    app.pipeline
        .run(&app.check(&["--evidence", "reports/nothing.xml"]))
        .expect(3)
        .says("reports/nothing.xml");
    app.pipeline
        .run(&app.check(&["--evidence", "README.md"]))
        .expect(3)
        .says("no report that the gate knows");
    let hostile = fixtures().join("faulty/hostile/junit.billion-laughs.xml");
    app.pipeline.run(&app.check(&["--evidence", hostile.to_str().expect("a path")])).expect(3);
    std::fs::remove_file(app.folder().join(ARTIFACT)).expect("the artifact");
    app.pipeline.run(&app.check(&[])).expect(3).says("build it first");
    app.pack();
    let nobody = app.pipeline.clone().with("TIDEGATE_URL", "http://127.0.0.1:9");
    nobody.run(&app.check(&[])).expect(4).says("no answer from http://127.0.0.1:9");
    let stranger = app.pipeline.clone().with("TIDEGATE_TOKEN", "tg_ci_000000000000_wrong");
    stranger.run(&app.check(&[])).expect(7);
}

#[test]
fn a_decision_its_receipt_and_its_evidence_are_there_after_the_server_was_killed() {
    let mut app = Discount::begin(None);
    app.pipeline.run(&app.check(&["--format", "json", "--output", "gate.json"])).expect(1);
    let told = std::fs::read_to_string(app.folder().join("gate.json")).expect("the answer");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    app.server = app.server.crash_and_restart();
    let kept = app.ada.json(&["gate", "explain", "latest"]);
    assert_eq!(kept, told, "the same decision, with all that was found");
    let decision = &told["decision"];
    app.ada.run(&["gate", "receipt", "latest", "--output", "receipt.json"]).expect(0);
    std::fs::write(app.folder().join("gate.pem"), app.ada.run(&["gate", "key"]).expect(0).out)
        .expect("a file");
    let verify = ["gate", "verify", "receipt.json", "--key", "gate.pem", "--artifact", ARTIFACT];
    // One: it is genuine, and says that the gate denied.
    app.ada.run(&verify).expect(1).says("denied");
    let pieces = decision["evidence"].as_array().expect("evidence");
    assert!(pieces.len() >= 9, "{pieces:?}");
    for piece in pieces {
        let (id, kept) = (decision["id"].as_str().expect("an id"), piece["kept"].as_str().expect("a digest"));
        let kept = app.admin.get(&format!("/v1/apps/discount/decisions/{id}/evidence/{kept}")).expect(200);
        assert!(!kept.to_string().contains("AKIA"), "{piece} is kept with its secret");
    }
}
