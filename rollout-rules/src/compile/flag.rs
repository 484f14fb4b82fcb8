//! One flag in one environment, ready to be checked.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use hashbrown::HashTable;

use super::definition::Definition;
use super::node::{Node, Slots};
use super::serve::{CompiledServe, ServeProblem, place};
use crate::bucketing::Murmur3;
use crate::condition::ConditionError;
use crate::evaluate::Told;
use crate::feed::Kept;
use crate::flag::{Flag, FlagState, HoldCause, Kills, Targeting};
use crate::ids::{EnvKey, FlagKey, Revision, RuleId, VariantKey};
use crate::segment::SegmentTable;
use crate::table::{hash_of, sort_by};
use crate::tally::{Cells, FirstCell};
use crate::time::UnixMs;

/// What a compiled flag is made from.
#[derive(Clone)]
pub struct FlagSource<'a> {
    /// The flag, with its answers.
    pub definition: Arc<Definition>,
    /// Its state in the environment.
    pub state: Arc<FlagState>,
    /// The log revision that last changed the flag.
    pub revision: Revision,
    /// The kills and revivals of this flag.
    pub kills: &'a Kills,
    /// The environment.
    pub environment: &'a EnvKey,
    /// The segments that all apps share.
    pub shared_segments: &'a SegmentTable,
    /// The segments of the app.
    pub app_segments: &'a SegmentTable,
    /// What was compiled before for this flag and environment, against the same segment tables. What did
    /// not change is taken over: a kill recompiles no rule.
    pub previous: Option<&'a CompiledFlag>,
}

/// One flag in one environment, ready to be checked.
pub struct CompiledFlag {
    pub(crate) key: FlagKey,
    pub(crate) definition: Arc<Definition>,
    /// The definition's, one step nearer.
    pub(crate) flag: Arc<Flag>,
    pub(crate) state: Arc<FlagState>,
    pub(crate) revision: Revision,
    pub(crate) targeting_revision: Revision,
    pub(crate) expires_at: UnixMs,
    /// When the first scheduled change lowers it. From the beginning, if its answer is told.
    pub(crate) lowers_at: UnixMs,
    /// The hash of the key, to go on from.
    pub(crate) seen: Murmur3,
    /// In thousandths of a percent.
    pub(crate) exposure: u32,
    pub(crate) off_variant: u16,
    pub(crate) standing: Standing,
    /// Whether people turned it on, and no revival of the flag turned it off since.
    pub(crate) on: bool,
    pub(crate) answers: bool,
    /// Where its answers are counted. The table that it is put into says so.
    pub(crate) first_cell: FirstCell,
    /// `None` if it cannot be served.
    pub(crate) serve: Option<CompiledServe>,
    /// What most flags do not have.
    pub(crate) program: Option<Arc<Program>>,
    /// What a client keeps beside it.
    kept: Option<Arc<Kept>>,
}

/// What stands above everything that people set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Free,
    Killed,
    Held(HoldCause),
}

/// The parts of a flag state that most do not have.
pub(crate) struct Program {
    pub(crate) prerequisites: Box<[CompiledPrerequisite]>,
    pub(crate) targets: HashTable<(Arc<str>, u16)>,
    pub(crate) rules: Box<[CompiledRule]>,
    pub(crate) lowerings: Box<[Lowering]>,
    /// In place of everything else: the answer that was found elsewhere.
    pub(crate) told: Option<CompiledTold>,
    pub(crate) warnings: Box<[Warning]>,
}

pub(crate) struct CompiledPrerequisite {
    pub(crate) hash: u64,
    pub(crate) key: FlagKey,
    pub(crate) variants: Box<[VariantKey]>,
}

/// An answer that was found elsewhere.
pub(crate) struct CompiledTold {
    pub(crate) told: Arc<Told>,
    /// What it answers while its reason serves.
    pub(crate) variant: u16,
}

pub(crate) struct CompiledRule {
    pub(crate) index: u16,
    pub(crate) when: Node,
    pub(crate) serve: CompiledServe,
}

/// The lowering part of a scheduled change.
pub(crate) struct Lowering {
    pub(crate) at: UnixMs,
    pub(crate) off: bool,
    pub(crate) exposure: Option<u32>,
}

/// A part of a flag or segment that is off because it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The rule that is off; none if it is something else.
    pub rule: Option<RuleId>,
    /// Why.
    pub cause: WarningCause,
}

/// Why a part of a flag or segment is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarningCause {
    /// The condition cannot be used, and its rule is off.
    Condition(ConditionError),
    /// A value cannot be used and is left out; the rule goes on without it.
    Value(ConditionError),
    /// What is served cannot be used.
    Serve(ServeProblem),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = &self.rule {
            write!(f, "rule `{rule}`: ")?;
        }
        self.cause.fmt(f)
    }
}

