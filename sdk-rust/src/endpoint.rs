//! Where the server is, and how to talk to it: plain HTTP/1.1 connections, with TLS or without.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use rollout_rules::feed::machine::Loss;
use rollout_rules::feed::{ResumeToken, machine};
use rollout_rules::ids::{AppKey, EnvKey, InstanceId, KillId, Revision};
use rollout_rules::time::DurationMs;
use serde_json::Value;

/// How long a connection may take to stand, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one address of a host is tried alone before the next one is tried as well.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long an acknowledgement, or a batch of counts, may take.
const POST_TIMEOUT: Duration = Duration::from_secs(10);
/// Most of a refusal's body that is read, so that the connection can be used again.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EndpointProblem {
    Malformed,
    Scheme,
    NoTls,
    Certificate,
    Key,
}

/// Where the server is, and what opens it.
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    authority: HeaderValue,
    base: String,
    key: HeaderValue,
    instance: InstanceId,
    audience: Option<(AppKey, EnvKey)>,
    #[cfg(feature = "tls")]
    tls: Option<tls::Connector>,
}

/// A connection on which requests are sent one after another.
pub(crate) type Connection = SendRequest<Full<Bytes>>;

impl Endpoint {
    /// `roots` are trusted besides what the system trusts: PEM, each with one certificate or more.
    pub(crate) fn new(
        url: &str,
        key: &str,
        instance: InstanceId,
        audience: Option<(AppKey, EnvKey)>,
        roots: &[Vec<u8>],
    ) -> Result<Endpoint, EndpointProblem> {
        #[cfg(not(feature = "tls"))]
        let _ = roots;
        let uri: Uri = url.trim().parse().map_err(|_| EndpointProblem::Malformed)?;
        let authority = uri.authority().ok_or(EndpointProblem::Malformed)?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") if cfg!(feature = "tls") => true,
            Some("https") => return Err(EndpointProblem::NoTls),
            _ => return Err(EndpointProblem::Scheme),
        };
        if uri.query().is_some() || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(EndpointProblem::Malformed);
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| EndpointProblem::Key)?;
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(EndpointProblem::Key);
        }
        bearer.set_sensitive(true);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Endpoint {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| EndpointProblem::Malformed)?,
            base: uri.path().trim_end_matches('/').to_owned(),
            key: bearer,
            instance,
            audience,
            #[cfg(feature = "tls")]
            tls: if secure { Some(tls::Connector::new(&host, roots)?) } else { None },
            host,
        })
    }

    /// Opens the feed. The body is the stream.
    pub(crate) async fn open_feed(&self, resume: Option<ResumeToken>) -> Result<Incoming, Loss> {
        let mut connection = self.connect().await?;
        let mut path = format!(
            "{}/v1/feed?instance={}&sdk=tidegate-rust/{}",
            self.base,
            self.instance,
            env!("CARGO_PKG_VERSION")
        );
        // Keys and names are made of characters that need no escape.
        if let Some((app, environment)) = &self.audience {
            path.push_str(&format!("&app={app}&environment={environment}"));
        }
        let mut request = self.request(Method::GET, &path, Full::default());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(token) = resume
            && let Ok(token) = HeaderValue::from_str(&token.to_string())
        {
            request.headers_mut().insert("last-event-id", token);
        }
        let wait = Duration::from_millis(machine::SILENCE.0);
        let answer = timeout(wait, connection.send_request(request)).await;
        let answer = answer.map_err(|_| failed("the server does not answer"))?.map_err(|e| failed(&e))?;
        if answer.status().as_u16() != 200 {
            return Err(refused(&answer));
        }
        let is_stream = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str().is_ok_and(|kind| kind.trim_start().starts_with("text/event-stream"))
        });
        if !is_stream {
            return Err(failed("the answer is no event stream: is this the address of a Tidegate server?"));
        }
        Ok(answer.into_body())
    }

    /// Tells the server what is served, on a connection that is kept in `kept`.
    pub(crate) async fn acknowledge(
        &self,
        kept: &mut Option<Connection>,
        revision: Revision,
        kill_ids: &[KillId],
    ) -> Result<(), Loss> {
        let mut body = serde_json::json!({
            "instance": self.instance, "revision": revision, "kill_ids": kill_ids
        });
        self.name_audience(&mut body);
        self.post(kept, "/v1/feed/ack", body.to_string()).await.map(drop)
    }

    /// Tells the server how often flags gave which answer, and how many answers were not counted, on a connection that
    /// is kept in `kept`.
    pub(crate) async fn tell_exposures(
        &self,
        kept: &mut Option<Connection>,
        batch: &str,
        counts: Value,
        uncounted: u64,
    ) -> Result<(), Loss> {
        let mut body = serde_json::json!({ "instance": self.instance, "batch": batch, "counts": counts });
        if uncounted > 0 {
            body["uncounted"] = uncounted.into();
        }
        self.name_audience(&mut body);
        self.post(kept, "/v1/exposures", body.to_string()).await.map(drop)
    }

    /// Tells the server what became of requests, on a connection that is kept in `kept`, and hands on what it says.
    pub(crate) async fn tell_outcomes(
        &self,
        kept: &mut Option<Connection>,
        body: String,
    ) -> Result<Vec<u8>, Loss> {
        self.post(kept, "/v1/outcomes", body).await
    }

    /// How this program is called among those that follow the feed.
    pub(crate) fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Adds which app and environment are meant, where the key leaves that open.
    pub(crate) fn name_audience(&self, body: &mut Value) {
        if let Some((app, environment)) = &self.audience {
            body["app"] = app.as_str().into();
            body["environment"] = environment.as_str().into();
        }
    }

    async fn post(&self, kept: &mut Option<Connection>, path: &str, body: String) -> Result<Vec<u8>, Loss> {
        let body = Bytes::from(body);
        let sent = timeout(POST_TIMEOUT, async {
            // A kept connection may have been closed meanwhile: then a new one is worth one try.
            if let Some(mut connection) = kept.take()
                && connection.ready().await.is_ok()
            {
                match self.send(&mut connection, path, body.clone()).await {
                    Err(Loss::Failed(_) | Loss::Ended) => {}
                    // A refusal is an answer: asking again at once would only add to the load.
                    answered => {
                        *kept = Some(connection);
                        return answered;
                    }
                }
            }
            let mut connection = self.connect().await?;
            let answered = self.send(&mut connection, path, body).await;
            *kept = Some(connection);
            answered
        });
        sent.await.unwrap_or_else(|_| Err(failed("the server does not answer")))
    }

    async fn send(&self, connection: &mut Connection, path: &str, body: Bytes) -> Result<Vec<u8>, Loss> {
        let path = format!("{}{path}", self.base);
        let mut request = self.request(Method::POST, &path, Full::new(body));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = connection.send_request(request).await.map_err(|error| failed(&error))?;
        let outcome = if answer.status().is_success() { Ok(()) } else { Err(refused(&answer)) };
        let mut body = http_body_util::Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
        let mut said = Vec::new();
        while let Some(piece) = body.frame().await {
            said.extend(piece.map_err(|error| failed(&error))?.into_data().unwrap_or_default());
        }
        outcome.map(|()| said)
    }

    fn request(&self, method: Method, path: &str, body: Full<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(AUTHORIZATION, self.key.clone());
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("tidegate-sdk-rust/", env!("CARGO_PKG_VERSION"))),
        );
        request
    }

    async fn connect(&self) -> Result<Connection, Loss> {
        let stands = timeout(CONNECT_TIMEOUT, async {
            let addresses = lookup_host((self.host.as_str(), self.port)).await.map_err(|e| failed(&e))?;
            let tcp = first_that_answers(addresses).await.map_err(|error| failed(&error))?;
            // A kill's acknowledgement is one small packet: it must not wait for a second one.
            tcp.set_nodelay(true).map_err(|error| failed(&error))?;
            #[cfg(feature = "tls")]
            if let Some(tls) = &self.tls {
                return serve(TokioIo::new(tls.connect(tcp).await.map_err(|error| failed(&error))?)).await;
            }
            serve(TokioIo::new(tcp)).await
        });
        stands.await.unwrap_or_else(|_| Err(failed("the connection takes too long")))
    }
}

