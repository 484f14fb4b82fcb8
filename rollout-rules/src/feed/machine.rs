//! A feed client without I/O: told what happened, it says what to do. Every SDK drives the same one.
//!
//! The driver opens a connection when told to [`Output::Connect`], passes on what comes of it, and
//! calls [`Machine::handle`] with [`Input::Tick`] at the latest at [`Machine::wake_at`]. Time is what
//! has elapsed on a clock that only goes forward; chance is a number that the driver draws.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

mod terms;

pub use self::terms::{Input, Loss, Output, Standing, Trouble};
use super::sse::{EventParser, Message};
use super::state::{ClientState, FrameError};
use super::{Frame, FrameBody, FrameCodecError, ResumeToken};
use crate::ids::{KillId, Revision};
use crate::time::DurationMs;

/// How often a server shows a sign of life on a quiet feed.
pub const HEARTBEAT: DurationMs = DurationMs(15_000);
/// A stream that is silent for three heartbeats is given up; so is a connection that takes as long.
pub const SILENCE: DurationMs = DurationMs(3 * HEARTBEAT.0);
/// The first delay before a new connection is drawn from zero to this; it doubles with each failure.
pub const FIRST_BACKOFF: DurationMs = DurationMs(1_000);
/// The longest delay that doubling leads to.
pub const LONGEST_BACKOFF: DurationMs = DurationMs(30_000);
/// The delay after an answer that trying again will hardly change: a wrong key, an unknown version.
pub const SLOW_RETRY: DurationMs = DurationMs(60_000);
/// The longest delay that a server may ask for.
pub const LONGEST_RETRY_AFTER: DurationMs = DurationMs(600_000);
/// What a server asks for below this is passed over, and the delay is the usual one.
const FIRST_ASKED_MS: u64 = FIRST_BACKOFF.0;
/// Acknowledgements that are in no hurry wait at least this long for others to join them, and up to
/// twice as long, so that the clients of one server do not all acknowledge at once.
pub const ACK_BATCH: DurationMs = DurationMs(2_000);
/// Most kills in one acknowledgement. The first on a connection passes over older ones; a server takes no
/// more, and remembers no more of one client.
pub const MAX_ACK_KILLS: usize = 32;
/// A resumed stream on which nothing is said counts as live after this.
const QUIET_RESUME: DurationMs = DurationMs(1_000);
/// A client that rests still counts as live for this long after it let its connection go, awake or not.
pub const REST_LIVE: DurationMs = HEARTBEAT;
/// A client that wakes connects within this, so that many that wake together do not arrive together. What a failure or
/// the server asked to wait is waited all the same.
pub const WAKE_SPREAD: DurationMs = DurationMs(250);
/// Later than every moment on the driver's clock.
pub const NEVER: DurationMs = DurationMs(u64::MAX);

#[derive(Debug)]
enum Link {
    Waiting {
        until: DurationMs,
    },
    Connecting {
        since: DurationMs,
    },
    Open {
        heard: DurationMs,
        confirmed: bool,
    },
    /// What a failure or the server asked to wait is waited after it, too.
    Resting {
        not_before: DurationMs,
    },
}

/// The feed client.
#[derive(Debug)]
pub struct Machine {
    state: Option<Arc<ClientState>>,
    /// Set when the state must not be resumed from, though it is still served.
    needs_snapshot: bool,
    link: Link,
    /// When the last connection on which the server was heard was let go, since nobody looked.
    let_go: DurationMs,
    silence: DurationMs,
    parser: EventParser,
    standing: Standing,
    failures: u32,
    asked_delay: Option<DurationMs>,
    acked: Option<Revision>,
    ack_at: Option<DurationMs>,
}

impl Machine {
    /// A client that begins with what it kept from before, if anything, and connects at once.
    pub fn new(cached: Option<ClientState>, now: DurationMs) -> Machine {
        Machine {
            state: cached.map(Arc::new),
            needs_snapshot: false,
            link: Link::Waiting { until: now },
            let_go: now,
            silence: SILENCE,
            parser: EventParser::default(),
            standing: Standing::Starting,
            failures: 0,
            asked_delay: None,
            acked: None,
            ack_at: None,
        }
    }

