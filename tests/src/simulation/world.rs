//! The course of events: what happens next is thrown by the seed's dice. In the end everything is mended,
//! and the laws are checked on what is left.

use rollout_rules::change::{Anchor, Command, Reach};
use rollout_rules::decide::{Request, Verdict, decide};
use rollout_rules::governance::{Rules, Scope};
use rollout_rules::ids::KillId;
use rollout_rules::time::DurationMs;

use super::cast::{Who, flag_key, prologue, shop};
use super::harm;
use super::laws;
use super::log::{Append, Log, encode_newer};
use super::mutation::Mutation;
use super::node::Node;
use super::outside::{Outside, START};
use super::people::Person;

/// How many things happen before everything is mended.
const STEPS: usize = 220;
/// How many rounds mending takes.
const MENDING_ROUNDS: usize = 45;
/// How many it may take for what acts have asked to be done outside.
const MOST_MENDING_ROUNDS: usize = 300;
/// How many nodes there are at most.
const MOST_NODES: usize = 4;
/// How far clocks may be apart after a jump.
const LARGEST_JUMP_MS: u64 = 2 * 3_600_000;

/// The simulated world.
pub(super) struct World {
    pub(super) outside: Outside,
    nodes: Vec<Node>,
    people: Vec<Person>,
    /// Percent: how often what can go wrong does.
    storm: u64,
    newer_written: bool,
}

impl World {
    pub(super) fn new(seed: u64, mutation: Option<Mutation>, traced: bool) -> World {
        let mut outside = Outside::new(seed, mutation);
        outside.history.trace = traced.then(Vec::new);
        outside.log = STAGE.with(Log::clone);
        outside.log.by_place_only = outside.errs(Mutation::ExpectPositionOnly);
        let nodes = 2 + outside.dice.below(MOST_NODES - 1);
        let mut nodes: Vec<Node> = (0..nodes).map(Node::new).collect();
        for node in &mut nodes {
            node.follow(outside.log.flushed, &mut outside);
        }
        let people = Who::OUTSIDE.iter().map(|who| Person::new(*who)).collect();
        let storm = [0, 40, 100, 200][outside.dice.below(4)];
        World { outside, nodes, people, storm, newer_written: false }
    }

    pub(super) fn run(&mut self) {
        for _ in 0..STEPS {
            self.pass_time();
            self.step();
            laws::check_promises(&self.nodes, &mut self.outside);
        }
        self.mend();
        laws::check(&self.nodes, &mut self.outside);
    }

    fn pass_time(&mut self) {
        let dice = &mut self.outside.dice;
        let ms = match dice.below(100) {
            0..82 => dice.up_to(60),
            82..95 => dice.up_to(2_000),
            95..99 => dice.up_to(60_000),
            _ if dice.chance(30) => DurationMs::days(dice.up_to(12)).0,
            _ => dice.up_to(3_600_000),
        };
        self.outside.now = self.outside.now.plus(DurationMs(ms));
    }

    fn step(&mut self) {
        let node = self.outside.dice.below(self.nodes.len());
        match self.outside.dice.below(100) {
            0..14 => self.several(World::deliver_append),
            14..24 => self.several(World::deliver_ack),
            24..36 => self.outside.flush(),
            36..64 => self.nodes[node].work(&mut self.outside),
            64..89 => {
                let person = self.outside.dice.below(self.people.len());
                self.people[person].act(&mut self.nodes, &mut self.outside);
            }
            90 => self.nodes[node].store_checkpoint(&mut self.outside),
            89 | 91 | 92 => harm::see(&self.nodes[node].folded, &mut self.outside),
            _ if self.outside.dice.chance(self.storm / 2) => self.go_wrong(node),
            _ if self.outside.log.away && self.outside.dice.chance(50) => {
                self.outside.log.away = false;
                self.outside.note(|| "the log is back".to_owned());
            }
            // Somebody notices a node that is not ready, and installs the newer program.
            _ if self.nodes[node].stuck => self.restart(node, true),
            _ => self.nodes[node].work(&mut self.outside),
        }
        if self.outside.errs(Mutation::AnswerBeforeDurable) {
            self.outside.log.acknowledge_early();
        }
    }

    fn several(&mut self, what: fn(&mut World)) {
        for _ in 0..=self.outside.dice.below(4) {
            what(self);
        }
    }

    /// The messages of one node arrive in the order in which it sent them, save for strays.
    fn deliver_append(&mut self) {
        let log = &mut self.outside.log;
        let is_next = |index: usize| {
            let append = &log.to_log[index];
            let same = |other: &Append| other.route.node == append.route.node && !other.stray;
            append.stray || !log.to_log[..index].iter().any(same)
        };
        let next: Vec<usize> = (0..log.to_log.len()).filter(|index| is_next(*index)).collect();
        if let Some(index) = self.outside.dice.pick(&next).copied() {
            let append = self.outside.log.to_log.remove(index);
            self.outside.log.receive(append);
        }
    }

    fn deliver_ack(&mut self) {
        let index = self.outside.dice.below(self.outside.log.from_log.len());
        if index < self.outside.log.from_log.len() {
            let ack = self.outside.log.from_log.remove(index);
            self.nodes[ack.route.node].hear(ack, &mut self.outside);
        }
    }

