//! The `in` operator: a list of JSON values.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use hashbrown::HashTable;
use serde_json::Value;

use super::matcher::parse_number;
use super::text::{fold, folded, hash_folded};
use crate::context::Attribute;
use crate::table::{hash_of, same as same_text, sort_by};

/// Up to this many texts are compared one by one, which is quicker than hashing.
const FEW: usize = 4;

/// A list of values, sorted by kind.
///
/// Values are equal if they are the same JSON value. Besides, a text on the list stands for the number
/// or the boolean that it writes, since lists are often typed into forms where everything is a text. It
/// does not go the other way: an attribute that is the text `"3"` is not on the list `[3]`.
pub(crate) struct List {
    texts: Texts,
    /// The numbers and what texts write as numbers, in order.
    numbers: Box<[f64]>,
    /// Whether `false` and `true` are on it, or written on it.
    bools: [bool; 2],
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
                Value::String(text) => {
                    numbers.extend(parse_number(text));
                    bools[0] |= text == "false";
                    bools[1] |= text == "true";
                    texts.push(&**text);
                }
                Value::Array(_) | Value::Object(_) => others.push(value.clone()),
            }
        }
        List { texts: Texts::new(&texts, ci), numbers: sorted(numbers), bools, others: others.into() }
    }

    #[inline]
    pub(crate) fn contains(&self, attribute: &Attribute) -> bool {
        match attribute {
            Attribute::String(text) => self.texts.contain(text),
            Attribute::Number(number) => holds(&self.numbers, *number),
            Attribute::Bool(flag) => self.bools[usize::from(*flag)],
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
    sort_by(&mut numbers, f64::total_cmp);
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
        let mut table: HashTable<Box<str>> = HashTable::with_capacity(texts.len());
        for text in texts {
            table.insert_unique(hash_of(text), Box::from(*text), |other| hash_of(other));
        }
        Texts::Many(table)
    }

    #[inline]
    fn contain(&self, text: &str) -> bool {
        match self {
            Texts::Few(texts) => texts.iter().any(|other| same_text(other, text)),
            Texts::Many(table) => table.find(hash_of(text), |other| same_text(other, text)).is_some(),
            Texts::Folded(table) => {
                table.find(hash_folded(text), |other| folded(other).eq(folded(text))).is_some()
            }
        }
    }
}
