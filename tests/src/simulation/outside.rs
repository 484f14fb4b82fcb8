//! Everything around a node: the true time, the log, chance, and the record of what happens.

use rollout_rules::decide::Request;
use rollout_rules::governance::Rules;
use rollout_rules::ids::{Digest, IdempotencyKey, Revision};
use rollout_rules::time::UnixMs;

use super::builds;
use super::cast::Who;
use super::dice::Dice;
use super::history::{Answer, Ask, History};
use super::log::Log;
use super::mutation::Mutation;
use rollout_rules::change::Command;

/// When every simulation starts: 2026-01-01.
pub(super) const START: UnixMs = UnixMs(1_767_225_600_000);

/// What all nodes and people share.
pub(super) struct Outside {
    pub(super) now: UnixMs,
    pub(super) dice: Dice,
    pub(super) log: Log,
    pub(super) history: History,
    pub(super) rules: Rules,
    pub(super) checkpoints: Vec<(Revision, Vec<u8>)>,
    /// Nothing goes wrong any more.
    pub(super) mended: bool,
    mutation: Option<Mutation>,
}

impl Outside {
    pub(super) fn new(seed: u64, mutation: Option<Mutation>) -> Outside {
        Outside {
            now: START,
            dice: Dice::new(seed),
            log: Log::default(),
            history: History::default(),
            rules: builds::rules(seed),
            checkpoints: Vec::new(),
            mended: false,
            mutation,
        }
    }

    /// Whether this mistake is being made.
    pub(super) fn errs(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Writes a line into the trace.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        self.history.note(|| format!("{:>9} {}", now.since(START).0, line()));
    }

    /// What the log has accepted becomes durable.
    pub(super) fn flush(&mut self) {
        let first = self.log.flushed;
        self.log.flush();
        for index in first..self.log.flushed {
            let row = &self.log.rows[index];
            let (kind, ask) = (row.entry.change.kind(), row.ask);
            let by = ask.map_or_else(String::new, |ask| format!(" of request {ask}"));
            self.note(|| format!("   entry {} is durable: {kind}{by}", index + 1));
        }
    }

    /// Records a request.
    pub(super) fn ask(&mut self, wish: Wish) -> usize {
        let number = self.history.asks.len();
        let request = Request {
            caller: wish.who.caller(),
            command: wish.command,
            seen: wish.seen,
            reason: format!("request {number}"),
            idempotency_key: wish.key,
            plan: None,
        };
        self.note(|| {
            format!("   request {number}: {:?} saw {:?}: {:?}", wish.who, request.seen, request.command)
        });
        self.history.asks.push(Ask {
            who: wish.who,
            request,
            shown: wish.shown,
            answer: None,
            breach: wish.breach,
            harm: wish.harm,
            repeats: wish.repeats,
            node: None,
        });
        number
    }

    /// Tells a caller, who may have heard something else before: of a kill that it is durable now.
    pub(super) fn answer(&mut self, ask: usize, answer: Answer) {
        self.note(|| format!("   request {ask} is answered {answer:?}"));
        self.history.count(match &answer {
            Answer::Done { durable: false, .. } => "kills answered before they were durable",
            Answer::Done { already: true, .. } => "answers that nothing was left to do",
            Answer::Done { .. } => "answers that it is done",
            Answer::Refused(refusal) => refusal.code(),
            Answer::Unavailable => "answers that the log is away",
            Answer::Busy => "answers that too much is going on",
            Answer::Unknown => "answers that nobody knows",
        });
        if matches!(answer, Answer::Done { durable: false, .. }) {
            self.history.promises.push(ask);
        }
        let told = &mut self.history.asks[ask].answer;
        if told.is_none() {
            *told = Some(answer);
        }
    }
}

/// What somebody wants.
pub(super) struct Wish {
    pub(super) who: Who,
    pub(super) command: Command,
    pub(super) seen: Option<Revision>,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) shown: Option<Digest>,
    pub(super) breach: Option<usize>,
    pub(super) harm: Option<usize>,
    pub(super) repeats: Option<usize>,
}

impl Wish {
    pub(super) fn new(who: Who, command: Command, seen: Option<Revision>) -> Wish {
        Wish { who, command, seen, key: None, shown: None, breach: None, harm: None, repeats: None }
    }
}
