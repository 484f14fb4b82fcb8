//! The operator's tool and a server behind a TLS proxy, with a certificate from a CA of one's own.

use crate::running;

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use running::{Following, Server, run, tidegate};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A CA that no machine trusts.
fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// The proxy's TLS, with a certificate of the CA for this name.
fn certified(issuer: &Issuer, name: &str) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).expect("a certificate"))
}

/// A TLS proxy before a server; it goes on until the test ends.
fn proxy(server: &Server, config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let behind = server.url.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (config, behind) = (config.clone(), behind.clone());
            // A client that does not trust the certificate hangs up: that ends its thread and nothing else.
            std::thread::spawn(move || pass_on(stream, config, &behind));
        }
    });
    address
}

/// Passes one request on, and its answer back as it comes.
fn pass_on(stream: TcpStream, config: Arc<ServerConfig>, behind: &str) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut client = BufReader::new(StreamOwned::new(connection, stream));
    let (mut head, mut length) = (String::from(""), 0);
    loop {
        let mut line = String::new();
        if client.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(("content-length", value)) = line.to_ascii_lowercase().split_once(':') {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    let mut server = TcpStream::connect(behind)?;
    write!(server, "{head}connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    let mut client = client.into_inner();
    let mut piece = [0; 4096];
    loop {
        let read = server.read(&mut piece)?;
        if read == 0 {
            client.conn.send_close_notify();
            return client.flush();
        }
        client.write_all(&piece[..read])?;
        client.flush()?;
    }
}

fn stored(folder: &Path, issuer: &Issuer) -> PathBuf {
    let path = folder.join("ca.pem");
    std::fs::write(&path, issuer.pem()).expect("a file");
    path
}

fn tool(server: &Server, address: SocketAddr, host: &str, line: &str) -> Command {
    let mut command = tidegate();
    let url = format!("https://{host}:{}", address.port());
    command.env("TIDEGATE_URL", url).env("TIDEGATE_TOKEN", &server.token).args(line.split(' '));
    command
}

#[test]
fn a_server_behind_tls_is_operated_like_any_other_once_its_ca_is_named() {
    let (server, issuer, folder) = (Server::first_start(), authority(), running::folder());
    let address = proxy(&server, certified(&issuer, "localhost"));
    let ca = stored(folder.path(), &issuer);
    let trusting = |line: &str| {
        let mut command = tool(&server, address, "localhost", line);
        command.env("TIDEGATE_CACERT", &ca);
        command
    };
    run(&mut trusting("app create shop")).ends(0).says("created app shop");
    run(&mut trusting("flag create checkout -a shop")).ends(0);
    run(&mut trusting("flag on checkout -a shop -e sandbox")).ends(0).says("on for everyone");
    run(&mut trusting("flag kill checkout -a shop")).ends(0).says("is killed in all environments");
    let ca = ca.to_str().expect("a path");
    run(tool(&server, address, "localhost", "flag list -a shop --cacert").arg(ca)).ends(0).says("killed");
    // SSL_CERT_FILE, which names what a system trusts, does as well.
    run(tool(&server, address, "localhost", "app list").env("SSL_CERT_FILE", ca)).ends(0).says("shop");

    let mut lines = Following::start(&mut trusting("log -f --last 1 --json"));
    assert!(lines.next().is_some_and(|line| line.contains("killed")));
    server.tool("app update shop --owner ada").ends(0);
    assert!(lines.next().is_some_and(|line| line.contains("app_updated")));
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_and_the_way_out_is_named() {
    let (server, issuer, folder) = (Server::first_start(), authority(), running::folder());
    let address = proxy(&server, certified(&issuer, "flags.example.org"));
    let ca = stored(folder.path(), &issuer);
    let stranger = folder.path().join("stranger.pem");
    std::fs::write(&stranger, authority().pem()).expect("a file");

    let with = |ca: &Path| {
        let mut command = tool(&server, address, "localhost", "app list");
        run(command.env("TIDEGATE_CACERT", ca))
    };
    with(&stranger).ends(4).complains("certificate").complains("--cacert");
    // The right CA, and a certificate for another name.
    with(&ca).ends(4).complains("certificate").complains("an address that its certificate is for");
    // Nothing was said to a server that is not the right one.
    let log = server.tool("log").ends(0).out;
    assert!(!log.contains("app"), "{log}");

    with(&folder.path().join("none.pem")).ends(2).complains("--cacert");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").expect("a file");
    with(&empty).ends(2).complains("there is no certificate in it");
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA").expect("a file");
    with(&broken).ends(2).complains("no PEM file");
}

#[test]
fn https_to_a_server_that_speaks_http_says_so() {
    let (server, folder) = (Server::first_start(), running::folder());
    let ca = stored(folder.path(), &authority());
    let mut command = tidegate();
    command.env("TIDEGATE_URL", server.url.replace("http:", "https:")).env("TIDEGATE_CACERT", ca);
    run(command.args(["app", "list"])).ends(4).complains("plain HTTP").complains("http://");
}
