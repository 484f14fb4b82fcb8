//! Text taken from evidence: cut to what is kept, in one line, and without what looks like a secret.

use rollout_rules::gate::facts::MAX_FACT_BYTES;
use rollout_rules::ids::Digest;

/// What stands where something was taken out.
pub(super) const REDACTED: &str = "[redacted]";
/// Words that long which mix upper case, lower case and digits are taken for secrets.
const MIXED_SECRET_BYTES: usize = 32;
/// What a text speaks of when it may quote a secret.
const SECRET_WORDS: [&str; 14] = [
    "credential",
    "credentials",
    "key",
    "keys",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
    "apikey",
];
/// How secrets of well-known services start, and from which length on a word that starts so is one.
const PREFIXES: [(&str, usize); 22] = [
    ("AKIA", 20),
    ("ASIA", 20),
    ("AIza", 30),
    ("eyJ", 30),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("glpat-", 20),
    ("npm_", 20),
    ("pypi-", 20),
    ("sk-", 20),
    ("sk_live_", 20),
    ("sk_test_", 20),
    ("rk_live_", 20),
    ("xoxa-", 15),
    ("xoxb-", 15),
    ("xoxp-", 15),
    ("SG.", 30),
    ("hvs.", 20),
];

/// The text, cut to [`MAX_FACT_BYTES`].
pub(in crate::gate) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_FACT_BYTES)].to_owned()
}

/// The first line of a text that says something: without control characters, without what looks like a secret, and cut.
pub(super) fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    // Twice what is kept: a secret that the cut would halve is still seen whole.
    let shown: String = line.chars().filter(|c| is_shown(*c)).take(2 * MAX_FACT_BYTES).collect();
    cut(masked(&shown).trim())
}

/// A name as it is kept: no control characters, and cut.
pub(super) fn name(text: &str) -> String {
    let shown: String = text.chars().filter(|c| is_shown(*c)).take(MAX_FACT_BYTES).collect();
    cut(shown.trim())
}

/// A path as it is compared: with `/`, without `./` before it, and cut.
pub(super) fn path(text: &str) -> String {
    let text = text.trim().replace('\\', "/");
    let mut rest = text.strip_prefix("file://").unwrap_or(&text);
    while let Some(shorter) = rest.strip_prefix("./") {
        rest = shorter;
    }
    name(rest)
}

/// Control characters, and those that turn the direction of text, could make a report read as what it does not say.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with each word that looks like a secret replaced.
pub(super) fn masked(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=' | '.');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let gap = rest.find(is_word).unwrap_or(rest.len());
        let (between, words) = rest.split_at(gap);
        out.push_str(between);
        let end = words.find(|c| !is_word(c)).unwrap_or(words.len());
        let (word, after) = words.split_at(end);
        match secret_start(word) {
            Some(at) => {
                out.push_str(word.get(..at).unwrap_or_default());
                out.push_str(REDACTED);
            }
            None => out.push_str(word),
        }
        rest = after;
    }
    out
}

/// Where in a word a secret starts. `KEY=AKIA…` is one word, so each part after a `=`, `/` or `.` is looked at.
fn secret_start(word: &str) -> Option<usize> {
    let starts =
        core::iter::once(0).chain(word.match_indices(['=', '/', '.']).map(|(at, mark)| at + mark.len()));
    for at in starts {
        let part = word.get(at..).unwrap_or_default();
        if PREFIXES.iter().any(|(prefix, least)| part.starts_with(prefix) && part.len() >= *least) {
            return Some(at);
        }
    }
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().filter(|byte| is(byte)).count();
    let mixed = word.len() >= MIXED_SECRET_BYTES && !word.contains(['.', '_']);
    // Long names in camel case have a digit now and then; base64 has marks that names have not.
    let digits = if word.contains(['/', '+']) { 1 } else { 2 };
    let is_mixed = mixed
        && has(u8::is_ascii_digit) >= digits
        && has(u8::is_ascii_uppercase) >= 2
        && has(u8::is_ascii_lowercase) >= 2;
    is_mixed.then_some(0)
}

/// The text without what it quotes, if it speaks of passwords and the like: some scanners of code quote the very secret.
pub(super) fn without_quoted_secrets(text: &str) -> String {
    if !has_word(text, &SECRET_WORDS) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, mark)) = rest.char_indices().find(|(_, c)| matches!(c, '\'' | '"' | '`')) {
        let (before, quoted) = rest.split_at(at);
        out.push_str(before);
        let inner = quoted.get(1..).unwrap_or_default();
        out.push(mark);
        out.push_str(REDACTED);
        let Some((_, after)) = inner.split_once(mark) else { return out };
        out.push(mark);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The fingerprint of something found, from what it is made of. A zero byte between parts keeps `ab`, `c` from being `a`, `bc`.
pub(super) fn fingerprint(parts: &[&str]) -> Digest {
    Digest::of(parts.join("\0").as_bytes())
}

/// The words of a name in lower case: split where it is no letter or digit, and where an upper case letter follows a lower one.
pub(super) fn has_word(name: &str, wanted: &[&str]) -> bool {
    let mut word = String::new();
    let mut before = ' ';
    for c in name.chars().chain([' ']) {
        let ends = !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase());
        if ends {
            if wanted.contains(&word.as_str()) {
                return true;
            }
            word.clear();
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    false
}
