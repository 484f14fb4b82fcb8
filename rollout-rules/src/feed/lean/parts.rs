//! What forms are made of: values, texts, lists, and the fields of objects.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde_json::{Map, Value};

use crate::ids::Revision;
use crate::json_text::JsonText;
use crate::percent::Exposure;
use crate::time::UnixMs;

/// What is read from a JSON value.
pub(super) trait Read: Sized {
    /// `None`: it does not fit.
    fn read(value: &Value) -> Option<Self>;
}

/// What is written as a JSON value, too.
pub(super) trait Write: Read {
    /// Writes it.
    fn write(&self, json: &mut JsonText);

    /// Whether a field of it that may be left out is left out.
    fn is_left_out(&self) -> bool {
        false
    }
}

/// The fields of an object while it is read.
pub(super) struct Fields<'a> {
    all: &'a Map<String, Value>,
    known: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Option<Fields<'a>> {
        value.as_object().map(|all| Fields { all, known: 0 })
    }

    /// A field that has to be there.
    pub(super) fn must<T: Read>(&mut self, name: &str) -> Option<T> {
        T::read(self.get(name)?)
    }

    /// A field that may be left out.
    pub(super) fn may<T: Read + Default>(&mut self, name: &str) -> Option<T> {
        self.get(name).map_or_else(|| Some(T::default()), T::read)
    }

    /// Whether there are no others.
    pub(super) fn are_known(&self) -> bool {
        self.known == self.all.len()
    }

    #[inline(never)]
    fn get(&mut self, name: &str) -> Option<&'a Value> {
        let found = self.all.get(name);
        self.known += usize::from(found.is_some());
        found
    }
}

/// Writes a field, unless it may be left out and is.
pub(super) fn write_field<T: Write>(name: &str, value: &T, may: bool, json: &mut JsonText) {
    if !(may && value.is_left_out()) {
        json.field(name);
        value.write(json);
    }
}

impl Read for Value {
    fn read(value: &Value) -> Option<Value> {
        Some(value.clone())
    }
}

impl Write for Value {
    fn write(&self, json: &mut JsonText) {
        json.value(self);
    }
}

impl Read for String {
    fn read(value: &Value) -> Option<String> {
        value.as_str().map(ToString::to_string)
    }
}

impl Write for String {
    fn write(&self, json: &mut JsonText) {
        json.text(self);
    }

    fn is_left_out(&self) -> bool {
        self.is_empty()
    }
}

impl Read for Arc<str> {
    fn read(value: &Value) -> Option<Arc<str>> {
        value.as_str().map(Arc::from)
    }
}

impl Write for Arc<str> {
    fn write(&self, json: &mut JsonText) {
        json.text(self);
    }
}

impl Read for bool {
    fn read(value: &Value) -> Option<bool> {
        value.as_bool()
    }
}

impl Write for bool {
    fn write(&self, json: &mut JsonText) {
        json.raw(if *self { "true" } else { "false" });
    }

    fn is_left_out(&self) -> bool {
        !*self
    }
}

impl Read for u32 {
    fn read(value: &Value) -> Option<u32> {
        value.as_u64().and_then(|number| u32::try_from(number).ok())
    }
}

impl Write for u32 {
    fn write(&self, json: &mut JsonText) {
        json.number(u64::from(*self));
    }
}

impl Read for u16 {
    fn read(value: &Value) -> Option<u16> {
        u32::read(value).and_then(|number| u16::try_from(number).ok())
    }
}

impl Write for u16 {
    fn write(&self, json: &mut JsonText) {
        json.number(u64::from(*self));
    }
}

impl Read for Revision {
    fn read(value: &Value) -> Option<Revision> {
        value.as_u64().map(Revision)
    }
}

impl Write for Revision {
    fn write(&self, json: &mut JsonText) {
        json.number(self.0);
    }

    fn is_left_out(&self) -> bool {
        *self == Revision::ZERO
    }
}

impl Read for UnixMs {
    fn read(value: &Value) -> Option<UnixMs> {
        match value {
            Value::String(text) => UnixMs::parse_rfc3339(text),
            _ => value.as_u64().and_then(UnixMs::written),
        }
    }
}

impl Write for UnixMs {
    fn write(&self, json: &mut JsonText) {
        json.shown(self);
    }

    fn is_left_out(&self) -> bool {
        self.0 == 0
    }
}

impl Read for Exposure {
    fn read(value: &Value) -> Option<Exposure> {
        value.as_number()?.to_string().parse().ok()
    }
}

impl Write for Exposure {
    fn write(&self, json: &mut JsonText) {
        json.bare(self);
    }
}

impl<T: Read> Read for Option<T> {
    fn read(value: &Value) -> Option<Option<T>> {
        if value.is_null() { Some(None) } else { T::read(value).map(Some) }
    }
}

impl<T: Write> Write for Option<T> {
    fn write(&self, json: &mut JsonText) {
        match self {
            Some(value) => value.write(json),
            None => json.raw("null"),
        }
    }

    fn is_left_out(&self) -> bool {
        self.is_none()
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(value: &Value) -> Option<Vec<T>> {
        let items = value.as_array()?;
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            list.push(T::read(item)?);
        }
        Some(list)
    }
}

impl<T: Write> Write for Vec<T> {
    fn write(&self, json: &mut JsonText) {
        json.open('[');
        for item in self {
            item.write(json);
        }
        json.close(']');
    }

    fn is_left_out(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Read> Read for Box<T> {
    fn read(value: &Value) -> Option<Box<T>> {
        T::read(value).map(Box::new)
    }
}

impl<T: Write> Write for Box<T> {
    fn write(&self, json: &mut JsonText) {
        (**self).write(json);
    }
}

impl<T: Read> Read for Arc<T> {
    fn read(value: &Value) -> Option<Arc<T>> {
        T::read(value).map(Arc::new)
    }
}

impl<T: Write> Write for Arc<T> {
    fn write(&self, json: &mut JsonText) {
        (**self).write(json);
    }
}

/// The only field of an object, as its name and value.
pub(super) fn choice(value: &Value) -> Option<(&str, &Value)> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.iter().next().map(|(name, value)| (&**name, value))
}

/// Writes `{"name": value}`.
pub(super) fn write_choice(name: &str, json: &mut JsonText, write: impl FnOnce(&mut JsonText)) {
    json.open('{');
    json.field(name);
    write(json);
    json.close('}');
}
