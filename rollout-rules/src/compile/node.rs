//! Condition trees, ready to be asked.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::matcher::Matcher;
use crate::condition::{
    AttributePath, Condition, ConditionError, ConditionProblem, MAX_DEPTH, SegmentRef, Test, Trail,
};
use crate::context::{Attribute, Context, TARGETING_KEY};
use crate::ids::SegmentKey;
use crate::name::Name;
use crate::segment::{SegmentTable, Segments};

/// How a condition finds the slots of the segments that it names.
#[derive(Clone, Copy)]
pub(crate) enum Slots<'a> {
    /// In these tables.
    Of { shared: &'a SegmentTable, app: &'a SegmentTable },
    /// By key, at each check.
    Unknown,
    /// Not at all: it may name none.
    Refused,
}

/// A compiled condition.
pub(crate) enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    Segment { shared: bool, slot: Slot },
    Test { attribute: Path, matcher: Matcher },
}

/// Where a segment is found.
pub(crate) enum Slot {
    Numbered(u32),
    /// It was not there when the condition was compiled; it may have come since.
    Named(SegmentKey),
}

impl Node {
    /// Compiles a condition. Values that cannot be used are left out; if a test is left without any, the
    /// whole condition is an error, for its negation must not hold either.
    pub(crate) fn compile(
        condition: &Condition,
        slots: Slots<'_>,
    ) -> Result<(Node, Vec<ConditionError>), ConditionError> {
        let mut trail = Trail::default();
        match Self::build(condition, slots, 1, &mut trail) {
            Ok(node) => Ok((node, trail.into_left_out())),
            Err(problem) => Err(trail.error(problem)),
        }
    }

    /// Whether all of a condition can be compiled: stops at the first part that cannot. `dfa_bytes` is what the
    /// regular expressions that belong to it take already, and grows by its own.
    pub(crate) fn check(
        condition: &Condition,
        slots: Slots<'_>,
        dfa_bytes: &mut usize,
    ) -> Result<(), ConditionError> {
        let mut trail = Trail::strict(*dfa_bytes);
        match Self::build(condition, slots, 1, &mut trail) {
            Ok(_) => *dfa_bytes = trail.dfa_bounds().bytes(),
            Err(problem) => return Err(trail.error(problem)),
        }
        Ok(())
    }

    fn build(
        condition: &Condition,
        slots: Slots<'_>,
        depth: usize,
        trail: &mut Trail,
    ) -> Result<Node, ConditionProblem> {
        if depth > MAX_DEPTH {
            return Err(ConditionProblem::TooDeep);
        }
        match condition {
            Condition::All { all } => {
                let parts: Vec<Node> =
                    trail.each("all", all, |part, trail| Self::build(part, slots, depth + 1, trail))?;
                Ok(Node::All(parts.into()))
            }
            Condition::Any { any } => {
                let parts: Vec<Node> =
                    trail.each("any", any, |part, trail| Self::build(part, slots, depth + 1, trail))?;
                Ok(Node::Any(parts.into()))
            }
            Condition::Not { not } => {
                let part = trail.within("not", |trail| Self::build(not, slots, depth + 1, trail))?;
                Ok(Node::Not(Box::new(part)))
            }
            Condition::Segment { segment } => Self::segment(segment, slots),
            Condition::Test(test) => Self::test(test, trail),
        }
    }

    fn segment(segment: &SegmentRef, slots: Slots<'_>) -> Result<Node, ConditionProblem> {
        let (shared, key) = match segment {
            SegmentRef::Shared(key) => (true, key),
            SegmentRef::App(key) => (false, key),
        };
        let known = match slots {
            Slots::Of { shared: table, .. } if shared => table.slot(key),
            Slots::Of { app: table, .. } => table.slot(key),
            Slots::Unknown => None,
            Slots::Refused => return Err(ConditionProblem::SegmentInSegment),
        };
        let slot = known.map_or_else(|| Slot::Named(key.clone()), Slot::Numbered);
        Ok(Node::Segment { shared, slot })
    }

    fn test(test: &Test, trail: &mut Trail) -> Result<Node, ConditionProblem> {
        let attribute = Path::compile(&test.attribute).ok_or(ConditionProblem::NoAttribute)?;
        Ok(Node::Test { attribute, matcher: Matcher::compile(test, trail)? })
    }

    /// Whether the condition holds.
    #[inline]
    pub(crate) fn holds(&self, context: &Context, segments: Segments<'_>) -> bool {
        match self {
            Node::Test { attribute, matcher } => {
                attribute.find(context).is_some_and(|value| matcher.holds(value))
            }
            Node::Segment { shared, slot } => {
                let table = if *shared { segments.shared } else { segments.app };
                let segment = table.and_then(|table| match slot {
                    Slot::Numbered(slot) => table.at(*slot),
                    Slot::Named(key) => table.get(key),
                });
                segment.is_some_and(|segment| segment.holds(context))
            }
            Node::All(_) | Node::Any(_) | Node::Not(_) => self.tree_holds(context, segments),
        }
    }

    /// [`holds`](Node::holds) for what has parts. Apart, so that the rest can be inlined.
    fn tree_holds(&self, context: &Context, segments: Segments<'_>) -> bool {
        match self {
            Node::All(parts) => parts.iter().all(|part| part.holds(context, segments)),
            Node::Any(parts) => parts.iter().any(|part| part.holds(context, segments)),
            Node::Not(part) => !part.holds(context, segments),
            Node::Segment { .. } | Node::Test { .. } => self.holds(context, segments),
        }
    }
}

/// Where an attribute is found.
pub(crate) enum Path {
    /// The targeting key.
    Unit,
    /// An attribute of this name.
    Top(Name),
    Nested(Box<Nested>),
}

/// A way through objects, name by name.
pub(crate) struct Nested {
    /// Tried as one name first.
    whole: Option<Name>,
    first: Name,
    rest: Box<[Box<str>]>,
}

impl Path {
    /// `None` if it names nothing.
    pub(crate) fn compile(path: &AttributePath) -> Option<Path> {
        let (whole, names): (Option<&str>, Vec<&str>) = match path {
            AttributePath::Dotted(text) => (Some(text), text.split('.').collect()),
            AttributePath::Names(names) => (None, names.iter().map(String::as_str).collect()),
        };
        let (first, rest) = names.split_first()?;
        if rest.is_empty() {
            return match *first {
                "" => None,
                TARGETING_KEY => Some(Path::Unit),
                name => Some(Path::Top(Name::new(name))),
            };
        }
        let rest = rest.iter().map(|name| Box::from(*name)).collect();
        Some(Path::Nested(Box::new(Nested { whole: whole.map(Name::new), first: Name::new(first), rest })))
    }

    #[inline]
    pub(crate) fn find<'c>(&self, context: &'c Context) -> Option<&'c Attribute> {
        match self {
            Path::Unit => context.unit(),
            Path::Top(name) => context.find(name),
            Path::Nested(nested) => nested.find(context),
        }
    }
}

impl Nested {
    fn find<'c>(&self, context: &'c Context) -> Option<&'c Attribute> {
        self.whole.as_ref().and_then(|whole| context.find(whole)).or_else(|| {
            self.rest.iter().try_fold(context.find(&self.first)?, |value, name| value.field(name))
        })
    }
}