    /// Something goes wrong, or something that went wrong ends.
    fn go_wrong(&mut self, node: usize) {
        let outside = &mut self.outside;
        match outside.dice.below(20) {
            0..3 => {
                let index = outside.dice.below(outside.log.from_log.len());
                if index < outside.log.from_log.len() {
                    outside.log.from_log.remove(index);
                    outside.history.count("acknowledgements lost");
                }
            }
            3..5 => {
                let index = outside.dice.below(outside.log.to_log.len());
                if index < outside.log.to_log.len() {
                    outside.log.to_log.remove(index);
                    outside.history.count("appends lost on their way");
                }
            }
            5..7 => {
                let index = outside.dice.below(outside.log.to_log.len());
                if let Some(append) = outside.log.to_log.get_mut(index) {
                    append.stray = true;
                    outside.history.count("appends delayed");
                }
            }
            7..11 => self.restart(node, false),
            11..14 => self.jump_clock(node),
            // It comes back sooner than it goes away.
            14..17 if outside.log.away || outside.dice.chance(25) => {
                outside.log.away = !outside.log.away;
                let away = outside.log.away;
                outside.note(|| if away { "the log goes away".into() } else { "the log is back".into() });
                outside.history.count("the log went away or came back");
            }
            17..19 => {
                let lost = outside.log.lose_power();
                outside.note(|| format!("the log loses power, and {lost} entries"));
                if lost > 0 {
                    outside.history.count("power failures that lost entries");
                }
            }
            19 if !self.newer_written && outside.dice.chance(30) => self.write_newer(),
            _ => {}
        }
    }

    fn restart(&mut self, node: usize, newer: bool) {
        let node = &mut self.nodes[node];
        node.newer |= newer;
        if node.up {
            laws::check_fold(node, &mut self.outside);
            node.crash(&mut self.outside);
        }
        if newer || self.outside.dice.chance(60) {
            node.start(&mut self.outside);
            self.outside.history.count("restarts");
        }
    }

    fn jump_clock(&mut self, node: usize) {
        let dice = &mut self.outside.dice;
        let ms = if dice.chance(50) { dice.up_to(60_000) } else { dice.up_to(LARGEST_JUMP_MS) };
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        let ahead_ms = if dice.chance(50) { ms } else { -ms };
        self.nodes[node].ahead_ms = ahead_ms;
        self.outside.history.count("clock jumps");
        self.outside.note(|| format!("the clock of node {node} is {ahead_ms} ms ahead"));
    }

    /// A newer program, somewhere else, writes an entry that older ones do not know: a kill.
    fn write_newer(&mut self) {
        let log = &mut self.outside.log;
        if log.away || log.rows.len() > log.flushed {
            return;
        }
        let request = plain_request(Command::Kill {
            kill_id: KillId::new("newer").expect("a name of letters"),
            reach: Reach::Flag { app: shop(), flag: flag_key("cart") },
            environment: None,
        });
        if let Ok(Verdict::Change(draft)) =
            decide(log.truth(), &self.outside.rules, &request, self.outside.now)
        {
            let entry = draft.into_entry(log.head());
            log.accept(encode_newer(&entry), None, None);
            self.newer_written = true;
            self.outside.history.count("entries of a newer program");
        }
    }

    /// Everything works again, and everybody has time to finish.
    fn mend(&mut self) {
        self.outside.note(|| "everything is mended".to_owned());
        self.outside.mended = true;
        self.outside.log.away = false;
        for node in &mut self.nodes {
            let stale = node.stuck || !node.newer;
            if !node.up || (self.newer_written && stale) {
                node.newer |= self.newer_written;
                if node.up {
                    laws::check_fold(node, &mut self.outside);
                    node.crash(&mut self.outside);
                }
                node.start(&mut self.outside);
            }
        }
        for round in 0..MOST_MENDING_ROUNDS {
            if round >= MENDING_ROUNDS && self.outside.log.truth().waiting_run_count() == 0 {
                break;
            }
            self.outside.now = self.outside.now.plus(DurationMs(1_500));
            while !self.outside.log.to_log.is_empty() {
                self.deliver_append();
            }
            self.outside.flush();
            while !self.outside.log.from_log.is_empty() {
                self.deliver_ack();
            }
            for node in &mut self.nodes {
                node.work(&mut self.outside);
            }
            laws::check_promises(&self.nodes, &mut self.outside);
        }
        for node in &mut self.nodes {
            while !self.outside.log.to_log.is_empty() {
                let append = self.outside.log.to_log.remove(0);
                self.outside.log.receive(append);
            }
            self.outside.flush();
            node.follow(usize::MAX, &mut self.outside);
        }
        for node in &mut self.nodes {
            node.follow(usize::MAX, &mut self.outside);
        }
    }
}

thread_local! {
    /// The log with the prologue in it: the same for all seeds, so it is written once.
    static STAGE: Log = set_stage();
}

/// Apps and flags, before anything goes wrong.
fn set_stage() -> Log {
    let mut log = Log::default();
    for command in prologue() {
        let truth = log.truth();
        let anchor = Anchor { revision: truth.revision(), hash: truth.hash() };
        let mut request = plain_request(command);
        request.caller.scope = Scope::Admin;
        if let Command::SetTargeting { app, flag, .. } = &request.command {
            request.seen = truth.flag(app, flag).map(|view| view.revision());
        }
        match decide(
            truth,
            &Rules { gate: rollout_rules::governance::Enforcement::Report, ..Rules::default() },
            &request,
            START,
        ) {
            Ok(Verdict::Change(draft)) => {
                log.accept(draft.into_entry(anchor).encode().into(), None, None);
                log.flush();
            }
            other => panic!("the stage cannot be set: {other:?}"),
        }
    }
    log
}

/// Something that Ada asks for without having seen anything.
fn plain_request(command: Command) -> Request {
    Request {
        caller: Who::Ada.caller(),
        command,
        seen: None,
        reason: "set up".to_owned(),
        idempotency_key: None,
        plan: None,
    }
}