    /// The same client, giving up after another length of silence than [`SILENCE`].
    #[must_use]
    pub fn with_silence(mut self, silence: DurationMs) -> Machine {
        self.silence = silence;
        self
    }

    /// The latest moment at which the machine wants to be told the time; [`NEVER`] while it rests.
    pub fn wake_at(&self) -> DurationMs {
        let link = match self.link {
            Link::Waiting { until } => until,
            Link::Connecting { since } => after(since, self.silence),
            Link::Open { heard, confirmed: true } => after(heard, self.silence),
            Link::Open { heard, confirmed: false } => after(heard, QUIET_RESUME),
            Link::Resting { .. } => NEVER,
        };
        let link = self.live_until().map_or(link, |until| link.min(until));
        self.ack_at.map_or(link, |ack| ack.min(link))
    }

    /// How the client stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Takes in what happened and says what to do, in this order. `random` is drawn anew for each call.
    pub fn handle(&mut self, input: Input<'_>, random: u64, now: DurationMs) -> Vec<Output> {
        let mut outputs = Vec::new();
        match input {
            Input::Connected => self.connected(now),
            Input::Bytes(bytes) => self.bytes(bytes, random, &mut outputs, now),
            Input::Lost(loss) => self.lost(loss, random, &mut outputs, now),
            Input::Tick => self.tick(random, &mut outputs, now),
            Input::Rest => self.rest(&mut outputs, now),
            Input::Wake => self.wake(random, now),
        }
        self.plan_ack(random, now);
        outputs
    }

    fn connected(&mut self, now: DurationMs) {
        if matches!(self.link, Link::Connecting { .. }) {
            self.parser = EventParser::default();
            self.link = Link::Open { heard: now, confirmed: false };
        }
    }

    fn tick(&mut self, random: u64, outputs: &mut Vec<Output>, now: DurationMs) {
        match self.link {
            Link::Waiting { until } if now >= until => {
                self.link = Link::Connecting { since: now };
                outputs.push(Output::Connect { resume: self.resume() });
            }
            Link::Connecting { since: heard } | Link::Open { heard, .. }
                if now >= after(heard, self.silence) =>
            {
                self.give_up(Trouble::Silent, random, outputs, now);
            }
            Link::Open { heard, confirmed: false } if now >= after(heard, QUIET_RESUME) => {
                self.confirm(outputs, now);
            }
            _ => {}
        }
        if self.live_until().is_some_and(|until| now >= until) {
            let is_resting = matches!(self.link, Link::Resting { .. });
            let why = if is_resting { Trouble::Resting } else { Trouble::Ended };
            self.stand(Standing::Stale { since: self.let_go, why }, outputs);
        }
        if self.ack_at.is_some_and(|at| now >= at) {
            self.ack_at = None;
            self.ack(Vec::new(), outputs);
        }
    }

    fn rest(&mut self, outputs: &mut Vec<Output>, now: DurationMs) {
        let not_before = match self.link {
            Link::Resting { .. } => return,
            Link::Waiting { until } => until,
            Link::Connecting { .. } | Link::Open { .. } => {
                outputs.push(Output::Disconnect);
                now
            }
        };
        if matches!(self.link, Link::Open { confirmed: true, .. }) {
            self.let_go = now;
        }
        self.link = Link::Resting { not_before };
        self.forget_connection();
    }

    fn wake(&mut self, random: u64, now: DurationMs) {
        if let Link::Resting { not_before } = self.link {
            let spread = after(now, DurationMs(random % (WAKE_SPREAD.0 + 1)));
            self.link = Link::Waiting { until: not_before.max(spread) };
        }
    }

    /// Without a connection it is live only until then, however often it rests and wakes.
    fn live_until(&self) -> Option<DurationMs> {
        let is_live = self.standing == Standing::Live && !matches!(self.link, Link::Open { .. });
        is_live.then(|| after(self.let_go, REST_LIVE))
    }

    /// What belonged to a connection that is no more.
    fn forget_connection(&mut self) {
        self.parser = EventParser::default();
        self.ack_at = None;
        self.acked = None;
    }

