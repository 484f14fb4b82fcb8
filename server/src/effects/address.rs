//! Where a webhook may lead. An address that somebody typed must not make the server knock at doors inside
//! the house: names are resolved, every address is checked, and the connection goes to a checked one, so
//! that a name that changes its mind in between gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Why an address is not called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It cannot be read.
    NoAddress,
    /// It would travel in the clear.
    PlainHttp,
    /// It is inside the house.
    Private(IpAddr),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NoAddress => f.write_str("not an address such as https://hooks.example.org/tidegate"),
            Unfit::PlainHttp => f.write_str(
                "plain http can be read on its way: use https, or set `webhooks.allow_private` in a network that you trust",
            ),
            Unfit::Private(ip) => write!(
                f,
                "{ip} is not an address of the public internet; such are called only with the setting `webhooks.allow_private`"
            ),
        }
    }
}

impl std::error::Error for Unfit {}

/// What can be told of an address before anybody is asked where its name leads.
pub(super) fn check(url: &str, allow_private: bool) -> Result<(), Unfit> {
    let uri: Uri = url.parse().map_err(|_| Unfit::NoAddress)?;
    let host = uri.host().ok_or(Unfit::NoAddress)?;
    if allow_private {
        return Ok(());
    }
    if uri.scheme_str() != Some("https") {
        return Err(Unfit::PlainHttp);
    }
    match host.trim_matches(['[', ']']).parse() {
        Ok(ip) if !is_public(ip) => Err(Unfit::Private(ip)),
        _ => Ok(()),
    }
}

/// Resolves names, and passes on only addresses that may be called.
#[derive(Debug, Default)]
pub(super) struct CheckedResolver {
    pub(super) allow_private: bool,
    resolver: DefaultResolver,
}

impl CheckedResolver {
    pub(super) fn new(allow_private: bool) -> CheckedResolver {
        CheckedResolver { allow_private, resolver: DefaultResolver::default() }
    }
}

impl Resolver for CheckedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        if self.allow_private {
            return Ok(found);
        }
        let mut fit = self.empty();
        for address in found.iter().filter(|address| is_public(address.ip())) {
            fit.push(*address);
        }
        match found.first() {
            Some(unfit) if fit.is_empty() => Err(Error::Other(Box::new(Unfit::Private(unfit.ip())))),
            _ => Ok(fit),
        }
    }
}

/// Whether an address is one of the public internet: what IANA has given out for it, and none of the
/// ranges set aside for a machine, a house, a link, tests or groups.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let set_aside = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18);
    !set_aside
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let words = ip.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match words {
        // An IPv4 address in IPv6's clothes, or behind a NAT64 or 6to4, is what it is inside.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        // Teredo and others that are for protocols; documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Nothing else has been given out.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_called() {
        let public =
            ["1.1.1.1", "192.0.1.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"];
        for ip in public {
            assert!(is_public(ip.parse().expect("an address")), "{ip}");
        }
        let private = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.19.0.1",
            "203.0.113.7",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:a9fe:a9fe",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for ip in private {
            assert!(!is_public(ip.parse().expect("an address")), "{ip}");
        }
    }

    #[test]
    fn what_is_typed_is_refused_at_once_where_it_can_be_told() {
        for (url, unfit) in [
            ("https://10.0.0.1/hook", Some(Unfit::Private(IpAddr::from([10, 0, 0, 1])))),
            ("https://[::1]:8443/", Some(Unfit::Private(IpAddr::V6(Ipv6Addr::LOCALHOST)))),
            ("http://hooks.example.org/", Some(Unfit::PlainHttp)),
            ("https:///hook", Some(Unfit::NoAddress)),
            ("https://hooks.example.org/a?b=c", None),
        ] {
            assert_eq!(check(url, false).err(), unfit, "{url}");
        }
        assert_eq!(check("http://127.0.0.1:9/", true), Ok(()));
    }
}
