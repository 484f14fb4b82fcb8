//! Making a client.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use rollout_rules::feed::machine::{Machine, SILENCE};
use rollout_rules::ids::{AppKey, EnvKey, InstanceId};
use rollout_rules::time::{DurationMs, UnixMs};
use tokio::sync::oneshot;

use crate::cache::{Cache, Cached};
use crate::client::Client;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::endpoint::{Endpoint, EndpointProblem};
use crate::exposures;
use crate::shared::Shared;
use crate::status::Status;

/// Says where the server is and how to follow it.
pub struct Builder {
    url: String,
    key: String,
    cache_dir: Option<PathBuf>,
    instance: Option<InstanceId>,
    audience: Option<(AppKey, EnvKey)>,
    silence: Duration,
    clock: Clock,
    roots: Vec<Vec<u8>>,
    exposures_every: Option<Duration>,
    outcomes: bool,
}

/// Why a client cannot be made. Only mistakes in the program lead here: a server that is down or a key
/// that was revoked is reported by [`Client::status`].
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The address is not of the form `http://host:port` or `https://host`.
    Url {
        /// The address.
        url: String,
    },
    /// The address begins with `https`, and the SDK was built without its feature `tls`.
    NoTls,
    /// What was given as a root certificate is no PEM, holds no certificate, or a damaged one.
    Certificate,
    /// The key is empty, or holds characters that no key has.
    Key,
    /// The system gave no thread or no means to wait for sockets.
    System(io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Url { url } => {
                write!(f, "`{url}` is not the address of a server: use http://host:port or https://host")
            }
            BuildError::NoTls => f.write_str("https needs the feature `tls` of tidegate-sdk"),
            BuildError::Certificate => f.write_str(
                "the root certificate cannot be read: use PEM that begins with -----BEGIN CERTIFICATE-----",
            ),
            BuildError::Key => f.write_str(
                "the key is empty or damaged: use the text that was shown when the token was made",
            ),
            BuildError::System(_) => f.write_str("the background thread could not be started"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BuildError::System(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is a secret.
        f.debug_struct("Builder")
            .field("url", &self.url)
            .field("cache_dir", &self.cache_dir)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(url: &str, key: &str) -> Builder {
        Builder {
            url: url.to_owned(),
            key: key.to_owned(),
            cache_dir: None,
            instance: None,
            audience: None,
            silence: Duration::from_millis(SILENCE.0),
            clock: Clock::system(),
            roots: Vec::new(),
            exposures_every: Some(exposures::EVERY),
            outcomes: true,
        }
    }

    /// Keeps the last good state in this directory, and starts from it while the server is down. Without
    /// it nothing is written, and a program that starts while the server is down answers defaults. Apps
    /// may share a directory.
    #[must_use]
    pub fn cache_dir(mut self, directory: impl Into<PathBuf>) -> Builder {
        self.cache_dir = Some(directory.into());
        self
    }

    /// Names this program among those that follow the feed; a random name if none is given. Running copies need a
    /// name each: the server takes two of one name for one, and what one acknowledges counts for both.
    #[must_use]
    pub fn instance(mut self, id: InstanceId) -> Builder {
        self.instance = Some(id);
        self
    }

    /// Follows this environment of this app. Needed only with a key that is not bound to one, such as an
    /// operator's.
    #[must_use]
    pub fn environment(mut self, app: AppKey, environment: EnvKey) -> Builder {
        self.audience = Some((app, environment));
        self
    }

    /// Gives up a stream on which nothing was heard for this long, and connects anew; 45 seconds, three
    /// of the server's heartbeats, if nothing is said. Less than 1 second is taken as 1 second.
    #[must_use]
    pub fn silence(mut self, length: Duration) -> Builder {
        self.silence = length.max(Duration::from_secs(1));
        self
    }

    /// Trusts these certificates, besides those of the system's store: for servers behind an authority of
    /// one's own. PEM, one certificate or more; may be called again for others.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn root_certificate_pem(mut self, pem: impl Into<Vec<u8>>) -> Builder {
        self.roots.push(pem.into());
        self
    }

    /// Tells the server this often how often flags gave which answer; about once a minute if nothing is said. A
    /// quarter more or less is left to chance, so that a fleet does not tell all at once. Less than 1 second is
    /// taken as 1 second.
    #[must_use]
    pub fn exposures_every(mut self, length: Duration) -> Builder {
        self.exposures_every = Some(length.max(Duration::from_secs(1)));
        self
    }

    /// Does not tell the server how often flags gave which answer: it then knows nothing of what this program
    /// asks for, and may take flags for stale that are not.
    #[must_use]
    pub fn without_exposures(mut self) -> Builder {
        self.exposures_every = None;
        self
    }

    /// Does not tell the server what became of requests: [scopes](crate::Scope) then only answer checks, and nobody
    /// notices by them that a variant fails.
    #[must_use]
    pub fn without_outcomes(mut self) -> Builder {
        self.outcomes = false;
        self
    }

    /// The clock that decides what has expired, in place of the system's; for tests. Called on every
    /// check.
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> UnixMs + Send + Sync + 'static) -> Builder {
        self.clock = Clock::given(Box::new(now));
        self
    }

    /// Starts the client. It returns at once, with the flags of the cache if there is one; use
    /// [`Client::ready`] to wait for the server.
    pub fn start(self) -> Result<Client, BuildError> {
        let Builder {
            url,
            key,
            cache_dir,
            instance,
            audience,
            silence,
            clock,
            roots,
            exposures_every,
            outcomes,
        } = self;
        let instance = instance.unwrap_or_else(random_instance);
        let endpoint =
            Endpoint::new(&url, &key, instance, audience.clone(), &roots).map_err(
                |problem| match problem {
                    EndpointProblem::Malformed | EndpointProblem::Scheme => {
                        BuildError::Url { url: url.clone() }
                    }
                    EndpointProblem::NoTls => BuildError::NoTls,
                    EndpointProblem::Certificate => BuildError::Certificate,
                    EndpointProblem::Key => BuildError::Key,
                },
            )?;
        let cache = cache_dir.map(|directory| Cache::new(&directory, &url, &key, audience.as_ref()));
        let (cached, problem) = match cache.as_ref().map(Cache::load) {
            None => (None, None),
            Some(Ok(cached)) => (cached, None),
            // A damaged cache is as good as none; it is reported, and overwritten by the next good state.
            Some(Err(error)) => (None, Some(error)),
        };
        let (state, saved_at) = match cached {
            Some(Cached { state, saved_at }) => (Some(state), Some(saved_at)),
            None => (None, None),
        };
        let status = match saved_at {
            Some(saved_at) => Status::FromCache { saved_at, why: None },
            None => Status::Starting,
        };
        if let Some(saved_at) = saved_at {
            clock.at_least(saved_at);
        }
        let shared = Arc::new(Shared::new(clock, state.clone(), status));
        if let Some(error) = problem {
            shared.note_cache(Err(error));
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BuildError::System)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let silence = DurationMs(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX));
        let machine = Machine::new(state, DurationMs(0)).with_silence(silence);
        let mut driver = Driver::new(Arc::new(endpoint), Arc::clone(&shared), machine, cache, saved_at);
        if let Some(every) = exposures_every {
            driver = driver.telling_exposures(every);
        }
        if outcomes {
            driver = driver.telling_outcomes();
        }
        let watched = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("tidegate-sdk".to_owned())
            .spawn(move || {
                let followed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(driver.run(stopped))));
                if followed.is_err() {
                    watched.stop_following();
                }
                // A connection that hangs must not hold the program up.
                runtime.shutdown_background();
            })
            .map_err(BuildError::System)?;
        Ok(Client::new(shared, handle, stop, thread))
    }
}

fn random_instance() -> InstanceId {
    let id = format!("rust-{:016x}", rand::rng().random::<u64>());
    InstanceId::new(&id).expect("letters, digits and a dash are a name")
}
