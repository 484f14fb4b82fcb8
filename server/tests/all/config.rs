//! Settings: where they come from, which one wins, and what is said about mistakes.

use std::path::{Path, PathBuf};

use rollout_rules::governance::Rules;
use tidegate::config::setting::SETTINGS;
use tidegate::config::typed::Origin;
use tidegate::config::{ClientCertificates, ConfigProblem, CorsOrigins, Loaded, Sources, Warning, show};

fn sources(file: Option<&Path>, env: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Sources {
    Sources {
        file: file.map(Path::to_owned),
        env: env.iter().map(|(name, text)| (name.into(), text.into())).collect(),
        flags: flags.iter().map(|(path, text)| (*path, (*text).to_owned())).collect(),
    }
}

fn good(sources: Sources) -> Loaded {
    sources.load().unwrap_or_else(|error| panic!("{error}"))
}

fn mistakes(sources: Sources) -> Vec<String> {
    let error = sources.load().expect_err("these settings are wrong");
    error.problems.iter().map(ToString::to_string).collect()
}

struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tidegate.toml");
    std::fs::write(&path, text).expect("a file");
    File { _dir: dir, path }
}

#[test]
fn without_any_setting_the_defaults_stand_and_agree_with_the_rules_of_the_domain() {
    let loaded = good(Sources::default());
    assert_eq!(loaded.config.rules, Rules::default());
    assert_eq!(loaded.config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(loaded.config.cors_origins, CorsOrigins::Any);
    assert_eq!(loaded.config.limits.body_bytes, 256 * 1024);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file =
        file("listen = \"127.0.0.1:1\"\nnode_id = \"f\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n");
    let env = [("TIDEGATE_LISTEN", "127.0.0.1:2"), ("TIDEGATE_LOG_LEVEL", "debug")];
    let loaded = good(sources(Some(&file.path), &env, &[("listen", "127.0.0.1:3")]));
    assert_eq!(loaded.config.listen.port(), 3);
    assert_eq!(loaded.config.log_level.as_str(), "debug");
    assert_eq!(loaded.config.node_id.as_str(), "f");
    assert_eq!(loaded.typed.get("listen").expect("typed").origin, Origin::Flag("--listen".to_owned()));
}

#[test]
fn all_mistakes_are_reported_at_once_with_where_they_stand_and_what_to_write() {
    let file = file(
        "listen = \"everywhere\"\n\n[limits]\nconections = 5\nstreams = -1\n\n[approvals]\ntier1 = \"many\"\n",
    );
    let env = [("TIDEGATE_SHUTDOWN_GRACE", "10"), ("TIDEGATE_LOG_FROMAT", "json")];
    let found = mistakes(sources(Some(&file.path), &env, &[("data_dir", "")]));
    let all = found.join("\n");
    assert_eq!(found.len(), 7, "{all}");
    for part in [
        "tidegate.toml line 1: `listen` cannot be `everywhere`: write an IP address and a port",
        "tidegate.toml line 4: there is no setting `limits.conections`; did you mean `limits.connections`?",
        "tidegate.toml line 5: `limits.streams` cannot be `-1`: write a whole number from 1",
        "tidegate.toml line 8: `approvals.tier1` cannot be `many`",
        "environment variable TIDEGATE_SHUTDOWN_GRACE: `shutdown_grace` cannot be `10`: write a length of time",
        "there is no setting `TIDEGATE_LOG_FROMAT`; did you mean `TIDEGATE_LOG_FORMAT`?",
        "flag --data-dir: `data_dir` cannot be ``",
    ] {
        assert!(all.contains(part), "`{part}` is missing in:\n{all}");
    }
}

#[test]
fn a_broken_file_hides_no_other_mistake() {
    let file = file("listen = \n");
    let found = mistakes(sources(Some(&file.path), &[("TIDEGATE_LOG_LEVEL", "loud")], &[]));
    let all = found.join("\n");
    assert!(all.contains("tidegate.toml line 1: not TOML"), "{all}");
    assert!(all.contains("`log.level` cannot be `loud`"), "{all}");
}

#[test]
fn a_file_that_was_named_and_is_not_there_is_a_mistake() {
    let missing = Path::new("/nonexistent/tidegate.toml");
    assert!(mistakes(sources(Some(missing), &[], &[]))[0].contains("cannot be read"));
}

#[test]
fn other_machines_are_let_in_over_plain_http_only_when_that_is_said() {
    let refused = sources(None, &[], &[("listen", "0.0.0.0:8080")]).load().expect_err("not loopback");
    assert!(matches!(&refused.problems[..], [ConfigProblem::Conflict { .. }]), "{refused}");
    assert!(refused.to_string().contains("insecure_http = true"), "{refused}");

    let said = good(sources(None, &[], &[("listen", "0.0.0.0:8080"), ("insecure_http", "true")]));
    assert_eq!(said.warnings, [Warning::InsecureHttp(said.config.listen)]);
    assert_eq!(good(sources(None, &[], &[("listen", "[::1]:0")])).warnings, []);
}

#[test]
fn with_a_certificate_other_machines_are_let_in_without_a_word() {
    let files =
        [("listen", "0.0.0.0:8443"), ("tls.certificate", "/etc/cert.pem"), ("tls.key", "/etc/key.pem")];
    let loaded = good(sources(None, &[], &files));
    assert_eq!(loaded.warnings, []);
    let tls = loaded.config.tls.expect("files of TLS");
    assert_eq!(tls.clients, ClientCertificates::Off);
    assert_eq!(tls.certificate, Path::new("/etc/cert.pem"));
    let half = sources(None, &[("TIDEGATE_TLS_KEY", "/etc/key.pem")], &[("listen", "0.0.0.0:8443")]);
    assert!(mistakes(half).iter().any(|mistake| mistake.contains("name both files")));
}

#[test]
fn a_default_life_may_not_pass_the_longest() {
    let file =
        file("[expiry.default.tier0]\nproduction = \"60d\"\n[expiry.longest.tier0]\nproduction = \"21d\"\n");
    let found = mistakes(sources(Some(&file.path), &[], &[]));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("line 2") && found[0].contains("line 4"), "{}", found[0]);
    assert!(found[0].contains("60d is longer than the longest life of 21d"), "{}", found[0]);
}

