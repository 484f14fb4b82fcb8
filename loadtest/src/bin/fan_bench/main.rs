//! A kill on its way to everybody: from the operator's request to the last of many feed clients, against
//! bare writes to as many sockets, and the memory that a waiting client takes.
//!
//! `cargo run --release -p tidegate-loadtest --bin fan-bench [-- [pages] CLIENTS…]`, by default with 1,000 and then
//! with 10,000 clients. With `pages` the clients are web pages, each with a context of its own: a kill is the same for
//! all of them, and a flag that changed is evaluated for each. Both servers run as processes of their own and are measured in turns by the same
//! watcher in one run, since machines differ and have moods. Each client is one open file here and one in
//! the server: the limit on open files has to allow it. Ends with 1 if a bar is missed.

#![allow(missing_docs, reason = "a program, not a library")]

mod node;
mod pages;
mod raw;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use node::Node;
use pages::{Pages, What};
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
/// Of a page the context is kept as well.
const MOST_KIB_PER_PAGE: f64 = 16.0;
/// Besides the write there is an evaluation for each page.
const MOST_TIMES_RAW_OF_VALUES: f64 = 2.5;
/// As long as the event that tells of a flag, in bytes.
const VALUE_EVENT: usize = 620;

/// Something that sends an event to everybody who listens.
trait Server {
    /// Where it listens: `127.0.0.1:PORT`.
    fn address(&self) -> &str;
    /// The head of the request of one client.
    fn subscribe(&self, client: usize) -> String;
    /// The request that makes it send an event which holds the marker, once.
    fn publish(&mut self, marker: &str) -> Vec<u8>;
    /// How the event that was asked for last is seen.
    fn seen_as(&self, marker: &str) -> String {
        marker.to_owned()
    }
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
    let of_pages = arguments.first().is_some_and(|first| first == "pages");
    let numbers = arguments.iter().skip(usize::from(of_pages));
    let given: Result<Vec<usize>, _> = numbers.map(|number| number.parse()).collect();
    let Ok(given) = given else {
        eprintln!("usage: fan-bench [pages] [CLIENTS…]");
        return ExitCode::from(2);
    };
    let counts = if given.is_empty() { CLIENTS.to_vec() } else { given };
    let mut missed = false;
    for clients in counts {
        missed |= if of_pages { measure_pages(clients) } else { measure_clients(clients) };
    }
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// With so many SDKs on servers.
fn measure_clients(clients: usize) -> bool {
    let mut node = Node::start(TURNS * (KILLS + 1));
    let floor = Raw::start(Node::typical_event());
    let (ratio, memory) = measure(&mut node, floor, clients, "clients, kills");
    let times = bar("kill to the last client, times raw writes", ratio, MOST_TIMES_RAW);
    bar("KiB of memory a client", memory, MOST_KIB_PER_CLIENT) || times
}

/// With so many web pages.
fn measure_pages(pages: usize) -> bool {
    let mut node = Pages::start(TURNS * (KILLS + 1), What::Kill);
    let (ratio, memory) = measure(&mut node, Raw::start(Node::typical_event()), pages, "pages, kills");
    let kills = bar("kill to the last page, times raw writes", ratio, MOST_TIMES_RAW);
    let memory = bar("KiB of memory a page", memory, MOST_KIB_PER_PAGE);
    drop(node);
    let mut node = Pages::start(TURNS * (KILLS + 1), What::Value);
    let (ratio, _) = measure(&mut node, Raw::start(VALUE_EVENT), pages, "pages, changes of a flag");
    bar("change to the last page, times raw writes", ratio, MOST_TIMES_RAW_OF_VALUES) || kills || memory
}

/// Measures with so many clients and prints; how many times slower than bare writes the last is reached, and how many KiB
/// each client takes.
fn measure(node: &mut dyn Server, mut floor: Raw, clients: usize, what: &str) -> (f64, f64) {
    let (mut ours, mut bare) = (Figures::default(), Figures::default());
    for turn in 0..TURNS {
        // Neither is always the one that goes first.
        if turn % 2 == 0 {
            take_turn(&mut floor, clients, turn, &mut bare);
            take_turn(node, clients, turn, &mut ours);
        } else {
            take_turn(node, clients, turn, &mut ours);
            take_turn(&mut floor, clients, turn, &mut bare);
        }
    }
    println!("{clients} {what}: {} each, medians", TURNS * KILLS);
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
    (median(&ours.last_ms) / median(&bare.last_ms), ours.kib_per_client.unwrap_or(f64::NAN))
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
        let marker = server.seen_as(&marker);
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
