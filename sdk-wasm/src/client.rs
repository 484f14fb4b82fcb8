//! One client: the fold of its feed, and the checks of its flags.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rollout_rules::compile::CompiledFlag;
use rollout_rules::context::{Context, Wanted};
use rollout_rules::evaluate::{Answer, evaluate_flag};
use rollout_rules::feed::machine::{Input, Loss, Machine, Output};
use rollout_rules::feed::{Applied, ClientState, Frame};
use rollout_rules::ids::FlagKey;
use rollout_rules::time::{DurationMs, UnixMs};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::answers::{NO_FLAG, REASONS, REFUSED, packed};
use crate::{context, said, shown};

/// Bytes of the inbox: no context that may be asked about is larger.
pub const INBOX_BYTES: usize = 64 * 1024;

/// Whether this is built for speed, whatever it weighs.
const IS_QUICK: bool = cfg!(feature = "quick");

/// A flag that is or was there. Its place among them is its id.
pub(crate) struct Entry {
    pub(crate) key: FlagKey,
    /// `None`: it is gone.
    pub(crate) flag: Option<Arc<CompiledFlag>>,
    /// The version that brought it as it is.
    changed: u32,
    /// The attributes that JavaScript was told it needs.
    pub(crate) wanted: Wanted,
}

/// A client. All times that are `elapsed` are milliseconds on a clock that only goes forward, `now` is milliseconds since
/// 1970, and `random` is drawn anew for each call, from zero to below one.
#[wasm_bindgen]
pub struct Core {
    machine: Machine,
    state: Option<Arc<ClientState>>,
    entries: Vec<Entry>,
    /// The ids of entries, by their keys.
    by_key: Vec<u32>,
    version: u32,
    inbox: Vec<u8>,
    context: Context,
    /// The flag for which the context has a text for all that it needs.
    texts_for: Option<u32>,
    is_usable: bool,
}

#[wasm_bindgen]
impl Core {
    /// Begins with what was kept from before, if anything: a text of `export_state`.
    #[wasm_bindgen(constructor)]
    pub fn new(cached: Option<String>, silence_ms: f64, elapsed: f64) -> Core {
        let state = cached
            .as_ref()
            .and_then(|text| Frame::decode(text.as_bytes()).ok())
            .and_then(|frame| ClientState::fold(None, &frame).ok())
            .map(|(state, _)| state);
        let is_usable = cached.is_none() || state.is_some();
        let machine = Machine::new(state.clone(), DurationMs(whole(elapsed)))
            .with_silence(DurationMs(whole(silence_ms)));
        let mut core = Core {
            machine,
            state: None,
            entries: Vec::new(),
            by_key: Vec::new(),
            version: 0,
            inbox: alloc::vec![0; INBOX_BYTES],
            context: Context::anonymous(),
            texts_for: None,
            is_usable,
        };
        if let Some(state) = state {
            core.serve(Arc::new(state), &Applied { everything: true, ..Applied::default() });
        }
        core
    }

    /// False: what was kept could not be read, and the client begins without it.
    pub fn usable(&self) -> bool {
        self.is_usable
    }

    /// The names of reasons, by their numbers, with commas between.
    pub fn reasons() -> String {
        REASONS.into()
    }

    /// Time passed.
    pub fn tick(&mut self, elapsed: f64, random: f64) -> String {
        self.input(Input::Tick, elapsed, random)
    }

    /// The connection stands.
    pub fn connected(&mut self, elapsed: f64, random: f64) -> String {
        self.input(Input::Connected, elapsed, random)
    }

    /// Bytes of the stream arrived.
    pub fn bytes(&mut self, bytes: &[u8], elapsed: f64, random: f64) -> String {
        self.input(Input::Bytes(bytes), elapsed, random)
    }

    /// The server ended the stream.
    pub fn ended(&mut self, elapsed: f64, random: f64) -> String {
        self.input(Input::Lost(Loss::Ended), elapsed, random)
    }

    /// The server could not be reached, or the connection broke.
    pub fn failed(&mut self, why: String, elapsed: f64, random: f64) -> String {
        self.input(Input::Lost(Loss::Failed(why)), elapsed, random)
    }

    /// The server answered, but not with a stream.
    pub fn refused(&mut self, status: u16, retry_after_ms: Option<f64>, elapsed: f64, random: f64) -> String {
        let retry_after = retry_after_ms.map(|ms| DurationMs(whole(ms)));
        self.input(Input::Lost(Loss::Refused { status, retry_after }), elapsed, random)
    }

    /// Nobody looks any more.
    pub fn rest(&mut self, elapsed: f64, random: f64) -> String {
        self.input(Input::Rest, elapsed, random)
    }

    /// Somebody looks again.
    pub fn wake(&mut self, elapsed: f64, random: f64) -> String {
        self.input(Input::Wake, elapsed, random)
    }

    /// When the client wants to be told the time, at the latest; infinite if it does not.
    pub fn wake_at(&self) -> f64 {
        moment(self.machine.wake_at().0)
    }

