//! Writes the settings in effect as a file that the server reads back.

use std::fmt::Write as _;

use super::setting::{SETTINGS, find};
use super::typed::{Origin, Typed};

/// The settings in effect as TOML, each with what it does, why its default is what it is, and where
/// the value stands if somebody typed it.
pub fn as_toml(typed: &Typed) -> String {
    let mut text = String::from(
        "# Tidegate's settings in effect. Flags win over TIDEGATE_… variables, those over a file.\n",
    );
    let mut table = "";
    for setting in SETTINGS {
        let (parent, key) = setting.path.rsplit_once('.').unwrap_or(("", setting.path));
        if parent != table {
            let _ = write!(text, "\n[{parent}]");
            table = parent;
        }
        let _ =
            write!(text, "\n# {}.\n# Default {}: {}.\n", setting.what, setting.shown_default(), setting.why);
        let value = match typed.get(setting.path) {
            Some(value) => {
                if value.origin != Origin::Default {
                    let _ = writeln!(text, "# From {}.", value.origin);
                }
                value.text.trim()
            }
            None => setting.default,
        };
        let _ = writeln!(text, "{key} = {}", as_value(value));
    }
    text
}

/// Numbers and truth values bare, everything else as a TOML string.
fn as_value(text: &str) -> String {
    let bare = matches!(text, "true" | "false")
        || text.parse::<u32>().is_ok_and(|number| number.to_string() == text);
    if bare {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The table of settings for the README: lives of flags in one row for each tier.
pub fn as_markdown() -> String {
    let mut text =
        String::from("| setting | default | what it does | why the default |\n| --- | --- | --- | --- |\n");
    for setting in SETTINGS.iter().filter(|setting| !setting.path.starts_with("expiry.")) {
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {} | {} |",
            setting.path,
            setting.shown_default(),
            setting.what,
            setting.why
        );
    }
    text.push_str("\nHow long flags live, in previews / sandboxes / production, as `expiry.default.tier0.preview` and so on:\n\n");
    text.push_str("| | `expiry.default` | `expiry.longest` |\n| --- | --- | --- |\n");
    for tier in ["tier0", "tier1", "tier2"] {
        let lives = |table: &str| {
            let one =
                |kind: &str| find(&format!("{table}.{tier}.{kind}")).map_or("", |setting| setting.default);
            format!("{} / {} / {}", one("preview"), one("sandbox"), one("production"))
        };
        let _ = writeln!(text, "| `{tier}` | {} | {} |", lives("expiry.default"), lives("expiry.longest"));
    }
    text
}
