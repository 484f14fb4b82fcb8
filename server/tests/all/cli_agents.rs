//! What a language model's act came from, at the command line.

use crate::running::{self, Server, run};

fn shop() -> Server {
    let server = Server::first_start();
    server.tool("app create shop --owner ada@example.org --tier 1").ends(0);
    server.tool("flag create checkout -a shop").ends(0);
    server
}

const AGENT: &str = "--as-agent m-1,editor,ada@example.org";

#[test]
fn who_approves_reads_which_prompt_an_agent_acted_on_what_it_wrote_and_who_reviewed_it() {
    let server = shop();
    let folder = running::folder();
    let prompt = folder.path().join("prompt.txt");
    std::fs::write(&prompt, "abc").expect("a file");
    // As `printf abc | sha256sum` begins.
    let digest = "sha256:ba7816bf8f01";
    let files: String = (1..=22).map(|nth| format!(" --agent-file src/{nth}.py")).collect();
    let work = format!("--agent-prompt {} --agent-reviewer grace{files}", prompt.display());
    let raise = "flag on checkout -a shop -e production --propose";
    let made = server.tool(&format!("{raise} {AGENT} {work} --json")).ends(0).json();
    let id = made["id"].as_str().expect("an id");
    let shown = server.tool(&format!("proposal show {id}")).ends(0);
    shown
        .says("agent m-1 via editor for ada@example.org\n")
        .says(&format!("prompt     {digest}"))
        .says("src/1.py, src/2.py")
        .says("src/20.py and 2 more\n")
        .says("reviewed   by grace, the agent says\n");
    for line in ["log", "flag history checkout -a shop", "proposal list"] {
        server
            .tool(line)
            .ends(0)
            .says(&format!(
                "agent m-1 via editor for ada@example.org: prompt {digest}…, 22 files (src/1.py, "
            ))
            .says("reviewed by grace");
    }
    let told = std::fs::read_to_string(&prompt).expect("it is there");
    assert!(
        !server.tool("log --json").ends(0).out.contains(&format!("\"{told}\"")),
        "only its digest is sent"
    );
}

#[test]
fn that_nobody_reviewed_an_agents_proposal_is_said() {
    let server = shop();
    let raise = format!("flag on checkout -a shop -e production --propose {AGENT} --json");
    let made = server.tool(&raise).ends(0).json();
    let id = made["id"].as_str().expect("an id");
    server
        .tool(&format!("proposal show {id}"))
        .ends(0)
        .says("prompt     not named\n")
        .says("reviewed   nobody reviewed it\n");
    // Whose proposal is a person's has none of it.
    let made = server.tool("flag on checkout -a shop -e production --propose --json").ends(0).json();
    let shown = server.tool(&format!("proposal show {}", made["id"].as_str().expect("an id"))).ends(0);
    assert!(!shown.out.contains("reviewed"), "{}", shown.out);
}

#[test]
fn variables_say_it_too_and_what_is_no_prompt_is_not_repeated() {
    let server = shop();
    let digest = "8b".repeat(32);
    let agent = |name: &str, said: &str| {
        let mut command = server.command();
        command.env("TIDEGATE_AGENT", "m-1,editor,ada").env("TIDEGATE_AGENT_FILES", "a.py,ü;.py");
        run(command.env(name, said).args(["flag", "on", "checkout", "-a", "shop", "-e", "sandbox"]))
    };
    agent("TIDEGATE_AGENT_PROMPT", &format!("sha256:{digest}")).ends(0);
    server
        .tool("log")
        .ends(0)
        .says(&format!("prompt sha256:{}…, 2 files (a.py, ü;.py), nobody", &digest[..12]));
    for wrong in ["sha256:8b8b", "make the shop sell more"] {
        let said =
            agent("TIDEGATE_AGENT_PROMPT", wrong).ends(2).complains("name the file that holds the prompt");
        assert!(!said.err.contains("sell"), "{}", said.err);
    }
    agent("TIDEGATE_AGENT_REVIEWER", "a\nb").ends(1).complains("the name of the reviewer");
    // A person names no agent.
    server.tool("flag list -a shop --agent-reviewer grace").ends(1).complains("Tidegate-Agent");
}
