//! The way to the server: its address, and TLS on it.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rollout_rules::time::UnixMs;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ProtocolVersion};

use super::{Finding, WARN_DAYS};
use crate::certificate::{days_left, valid_until};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::session::CallOptions;
use crate::cli::trust::Trust;
use crate::clock::Clock;

/// How long a connection and a handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether there is a way at all.
pub(super) fn examine(
    client: &Client,
    call: &CallOptions,
    findings: &mut Vec<Finding>,
) -> Result<bool, Failure> {
    let (host, port, encrypted) = client.place();
    if let Some(proxy) = client.proxy() {
        let found = format!("{host}:{port} is reached through the proxy {proxy}");
        let advice = "if streams do not pass it, name the server in NO_PROXY";
        findings.push(Finding::warning("address", found, advice));
        return Ok(true);
    }
    let stream = match connect(&host, port) {
        Ok(stream) => stream,
        Err(error) => {
            let advice = "is the server running there, and does a firewall let you through? --url or TIDEGATE_URL \
                          name another place";
            findings.push(Finding::failed("address", format!("{host}:{port}: {error}"), advice));
            return Ok(false);
        }
    };
    findings.push(Finding::ok("address", format!("{host}:{port} takes connections")));
    if !encrypted {
        let here = stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
        findings.push(if here {
            Finding::ok("tls", "plain HTTP, which does not leave this machine")
        } else {
            let advice = "whoever can read the network can read the tokens: give the server a certificate \
                          (tls.certificate), or put a TLS proxy before it";
            Finding::warning("tls", "plain HTTP to another machine", advice)
        });
        return Ok(true);
    }
    let trust = Trust::read(&call.tls())?;
    match handshake(stream, &host, &trust) {
        Ok((version, until)) => {
            findings.push(judge(version, until, Clock::system().now()));
            Ok(true)
        }
        Err(problem) => {
            let advice = if problem.contains("InvalidContentType") {
                "does it speak plain HTTP there? then its address begins with http://"
            } else {
                "the certificate has to be for this name, in date, and of a CA that this machine trusts or that \
                 --cacert names"
            };
            findings.push(Finding::failed("tls", problem, advice));
            Ok(false)
        }
    }
}

/// Whether TLS is spoken at an address that begins with `http://`.
pub(super) fn is_tls_taken_for_plain(client: &Client, call: &CallOptions) -> bool {
    let (host, port, encrypted) = client.place();
    if encrypted || client.proxy().is_some() {
        return false;
    }
    let (Ok(stream), Ok(trust)) = (connect(&host, port), Trust::read(&call.tls())) else { return false };
    match handshake(stream, &host, &trust) {
        Ok(_) => true,
        // Only who speaks TLS shows a certificate, whether it is a good one or not.
        Err(problem) => problem.contains("certificate"),
    }
}

fn judge(version: &str, until: Option<UnixMs>, now: UnixMs) -> Finding {
    let Some(until) = until else {
        return Finding::ok("tls", format!("{version}, with a certificate whose end cannot be read"));
    };
    match days_left(until, now) {
        Some(days) if days >= WARN_DAYS => {
            Finding::ok("tls", format!("{version}, certificate for {days} days more"))
        }
        left => Finding::warning(
            "tls",
            format!("{version}, certificate for only {} days more", left.unwrap_or(0)),
            "renew it: the server takes the new files by itself",
        ),
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The version that both agree on, and the end of the server's certificate.
fn handshake(
    mut stream: TcpStream,
    host: &str,
    trust: &Trust,
) -> Result<(&'static str, Option<UnixMs>), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
    let config = trust.of_connections().map_err(|error| failed(&error))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| failed(&error))?;
    stream.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(|error| failed(&error))?;
    stream.set_write_timeout(Some(CONNECT_TIMEOUT)).map_err(|error| failed(&error))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| failed(&error))?;
    }
    connection.send_close_notify();
    // Whether it is heard does not matter any more.
    let _ = connection.complete_io(&mut stream);
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS 1.3",
    };
    let first = connection.peer_certificates().and_then(|chain| chain.first());
    Ok((version, first.and_then(|der| valid_until(der))))
}

#[cfg(test)]
mod tests {
    use rollout_rules::time::DurationMs;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_certificate_that_ends_soon_is_warned_of() {
        let now = UnixMs(1_800_000_000_000);
        let verdict = |days: u64| {
            judge("TLS 1.3", Some(now.plus(DurationMs::days(days)).plus(DurationMs(1))), now).verdict
        };
        assert_eq!((verdict(13), verdict(14)), (Verdict::Warning, Verdict::Ok));
        assert_eq!(judge("TLS 1.3", None, now).verdict, Verdict::Ok);
    }
}
