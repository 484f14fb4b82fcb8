//! The file of settings.

use std::path::Path;

use tidegate::config::setting::SETTINGS;
use tidegate::config::typed::Typed;
use tidegate::config::{Config, ConfigProblem, Warning, show, validate};

use crate::mutate::{Chance, line};
use crate::run::{Outcome, Target};
use crate::shapes::manner;

const TOKENS: &[&str] = &[
    "[limits]\n",
    "[expiry.longest.tier0]\n",
    "[[limits]]\n",
    "limits.body = ",
    "listen = ",
    "cors.origins = [\"*\"]\n",
    "= ",
    "\"",
    "'''",
    "\"\"\"\n",
    "0x10",
    "1_000",
    "inf",
    "nan",
    "true",
    "1979-05-27T07:32:00Z",
    "{ a = 1 }",
    "[1, [2]]",
    "# ",
    "\r\n",
    "\u{feff}",
    "99999999999999999999d",
    "1w2d3h",
    "256KiB",
    "100%",
    "[::1]:0",
    "é",
];

/// Values that settings take.
const VALUES: &[&str] = &[
    "true",
    "0",
    "1",
    "2_048",
    "\"1_0MiB\"",
    "\"[::]:8080\"",
    "\"10.0.0.1:80\"",
    "\"/etc/tidegate/file.pem\"",
    "\"required\"",
    "\"optional\"",
    "\"everyone\"",
    "[\"https://a.example\", \"http://[::1]:8080\"]",
    "[\"https://a.example\", \"\", \"https://b.example:444\"]",
    "\"https://flags.example.org\"",
    "\"0.001%\"",
    "\"33.333%\"",
    "\"1h30m15s250ms\"",
    "1979-05-27",
    "{ a = 1 }",
];

const FILES: [&str; 10] = [
    "",
    "listen = \"127.0.0.1:1\"\nnode_id = \"f\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n",
    "listen = \"0.0.0.0:80\"\ninsecure_http = true\npublic_url = \"https://flags.example.org\"\n",
    "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\nclient_certificates = \"required\"\nclient_ca = \"ca.pem\"\n",
    "listen = \"[::]:80\"\ninsecure_http = true\nlimits.body = \"1_0MiB\"\n",
    "[limits]\nconnections = 1000\nstreams = 500\nin_flight = 64\nbody = \"64KiB\"\nrequests_per_second = 0\n",
    "[expiry.default.tier0]\nproduction = \"7d\"\n[expiry.longest.tier0]\nproduction = \"21d\"\n",
    "[cors]\norigins = [\"https://a.example\", \"https://b.example\"]\n[metrics]\naccess = \"nobody\"\n",
    "[approvals]\ntier2 = 3\nproposal_life = \"36h\"\n",
    "shutdown_grace = \"1m30s\"\nworkers = 4\nlimits.keep_alive = \"75s\"\nlimits = { burst = 5 }\n",
];

/// What a text is taken for, as the server would read it from a file.
fn understand(text: &str) -> (Option<Config>, Typed, Vec<ConfigProblem>, Vec<Warning>) {
    let (mut typed, mut problems, mut warnings) = (Typed::default(), Vec::new(), Vec::new());
    typed.read_toml(Path::new("tidegate.toml"), text, &mut problems);
    let config = validate::check(&typed, &mut problems, &mut warnings);
    (config, typed, problems, warnings)
}

/// Says a setting otherwise, or another one as well: by a value that some setting takes.
fn restructure(text: &mut Vec<u8>, other: &[u8], chance: &mut Chance) -> bool {
    let setting = &SETTINGS[chance.below(SETTINGS.len())];
    let value = match chance.below(4) {
        0 => chance.pick(VALUES).to_owned(),
        1 => edge(setting.default, chance),
        2 => format!("\"{}\"", SETTINGS[chance.below(SETTINGS.len())].default),
        _ => value_of(other, chance).unwrap_or_default(),
    };
    let at = chance.below(text.len() + 1);
    let here = line(text, at);
    let equals = text[here.clone()].iter().position(|byte| *byte == b'=');
    match (chance.below(3), equals) {
        (0, Some(equals)) => {
            text.splice(here.start + equals + 1..here.end, format!(" {value}").bytes());
        }
        (1, _) => {
            // Once only: a second one would be refused.
            let lines =
                text.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(setting.path.as_bytes()));
            *text = lines.collect::<Vec<_>>().join(&b'\n');
            text.splice(0..0, format!("{} = {value}\n", setting.path).bytes());
        }
        _ => {
            // Several that belong together.
            let table = setting.path.split('.').next().unwrap_or_default();
            let kin = SETTINGS.iter().filter(|kin| kin.path.starts_with(table));
            let lines = kin.map(|kin| format!("{} = {}\n", kin.path, edge(kin.default, chance)));
            *text = lines.collect::<String>().into_bytes();
        }
    }
    true
}

