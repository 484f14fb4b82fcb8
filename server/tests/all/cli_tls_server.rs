//! A server that speaks TLS itself, and the operator's tool.

use crate::running;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use running::{Following, Server, run, tidegate};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use tidegate_sdk::{Client, Context};

/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);

/// A CA of one's own, in a folder with what it certified.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let authority = Authority { issuer, folder: running::folder() };
        std::fs::write(authority.path("ca.pem"), authority.issuer.pem()).expect("written");
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("a plain path").to_owned()
    }

    /// Certifies someone as `NAME.pem` with the key `NAME.key`; a former one is replaced.
    fn certify(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("written");
    }

    /// Starts a server with the certificate `server`.
    fn server(&self, more: &[&str]) -> Server {
        let (certificate, key) = (self.text("server.pem"), self.text("server.key"));
        let mut options = vec!["--tls-certificate", &certificate, "--tls-key", &key];
        options.extend_from_slice(more);
        let mut server = Server::start(running::folder(), &options);
        server.read_greeting();
        server
    }

    fn tool(&self, server: &Server, line: &str) -> Command {
        let mut command = server.command();
        command.env("TIDEGATE_CACERT", self.path("ca.pem")).args(line.split(' '));
        command
    }

    /// A connection to a server, with the protocol that it chose and its certificate.
    fn connect(&self, server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        let ca = rustls::pki_types::CertificateDer::from_pem_file(self.path("ca.pem")).expect("a CA");
        roots.add(ca).expect("a CA");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = StreamOwned::new(
            ClientConnection::new(Arc::new(config), name).expect("a connection"),
            TcpStream::connect(server.url.trim_start_matches("https://")).expect("connects"),
        );
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).expect("a handshake");
        }
        stream
    }

    fn metrics(&self, server: &Server) -> String {
        let mut stream = self.connect(server);
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut text = Vec::new();
        // An end that is not announced is an end as well.
        let _ = stream.read_to_end(&mut text);
        String::from_utf8(text).expect("text")
    }
}

fn certificate(stream: &StreamOwned<ClientConnection, TcpStream>) -> Vec<u8> {
    stream.conn.peer_certificates().expect("it has one")[0].to_vec()
}

#[test]
fn a_server_with_a_certificate_is_operated_over_tls() {
    let authority = Authority::new();
    authority.certify("server");
    let server = authority.server(&[]);
    assert!(server.greeting.contains("export TIDEGATE_URL=https://127.0.0.1:"), "{}", server.greeting);
    let tool = |line: &str| run(&mut authority.tool(&server, line));
    tool("app create shop").ends(0).says("created app shop");
    tool("flag create checkout -a shop").ends(0);
    tool("flag kill checkout -a shop").ends(0).says("is killed in all environments");

    let stream = authority.connect(&server);
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut plain = authority.tool(&server, "app list");
    run(plain.env("TIDEGATE_URL", server.url.replace("https:", "http:")))
        .ends(4)
        .complains("speak TLS there?");
}

#[test]
fn the_sdk_follows_a_server_that_speaks_tls() {
    let authority = Authority::new();
    authority.certify("server");
    let server = authority.server(&[]);
    let tool = |line: &str| run(&mut authority.tool(&server, line)).ends(0);
    tool("app create shop");
    tool("flag create checkout -a shop");
    tool("flag on checkout -a shop -e sandbox");
    let key = tool("token create --json --scope sdk-server -a shop --env sandbox").json()["secret"]
        .as_str()
        .expect("a secret")
        .to_owned();
    let ca = std::fs::read(authority.path("ca.pem")).expect("the CA");
    let client = Client::builder(&server.url, &key).root_certificate_pem(ca).start().expect("starts");
    assert!(client.wait_ready(PATIENCE).expect("ready").is_live(), "{}", client.status());
    let checkout = || client.bool("checkout", &Context::new("ann"), false);
    assert!(checkout());
    tool("flag kill checkout -a shop");
    let begun = Instant::now();
    while checkout() {
        assert!(begun.elapsed() < PATIENCE, "the kill arrives");
    }
}

#[test]
fn a_certificate_that_is_renewed_is_served_to_new_connections_and_live_ones_go_on() {
    let authority = Authority::new();
    authority.certify("server");
    // A connection that is kept has that long for its first request.
    let server = authority.server(&["--limits-request-timeout", "1m"]);
    run(&mut authority.tool(&server, "app create shop")).ends(0);
    let mut kept = authority.connect(&server);
    let before = certificate(&kept);
    let mut lines = Following::start(&mut authority.tool(&server, "log -f --last 1 --json"));
    assert!(lines.next().is_some_and(|line| line.contains("app_created")));

    // Broken first: it keeps serving what it had.
    std::fs::write(authority.path("server.key"), "broken").expect("written");
    let begun = Instant::now();
    while !authority.metrics(&server).contains(r#"tidegate_tls_reloads_total{outcome="failed"} 1"#) {
        assert!(begun.elapsed() < PATIENCE, "the broken file is looked at");
    }
    assert_eq!(certificate(&authority.connect(&server)), before);
    authority.certify("server");
    let begun = Instant::now();
    while certificate(&authority.connect(&server)) == before {
        assert!(begun.elapsed() < PATIENCE, "a new certificate is taken");
    }
    run(&mut authority.tool(&server, "app update shop --owner ada")).ends(0);
    assert!(lines.next().is_some_and(|line| line.contains("app_updated")), "the stream goes on");
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut status = String::new();
    BufReader::new(kept).read_line(&mut status).expect("an answer");
    assert_eq!(status.trim(), "HTTP/1.1 200 OK");
}

