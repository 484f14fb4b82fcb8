//! How a condition came to hold or not, leaf by leaf.

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::{MAX_SHOWN_BYTES, MAX_SHOWN_VALUES};
use crate::compile::Node;
use crate::condition::{AttributePath, Condition, Operator, SegmentRef, Test};
use crate::context::{Attribute, Context};
use crate::segment::{NONE, Segments};

/// A condition and its outcome. Every part is told, also where an earlier one had decided already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trace {
    /// Every one has to hold.
    All {
        /// Whether they do.
        holds: bool,
        /// The parts.
        parts: Vec<Trace>,
    },
    /// One has to hold.
    Any {
        /// Whether one does.
        holds: bool,
        /// The parts.
        parts: Vec<Trace>,
    },
    /// It has not to hold.
    Not {
        /// Whether it does not.
        holds: bool,
        /// The part.
        part: Box<Trace>,
    },
    /// The unit has to belong to a segment.
    Segment {
        /// Whether it does.
        holds: bool,
        /// Which: `key`, or `shared:key`.
        segment: String,
        /// Whether there is such a segment.
        exists: bool,
        /// Whether the unit is on its list.
        member: bool,
        /// Who belongs besides the list; none if nothing is written, or it cannot be used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        when: Option<Box<Trace>>,
    },
    /// An attribute has to pass.
    Test {
        /// Whether it does.
        holds: bool,
        /// Which attribute.
        attribute: String,
        /// What it is.
        found: Found,
        /// How it is compared.
        op: Operator,
        /// Whether case is ignored.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        ci: bool,
        /// What with; the first few.
        values: Vec<Value>,
        /// How many more there are.
        #[serde(default, skip_serializing_if = "is_zero")]
        more_values: usize,
    },
    /// Too much was told already.
    LeftOut {
        /// Whether it holds.
        holds: bool,
    },
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It is not there; nulls count as not being there.
    Missing,
    /// It is this.
    Value(Value),
    /// It begins like this.
    Cut(Value),
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Trace {
    /// Whether the condition holds.
    pub fn holds(&self) -> bool {
        match self {
            Trace::All { holds, .. }
            | Trace::Any { holds, .. }
            | Trace::Not { holds, .. }
            | Trace::Segment { holds, .. }
            | Trace::Test { holds, .. }
            | Trace::LeftOut { holds } => *holds,
        }
    }
}

/// Follows conditions for one context.
pub(super) struct Tracer<'c, 's> {
    pub(super) context: &'c Context,
    pub(super) segments: Segments<'s>,
    /// How many tests and segments may still be told one by one.
    pub(super) left: usize,
}

impl Tracer<'_, '_> {
    /// Follows a condition; `node` is what it was compiled to.
    pub(super) fn follow(&mut self, condition: &Condition, node: &Node) -> Trace {
        match (condition, node) {
            (Condition::All { all }, Node::All(nodes)) => {
                let parts = self.parts(all, nodes);
                Trace::All { holds: parts.iter().all(Trace::holds), parts }
            }
            (Condition::Any { any }, Node::Any(nodes)) => {
                let parts = self.parts(any, nodes);
                Trace::Any { holds: parts.iter().any(Trace::holds), parts }
            }
            (Condition::Not { not }, Node::Not(node)) => {
                let part = self.follow(not, node);
                Trace::Not { holds: !part.holds(), part: Box::new(part) }
            }
            (Condition::Segment { segment }, Node::Segment { .. }) if self.left > 0 => self.segment(segment),
            (Condition::Test(test), Node::Test { attribute, .. }) if self.left > 0 => {
                self.left -= 1;
                let found = attribute.find(self.context);
                told(test, found, node.holds(self.context, self.segments))
            }
            _ => Trace::LeftOut { holds: node.holds(self.context, self.segments) },
        }
    }

    fn parts(&mut self, conditions: &[Condition], nodes: &[Node]) -> Vec<Trace> {
        conditions.iter().zip(nodes).map(|(condition, node)| self.follow(condition, node)).collect()
    }

    fn segment(&mut self, named: &SegmentRef) -> Trace {
        self.left -= 1;
        let (table, key) = match named {
            SegmentRef::Shared(key) => (self.segments.shared, key),
            SegmentRef::App(key) => (self.segments.app, key),
        };
        let segment = table.and_then(|table| table.get(key));
        let member =
            segment.zip(self.context.targeting_key()).is_some_and(|(segment, unit)| segment.is_member(unit));
        let when = segment.and_then(|segment| segment.when()).map(|(condition, node)| {
            // Conditions of segments name no segments.
            let mut within = Tracer { context: self.context, segments: NONE, left: self.left };
            let trace = within.follow(condition, node);
            self.left = within.left;
            Box::new(trace)
        });
        Trace::Segment {
            holds: member || when.as_ref().is_some_and(|when| when.holds()),
            segment: named.to_string(),
            exists: segment.is_some(),
            member,
            when,
        }
    }
}

fn told(test: &Test, found: Option<&Attribute>, holds: bool) -> Trace {
    Trace::Test {
        holds,
        attribute: match &test.attribute {
            AttributePath::Dotted(path) => path.clone(),
            AttributePath::Names(names) => names.join("."),
        },
        found: Found::of(found),
        op: test.op,
        ci: test.ci,
        values: test.values.iter().take(MAX_SHOWN_VALUES).cloned().collect(),
        more_values: test.values.len().saturating_sub(MAX_SHOWN_VALUES),
    }
}

impl Found {
    pub(super) fn of(attribute: Option<&Attribute>) -> Found {
        let Some(attribute) = attribute.filter(|attribute| **attribute != Attribute::Null) else {
            return Found::Missing;
        };
        let mut room = Room { left: MAX_SHOWN_BYTES, cut: false };
        let value = room.take(attribute);
        if room.cut { Found::Cut(value) } else { Found::Value(value) }
    }
}

/// How much of a value may still be told.
struct Room {
    left: usize,
    cut: bool,
}

impl Room {
    /// What a value costs that is neither text nor made of others.
    const PLAIN: usize = 8;

    fn take(&mut self, attribute: &Attribute) -> Value {
        self.left = self.left.saturating_sub(Self::PLAIN);
        match attribute {
            Attribute::Null => Value::Null,
            Attribute::Bool(truth) => Value::Bool(*truth),
            Attribute::Number(number) => told_number(*number),
            Attribute::String(text) => Value::String(self.text(text)),
            Attribute::List(items) => {
                let mut told = Vec::new();
                for item in items {
                    if self.is_full() {
                        break;
                    }
                    told.push(self.take(item));
                }
                Value::Array(told)
            }
            Attribute::Object(fields) => {
                let mut told = Map::new();
                for (name, field) in fields {
                    if self.is_full() {
                        break;
                    }
                    let name = self.text(name);
                    told.insert(name, self.take(field));
                }
                Value::Object(told)
            }
        }
    }

    fn is_full(&mut self) -> bool {
        self.cut |= self.left == 0;
        self.left == 0
    }

    fn text(&mut self, text: &str) -> String {
        let end = text.floor_char_boundary(self.left.min(text.len()));
        self.cut |= end < text.len();
        self.left -= end;
        text[..end].into()
    }
}

/// A whole number without a point, as people write it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "only whole numbers in range survive the way there and back"
)]
fn told_number(number: f64) -> Value {
    let whole = number as i64;
    if whole as f64 == number && whole != i64::MAX {
        return whole.into();
    }
    // JSON has no other numbers, so contexts that come over HTTP have none.
    Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}
