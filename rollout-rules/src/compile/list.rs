//! The `in` operator: a list of JSON values.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use hashbrown::HashTable;
use serde_json::Value;

use super::matcher::parse_number;
use super::text::{fold, folded, hash_folded};
use crate::context::Attribute;
use crate::table::hash_of;

/// Up to this many texts are compared one by one, which is quicker than hashing.
const FEW: usize = 4;

/// A list of values, sorted by kind.
///
/// Values are equal if they are the same JSON value. Besides, a number equals a text that writes it,
/// and `true` and `false` equal the texts `"true"` and `"false"`: attributes come out of forms, headers
/// and query strings, where everything is a text.
pub(crate) struct List {
    texts: Texts,
    /// The numbers, in order.
    numbers: Box<[f64]>,
    /// The texts that write a number, as numbers, in order.
    written_numbers: Box<[f64]>,
    /// Whether `false` and `true` are on it.
    bools: [bool; 2],
    /// Whether the texts `"false"` and `"true"` are.
    written_bools: [bool; 2],
    /// Objects and lists.
    others: Box<[Value]>,
}

enum Texts {
    Few(Box<[Box<str>]>),
    Many(HashTable<Box<str>>),
    Folded(HashTable<Box<str>>),
}

impl List {
    pub(crate) fn new(values: &[Value], ci: bool) -> List {
        let mut texts = Vec::new();
        let mut numbers = Vec::new();
        let mut others = Vec::new();
        let mut bools = [false; 2];
        for value in values {
            match value {
                Value::Null => {}
                Value::Bool(flag) => bools[usize::from(*flag)] = true,
                Value::Number(number) => numbers.extend(number.as_f64()),
                Value::String(text) => texts.push(&**text),
                Value::Array(_) | Value::Object(_) => others.push(value.clone()),
            }
        }
        let written_bools = [texts.contains(&"false"), texts.contains(&"true")];
        let written = texts.iter().copied().filter_map(parse_number).collect();
        List {
            texts: Texts::new(&texts, ci),
            numbers: sorted(numbers),
            written_numbers: sorted(written),
            bools,
            written_bools,
            others: others.into(),
        }
    }

    pub(crate) fn contains(&self, attribute: &Attribute) -> bool {
        match attribute {
            Attribute::String(text) => {
                self.texts.contain(text)
                    || (!self.numbers.is_empty()
                        && parse_number(text).is_some_and(|number| holds(&self.numbers, number)))
                    || (self.bools[0] && **text == *"false")
                    || (self.bools[1] && **text == *"true")
            }
            Attribute::Number(number) => {
                holds(&self.numbers, *number) || holds(&self.written_numbers, *number)
            }
            Attribute::Bool(flag) => self.bools[usize::from(*flag)] || self.written_bools[usize::from(*flag)],
            Attribute::Object(_) | Attribute::List(_) => {
                self.others.iter().any(|value| same(attribute, value))
            }
            Attribute::Null => false,
        }
    }
}

fn sorted(mut numbers: Vec<f64>) -> Box<[f64]> {
    // -0 and 0 are the same number.
    numbers.iter_mut().for_each(|number| *number += 0.0);
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.into()
}

fn holds(numbers: &[f64], number: f64) -> bool {
    numbers.binary_search_by(|other| other.total_cmp(&(number + 0.0))).is_ok()
}

/// Whether an attribute and a JSON value are the same, all the way down.
fn same(attribute: &Attribute, value: &Value) -> bool {
    match (attribute, value) {
        (Attribute::Null, Value::Null) => true,
        (Attribute::Bool(a), Value::Bool(b)) => a == b,
        #[allow(clippy::float_cmp, reason = "the same number is what is asked for")]
        (Attribute::Number(a), Value::Number(b)) => b.as_f64() == Some(*a),
        (Attribute::String(a), Value::String(b)) => **a == **b,
        (Attribute::List(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Attribute::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(&**name).is_some_and(|b| same(a, b)))
        }
        _ => false,
    }
}

impl Texts {
    fn new(texts: &[&str], ci: bool) -> Texts {
        if ci {
            let mut table = HashTable::new();
            for text in texts {
                let text: String = fold(text);
                table.insert_unique(hash_folded(&text), text.into_boxed_str(), |other| hash_folded(other));
            }
            return Texts::Folded(table);
        }
        if texts.len() <= FEW {
            return Texts::Few(texts.iter().map(|text| Box::from(*text)).collect());
        }
        let mut table = HashTable::with_capacity(texts.len());
        for text in texts {
            table.insert_unique(hash_of(text), Box::from(*text), |other: &Box<str>| hash_of(other));
        }
        Texts::Many(table)
    }

    fn contain(&self, text: &str) -> bool {
        match self {
            Texts::Few(texts) => texts.iter().any(|other| **other == *text),
            Texts::Many(table) => table.find(hash_of(text), |other| **other == *text).is_some(),
            Texts::Folded(table) => {
                table.find(hash_folded(text), |other| folded(other).eq(folded(text))).is_some()
            }
        }
    }
}
