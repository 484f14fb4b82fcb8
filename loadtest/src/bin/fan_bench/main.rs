//! A kill on its way to everybody: from the operator's request to the last of many feed clients, against
//! bare writes to as many sockets, and the memory that a waiting client takes.
//!
//! `cargo run --release -p tidegate-loadtest --bin fan-bench [-- CLIENTS…]`, by default with 1,000 and then
//! with 10,000 clients. Both servers run as processes of their own and are measured in turns by the same
//! watcher in one run, since machines differ and have moods. Each client is one open file here and one in
//! the server: the limit on open files has to allow it. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

mod node;
mod raw;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use node::Node;
use raw::Raw;
use tidegate_loadtest::figures::median;
use tidegate_loadtest::server::{resident_kib, serve_if_asked};
use watch::Watchers;

/// How many clients watch, unless the caller says otherwise.
const CLIENTS: [usize; 2] = [1_000, 10_000];
/// Turns of each server; the clients of a turn connect anew.
const TURNS: usize = 3;
/// Kills in a turn.
const KILLS: usize = 10;

/// The bars.
const MOST_TIMES_RAW: f64 = 1.5;
const MOST_KIB_PER_CLIENT: f64 = 14.0;

/// Something that sends an event to everybody who listens.
trait Server {
    /// Where it listens: `127.0.0.1:PORT`.
    fn address(&self) -> &str;
    /// The head of the request of one client.
    fn subscribe(&self, client: usize) -> String;
    /// The request that makes it send an event which holds the marker, once.
    fn publish(&mut self, marker: &str) -> Vec<u8>;
    /// The process.
    fn process(&self) -> u32;
    /// Waits until it has noticed that its clients are gone.
    fn settle(&mut self);
}

/// What was measured of one server.
#[derive(Default)]
struct Figures {
    last_ms: Vec<f64>,
    first_ms: Vec<f64>,
    kib_per_client: Option<f64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = serve_if_asked(&arguments) {
        return code;
    }
    if arguments == [raw::MODE] {
        return raw::serve();
    }
    let given: Result<Vec<usize>, _> = arguments.iter().map(|number| number.parse()).collect();
    let Ok(given) = given else {
        eprintln!("usage: fan-bench [CLIENTS…]");
        return ExitCode::from(2);
    };
    let counts = if given.is_empty() { CLIENTS.to_vec() } else { given };
    let mut missed = false;
    for clients in counts {
        missed |= measure(clients);
    }
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Measures with so many clients, prints, and says whether a bar was missed.
fn measure(clients: usize) -> bool {
    let mut node = Node::start(TURNS * (KILLS + 1));
    let mut floor = Raw::start(node.typical_event());
    let (mut ours, mut bare) = (Figures::default(), Figures::default());
    for turn in 0..TURNS {
        // Neither is always the one that goes first.
        if turn % 2 == 0 {
            take_turn(&mut floor, clients, turn, &mut bare);
            take_turn(&mut node, clients, turn, &mut ours);
        } else {
            take_turn(&mut node, clients, turn, &mut ours);
            take_turn(&mut floor, clients, turn, &mut bare);
        }
    }
    println!("{clients} clients, {} kills each, medians", TURNS * KILLS);
    let row = |what: &str, figures: &Figures| {
        println!(
            "  {what:<10} first {:>8.2} ms   last {:>8.2} ms   worst last {:>8.2} ms   {:>6.2} KiB a client",
            median(&figures.first_ms),
            median(&figures.last_ms),
            figures.last_ms.iter().copied().fold(0.0, f64::max),
            figures.kib_per_client.unwrap_or_default(),
        );
    };
    row("raw writes", &bare);
    row("tidegate", &ours);
    let ratio = median(&ours.last_ms) / median(&bare.last_ms);
    let times = bar("kill to the last client, times raw writes", ratio, MOST_TIMES_RAW);
    let memory = bar("KiB of memory a client", ours.kib_per_client.unwrap_or(f64::NAN), MOST_KIB_PER_CLIENT);
    times || memory
}

/// Connects the clients, lets the server send, and disconnects them.
fn take_turn(server: &mut dyn Server, clients: usize, turn: usize, figures: &mut Figures) {
    let before = resident_kib(server.process());
    let mut watchers = Watchers::connect(server, clients);
    if figures.kib_per_client.is_none() {
        #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
        let taken = resident_kib(server.process()).saturating_sub(before) as f64 / clients as f64;
        figures.kib_per_client = Some(taken);
    }
    for kill in 0..=KILLS {
        let marker = format!("evt-{turn}-{kill}-");
        let request = server.publish(&marker);
        let seen = watchers.publish_and_wait(server.address(), &request, marker.as_bytes());
        // The first one of a turn only warms up.
        if kill > 0 {
            figures.first_ms.push(ms(seen.first));
            figures.last_ms.push(ms(seen.last));
        }
    }
    drop(watchers);
    server.settle();
}

fn bar(what: &str, value: f64, bar: f64) -> bool {
    // Anything that is no number has missed it, too.
    let holds = value <= bar;
    println!("  {what:<44} {value:>8.2}   bar {bar:.2}: {}", if holds { "ok" } else { "MISSED" });
    !holds
}

fn ms(length: Duration) -> f64 {
    length.as_secs_f64() * 1e3
}
