//! Writes JSON as text, piece by piece, for little code and no tree.

use alloc::string::String;
use core::fmt::{self, Display, Write};

use serde_json::Value;

/// A text of JSON in the making. Commas set themselves.
#[derive(Debug, Default)]
pub struct JsonText(String);

impl JsonText {
    /// Nothing yet.
    pub fn new() -> JsonText {
        JsonText::default()
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }

    /// Begins a list or an object: `[` or `{`.
    pub fn open(&mut self, bracket: char) {
        self.separate();
        self.0.push(bracket);
    }

    /// Ends a list or an object: `]` or `}`.
    pub fn close(&mut self, bracket: char) {
        self.0.push(bracket);
    }

    /// A field's name; its value follows.
    pub fn field(&mut self, name: &str) {
        self.text(name);
        self.0.push(':');
    }

    /// What is JSON already.
    pub fn raw(&mut self, json: &str) {
        self.separate();
        self.0.push_str(json);
    }

    /// A whole number.
    pub fn number(&mut self, number: u64) {
        self.bare(&number);
    }

    /// What shows as JSON: a number, `true`.
    pub fn bare(&mut self, shown: &dyn Display) {
        self.separate();
        write!(self.0, "{shown}").expect("writing to a string does not fail");
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.shown(&text);
    }

    /// A value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.raw("null"),
            Value::Bool(flag) => self.bare(flag),
            Value::Number(number) => self.bare(number),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.open('[');
                items.iter().for_each(|item| self.value(item));
                self.close(']');
            }
            Value::Object(fields) => {
                self.open('{');
                for (name, field) in fields {
                    self.field(name);
                    self.value(field);
                }
                self.close('}');
            }
        }
    }

    /// A list of texts.
    pub fn texts<'t>(&mut self, texts: impl IntoIterator<Item = &'t str>) {
        self.open('[');
        for text in texts {
            self.text(text);
        }
        self.close(']');
    }

    /// A text: what this shows as.
    pub fn shown(&mut self, shown: &dyn Display) {
        self.separate();
        self.0.push('"');
        write!(Escaped(&mut self.0), "{shown}").expect("writing to a string does not fail");
        self.0.push('"');
    }

    fn separate(&mut self) {
        if !matches!(self.0.as_bytes().last(), None | Some(b'[' | b'{' | b':')) {
            self.0.push(',');
        }
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            let short = match char {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                ..' ' => {
                    write!(self.0, "\\u{:04x}", u32::from(char))?;
                    continue;
                }
                _ => {
                    self.0.push(char);
                    continue;
                }
            };
            self.0.push_str(short);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn what_is_written_is_what_serde_writes() {
        let hard: String =
            (0..0x2_u32 << 7).filter_map(char::from_u32).chain("\u{2028}\u{1f980}".chars()).collect();
        let mut text = JsonText::new();
        text.open('{');
        text.field("a\"b");
        text.open('[');
        text.number(7);
        text.text(&hard);
        text.raw("null");
        text.close(']');
        text.field("c");
        text.open('{');
        text.close('}');
        text.close('}');
        let value = serde_json::json!({"a\"b": [7, hard, null], "c": {}});
        assert_eq!(text.finish(), value.to_string());
        let value = serde_json::json!([value, -1, 1.5, 1e300, true, [], "x"]);
        let mut text = JsonText::new();
        text.value(&value);
        assert_eq!(text.finish(), value.to_string());
    }
}
