//! Inputs made of others by their structure: what is nested in JSON is moved, repeated, wrapped and left out, so
//! that most of what comes of it is still read, and reaches what lies behind the reading.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use crate::mutate::{Chance, EDGES, line, whole};

/// Most values of one document that are chosen among.
const MAX_PLACES: usize = 3_000;

/// Longest text that is made of a shorter one, in characters.
const MAX_TEXT: usize = 400;
/// What is put into texts.
const LETTERS: [char; 24] = [
    '0',
    '1',
    '9',
    '-',
    '+',
    '.',
    ':',
    '/',
    'e',
    'E',
    'T',
    'Z',
    'v',
    'a',
    'x',
    ' ',
    '\u{0}',
    '\n',
    'é',
    'ß',
    'İ',
    'ſ',
    '\u{212a}',
    '\u{1f600}',
];

/// A value within a document.
#[derive(Clone, Copy)]
struct Place<'v> {
    /// How many values stand before it or around it.
    at: usize,
    /// The member that it is, or is within as an item of a list.
    name: &'v str,
    kind: Kind,
    value: &'v Value,
}

/// What can take the place of each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Flag,
    Number,
    Text,
    List,
    Object,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Nothing,
        Value::Bool(_) => Kind::Flag,
        Value::Number(_) => Kind::Number,
        Value::String(_) => Kind::Text,
        Value::Array(_) => Kind::List,
        Value::Object(_) => Kind::Object,
    }
}

/// Every value within one, itself first.
fn places(value: &Value) -> Vec<Place<'_>> {
    fn note<'v>(value: &'v Value, name: &'v str, places: &mut Vec<Place<'v>>) {
        if places.len() >= MAX_PLACES {
            return;
        }
        places.push(Place { at: places.len(), name, kind: kind(value), value });
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, field)| note(field, name, places)),
            Value::Array(items) => items.iter().for_each(|item| note(item, name, places)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    note(value, "", &mut found);
    found
}

/// The value that so many others stand before or around.
fn nth<'v>(value: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Object(fields) => fields.values_mut().find_map(|field| nth(field, left)),
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, left)),
        _ => None,
    }
}

/// An object in a line of an input, and where it stands.
pub(crate) fn document(bytes: &[u8], chance: &mut Chance) -> Option<(Range<usize>, Value)> {
    let at = chance.below(bytes.len() + 1);
    let line = line(bytes, at);
    let begin = line.start + bytes[line.clone()].iter().position(|byte| *byte == b'{')?;
    let range = whole(bytes, begin).filter(|range| range.end <= line.end)?;
    let value = serde_json::from_slice(&bytes[range.clone()]).ok()?;
    Some((range, value))
}

/// A number, text or boolean, and the name of the member that it is.
pub(crate) struct Word {
    name: String,
    value: Value,
}

/// Every word in some lines of JSON, once: what can be said in its language.
pub(crate) fn words(lines: &str) -> Vec<Word> {
    let mut found = BTreeMap::new();
    for line in lines.lines() {
        let value: Value = serde_json::from_str(line).expect("JSON");
        let is_word = |place: &&Place<'_>| !matches!(place.kind, Kind::Object | Kind::List | Kind::Nothing);
        for place in places(&value).iter().filter(is_word) {
            found.insert((place.name.to_owned(), place.value.to_string()), place.value.clone());
        }
    }
    found.into_iter().map(|((name, _), value)| Word { name, value }).collect()
}

/// Changes one value of an object in the input. `false` if there is none, and nothing was changed.
pub(crate) fn step(bytes: &mut Vec<u8>, other: &[u8], words: &[Word], chance: &mut Chance) -> bool {
    let Some((range, mut value)) = document(bytes, chance) else { return false };
    let other = document(other, chance).map_or(Value::Null, |(_, other)| other);
    change(&mut value, &other, words, chance);
    bytes.splice(range, value.to_string().into_bytes());
    true
}

fn change(value: &mut Value, other: &Value, words: &[Word], chance: &mut Chance) {
    let places = places(value);
    let is_whole = |place: &Place<'_>| matches!(place.kind, Kind::List | Kind::Object);
    let lot = chance.below(10);
    let chosen = match lot {
        0..=3 | 9 => places.get(chance.below(places.len())).copied(),
        4 | 5 => one_of(&places, is_whole, chance),
        _ => one_of(&places, |place| !is_whole(place), chance),
    };
    let Some(place) = chosen else { return };
    let given = match lot {
        // From another place here, also from around it: that nests it in itself.
        3 => like(place, value, chance),
        // From the other, mostly what has the same name there.
        0..=5 => like(place, other, chance),
        6..=8 => Some(scalar(place, words, chance)),
        // Something smaller in its place, or larger around it.
        _ => Some(match chance.below(4) {
            0 => Value::Array(vec![place.value.clone()]),
            1 => Value::Array(vec![scalar(place, words, chance), place.value.clone()]),
            2 => Value::Object([("not".to_owned(), place.value.clone())].into_iter().collect()),
            _ => scalar(Place { kind: Kind::Text, ..place }, words, chance),
        }),
    };
    let mut at = place.at;
    let place = nth(value, &mut at).expect("it was seen there");
    if matches!(lot, 4 | 5) {
        regroup(place, given, chance);
    } else if let Some(given) = given {
        *place = given;
    }
}