impl fmt::Display for WarningCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WarningCause::Condition(error) => write!(f, "off, for its condition cannot be used: {error}"),
            WarningCause::Value(error) => write!(f, "a value is left out: {error}"),
            WarningCause::Serve(problem) => write!(f, "off, for what it serves cannot be used: {problem}"),
        }
    }
}

impl CompiledFlag {
    /// Compiles a flag. What cannot be used is off, with a warning; nothing fails.
    pub fn compile(source: FlagSource<'_>) -> CompiledFlag {
        CompiledFlag::compile_told(source, None)
    }

    /// Compiles a flag whose answer was found elsewhere, if it was.
    pub(crate) fn compile_told(source: FlagSource<'_>, told: Option<&Arc<Told>>) -> CompiledFlag {
        let FlagSource { definition, state, revision, kills, environment, .. } = source.clone();
        let flag = definition.flag();
        let targeting = &state.targeting;
        let (serve, program) = match source.previous {
            Some(previous) if previous.has_parts_of(flag, targeting) && previous.told() == told => {
                (previous.serve.clone(), previous.program.clone())
            }
            _ => {
                let slots = Slots::Of { shared: source.shared_segments, app: source.app_segments };
                let mut warnings = Vec::new();
                let serve = noted(CompiledServe::compile(&targeting.serve, flag), None, &mut warnings);
                let program = match told {
                    Some(told) => Some(Program::tell(flag, told)),
                    None => Program::compile(flag, targeting, slots, warnings),
                };
                (serve, program.map(Arc::new))
            }
        };
        let standing = match &state.hold {
            _ if kills.in_environment(environment).is_some() => Standing::Killed,
            Some(hold) => Standing::Held(hold.cause),
            None => Standing::Free,
        };
        let off_before = kills.off_before_in(environment);
        let lowers_at = program.as_ref().map_or(UnixMs::NEVER, |program| program.lowers_at());
        CompiledFlag {
            key: flag.key.clone(),
            revision,
            targeting_revision: state.targeting_revision,
            expires_at: state.expires_at,
            lowers_at,
            seen: Murmur3::new().write(flag.key.as_str().as_bytes()),
            exposure: targeting.exposure.milli_percent(),
            off_variant: place(flag, &flag.off_variant).unwrap_or(0),
            standing,
            on: targeting.on && !is_revived(state.targeting_revision, off_before),
            answers: flag.archived_at.is_none() && !flag.variants.is_empty(),
            first_cell: FirstCell::NONE,
            serve,
            program,
            flag: Arc::clone(flag),
            state: Arc::clone(&state),
            definition: Arc::clone(&definition),
            kept: None,
        }
    }

    /// Whether rules compiled for this one are the rules of those.
    fn has_parts_of(&self, flag: &Flag, targeting: &Targeting) -> bool {
        let variants = &self.definition.flag().variants;
        variants.len() == flag.variants.len()
            && variants.iter().zip(&flag.variants).all(|(a, b)| a.key == b.key)
            && self.key == flag.key
            && self.state.targeting == *targeting
    }

    /// The answer that was found elsewhere, in place of rules.
    pub fn told(&self) -> Option<&Arc<Told>> {
        self.program.as_ref()?.told.as_ref().map(|compiled| &compiled.told)
    }

    /// The flag with what a client keeps beside it.
    pub(crate) fn keeping(self, kept: Option<Arc<Kept>>) -> CompiledFlag {
        CompiledFlag { kept, ..self }
    }

    /// What a client keeps beside it.
    pub(crate) fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    /// The flag's name.
    #[inline]
    pub fn key(&self) -> &FlagKey {
        &self.key
    }

    /// The definition, with the answers.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// The state that this was compiled from.
    pub fn state(&self) -> &Arc<FlagState> {
        &self.state
    }

    /// The log revision that last changed the flag.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What is off because it cannot be used.
    pub fn warnings(&self) -> &[Warning] {
        self.program.as_ref().map_or(&[], |program| &program.warnings)
    }

    /// Where its answers are counted: one place for each variant, in their order, and one for checks that
    /// gave none.
    pub fn cells(&self) -> Cells {
        Cells { first: self.first_cell, variants: self.flag.variants.len() }
    }

    /// Whether what is counted of this one and of the other is the same: their variants are.
    pub(crate) fn counts_as(&self, other: &CompiledFlag) -> bool {
        let (own, others) = (&self.flag.variants, &other.flag.variants);
        own.len() == others.len() && own.iter().zip(others).all(|(a, b)| a.key == b.key)
    }

