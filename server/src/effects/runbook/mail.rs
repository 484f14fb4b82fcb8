//! Mail, by a server that the settings name.

use std::fmt;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::SmtpTransportBuilder;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{SmtpTransport, Transport as _};

use super::message::Message;

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte, as on port 465.
    Tls,
    /// TLS after a word in the clear, as on port 587; nothing is sent without it.
    Starttls,
    /// None, to a relay on the same machine or network.
    Off,
}

/// The mail server.
#[derive(Clone, PartialEq, Eq)]
pub struct MailOptions {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub encryption: Encryption,
    /// Whom mail is from.
    pub from: String,
    /// Whom to log in as, and with which password.
    pub login: Option<(String, String)>,
}

impl fmt::Debug for MailOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailOptions({}:{} from {})", self.host, self.port, self.from)
    }
}

/// Why mail was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotSent {
    pub(super) problem: String,
    /// Whether the same mail will never be taken.
    pub(super) for_good: bool,
}

/// Sends mail. It waits for the server: call it where waiting holds nobody up.
pub(super) fn send(
    options: &MailOptions,
    to: &[String],
    message: &Message,
    timeout: Duration,
) -> Result<String, NotSent> {
    let bad = |problem: String| NotSent { problem, for_good: true };
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| bad(format!("`{text}`: {error}")));
    // The same id however often it is sent: who gets it twice sees one.
    let (_, host) = options.from.rsplit_once('@').unwrap_or(("", "tidegate"));
    let name: String =
        message.id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let mut mail = MessageBuilder::new()
        .from(mailbox(&options.from)?)
        .message_id(Some(format!("<{name}@{host}>")))
        .subject(&message.subject)
        .header(ContentType::TEXT_PLAIN);
    for one in to {
        mail = mail.to(mailbox(one)?);
    }
    let mail = mail.body(message.text.clone()).map_err(|error| bad(error.to_string()))?;
    let transport = transport(options, timeout).map_err(|error| bad(error.to_string()))?;
    match transport.send(&mail) {
        Ok(response) => Ok(format!("the mail server answered {}", response.code())),
        Err(error) => Err(NotSent { for_good: error.is_permanent(), problem: chain(&error) }),
    }
}

fn transport(
    options: &MailOptions,
    timeout: Duration,
) -> Result<SmtpTransport, lettre::transport::smtp::Error> {
    let tls = || TlsParameters::builder(options.host.clone()).build_rustls();
    let tls = match options.encryption {
        Encryption::Tls => Tls::Wrapper(tls()?),
        Encryption::Starttls => Tls::Required(tls()?),
        Encryption::Off => Tls::None,
    };
    let builder: SmtpTransportBuilder = SmtpTransport::builder_dangerous(&options.host);
    let mut builder = builder.port(options.port).tls(tls).timeout(Some(timeout));
    if let Some((user, password)) = &options.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
    }
    Ok(builder.build())
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}