fn one_of<'v>(
    places: &[Place<'v>],
    wanted: impl Fn(&Place<'_>) -> bool,
    chance: &mut Chance,
) -> Option<Place<'v>> {
    let fit: Vec<Place<'v>> = places.iter().filter(|place| wanted(place)).copied().collect();
    fit.get(chance.below(fit.len())).copied()
}

/// A value that can stand in a place: of the same name and kind, or at least of the same kind.
fn like(place: Place<'_>, from: &Value, chance: &mut Chance) -> Option<Value> {
    let known = places(from);
    let is_loose = chance.below(8) == 0;
    let named = |other: &Place<'_>| other.kind == place.kind && (is_loose || other.name == place.name);
    let found =
        one_of(&known, named, chance).or_else(|| one_of(&known, |other| other.kind == place.kind, chance));
    found.map(|found| found.value.clone())
}

/// Leaves out, repeats, moves or adds a member or an item.
fn regroup(value: &mut Value, given: Option<Value>, chance: &mut Chance) {
    match value {
        Value::Array(items) => {
            let at = chance.below(items.len());
            match (chance.below(4), given) {
                (0, _) if !items.is_empty() => drop(items.remove(at)),
                (1, _) if !items.is_empty() => {
                    let again = items[at].clone();
                    items.insert(chance.below(items.len() + 1), again);
                }
                (2, _) if !items.is_empty() => {
                    let with = chance.below(items.len());
                    items.swap(at, with);
                }
                (_, Some(Value::Array(more))) => items.extend(more),
                _ => {}
            }
        }
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            match (chance.below(3), given) {
                (0, _) if !names.is_empty() => drop(fields.remove(&names[chance.below(names.len())])),
                (_, Some(Value::Object(more))) => {
                    let at = chance.below(more.len());
                    fields.extend(more.into_iter().skip(at).take(1));
                }
                _ => {}
            }
        }
        _ => {}
    }
}

/// Another scalar; mostly of the same kind, and one that stands under the same name elsewhere.
fn scalar(place: Place<'_>, words: &[Word], chance: &mut Chance) -> Value {
    let lot = chance.below(8);
    match (place.kind, place.value) {
        (Kind::Flag, _) => Value::Bool(chance.below(2) == 0),
        (Kind::Number, _) if lot < 4 => serde_json::from_str(chance.pick(&EDGES)).unwrap_or(Value::from(7)),
        (Kind::Text, Value::String(text)) if lot < 3 => Value::from(reworded(text, words, chance)),
        _ => {
            let of_name = |word: &&Word| word.name == place.name && kind(&word.value) == place.kind;
            let mut fit: Vec<&Word> = words.iter().filter(of_name).collect();
            if fit.is_empty() || lot == 7 {
                fit = words.iter().filter(|word| kind(&word.value) == place.kind).collect();
            }
            fit.get(chance.below(fit.len())).map_or(Value::Null, |word| word.value.clone())
        }
    }
}

/// A text with something else in it: letters that mean something to whoever reads numbers, dates, versions and
/// addresses, letters of other scripts, itself again and again, or another word.
fn reworded(text: &str, words: &[Word], chance: &mut Chance) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let at = chance.below(letters.len() + 1);
    match chance.below(6) {
        0 => letters.insert(at, *LETTERS.get(chance.below(LETTERS.len())).expect("there are some")),
        1 if at < letters.len() => letters[at] = LETTERS[chance.below(LETTERS.len())],
        2 if at < letters.len() => drop(letters.remove(at)),
        3 => letters = letters.repeat(1 + chance.below(40)),
        4 => return (*chance.pick(&EDGES)).to_owned(),
        _ => {
            let texts: Vec<&str> = words.iter().filter_map(|word| word.value.as_str()).collect();
            if let Some(word) = texts.get(chance.below(texts.len())) {
                letters.splice(at..at, word.chars());
            }
        }
    }
    letters.into_iter().take(MAX_TEXT).collect()
}
