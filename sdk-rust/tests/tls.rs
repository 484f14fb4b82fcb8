//! Servers at https:// addresses, through a proxy that ends TLS before the peer.
#![allow(clippy::unwrap_used, reason = "tests")]

mod peer;

use std::net::SocketAddr;
use std::sync::Arc;

use peer::{PATIENCE, Peer, changes, kill, shop, until};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tidegate_sdk::{BuildError, Builder, Client, Context, Problem, Status};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// A certificate authority of one's own, as PEM, and a server whose certificate it signed.
struct Authority {
    pem: String,
    server: ServerConfig,
}

impl Authority {
    /// Signs a certificate for one name.
    fn for_server(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        Authority { pem, server }
    }

    /// Listens with TLS, and passes on what it hears in the clear. Gives the port.
    fn in_front_of(&self, peer: &Peer) -> u16 {
        let behind: SocketAddr = peer.url.strip_prefix("http://").unwrap().parse().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(self.server.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        // A client that does not trust the certificate hangs up here.
                        let Ok(mut secret) = acceptor.accept(socket).await else { return };
                        let mut clear = TcpStream::connect(behind).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut secret, &mut clear).await;
                    });
                }
            });
        });
        port
    }
}

/// How a client stands whose connection was refused for its certificate.
fn distrust(builder: Builder) -> String {
    let client = builder.start().unwrap();
    let _ = client.wait_ready(std::time::Duration::ZERO);
    let begun = std::time::Instant::now();
    loop {
        if let Status::Offline { why: Problem::Unreachable { detail }, .. } = client.status() {
            return detail;
        }
        assert!(begun.elapsed() < PATIENCE, "it is offline: {}", client.status());
        std::thread::yield_now();
    }
}

#[test]
fn feed_and_acknowledgements_travel_through_tls() {
    let peer = Peer::start();
    for name in ["localhost", "127.0.0.1"] {
        let authority = Authority::for_server(name);
        let url = format!("https://{name}:{}", authority.in_front_of(&peer));
        let client =
            Client::builder(&url, "tg_key").root_certificate_pem(authority.pem.as_str()).start().unwrap();
        let mut feed = peer.next_feed().open_with(&shop(5));
        assert!(client.wait_ready(PATIENCE).unwrap().is_live(), "{}", client.status());
        let changes = changes(&client);
        feed.send(&kill("checkout", 5, 6));
        until(&changes, 6);
        assert!(!client.bool("checkout", &Context::new("ann"), true));
        assert_eq!(peer.next_ack()["kill_ids"], json!(["kill-6"]));
        drop(client);
        feed.wait_for_close();
    }
}

#[test]
fn a_server_of_an_authority_that_nobody_named_is_not_trusted() {
    let peer = Peer::start();
    let (one, other) = (Authority::for_server("localhost"), Authority::for_server("localhost"));
    let url = format!("https://localhost:{}", one.in_front_of(&peer));
    assert!(distrust(Client::builder(&url, "tg_key")).contains("UnknownIssuer"));
    let detail = distrust(Client::builder(&url, "tg_key").root_certificate_pem(other.pem.as_str()));
    assert!(detail.contains("certificate"), "{detail}");
}

#[test]
fn a_certificate_for_another_name_is_not_trusted() {
    let peer = Peer::start();
    let authority = Authority::for_server("elsewhere.test");
    let url = format!("https://localhost:{}", authority.in_front_of(&peer));
    let detail = distrust(Client::builder(&url, "tg_key").root_certificate_pem(authority.pem.as_str()));
    assert!(detail.contains("not valid for name"), "{detail}");
}

#[test]
fn a_root_certificate_that_cannot_be_read_is_a_typed_error() {
    let sound = Authority::for_server("localhost").pem;
    let damaged = sound.replacen("MII", "AAA", 1);
    for pem in ["", "no certificate", damaged.as_str()] {
        let error =
            Client::builder("https://localhost", "tg_key").root_certificate_pem(pem).start().unwrap_err();
        assert!(matches!(error, BuildError::Certificate), "{pem}: {error}");
    }
    // Several in one text, and several texts.
    let two = format!("{sound}{}", Authority::for_server("localhost").pem);
    let builder = Client::builder("https://localhost:1", "tg_key").root_certificate_pem(two);
    assert!(builder.root_certificate_pem(sound).start().is_ok());
}
