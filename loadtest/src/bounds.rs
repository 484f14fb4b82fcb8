//! Where load may go: to this machine, and nowhere else.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};

/// A server that somebody names by its URL.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// For the header `host`.
    pub(crate) host: String,
    /// What goes before every path: empty, or a path without a slash at its end.
    pub(crate) base: String,
}

/// Why a URL is no target.
#[derive(Debug)]
pub(crate) enum NoTarget {
    /// It does not begin with `http://`, or there is no host in it, or more than a path behind it.
    NotPlain(String),
    /// The host has no address.
    Unknown { host: String, source: std::io::Error },
    /// The host has addresses that are not of this machine alone.
    NotLoopback { host: String, address: SocketAddr },
}

impl fmt::Display for NoTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoTarget::NotPlain(url) => write!(
                f,
                "`{url}` is no target: it has to be http://HOST:PORT, with a path behind it at most; TLS is not measured"
            ),
            NoTarget::Unknown { host, source } => write!(f, "`{host}` has no address: {source}"),
            NoTarget::NotLoopback { host, address } => write!(
                f,
                "`{host}` is at {}, which is not this machine alone: load goes to loopback only; run loadtest beside the server",
                address.ip()
            ),
        }
    }
}

impl std::error::Error for NoTarget {}

impl Target {
    /// Reads a URL, and asks for its address.
    pub(crate) fn of(url: &str) -> Result<Target, NoTarget> {
        let no_target = || NoTarget::NotPlain(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(no_target)?;
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\".contains(&byte));
        if host.is_empty() || !is_plain(host) || !is_plain(path) {
            return Err(no_target());
        }
        let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
            port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']'))
        });
        let named = if has_port { host.to_owned() } else { format!("{host}:80") };
        let found = named
            .to_socket_addrs()
            .map_err(|source| NoTarget::Unknown { host: host.to_owned(), source })?
            .collect::<Vec<_>>();
        // A name with one foot outside is as good as outside.
        if let Some(address) = found.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
            return Err(NoTarget::NotLoopback { host: host.to_owned(), address: *address });
        }
        let address = *found.first().ok_or_else(no_target)?;
        Ok(Target { address, host: host.to_owned(), base: path.trim_end_matches('/').to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_on_this_machine() {
        let target = Target::of("http://127.0.0.1:8016").unwrap();
        assert_eq!((target.address.to_string().as_str(), target.base.as_str()), ("127.0.0.1:8016", ""));
        let target = Target::of("http://[::1]:8016/flags/").unwrap();
        assert_eq!(
            (target.address.port(), target.host.as_str(), target.base.as_str()),
            (8016, "[::1]:8016", "/flags")
        );
        assert_eq!(Target::of("http://127.9.9.9").unwrap().address.port(), 80);
    }

    #[test]
    fn whatever_is_not_on_this_machine_is_refused() {
        for url in [
            "http://192.0.2.1:80",
            "http://10.0.0.1",
            "http://[2001:db8::1]:80",
            "http://0.0.0.0:80",
            "http://[::ffff:192.0.2.1]:1",
        ] {
            let refused = Target::of(url).unwrap_err();
            assert!(matches!(refused, NoTarget::NotLoopback { .. }), "{url}: {refused}");
        }
        for url in [
            "https://127.0.0.1",
            "127.0.0.1:80",
            "http://",
            "http://a@127.0.0.1",
            "http://127.0.0.1/?a",
            "http://127.0.0.1:80 x",
        ] {
            let refused = Target::of(url).unwrap_err();
            assert!(matches!(refused, NoTarget::NotPlain(_)), "{url}: {refused}");
        }
    }
}
