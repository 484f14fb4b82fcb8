//! What a licence asks for, from an SPDX expression or from the words that package indexes have instead.
//!
//! Format: licence expressions of SPDX 2.3: <https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>.

use ::spdx::expression::{ExprNode, Operator};
use ::spdx::{Expression, LicenseItem, LicenseReq, ParseMode};
use rollout_rules::gate::facts::Licence;

use super::licence_names::{by_id, by_words, is_linking_exception};

/// Longest expression that is looked at, in bytes; what a longer one asks for is not known.
const MAX_LICENCE_BYTES: usize = 2_000;
/// What stands for nothing in SPDX and in forms that people left empty.
const NOTHING: [&str; 5] = ["", "NOASSERTION", "NONE", "UNKNOWN", "UNLICENSED"];

/// Deprecated names such as `GPL-3.0` and `GPL-3.0+` are in use everywhere, and names that are on no list are looked up in one of
/// our own.
const AS_WRITTEN: ParseMode = ParseMode {
    allow_slash_as_or_operator: true,
    allow_imprecise_license_names: false,
    allow_postfix_plus_on_gpl: true,
    allow_deprecated: true,
    allow_unknown: true,
};

/// What a licence asks for, as written. Of a choice the mildest that is known, of a sum the strictest; of a whole text, what its first line names.
pub(super) fn classify(text: &str) -> Licence {
    let text = text.trim();
    if NOTHING.contains(&text.to_ascii_uppercase().as_str()) {
        return Licence::Unknown;
    }
    let first_line = text.lines().next().unwrap_or_default().trim();
    if first_line.len() > MAX_LICENCE_BYTES {
        return Licence::Unknown;
    }
    named(first_line).unwrap_or_else(|| joined(first_line))
}

/// What several licences ask for that all hold.
pub(super) fn all(a: Licence, b: Licence) -> Licence {
    if rank(a) >= rank(b) { a } else { b }
}

/// What several licences ask for of which one may be chosen. One that is not known is no way out: whether it may be chosen at all, such as
/// a licence that is for sale, is not known either.
pub(super) fn any(a: Licence, b: Licence) -> Licence {
    match (a, b) {
        (Licence::Unknown, known) | (known, Licence::Unknown) => known,
        (a, b) if rank(a) <= rank(b) => a,
        (_, b) => b,
    }
}

/// From mild to strict. What is not known stands before what is known to be strict: beside a strong copyleft it does not hide it.
pub(super) fn rank(licence: Licence) -> u8 {
    match licence {
        Licence::Permissive => 0,
        Licence::WeakCopyleft => 1,
        Licence::Unknown => 2,
        Licence::StrongCopyleft => 3,
    }
}

/// A single licence by its name on the list, an expression in the words of SPDX, or a name in plain words; none: nothing of these.
fn named(text: &str) -> Option<Licence> {
    if let Some(licence) = by_id(text) {
        return Some(licence);
    }
    let expression =
        Expression::parse_mode(text, AS_WRITTEN).ok().map(|expression| of_expression(&expression));
    match expression {
        Some(licence) if licence != Licence::Unknown => Some(licence),
        unknown => by_words(text).or(unknown),
    }
}

/// Names in plain words that are joined by `or` and `and`. `or` binds less, as in SPDX.
fn joined(text: &str) -> Licence {
    let text = text.to_ascii_lowercase().replace(" or later", "+").replace(" or newer", "+");
    let choices = text.split(" or ").map(|choice| {
        let sum = choice.split(" and ").map(|name| named(name.trim()).unwrap_or_default());
        sum.reduce(all).unwrap_or_default()
    });
    choices.reduce(any).unwrap_or_default()
}

/// The expression comes in postfix order.
fn of_expression(expression: &Expression) -> Licence {
    let mut stack = Vec::new();
    for node in expression.iter() {
        let value = match node {
            ExprNode::Req(required) => of_requirement(&required.req),
            ExprNode::Op(operator) => {
                let (b, a) = (stack.pop().unwrap_or_default(), stack.pop().unwrap_or_default());
                if *operator == Operator::And { all(a, b) } else { any(a, b) }
            }
        };
        stack.push(value);
    }
    stack.pop().unwrap_or_default()
}

fn of_requirement(required: &LicenseReq) -> Licence {
    let licence = match &required.license {
        LicenseItem::Spdx { id, .. } => by_id(id.name),
        // Programs that meet a name which is on no list make a reference of it, with hyphens for blanks.
        LicenseItem::Other(other) if other.doc_ref.is_none() => {
            by_id(&other.lic_ref).or_else(|| by_words(&other.lic_ref.replace('-', " ")))
        }
        LicenseItem::Other(_) => None,
    };
    let licence = licence.unwrap_or_default();
    match required.addition.as_ref().map(|addition| addition.id()) {
        None => licence,
        Some(Some(exception))
            if licence == Licence::StrongCopyleft && is_linking_exception(exception.name) =>
        {
            Licence::WeakCopyleft
        }
        Some(Some(_)) => licence,
        // What is added is on no list, and may as well forbid something.
        Some(None) => all(licence, Licence::Unknown),
    }
}