    pub(crate) fn key_hash(&self) -> u64 {
        self.definition.key_hash()
    }
}

impl fmt::Debug for CompiledFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.key, self.revision)
    }
}

/// Whether a revival turned off what was set at `targeting_revision`.
#[inline]
pub(crate) fn is_revived(targeting_revision: Revision, off_before: Revision) -> bool {
    off_before > Revision::ZERO && targeting_revision <= off_before
}

fn noted<T>(
    outcome: Result<T, ServeProblem>,
    rule: Option<&RuleId>,
    warnings: &mut Vec<Warning>,
) -> Option<T> {
    outcome
        .map_err(|problem| {
            warnings.push(Warning { rule: rule.cloned(), cause: WarningCause::Serve(problem) });
        })
        .ok()
}

impl Program {
    fn compile(
        flag: &Flag,
        targeting: &Targeting,
        slots: Slots<'_>,
        mut warnings: Vec<Warning>,
    ) -> Option<Program> {
        let mut rules = Vec::new();
        for (index, rule) in targeting.rules.iter().enumerate() {
            let serve = noted(CompiledServe::compile(&rule.serve, flag), Some(&rule.id), &mut warnings);
            let mut warn = |cause| warnings.push(Warning { rule: Some(rule.id.clone()), cause });
            let when = match Node::compile(&rule.when, slots) {
                Ok((node, left_out)) => {
                    left_out.into_iter().map(WarningCause::Value).for_each(warn);
                    Some(node)
                }
                Err(error) => {
                    warn(WarningCause::Condition(error));
                    None
                }
            };
            if let (Some(serve), Some(when), Ok(index)) = (serve, when, u16::try_from(index)) {
                rules.push(CompiledRule { index, when, serve });
            }
        }
        let prerequisites = targeting.prerequisites.iter().map(|prerequisite| CompiledPrerequisite {
            hash: hash_of(prerequisite.flag.as_str()),
            key: prerequisite.flag.clone(),
            variants: prerequisite.variants.clone().into(),
        });
        let program = Program {
            prerequisites: prerequisites.collect(),
            targets: targets(flag, targeting, &mut warnings),
            rules: rules.into(),
            lowerings: lowerings(targeting),
            told: None,
            warnings: warnings.into(),
        };
        let empty = program.prerequisites.is_empty()
            && program.targets.is_empty()
            && program.rules.is_empty()
            && program.lowerings.is_empty()
            && program.warnings.is_empty();
        if empty { None } else { Some(program) }
    }

    fn tell(flag: &Flag, told: &Arc<Told>) -> Program {
        let off = place(flag, &flag.off_variant).unwrap_or(0);
        let variant = told.variant.as_ref().and_then(|variant| place(flag, variant).ok());
        Program {
            prerequisites: Box::default(),
            targets: HashTable::new(),
            rules: Box::default(),
            lowerings: Box::default(),
            told: Some(CompiledTold { told: Arc::clone(told), variant: variant.unwrap_or(off) }),
            warnings: Box::default(),
        }
    }

    fn lowers_at(&self) -> UnixMs {
        if self.told.is_some() {
            return UnixMs(0);
        }
        self.lowerings.first().map_or(UnixMs::NEVER, |lowering| lowering.at)
    }
}

/// The first list that names a unit counts.
fn targets(flag: &Flag, targeting: &Targeting, warnings: &mut Vec<Warning>) -> HashTable<(Arc<str>, u16)> {
    let mut table: HashTable<(Arc<str>, u16)> = HashTable::new();
    for target in &targeting.targets {
        let Some(variant) = noted(place(flag, &target.variant), None, warnings) else { continue };
        for unit in &target.units {
            let hash = hash_of(unit);
            if table.find(hash, |(other, _)| other == unit).is_none() {
                table.insert_unique(hash, (Arc::clone(unit), variant), |(other, _)| hash_of(other));
            }
        }
    }
    table
}

/// The lowering parts of scheduled changes, by time.
fn lowerings(targeting: &Targeting) -> Box<[Lowering]> {
    let mut lowerings: Vec<Lowering> = targeting
        .schedule
        .iter()
        .map(|change| Lowering {
            at: change.at,
            off: change.on == Some(false),
            exposure: change.exposure.filter(|e| *e < targeting.exposure).map(|e| e.milli_percent()),
        })
        .filter(|lowering| lowering.off || lowering.exposure.is_some())
        .collect();
    sort_by(&mut lowerings, |a, b| a.at.cmp(&b.at));
    lowerings.into()
}