    /// Grows with each state that may answer otherwise. Zero: there is none yet.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The flags that changed since a version, those included that are gone.
    pub fn flags(&mut self, since: u32) -> String {
        self.texts_for = None;
        let changed = self.entries.iter_mut().enumerate().filter(|(_, entry)| entry.changed > since);
        shown::flags(self.state.as_deref(), changed)
    }

    /// No answer changes by itself before this moment, after which there may be another; infinite if none ever does.
    pub fn settled_until(&self, now: f64) -> f64 {
        self.state
            .as_ref()
            .map_or(f64::INFINITY, |state| moment(state.flag_set().settled_until(UnixMs(whole(now))).0))
    }

    /// Where contexts are put. The same as long as the client lives.
    pub fn inbox(&self) -> *const u8 {
        self.inbox.as_ptr()
    }

    /// Takes the context of that many bytes in the inbox. Below zero: it is refused, and nobody asks.
    pub fn context(&mut self, bytes: u32) -> i32 {
        self.texts_for = None;
        let bytes = self.inbox.get(..bytes as usize).unwrap_or_default();
        match context::read(bytes, &mut self.context) {
            Ok(()) => 0,
            Err(refused) => {
                self.context.clear();
                refused as i32
            }
        }
    }

    /// What a flag answers: the variant's place in 16 bits, the reason's number in 8, and whether it serves.
    pub fn check(&self, id: u32, now: f64) -> u32 {
        self.answer(id, now).map_or(NO_FLAG, |answer| packed(&answer))
    }

    /// What a flag answers to a context of that many bytes in the inbox, which has the values that the flag needs, in order.
    pub fn check_for(&mut self, id: u32, bytes: u32, now: f64) -> u32 {
        let Some(entry) = self.entries.get(id as usize) else { return NO_FLAG };
        let bytes = self.inbox.get(..bytes as usize).unwrap_or_default();
        let is_renewed = IS_QUICK && self.texts_for == Some(id);
        if !is_renewed || !context::renew_wanted(bytes, &entry.wanted, &mut self.context) {
            self.texts_for = None;
            if context::read_wanted(bytes, &entry.wanted, &mut self.context).is_err() {
                self.context.clear();
                return REFUSED;
            }
            if IS_QUICK && self.context.is_text_for_all(&entry.wanted) {
                self.texts_for = Some(id);
            }
        }
        self.check(id, now)
    }

    /// The answer with the story behind it; empty if there is no such flag.
    pub fn detail(&self, id: u32, now: f64) -> String {
        self.answer(id, now).map_or(String::new(), |answer| shown::answer(&answer, &self.context))
    }

    /// The state as a text to keep; empty while there is none.
    pub fn export_state(&self) -> String {
        let encoded = self.state.as_ref().and_then(|state| state.to_frame().encode().ok());
        encoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Core {
    #[cfg_attr(not(feature = "quick"), inline(never))]
    fn answer(&self, id: u32, now: f64) -> Option<Answer<'_>> {
        let flag = self.entries.get(id as usize)?.flag.as_ref()?;
        evaluate_flag(&self.state.as_ref()?.flag_set(), flag, &self.context, UnixMs(whole(now)))
    }

    fn input(&mut self, input: Input<'_>, elapsed: f64, random: f64) -> String {
        /// As many as a drawn number has.
        const DRAWS: f64 = (1_u64 << 53) as f64;
        let outputs = self.machine.handle(input, whole(random * DRAWS), DurationMs(whole(elapsed)));
        for output in &outputs {
            if let Output::Serve { state, applied } = output {
                self.serve(Arc::clone(state), applied);
            }
        }
        said::outputs(&outputs)
    }

    fn serve(&mut self, state: Arc<ClientState>, applied: &Applied) {
        self.version += 1;
        let flags = &state.flag_set().environment.flags;
        if applied.everything {
            for entry in &mut self.entries {
                entry.flag = None;
                entry.changed = self.version;
            }
            flags.sorted().iter().for_each(|flag| self.put(flag.key(), Some(Arc::clone(flag))));
        } else {
            applied.flags.iter().for_each(|key| self.put(key, flags.get(key.as_str()).cloned()));
        }
        self.state = Some(state);
    }

    fn put(&mut self, key: &FlagKey, flag: Option<Arc<CompiledFlag>>) {
        let place = self.by_key.binary_search_by(|id| self.entries[*id as usize].key.cmp(key));
        match place {
            Ok(place) => {
                let entry = &mut self.entries[self.by_key[place] as usize];
                (entry.flag, entry.changed) = (flag, self.version);
            }
            Err(place) => {
                self.by_key.insert(place, u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
                self.entries.push(Entry {
                    key: key.clone(),
                    flag,
                    changed: self.version,
                    wanted: Wanted::default(),
                });
            }
        }
    }
}

/// A number of JavaScript as a whole number; what is none, or below zero, is zero.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "that is what is wanted")]
fn whole(number: f64) -> u64 {
    number as u64
}

/// A moment as JavaScript has it; those that never come are infinite.
#[allow(clippy::cast_precision_loss, reason = "milliseconds do not come near 2^53")]
fn moment(ms: u64) -> f64 {
    if ms == u64::MAX { f64::INFINITY } else { ms as f64 }
}
