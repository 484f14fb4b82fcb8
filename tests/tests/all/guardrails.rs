//! Made-up rollouts, from seeds, against the fold that judges real ones: what is broken is found, what is not is left alone.

use std::process::Command;

#[test]
fn made_up_rollouts_meet_their_bars() {
    let out = Command::new(env!("CARGO_BIN_EXE_guardrail-sim"))
        .args(["--short", "--runs", "16", "--no-rivals"])
        .output()
        .expect("the simulation runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    for id in ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B7b", "B8", "B9", "B10", "B13"] {
        assert!(said.lines().any(|line| line.starts_with(&format!("{id} "))), "{id} did not run: {said}");
    }
}
