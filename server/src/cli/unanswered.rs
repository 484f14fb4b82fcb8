//! A request without an answer: why none came, and what to do then.

use std::fmt;

/// A request without an answer.
#[derive(Debug)]
pub struct Unanswered {
    /// From where.
    pub url: String,
    /// The proxy that it went through.
    pub proxy: Option<String>,
    /// Whether something was to be changed.
    pub changes: bool,
    /// Why not.
    pub source: ureq::Error,
}

/// Of a change without an answer nobody knows whether it was made.
pub(super) const MAYBE_DONE: &str = "it may have been done all the same: look before you repeat it";

/// What answers plain HTTP with something else.
const SPEAKS_TLS: &str = "does it speak TLS there? then its address begins with https://";

/// What to do about a server's certificate that is not taken.
fn about_certificate(said: &str) -> &'static str {
    if said.contains("certificate expired") {
        return "it has to be renewed where the server runs, which takes new files by itself; or the clock of this \
                machine is wrong";
    }
    if said.contains("not valid yet") {
        return "is the clock of this machine right?";
    }
    if said.contains("not valid for name") {
        return "name the server by an address that its certificate is for, with --url or TIDEGATE_URL";
    }
    "if its certificate comes from a CA of your own, name that with --cacert or TIDEGATE_CACERT"
}

impl Unanswered {
    pub(super) fn io(&self) -> Option<&std::io::Error> {
        match &self.source {
            ureq::Error::Io(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the request cannot have reached a server.
    pub(super) fn never_left(&self) -> bool {
        use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, InvalidData, NetworkUnreachable};
        match &self.source {
            ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)
            | ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => true,
            ureq::Error::Io(error) => {
                // A name that is not found has no kind of its own; TLS that fails is invalid data.
                matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | InvalidData)
                    || error.to_string().starts_with("failed to lookup")
            }
            _ => false,
        }
    }

    pub(super) fn advice(&self) -> String {
        let said = self.source.to_string();
        if said.contains("invalid peer certificate") {
            return about_certificate(&said).to_owned();
        }
        if ["CertificateRequired", "received fatal alert: UnknownCA", "received fatal alert: BadCertificate"]
            .iter()
            .any(|alert| said.contains(alert))
        {
            return "the server takes only clients with a certificate that it knows: name yours with --cert and --key, \
                    or TIDEGATE_CERT and TIDEGATE_KEY"
                .to_owned();
        }
        if said.contains("InvalidContentType") {
            return "does it speak plain HTTP there? then its address begins with http://".to_owned();
        }
        let is_other_protocol =
            matches!(self.source, ureq::Error::Protocol(_)) && self.url.starts_with("http://");
        match (is_other_protocol, self.changes && !self.never_left()) {
            (true, true) => return format!("{SPEAKS_TLS}; if not, {MAYBE_DONE}"),
            (true, false) => return SPEAKS_TLS.to_owned(),
            (false, true) => return MAYBE_DONE.to_owned(),
            (false, false) => {}
        }
        let url = &self.url;
        format!(
            "is the server running there? `tidegate` starts one; --url or TIDEGATE_URL names another than {url}"
        )
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer from {}", self.url)?;
        if let Some(proxy) = &self.proxy {
            write!(f, " through the proxy {proxy}")?;
        }
        match self.io() {
            Some(error) => write!(f, ": {error}"),
            None => write!(f, ": {}", self.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use rustls::CertificateError::{
        ExpiredContext, NotValidForNameContext, NotValidYetContext, UnknownIssuer,
    };
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    fn advice(url: &str, changes: bool, source: ureq::Error) -> String {
        Unanswered { url: url.to_owned(), proxy: None, changes, source }.advice()
    }

    #[test]
    fn what_is_wrong_with_a_certificate_decides_what_to_do() {
        let of = |error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(error));
            advice("https://flags.example.org", true, ureq::Error::Io(error))
        };
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        assert!(of(UnknownIssuer).contains("--cacert"));
        assert!(of(ExpiredContext { time: at(2), not_after: at(1) }).contains("renewed"));
        assert!(of(NotValidYetContext { time: at(1), not_before: at(2) }).contains("clock"));
        let expected = ServerName::try_from("flags.example.org").expect("a name");
        let other_name = NotValidForNameContext { expected, presented: vec!["DnsName(\"b\")".to_owned()] };
        assert!(of(other_name).contains("--url"));
    }
}
