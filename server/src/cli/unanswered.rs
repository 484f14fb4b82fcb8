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
            return "if its certificate comes from a CA of your own, name that with --cacert or TIDEGATE_CACERT"
                .to_owned();
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
        if self.changes && !self.never_left() {
            return MAYBE_DONE.to_owned();
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