/// Connects to the first of a host's addresses that answers. Those before it need not refuse: an address
/// that leads nowhere, as one family's often does, only costs its head start.
async fn first_that_answers(mut addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut problem = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        let has_more = addresses.next().map(|address| attempts.spawn(TcpStream::connect(address))).is_some();
        if attempts.is_empty() {
            return Err(problem);
        }
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended.unwrap_or_else(|error| Err(error.into())) {
                Ok(stream) => return Ok(stream),
                Err(error) => problem = error,
            },
            () = sleep(HEAD_START), if has_more => {}
        }
    }
}

async fn serve<S>(stream: S) -> Result<Connection, Loss>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(stream).await.map_err(|error| failed(&error))?;
    // Ends by itself when its sender and its body are dropped.
    tokio::spawn(connection);
    Ok(sender)
}

fn failed(what: &(impl fmt::Display + ?Sized)) -> Loss {
    Loss::Failed(what.to_string())
}

/// A `Retry-After` counts if it is a number of seconds, as Tidegate's are. A date, which a proxy may send, is
/// passed over, and the pause is the usual one.
fn refused(answer: &Response<Incoming>) -> Loss {
    let retry_after =
        answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Loss::Refused {
        status: answer.status().as_u16(),
        retry_after: retry_after.map(|seconds: u64| DurationMs(seconds.saturating_mul(1000))),
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::io;
    use std::sync::Arc;

    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::EndpointProblem;

    /// Trusts what the system trusts, companies' own authorities included, and what the program adds.
    pub(super) struct Connector {
        connector: TlsConnector,
        name: ServerName<'static>,
    }

    impl Connector {
        pub(super) fn new(host: &str, added: &[Vec<u8>]) -> Result<Connector, EndpointProblem> {
            let name = ServerName::try_from(host.to_owned()).map_err(|_| EndpointProblem::Malformed)?;
            let mut roots = RootCertStore::empty();
            // Stores often hold a few certificates that nobody can read; without any, connecting fails.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            for pem in added {
                add(&mut roots, pem).ok_or(EndpointProblem::Certificate)?;
            }
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|_| EndpointProblem::NoTls)?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(Connector { connector: TlsConnector::from(Arc::new(config)), name })
        }

        pub(super) async fn connect(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
            self.connector.connect(self.name.clone(), tcp).await
        }
    }

    /// What a program names it means: unlike the system's, every one of its certificates must be sound.
    fn add(roots: &mut RootCertStore, pem: &[u8]) -> Option<()> {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.ok()?).ok()?;
        }
        (roots.len() > before).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(url: &str, key: &str) -> Option<EndpointProblem> {
        Endpoint::new(url, key, InstanceId::new("i").expect("an id"), None, &[]).err()
    }

    #[test]
    fn an_address_that_leads_nowhere_does_not_keep_the_next_one_from_answering() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
            let listener = socket.listen(1).expect("a queue");
            let nowhere = listener.local_addr().expect("an address");
            // Once its queue is full, the system answers nobody any more.
            let connect = || std::net::TcpStream::connect_timeout(&nowhere, Duration::from_millis(100));
            let queued: Vec<_> = std::iter::from_fn(|| connect().ok()).take(10).collect();
            assert!(queued.len() < 10, "it still answers");
            let alive = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            let alive = alive.local_addr().map(|address| (alive, address)).expect("an address");
            let connected = timeout(CONNECT_TIMEOUT, first_that_answers([nowhere, alive.1].into_iter()));
            let connected = connected.await.expect("in time").expect("a connection");
            assert_eq!(connected.peer_addr().expect("an address"), alive.1);
            let error = first_that_answers(std::iter::empty()).await.expect_err("no address");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        });
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_with_the_reason() {
        assert_eq!(problem("http://127.0.0.1:8080", "tg_key"), None);
        assert_eq!(problem("http://[::1]:8080/behind/a/proxy/", "tg_key"), None);
        for malformed in ["", "no address", "/v1", "http://", "http://user@host", "http://host/?query"] {
            assert_eq!(problem(malformed, "tg_key"), Some(EndpointProblem::Malformed), "{malformed}");
        }
        assert_eq!(problem("ftp://host", "tg_key"), Some(EndpointProblem::Scheme));
        for key in ["", "two words", "line\nbreak"] {
            assert_eq!(problem("http://host", key), Some(EndpointProblem::Key), "{key}");
        }
    }
}
