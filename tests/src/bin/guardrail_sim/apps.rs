//! Whole apps: an outage that all flags share, and stored slots that are folded again.

use rollout_rules::ids::{FlagKey, Revision, SplitId};
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{
    AppSlot, AppWatch, Gauges, News, Objectives, Outcomes, Part, Plan, SplitSlot, UnitHash, UnitList,
};

use crate::dice::{Counts, Dice, mixed};
use crate::traffic::{START, control, variant};

const USERS: usize = 20_000;
const REQUESTS_A_SLOT: f64 = 100.0;
/// The outage, in slots: eight times as many errors for ten minutes from minute 30 on.
const OUTAGE: std::ops::Range<u32> = 180..240;
const SLOTS: u32 = 480;

/// An app whose every request checks all flags, each of them with a split of its own.
struct App {
    flags: usize,
    /// From this slot on half of the requests that the first flag's variant serves fail.
    broken: Option<u32>,
    outage: bool,
    dice: Dice,
    counts: Counts,
}

/// What came of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acts {
    /// Flags whose compared rule acted: from the outage's beginning until 20 minutes after its end, and at another time.
    pub(crate) flags: (usize, usize),
    pub(crate) app: usize,
    pub(crate) pages: usize,
}

fn rule(text: &str) -> Guardrail {
    text.parse().expect("a rule")
}

fn split() -> SplitId {
    SplitId::new("all").expect("a key")
}

fn flag(at: usize) -> FlagKey {
    FlagKey::new(&format!("flag-{at:03}")).expect("a key")
}

impl App {
    fn watch(&self) -> AppWatch {
        let own = rule("error_rate > 3% for 5m -> revert release, notify owner");
        let mut watch = AppWatch::new(vec![own], Objectives::default(), START);
        for at in 0..self.flags {
            watch.watch(flag(at), split(), vec![rule("error_rate worse than control -> flag off")], None);
            let weights = vec![(variant(), 10), (control(), 90)];
            let plan = Plan { revision: Revision(1), control: Some(control()), weights };
            watch.plan(&flag(at), &split(), plan);
        }
        watch
    }

    /// Whether a flag serves a user the variant: a tenth of them, another tenth for each flag.
    fn is_new(at: usize, user: usize) -> bool {
        mixed((at as u64) << 32 | user as u64).is_multiple_of(10)
    }

    fn slot(&mut self, number: u32) -> AppSlot {
        let errors = if self.outage && OUTAGE.contains(&number) { 0.08 } else { 0.01 };
        let mut parts: Vec<[(u64, Vec<usize>); 2]> = (0..self.flags).map(|_| Default::default()).collect();
        let mut all = Outcomes::default();
        for _ in 0..self.counts.draw(REQUESTS_A_SLOT, &mut self.dice) {
            let user = self.dice.below(USERS);
            let breaks = self.broken.is_some_and(|from| number >= from) && App::is_new(0, user);
            let failed = self.dice.chance(if breaks { 0.5 } else { errors });
            all.requests += 1;
            all.bad_requests += u64::from(failed);
            for (at, sides) in parts.iter_mut().enumerate() {
                let side = &mut sides[usize::from(!App::is_new(at, user))];
                side.0 += 1;
                if failed {
                    side.1.push(user);
                }
            }
        }
        all.units = all.requests;
        let splits = parts.into_iter().enumerate().map(|(at, sides)| {
            let parts = sides.into_iter().zip([variant(), control()]).map(|((requests, failed), variant)| {
                let bad = failed
                    .iter()
                    .map(|user| (UnitHash(mixed(*user as u64 ^ 0xbad)), ()))
                    .collect::<UnitList>();
                let outcomes = Outcomes {
                    units: requests,
                    requests,
                    bad_requests: failed.len() as u64,
                    bad,
                    served: UnitList::unknown(),
                    ..Outcomes::default()
                };
                Part { revision: Revision(1), variant, outcomes }
            });
            SplitSlot { flag: flag(at), split: split(), parts: parts.collect() }
        });
        let splits = splits.collect();
        AppSlot { slot: START.plus(number), sources: 1, all: Some(all), gauges: Gauges::default(), splits }
    }
}

/// An outage that 200 flags of an app share.
pub(crate) fn outage(flags: usize, seed: u64) -> Acts {
    let mut app = App { flags, broken: None, outage: true, dice: Dice::new(seed), counts: Counts::default() };
    let mut watch = app.watch();
    let mut acts = Acts::default();
    for number in 0..SLOTS {
        for news in watch.step(&app.slot(number)) {
            match news {
                News::Act(act) if act.measured.is_none() => acts.app += 1,
                News::Act(_) if (OUTAGE.start..OUTAGE.end + 120).contains(&number) => acts.flags.0 += 1,
                News::Act(_) => acts.flags.1 += 1,
                News::Page(_) => acts.pages += 1,
                _ => {}
            }
        }
    }
    acts
}

/// Whether slots that were stored, folded again from the beginning and from a stored watch, say the same to the bit: of an app with
/// an outage and a variant that breaks.
pub(crate) fn replays(seed: u64) -> bool {
    let mut app =
        App { flags: 4, broken: Some(300), outage: true, dice: Dice::new(seed), counts: Counts::default() };
    let mut live = app.watch();
    let (mut stored, mut said) = (Vec::new(), Vec::new());
    let mut middle = String::new();
    let written = |value: &AppWatch| serde_json::to_string(value).expect("it is written");
    for number in 0..SLOTS {
        let entry = app.slot(number);
        said.push(serde_json::to_string(&live.step(&entry)).expect("it is written"));
        stored.push(serde_json::to_string(&entry).expect("it is written"));
        if number == SLOTS / 2 - 1 {
            middle = written(&live);
        }
    }
    let again = |mut watch: AppWatch, from: usize| {
        let same = stored.iter().zip(&said).skip(from).all(|(entry, said)| {
            let entry: AppSlot = serde_json::from_str(entry).expect("it is read");
            serde_json::to_string(&watch.step(&entry)).is_ok_and(|now| now == *said)
        });
        same && written(&watch) == written(&live)
    };
    let acted = said.iter().filter(|said| said.contains("\"act\"")).count();
    let from_middle = serde_json::from_str(&middle).expect("it is read");
    acted > 0 && again(app.watch(), 0) && again(from_middle, SLOTS as usize / 2)
}
