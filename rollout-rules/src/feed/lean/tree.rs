//! JSON's text as a tree. Numbers are the nearest there are, so that what a server wrote is what is read.

use alloc::string::String;
use alloc::vec::Vec;

use serde_json::{Map, Number, Value};

use crate::compile::exact_number;

/// Deepest nesting.
const MAX_DEPTH: usize = 127;

/// Reads one value. `None`: it is no JSON, nested too deep, or an object has two fields of one name.
pub(super) fn read(json: &[u8]) -> Option<Value> {
    let mut reader = Reader { text: core::str::from_utf8(json).ok()?, at: 0 };
    let value = reader.value(0)?;
    (reader.peek().is_none()).then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, word: &str) -> Option<()> {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        found.then_some(())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        Some(match self.peek()? {
            b'[' | b'{' if depth == MAX_DEPTH => return None,
            b'n' => {
                self.expect("null")?;
                Value::Null
            }
            b't' => {
                self.expect("true")?;
                Value::Bool(true)
            }
            b'f' => {
                self.expect("false")?;
                Value::Bool(false)
            }
            b'"' => Value::String(self.string()?),
            b'[' => {
                let mut items = Vec::new();
                let mut more = self.begin(b']')?;
                while more {
                    items.push(self.value(depth + 1)?);
                    more = self.goes_on(b']')?;
                }
                Value::Array(items)
            }
            b'{' => {
                let mut fields = Map::new();
                let mut more = self.begin(b'}')?;
                while more {
                    self.peek().filter(|byte| *byte == b'"')?;
                    let name = self.string()?;
                    self.peek().filter(|byte| *byte == b':')?;
                    self.at += 1;
                    let value = self.value(depth + 1)?;
                    if fields.insert(name, value).is_some() {
                        return None;
                    }
                    more = self.goes_on(b'}')?;
                }
                Value::Object(fields)
            }
            _ => Value::Number(self.number()?),
        })
    }

    /// After the opening bracket: whether there is anything before the closing one.
    fn begin(&mut self, end: u8) -> Option<bool> {
        self.at += 1;
        let is_empty = self.peek()? == end;
        self.at += usize::from(is_empty);
        Some(!is_empty)
    }

    /// After an element: whether there is another.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            _ if byte == end => Some(false),
            _ => None,
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut string = String::new();
        self.at += 1;
        loop {
            let begin = self.at;
            while !matches!(self.byte()?, b'"' | b'\\' | ..0x20) {
                self.at += 1;
            }
            string.push_str(self.text.get(begin..self.at)?);
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some(string);
                }
                b'\\' => {
                    self.at += 2;
                    string.push(self.escaped()?);
                }
                _ => return None,
            }
        }
    }

    /// The character of an escape whose first letter was just passed.
    fn escaped(&mut self) -> Option<char> {
        Some(match *self.text.as_bytes().get(self.at - 1)? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hexadecimal()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                self.expect("\\u")?;
                let second = self.hexadecimal()?.checked_sub(0xdc00).filter(|second| *second < 0x400)?;
                char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second)?
            }
            _ => return None,
        })
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let mut number = 0;
        for _ in 0..4 {
            number = number * 16 + char::from(self.byte()?).to_digit(16)?;
            self.at += 1;
        }
        Some(number)
    }

    fn number(&mut self) -> Option<Number> {
        let begin = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        let is_negative = self.at > begin;
        let mut whole = Some(0_u64);
        let leads_with_zero = self.byte() == Some(b'0');
        let length = self.digits(|digit| {
            whole = whole.and_then(|whole| whole.checked_mul(10)?.checked_add(u64::from(digit)));
        });
        if length == 0 || (leads_with_zero && length > 1) {
            return None;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            whole = None;
            if self.digits(|_| {}) == 0 {
                return None;
            }
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            whole = None;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            if self.digits(|_| {}) == 0 {
                return None;
            }
        }
        match whole {
            Some(whole) if !is_negative => return Some(Number::from(whole)),
            Some(1..) => {
                if let Some(negative) = whole.and_then(|whole| 0_i64.checked_sub_unsigned(whole)) {
                    return Some(Number::from(negative));
                }
            }
            _ => {}
        }
        Number::from_f64(exact_number(self.text.get(begin..self.at)?)?)
    }

    fn digits(&mut self, mut each: impl FnMut(u8)) -> usize {
        let begin = self.at;
        while let Some(byte @ b'0'..=b'9') = self.byte() {
            each(byte - b'0');
            self.at += 1;
        }
        self.at - begin
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_json_and_what_is_not_is_as_serde_has_it() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for text in [
            "",
            " ",
            "null",
            " nul",
            "truefalse",
            "[]",
            "[ ]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" : [true , false] }",
            "\"\\u00e4\\ud83e\\udd80\\/\"",
            "\"\\ud83e\"",
            "\"\\udd80\"",
            "\"\\ud83e\\u0041\"",
            "\"\\x\"",
            "\"a\nb\"",
            "\"open",
            "\"\\",
            "\"\\u12",
            "0",
            "-0",
            "00",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "1E5",
            "-1.5e-3",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "1e400",
            "1e-400",
            "[1]x",
            "[1] ",
            "\u{feff}1",
            "+1",
            "0x1",
            "\"\u{1f}\"",
            "\"\u{7f}\u{80}\"",
            "tru",
            "[",
            "{",
            "{\"a\"",
            "{\"a\":",
            "[1",
            "1 2",
        ] {
            let found = read(text.as_bytes());
            assert_eq!(found, serde_json::from_str(text).ok(), "{text}");
        }
        for depth in [1, 126, 127, 128, 129] {
            let text = deep(depth);
            assert_eq!(read(text.as_bytes()), serde_json::from_str(&text).ok(), "{depth}");
        }
        assert_eq!(read(b"\"\xff\""), None);
        assert_eq!(
            read(br#"{"a":1,"b":{"a":2},"a":1}"#),
            None,
            "a doubled name is an error in a frame, as for serde"
        );
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..4)
                    .prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_tree_that_is_written_is_read_again_to_the_bit(value in tree()) {
            let found = read(value.to_string().as_bytes());
            prop_assert_eq!(found, Some(value));
        }

        #[test]
        fn what_is_nearly_json_is_refused_where_serde_refuses_it(
            value in tree(), at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut text = value.to_string().into_bytes();
            let place = at.index(text.len());
            text[place] = byte;
            prop_assert_eq!(read(&text), serde_json::from_slice(&text).ok());
        }
    }
}
