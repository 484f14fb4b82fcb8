//! Completions and man pages: made without a server, and used as shells use them.

use crate::running;

use std::process::Command;

use running::{folder, run, tidegate};

#[test]
fn bash_completes_commands_and_options() {
    let completions = run(tidegate().args(["completions", "bash"])).ends(0);
    let file = folder();
    let script = file.path().join("tidegate.bash");
    std::fs::write(&script, &completions.out).expect("a written file");
    let complete = |words: &str| {
        let ask = format!(
            "source {} && COMP_WORDS=({words}) && COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)) && \
             _tidegate tidegate \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\" && \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        run(Command::new("bash").args(["--norc", "-c", &ask])).ends(0).out
    };
    assert_eq!(complete("tidegate flag ki").trim(), "kill");
    assert!(complete("tidegate flag kill --rea").contains("--reason"));
    assert_eq!(complete("tidegate completions fi").trim(), "fish");
}

#[test]
fn zsh_and_fish_have_completions_too_and_other_shells_are_refused() {
    run(tidegate().args(["completions", "zsh"])).ends(0).says("#compdef tidegate").says("revive");
    run(tidegate().args(["completions", "fish"])).ends(0).says("complete -c tidegate").says("revive");
    run(tidegate().args(["completions", "csh"])).ends(2).complains("bash, zsh, fish");
}

#[cfg(target_os = "linux")]
#[test]
fn what_does_not_fit_on_the_disk_is_not_called_written() {
    for what in [&["completions", "bash"][..], &["man"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a disk that is full");
        let run = tidegate().args(what).stdout(full).output().expect("it runs");
        assert_eq!(run.status.code(), Some(1), "{what:?}");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(said.contains("cannot be written"), "{what:?}: {said}");
    }
}

#[test]
fn every_command_has_a_man_page() {
    run(tidegate().arg("man")).ends(0).says(".TH tidegate 1").says("Exit codes");
    let pages = folder();
    let into = pages.path().join("man1");
    run(tidegate().arg("man").arg(&into)).ends(0);
    for name in ["tidegate", "tidegate-serve", "tidegate-flag", "tidegate-flag-kill", "tidegate-completions"]
    {
        let page = std::fs::read_to_string(into.join(format!("{name}.1"))).expect(name);
        assert!(page.contains(".SH NAME") && page.contains(&name.replace('-', "\\-")), "{name}: {page}");
    }
    let occupied = pages.path().join("file");
    std::fs::write(&occupied, "").expect("a file");
    run(tidegate().arg("man").arg(&occupied)).ends(1).complains("error: ");
}