#[test]
fn variables_of_others_are_left_alone() {
    let env = [
        ("TIDEGATE_TOKEN", "tg_x"),
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_PORT", "tcp://10.0.0.1:8080"),
        ("TIDEGATE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("TIDEGATE_SOMETHING_OF_OURS", "1"),
        ("PATH", "/bin"),
    ];
    let loaded = good(sources(None, &env, &[]));
    assert_eq!(loaded.warnings, [Warning::UnknownVariable("TIDEGATE_SOMETHING_OF_OURS".to_owned())]);
}

#[test]
fn what_is_printed_is_read_back_the_same() {
    let env = [
        ("TIDEGATE_LISTEN", "[::1]:9"),
        ("TIDEGATE_CORS_ORIGINS", "https://a.example, https://b.example"),
        ("TIDEGATE_LIMITS_REQUESTS_PER_SECOND", "0"),
        ("TIDEGATE_EXPIRY_LONGEST_TIER2_PRODUCTION", "120d"),
        ("TIDEGATE_DATA_DIR", "/tmp/a \"quoted\" \\ path"),
    ];
    let first = good(sources(None, &env, &[]));
    assert_eq!(first.config.limits.requests_per_second, None);
    let printed = show::as_toml(&first.typed);
    assert!(printed.contains("# From environment variable TIDEGATE_LISTEN."), "{printed}");
    let file = file(&printed);
    assert_eq!(good(sources(Some(&file.path), &[], &[])).config, first.config);
}

#[test]
fn every_setting_can_be_typed_in_all_three_ways() {
    for setting in SETTINGS {
        let env = setting.env_name();
        let loaded = good(sources(None, &[(&env, setting.default)], &[]));
        assert_eq!(loaded.typed.get(setting.path).expect(setting.path).origin, Origin::Env(env));
        good(sources(None, &[], &[(setting.path, setting.default)]));
    }
}

#[test]
fn a_list_may_be_written_as_a_toml_array() {
    let file = file("[cors]\norigins = [\"https://a.example\", \"https://b.example\"]\n");
    let origins = good(sources(Some(&file.path), &[], &[])).config.cors_origins;
    let both = vec!["https://a.example".to_owned(), "https://b.example".to_owned()];
    assert_eq!(origins, CorsOrigins::Only(both));
}

#[test]
fn the_readme_lists_every_setting_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(&path).expect("the README");
    let (begin, end) = ("<!-- settings -->\n", "<!-- /settings -->");
    let (before, rest) = readme.split_once(begin).expect("the README has a place for settings");
    let (found, after) = rest.split_once(end).expect("the place ends");
    let wanted = show::as_markdown();
    if found != wanted && std::env::var_os("TIDEGATE_TEST_UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{begin}{wanted}{end}{after}")).expect("the README is ours");
        return;
    }
    assert_eq!(found, wanted, "bring it up to date with TIDEGATE_TEST_UPDATE=1");
}

#[test]
fn a_name_of_digits_alone_is_printed_so_that_it_is_read_back_as_it_was() {
    for name in ["007", "12"] {
        let printed = show::as_toml(&good(sources(None, &[], &[("node_id", name)])).typed);
        let file = file(&printed);
        assert_eq!(good(sources(Some(&file.path), &[], &[])).config.node_id.as_str(), name);
    }
}