    fn resume(&self) -> Option<ResumeToken> {
        self.state.as_ref().filter(|_| !self.needs_snapshot).map(|state| state.resume_token())
    }

    /// A sign of life on a stream that needs no snapshot first: what is served is what the server serves.
    fn confirm(&mut self, outputs: &mut Vec<Output>, now: DurationMs) {
        let ready = self.state.is_some() && !self.needs_snapshot;
        // Without a state the stream still owes a snapshot: only the clock of silence runs.
        self.link = Link::Open { heard: now, confirmed: true };
        if ready {
            self.failures = 0;
            self.stand(Standing::Live, outputs);
        }
    }

    fn stand(&mut self, standing: Standing, outputs: &mut Vec<Output>) {
        if self.standing != standing {
            self.standing = standing.clone();
            outputs.push(Output::Standing(standing));
        }
    }

    fn bytes(&mut self, bytes: &[u8], random: u64, outputs: &mut Vec<Output>, now: DurationMs) {
        if !matches!(self.link, Link::Open { .. }) {
            return;
        }
        let mut messages = Vec::new();
        let parsed = self.parser.push(bytes, |message| messages.push(message));
        for message in messages {
            if let Err(trouble) = self.message(message, outputs, now) {
                return self.give_up(trouble, random, outputs, now);
            }
        }
        if parsed.is_err() {
            let error = FrameCodecError::TooLarge { bytes: super::MAX_FRAME_BYTES };
            self.give_up(Trouble::Unreadable(error), random, outputs, now);
        } else if let Link::Open { heard, .. } = &mut self.link {
            *heard = now;
        }
    }

    fn message(
        &mut self,
        message: Message,
        outputs: &mut Vec<Output>,
        now: DurationMs,
    ) -> Result<(), Trouble> {
        match message {
            Message::Retry(delay) => self.asked_delay = Some(delay.min(LONGEST_RETRY_AFTER)),
            Message::Comment => self.confirm(outputs, now),
            Message::Id(id) => {
                self.moved(&id)?;
                self.confirm(outputs, now);
            }
            Message::Event { name, data, .. } => match name.as_str() {
                "snapshot" | "change" | "overlay" => self.frame(&data, outputs, now)?,
                // A server may have more to say than this client knows.
                _ => {
                    self.confirm(outputs, now);
                    outputs.push(Output::Said { name, data });
                }
            },
        }
        Ok(())
    }

    /// The server says that nothing up to this token concerned the audience.
    fn moved(&mut self, id: &str) -> Result<(), Trouble> {
        let Some(token) = ResumeToken::parse(id) else { return Ok(()) };
        if self.needs_snapshot {
            return Ok(());
        }
        if let Some(state) = &mut self.state {
            Arc::make_mut(state)
                .advance(&token)
                .map_err(|error| out_of_step(&mut self.needs_snapshot, error))?;
        }
        Ok(())
    }

    fn frame(&mut self, data: &[u8], outputs: &mut Vec<Output>, now: DurationMs) -> Result<(), Trouble> {
        let frame = Frame::decode(data).map_err(Trouble::Unreadable)?;
        let is_snapshot = matches!(frame.body, FrameBody::Snapshot(_));
        let base = self.state.as_deref().filter(|_| !self.needs_snapshot || is_snapshot);
        let (state, applied) =
            ClientState::fold(base, &frame).map_err(|error| out_of_step(&mut self.needs_snapshot, error))?;
        self.needs_snapshot = false;
        let state = Arc::new(state);
        self.state = Some(Arc::clone(&state));
        let kill_ids = applied.kill_ids.clone();
        // Served first: whoever hears that the client is live finds the flags in place.
        if applied.moved {
            outputs.push(Output::Serve { state, applied });
        }
        self.confirm(outputs, now);
        if !kill_ids.is_empty() {
            self.ack(kill_ids, outputs);
        }
        Ok(())
    }