/// A default, or another value of its kind.
fn edge(default: &str, chance: &mut Chance) -> String {
    let digits = default.bytes().take_while(u8::is_ascii_digit).count();
    let factor = chance.pick(&["", "0", "00", "000"]);
    match (chance.below(3), digits) {
        (0, _) | (_, 0) => format!("\"{default}\""),
        // More, or little of it: units and what comes before them stay.
        (1, digits) => format!("\"{}{factor}{}\"", &default[..digits], &default[digits..]),
        (_, digits) => format!("\"{}{}\"", 1 + chance.below(9), &default[digits..]),
    }
}

/// What stands behind an equals sign.
fn value_of(text: &[u8], chance: &mut Chance) -> Option<String> {
    let here = line(text, chance.below(text.len() + 1));
    let value = text[here].split(|byte| *byte == b'=').nth(1)?;
    Some(String::from_utf8_lossy(value).trim().to_owned())
}

/// Whether a mistake is told with its place: a line that the file has, or the names of settings.
fn is_placed(problem: &str, text: &str) -> bool {
    let lines = text.matches('\n').count() + 1;
    let line = problem.split("tidegate.toml line ").nth(1).map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().is_ok_and(|line| (1..=lines).contains(&line))
    });
    line.unwrap_or_else(|| SETTINGS.iter().any(|setting| problem.contains(&format!("`{}`", setting.path))))
}

#[test]
fn whatever_stands_in_the_file_of_settings_is_understood_or_every_mistake_is_told_with_its_place() {
    let read = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::Refused("not text".to_owned()) };
        let (config, typed, problems, warnings) = understand(text);
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let (again, _, other_problems, other_warnings) = understand(text);
        let other_said: Vec<String> = other_problems.iter().map(ToString::to_string).collect();
        assert_eq!((&config, &said, &warnings), (&again, &other_said, &other_warnings));
        for problem in &said {
            assert!(is_placed(problem, text), "where is it? {problem}");
        }
        match config {
            Some(config) if problems.is_empty() => {
                let printed = show::as_toml(&typed);
                let (read, _, problems, _) = understand(&printed);
                assert!(problems.is_empty(), "{problems:?} in {printed}");
                assert_eq!(read, Some(config), "what is printed is read back: {printed}");
                let set: Vec<&str> =
                    SETTINGS.iter().map(|s| s.path).filter(|path| typed.get(path).is_some()).collect();
                let manners = set
                    .iter()
                    .map(|path| format!("{path} = {}", manner(&typed.get(path).expect("set").text)));
                let mut features: Vec<String> = manners.collect();
                features.extend(warnings.iter().map(|warning| manner(&warning.to_string())));
                features.push(set.join(" "));
                Outcome::Taken(features)
            }
            config => {
                assert!(!problems.is_empty(), "nothing is wrong, and there is nothing: {config:?}");
                Outcome::Refused(said.join("; "))
            }
        }
    };
    let mut golden: Vec<Vec<u8>> = FILES.iter().map(|text| text.as_bytes().to_vec()).collect();
    golden.push(show::as_toml(&Typed::default()).into_bytes());
    let one = |setting: &tidegate::config::setting::Setting| {
        format!("{} = \"{}\"\n", setting.path, setting.default)
    };
    golden.extend(SETTINGS.iter().map(|setting| one(setting).into_bytes()));
    Target { name: "settings", golden, tokens: TOKENS, restructure: &restructure, inputs: 800, read: &read }
        .run();
}
