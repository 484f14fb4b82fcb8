//! Somebody who works with a server that has too much to do: kills, and asks for its health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, ClientError};
use crate::cores::Cores;
use crate::server::Server;

/// Operators who fill what is kept at the same time: the log writes what comes together at once.
const FILLING: usize = 16;
/// Between two kills. They come often, as the log's engine fills buffers of half a MiB and begins anew: the most that
/// this takes is taken soon, and what comes after it is growth.
const PAUSE: Duration = Duration::from_millis(10);

/// How long each took, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Operated {
    pub(super) kills_us: Vec<u32>,
    pub(super) health_us: Vec<u32>,
    /// How often an operator was refused, or not answered at all.
    failed: u64,
    /// Why the first time.
    why: String,
}

/// An operator at work.
pub(super) struct Operator {
    ended: Arc<AtomicBool>,
    work: JoinHandle<Operated>,
}

impl Operator {
    /// Begins, on the cores that are not the load's; the name is in each kill's id, as a kill that is known changes nothing.
    pub(super) fn start(server: &Server, name: &'static str, cores: &Cores) -> Result<Operator, ClientError> {
        let ended = Arc::new(AtomicBool::new(false));
        let mut admin = Client::connect(server.address(), server.admin_token())?;
        let is_ended = Arc::clone(&ended);
        cores.keep_free();
        let work = std::thread::spawn(move || work(&mut admin, name, &is_ended));
        cores.take_load();
        Ok(Operator { ended, work })
    }

    /// What is under way is the last thing that is done.
    pub(super) fn let_go(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Ends the work.
    pub(super) fn end(self) -> Operated {
        self.let_go();
        self.work.join().expect("it counts what goes wrong")
    }
}

/// Kills, and asks for health, until it is ended or the connection breaks.
fn work(admin: &mut Client, name: &str, is_ended: &AtomicBool) -> Operated {
    let mut operated = Operated::default();
    while !is_ended.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE);
        if let Err(error) = turn(admin, name, &mut operated) {
            operated.failed += 1;
            if operated.why.is_empty() {
                operated.why = error.to_string();
            }
            if !matches!(error, ClientError::Refused { .. }) {
                break;
            }
        }
    }
    operated
}

fn turn(admin: &mut Client, name: &str, operated: &mut Operated) -> Result<(), ClientError> {
    let id = format!("{name}-{}", operated.kills_us.len());
    operated.kills_us.push(timed(|| kill(admin, &id))?);
    let health = timed(|| admin.ask("GET", "/healthz", &[], &Value::Null)?.if_granted());
    operated.health_us.push(health?);
    Ok(())
}

impl Operated {
    /// What may not happen, and did: a server with too much to do has time for who operates it.
    pub(super) fn fault(&self, when: &str) -> Option<String> {
        let Operated { failed, why, .. } = self;
        (*failed > 0).then(|| format!("an operator failed {failed} times in {when}, first as {why}"))
    }
}

/// Kills so often that what the server keeps up to a bound is full: ids, and the log in memory.
pub(super) fn fill(server: &Server, kills: usize, cores: &Cores) -> Result<(), ClientError> {
    cores.keep_free();
    let filled = std::thread::scope(|scope| {
        let fill = |operator: usize| {
            let mut admin = Client::connect(server.address(), server.admin_token())?;
            let mut rounds = 0..kills / FILLING;
            rounds.try_for_each(|round| kill(&mut admin, &format!("warm-up-{operator}-{round}")).map(drop))
        };
        let operators: Vec<_> = (0..FILLING).map(|operator| scope.spawn(move || fill(operator))).collect();
        operators.into_iter().try_for_each(|operator| operator.join().expect("it only asks"))
    });
    cores.take_load();
    filled
}

fn kill(admin: &mut Client, id: &str) -> Result<Value, ClientError> {
    let kill = json!({ "kill_id": id });
    admin.ask("POST", "/v1/apps/shop/flags/killed/kill", &[], &kill)?.if_granted()
}

fn timed(call: impl FnOnce() -> Result<Value, ClientError>) -> Result<u32, ClientError> {
    let start = Instant::now();
    call()?;
    Ok(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// What an operator has to tell of a server that answers so, one request after another, and then hangs up.
    fn operated(answers: &'static [u16]) -> Operated {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            for status in answers {
                let mut length = 0;
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap() > 2 {
                    length = line
                        .strip_prefix("content-length: ")
                        .map_or(length, |text| text.trim().parse().unwrap());
                    line.clear();
                }
                reader.read_exact(&mut vec![0; length]).unwrap();
                write!(socket, "HTTP/1.1 {status} So\r\ncontent-length: 2\r\n\r\n{{}}").unwrap();
            }
        });
        let mut admin = Client::connect(&address, "nobody").unwrap();
        let operated = work(&mut admin, "k", &AtomicBool::new(false));
        // A server that waits for more would wait for ever.
        drop(admin);
        server.join().unwrap();
        operated
    }

    #[test]
    fn an_operator_who_is_refused_goes_on_and_says_so_in_the_end() {
        let found = operated(&[200, 200, 503, 200, 429, 200, 200]);
        assert_eq!((found.kills_us.len(), found.health_us.len()), (3, 2), "{found:?}");
        let fault = found.fault("a storm").unwrap();
        // Refused twice, and the end.
        assert!(fault.contains("failed 3 times in a storm") && fault.contains("503"), "{fault}");
        assert_eq!(Operated::default().fault("a storm"), None);
    }
}