    /// What is served and was not acknowledged on this connection will be, in no hurry.
    fn plan_ack(&mut self, random: u64, now: DurationMs) {
        let served = self.state.as_ref().map(|state| state.revision());
        let is_heard = self.standing == Standing::Live && matches!(self.link, Link::Open { .. });
        if self.ack_at.is_none() && is_heard && served != self.acked {
            self.ack_at = Some(after(now, DurationMs(ACK_BATCH.0 + random % (ACK_BATCH.0 + 1))));
        }
    }

    fn ack(&mut self, mut kill_ids: Vec<KillId>, outputs: &mut Vec<Output>) {
        let Some(state) = &self.state else { return };
        let revision = state.revision();
        if self.acked.is_none() {
            let room = MAX_ACK_KILLS.saturating_sub(kill_ids.len());
            let before: Vec<KillId> =
                state.standing_kills().filter(|id| !kill_ids.contains(id)).take(room).collect();
            kill_ids.extend(before);
            // The oldest first: a server that remembers the last few forgets those.
            kill_ids.reverse();
        }
        if self.acked != Some(revision) || !kill_ids.is_empty() {
            self.acked = Some(revision);
            outputs.push(Output::Ack { revision, kill_ids });
        }
    }

    fn lost(&mut self, loss: Loss, random: u64, outputs: &mut Vec<Output>, now: DurationMs) {
        if matches!(self.link, Link::Waiting { .. } | Link::Resting { .. }) {
            return;
        }
        let trouble = match loss {
            Loss::Ended => Trouble::Ended,
            Loss::Failed(what) => Trouble::Unreachable(what),
            Loss::Refused { status, retry_after } => {
                self.asked_delay = retry_after.map(|delay| delay.min(LONGEST_RETRY_AFTER));
                match status {
                    401 | 403 => Trouble::Unauthorized,
                    _ => Trouble::Refused { status },
                }
            }
        };
        self.wait(trouble, random, outputs, now);
    }

    fn give_up(&mut self, trouble: Trouble, random: u64, outputs: &mut Vec<Output>, now: DurationMs) {
        outputs.push(Output::Disconnect);
        self.wait(trouble, random, outputs, now);
    }

    fn wait(&mut self, why: Trouble, random: u64, outputs: &mut Vec<Output>, now: DurationMs) {
        let delay = self.delay(&why, random);
        self.failures = self.failures.saturating_add(1);
        self.link = Link::Waiting { until: after(now, delay) };
        self.forget_connection();
        let since = match &self.standing {
            Standing::Stale { since, .. } => *since,
            _ => now,
        };
        self.stand(Standing::Stale { since, why }, outputs);
    }

    /// Full jitter: anything from nothing to the whole delay, so that clients which lost one server
    /// do not arrive at the next one together. What a server asks for is a lower bound.
    fn delay(&mut self, why: &Trouble, random: u64) -> DurationMs {
        let jitter = |whole: DurationMs| random % (whole.0 + 1);
        let hopeless = match why {
            Trouble::Unauthorized | Trouble::Unreadable(_) => true,
            Trouble::Refused { status } => matches!(status, 400..=499) && !matches!(status, 408 | 429),
            _ => false,
        };
        let asked = mem::take(&mut self.asked_delay);
        let asked = asked.map_or(0, |asked| match asked.0 {
            // As good as nothing: a server that says so while it fails must not be asked all the time.
            0..FIRST_ASKED_MS => 0,
            asked => asked + jitter(DurationMs(FIRST_BACKOFF.0.max(asked / 10))),
        });
        if hopeless {
            return DurationMs(asked.max(SLOW_RETRY.0 / 2 + jitter(SLOW_RETRY)));
        }
        if asked > 0 {
            return DurationMs(asked);
        }
        let doubled = FIRST_BACKOFF.0 << self.failures.min(16);
        DurationMs(jitter(DurationMs(doubled.min(LONGEST_BACKOFF.0))))
    }
}

fn out_of_step(needs_snapshot: &mut bool, error: FrameError) -> Trouble {
    *needs_snapshot = true;
    Trouble::OutOfStep(error)
}

fn after(at: DurationMs, length: DurationMs) -> DurationMs {
    DurationMs(at.0.saturating_add(length.0))
}
