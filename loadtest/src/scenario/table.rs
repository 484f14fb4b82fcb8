//! A table of a file, of which every key is asked for once: what is missing, wrong or unknown is noted.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::{Table, Value};

/// Mistakes as they are found, of the whole file.
#[derive(Debug, Default)]
pub(crate) struct Notes(RefCell<Vec<String>>);

impl Notes {
    pub(crate) fn add(&self, mistake: String) {
        self.0.borrow_mut().push(mistake);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(crate) fn taken(self) -> Vec<String> {
        self.0.into_inner()
    }
}

/// A table that is being read.
pub(crate) struct Reading<'n> {
    /// Where it is in the file, with a dot at the end; empty at the top.
    place: String,
    table: Table,
    notes: &'n Notes,
}

impl<'n> Reading<'n> {
    pub(crate) fn new(place: &str, table: Table, notes: &'n Notes) -> Reading<'n> {
        Reading { place: place.to_owned(), table, notes }
    }

    /// Notes what is wrong with a key.
    pub(crate) fn note(&self, key: &str, what: &str) {
        self.notes.add(format!("`{}{key}` {what}", self.place));
    }

    fn needed(&mut self, key: &str) -> Option<Value> {
        let value = self.table.remove(key);
        if value.is_none() {
            self.note(key, "is missing");
        }
        value
    }

    pub(crate) fn text(&mut self, key: &str) -> String {
        let value = self.needed(key);
        value.map_or_else(String::new, |value| self.as_text(key, value))
    }

    fn as_text(&self, key: &str, value: Value) -> String {
        match value {
            Value::String(text) if !text.trim().is_empty() => text,
            _ => {
                self.note(key, "has to be a text that says something");
                String::new()
            }
        }
    }

    /// A number within its bounds; the least of them if it is none.
    pub(crate) fn number(&mut self, key: &str, bounds: RangeInclusive<u64>) -> u64 {
        match self.needed(key) {
            Some(value) => self.as_number(key, &value, bounds),
            None => *bounds.start(),
        }
    }

    /// A length of time whose key ends in `_ms`, in milliseconds.
    pub(crate) fn millis(&mut self, key: &str, bounds: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(key, bounds))
    }

    pub(crate) fn number_if_there(&mut self, key: &str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.table.remove(key)?;
        Some(self.as_number(key, &value, bounds))
    }

    fn as_number(&self, key: &str, value: &Value, bounds: RangeInclusive<u64>) -> u64 {
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        number.filter(|number| bounds.contains(number)).unwrap_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            self.note(key, &format!("has to be a whole number from {least} to {most}"));
            *least
        })
    }

    /// A share, a ratio or a bar: above zero, at most `most`.
    pub(crate) fn ratio_if_there(&mut self, key: &str, most: f64) -> Option<f64> {
        let value = self.table.remove(key)?;
        Some(self.as_ratio(key, &value, most))
    }

    /// A bar from above: from zero on, at most `most`. What may not grow has to stay at nothing.
    pub(crate) fn most_if_there(&mut self, key: &str, most: f64) -> Option<f64> {
        let value = self.table.remove(key)?;
        let number = as_number(&value).filter(|number| (0.0..=most).contains(number));
        Some(number.unwrap_or_else(|| {
            self.note(key, &format!("has to be a number from 0 to {most}"));
            most
        }))
    }

    pub(crate) fn flag_if_there(&mut self, key: &str) -> bool {
        match self.table.remove(key) {
            None => false,
            Some(Value::Boolean(is_so)) => is_so,
            Some(_) => {
                self.note(key, "has to be true or false");
                false
            }
        }
    }

    fn as_ratio(&self, key: &str, value: &Value, most: f64) -> f64 {
        as_number(value).filter(|number| *number > 0.0 && *number <= most).unwrap_or_else(|| {
            self.note(key, &format!("has to be a number above 0, at most {most}"));
            most
        })
    }

    pub(crate) fn ratios(&mut self, key: &str, most: f64, most_values: usize) -> Vec<f64> {
        let values = self.list(key, most_values);
        values.iter().map(|value| self.as_ratio(key, value, most)).collect()
    }

    /// One of a closed list of names.
    pub(crate) fn one_of<T: Copy>(&mut self, key: &str, known: &[(&str, T)]) -> T {
        let name = self.text(key);
        self.as_one_of(key, &name, known)
    }

    /// One of a closed list of names, with its name; none if there is no such.
    pub(crate) fn named<T: Copy>(
        &mut self,
        key: &str,
        known: &[(&'static str, T)],
    ) -> Option<(&'static str, T)> {
        let name = self.text(key);
        self.as_one_of(key, &name, known);
        known.iter().find(|(known, _)| *known == name).copied()
    }

    pub(crate) fn one_of_if_there<T: Copy>(&mut self, key: &str, known: &[(&str, T)]) -> Option<T> {
        let value = self.table.remove(key)?;
        let name = self.as_text(key, value);
        Some(self.as_one_of(key, &name, known))
    }

    fn as_one_of<T: Copy>(&self, key: &str, name: &str, known: &[(&str, T)]) -> T {
        if let Some((_, value)) = known.iter().find(|(known, _)| *known == name) {
            return *value;
        }
        // A text that is missing or none is noted already.
        if !name.is_empty() {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            self.note(key, &format!("is `{name}`, which is none of: {}", names.join(", ")));
        }
        known[0].1
    }

    pub(crate) fn names<T: Copy>(&mut self, key: &str, known: &[(&str, T)]) -> Vec<T> {
        let values = self.list(key, known.len());
        let names: Vec<String> = values.into_iter().map(|value| self.as_text(key, value)).collect();
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                self.note(key, &format!("names `{name}` twice"));
            }
        }
        names.iter().map(|name| self.as_one_of(key, name, known)).collect()
    }

    fn list(&mut self, key: &str, most: usize) -> Vec<Value> {
        match self.needed(key) {
            Some(Value::Array(values)) if (1..=most).contains(&values.len()) => values,
            Some(_) => {
                self.note(key, &format!("has to be a list of 1 to {most}"));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// A table below this one, read to its end.
    pub(crate) fn table<T>(&mut self, key: &str, read: impl FnOnce(&mut Reading<'n>) -> T) -> Option<T> {
        match self.needed(key)? {
            Value::Table(table) => Some(self.below(key, table, read)),
            _ => {
                self.note(key, "has to be a table");
                None
            }
        }
    }

    /// Tables of a list below this one, each read to its end; none if the list is not there.
    pub(crate) fn tables<T>(&mut self, key: &str, read: impl Fn(&mut Reading<'n>) -> T) -> Vec<T> {
        let mut found = Vec::new();
        match self.table.remove(key) {
            None => {}
            Some(Value::Array(values)) => {
                for value in values {
                    match value {
                        Value::Table(table) => found.push(self.below(key, table, &read)),
                        _ => self.note(key, "has to be a list of tables"),
                    }
                }
            }
            Some(_) => self.note(key, "has to be a list of tables"),
        }
        found
    }

    fn below<T>(&self, key: &str, table: Table, read: impl FnOnce(&mut Reading<'n>) -> T) -> T {
        let mut below = Reading::new(&format!("{}{key}.", self.place), table, self.notes);
        let value = read(&mut below);
        below.end();
        value
    }

    /// Notes what nobody asked for.
    pub(crate) fn end(self) {
        for key in self.table.keys() {
            self.note(key, "is not known");
        }
    }
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
        _ => None,
    }
}
