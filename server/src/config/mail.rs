//! The settings of mail.

use std::path::PathBuf;

use rollout_rules::decide::is_address;

use super::validate::Reader;

/// The mail server that guardrails tell people by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub encryption: MailEncryption,
    /// Whom mail is from.
    pub from: String,
    /// Whom to log in as, and the file that holds the password.
    pub login: Option<(String, PathBuf)>,
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailEncryption {
    /// TLS from the first byte.
    Tls,
    /// TLS after a word in the clear, and nothing without it.
    Starttls,
    /// None.
    Off,
}

/// The mail server, if one is named.
#[allow(clippy::option_option, reason = "outside: whether it can be read; inside: whether there is mail")]
pub(super) fn mail(reader: &mut Reader<'_>) -> Option<Option<MailServer>> {
    let server =
        reader.read("mail.server", "a host and a port such as smtp.example.org:587, or nothing", |text| {
            if text.is_empty() {
                return Some(None);
            }
            let (host, port) = text.rsplit_once(':')?;
            let host = host.trim_matches(['[', ']']);
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
            let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
            (!host.is_empty() && host.chars().all(plain)).then(|| Some((host.to_owned(), port)))
        });
    let encryption = reader.read("mail.encryption", "starttls, tls or none", |text| match text {
        "starttls" => Some(MailEncryption::Starttls),
        "tls" => Some(MailEncryption::Tls),
        "none" => Some(MailEncryption::Off),
        _ => None,
    });
    let from = reader.read("mail.from", "a mail address such as tidegate@example.org, or nothing", |text| {
        (text.is_empty() || is_address(text)).then(|| text.to_owned())
    });
    let [user, password] = ["mail.user", "mail.password_file"].map(|path| reader.given(path));
    let (server, encryption, from) = (server?, encryption?, from?);
    let mut wrong = |paths: &[&'static str], problem: &str| {
        reader.conflict(paths, problem.to_owned());
        None
    };
    let Some((host, port)) = server else {
        if !from.is_empty() || user.is_some() || password.is_some() {
            return wrong(
                &["mail.server"],
                "mail is set up and no server is named: name one, or leave the rest out",
            );
        }
        return Some(None);
    };
    if from.is_empty() {
        return wrong(&["mail.server", "mail.from"], "say whom mail is from with `mail.from`");
    }
    let login = match (user, password) {
        (None, None) => None,
        (Some(user), Some(file)) => Some((user, PathBuf::from(file))),
        _ => {
            return wrong(
                &["mail.user", "mail.password_file"],
                "one is nothing without the other: name both",
            );
        }
    };
    if login.is_some() && encryption == MailEncryption::Off {
        let problem =
            "a password must not cross a network in the clear: use starttls or tls, or leave the user out";
        return wrong(&["mail.encryption", "mail.user"], problem);
    }
    Some(Some(MailServer { host, port, encryption, from, login }))
}