#[test]
fn a_server_that_asks_for_client_certificates_serves_nobody_without_and_the_token_still_decides() {
    let authority = Authority::new();
    let stranger = Authority::new();
    authority.certify("server");
    authority.certify("ci");
    stranger.certify("ci");
    let ca = authority.text("ca.pem");
    let server = authority.server(&["--tls-client-certificates", "required", "--tls-client-ca", &ca]);
    let with = |of: &Authority, line: &str| {
        let mut command = authority.tool(&server, line);
        command.env("TIDEGATE_CERT", of.path("ci.pem")).env("TIDEGATE_KEY", of.path("ci.key"));
        command
    };
    run(&mut with(&authority, "app create shop")).ends(0);
    run(with(&authority, "app list").env("TIDEGATE_TOKEN", "tg_admin_x_y")).ends(7);
    run(&mut authority.tool(&server, "app list")).ends(4).complains("no answer from https://");
    run(&mut with(&stranger, "app list")).ends(4).complains("no answer from https://");

    // Both in one file.
    let both =
        [authority.path("ci.key"), authority.path("ci.pem")].map(|path| std::fs::read(path).expect("read"));
    std::fs::write(authority.path("both.pem"), both.concat()).expect("written");
    run(authority.tool(&server, "app list --cert").arg(authority.path("both.pem"))).ends(0).says("shop");

    let mistaken = |cert: PathBuf, key: PathBuf| {
        run(authority.tool(&server, "app list").env("TIDEGATE_CERT", cert).env("TIDEGATE_KEY", key)).ends(2)
    };
    mistaken(authority.path("ci.pem"), stranger.path("ci.key"))
        .complains("does not belong to the certificate");
    mistaken(authority.path("ci.pem"), authority.path("ca.pem")).complains("no private key in it");
    mistaken(authority.path("none.pem"), authority.path("ci.key")).complains("--cert");
}

#[test]
fn client_certificates_that_are_optional_are_checked_when_they_are_shown() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.certify("server");
    stranger.certify("ci");
    let ca = authority.text("ca.pem");
    let server = authority.server(&["--tls-client-certificates", "optional", "--tls-client-ca", &ca]);
    run(&mut authority.tool(&server, "app list")).ends(0);
    let mut shown = authority.tool(&server, "app list");
    run(shown.env("TIDEGATE_CERT", stranger.path("ci.pem")).env("TIDEGATE_KEY", stranger.path("ci.key")))
        .ends(4);
}

fn serve(certificate: &Path, key: &Path, more: &[&str]) -> running::Said {
    let folder = running::folder();
    let mut command = tidegate();
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(running::data(&folder));
    run(command.arg("--tls-certificate").arg(certificate).arg("--tls-key").arg(key).args(more))
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let authority = Authority::new();
    authority.certify("server");
    authority.certify("other");
    let path = |name: &str| authority.path(name);
    serve(&path("none.pem"), &path("server.key"), &[])
        .ends(1)
        .complains("`tls.certificate`")
        .complains("none.pem cannot be read");
    serve(&path("server.key"), &path("server.key"), &[]).ends(1).complains("there is no certificate in it");
    serve(&path("server.pem"), &path("server.pem"), &[]).ends(1).complains("there is no private key in it");
    serve(&path("server.pem"), &path("other.key"), &[])
        .ends(1)
        .complains("is not the key of the certificate");
    let key = authority.text("server.key");
    serve(
        &path("server.pem"),
        &path("server.key"),
        &["--tls-client-certificates=required", "--tls-client-ca", &key],
    )
    .ends(1)
    .complains("`tls.client_ca`");
}

#[test]
fn settings_of_tls_that_say_half_are_mistakes() {
    let only = |options: &[&str]| run(tidegate().arg("serve").args(options)).ends(2);
    only(&["--tls-certificate", "a.pem"]).complains("name both files");
    only(&["--tls-client-certificates", "required"]).complains("only be asked for certificates over TLS");
    let pair = ["--tls-certificate", "a.pem", "--tls-key", "a.key"];
    only(&[&pair[..], &["--tls-client-certificates", "optional"]].concat()).complains("name the CA");
    only(&[&pair[..], &["--tls-client-ca", "ca.pem"]].concat()).complains("leave the CA out");
}

#[test]
fn a_client_that_does_not_finish_its_handshake_is_let_go() {
    let authority = Authority::new();
    authority.certify("server");
    let server = authority.server(&["--limits-request-timeout", "300ms"]);
    let silent = TcpStream::connect(server.url.trim_start_matches("https://")).expect("connects");
    silent.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut said = Vec::new();
    (&silent).read_to_end(&mut said).expect("closed in time");
    // Plain HTTP to a port of TLS ends, too.
    let mut plain = TcpStream::connect(server.url.trim_start_matches("https://")).expect("connects");
    plain.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    plain.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").expect("sent");
    // Closed or reset: it is over either way.
    let _ = plain.read_to_end(&mut said);
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/1.1"), "{said:?}");
}
