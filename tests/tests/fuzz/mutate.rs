//! Inputs made of others: bytes flipped, parts moved from one to another, numbers at their edges.

use std::ops::Range;

/// Largest input, in bytes.
const MAX_INPUT: usize = 128 * 1024;
/// Most steps from one input to the next.
const MAX_STEPS: usize = 4;
/// Most places that are tried to find a value of some kind: each may be looked through to the end.
const MAX_LOOKS: usize = 8;

/// Numbers at which something ends.
pub(crate) const EDGES: [&str; 20] = [
    "0",
    "-0",
    "-1",
    "1",
    "65",
    "255",
    "256",
    "65536",
    "100001",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "0.1",
    "1e308",
    "1e400",
    "-1e-400",
];

/// Lots that fall the same way for the same seed (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0 if there is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let lot = self.next() % u64::try_from(end.max(1)).expect("lengths are 64 bits");
        usize::try_from(lot).expect("below a length")
    }

    pub(crate) fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len())]
    }

    /// A part of something so long; mostly a short one.
    fn part(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length - start } else { (length - start).min(16) };
        start..start + self.below(most + 1)
    }
}

/// Changes an input by its structure, with parts of another; `false` if it found none.
pub(crate) type Restructure<'r> = dyn Fn(&mut Vec<u8>, &[u8], &mut Chance) -> bool + 'r;

/// A new input from one, with parts of another. Half of them are changed by their structure alone, and the others
/// by their bytes, too.
pub(crate) fn mutate(
    base: &[u8],
    other: &[u8],
    tokens: &[&str],
    restructure: &Restructure<'_>,
    chance: &mut Chance,
) -> Vec<u8> {
    let mut bytes = base.to_vec();
    let is_wild = chance.below(2) == 0;
    for _ in 0..=chance.below(MAX_STEPS) {
        if (is_wild && chance.below(2) == 0) || !restructure(&mut bytes, other, chance) {
            step(&mut bytes, other, tokens, chance);
        }
    }
    bytes.truncate(MAX_INPUT);
    bytes
}

fn step(bytes: &mut Vec<u8>, other: &[u8], tokens: &[&str], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    match chance.below(12) {
        0 if !bytes.is_empty() => {
            let at = chance.below(bytes.len());
            bytes[at] ^= 1 << chance.below(8);
        }
        1 => {
            let byte = chance.next().to_le_bytes()[0];
            bytes.insert(at, byte);
        }
        2 => drop(bytes.drain(chance.part(bytes.len()))),
        3 => {
            let part = bytes[chance.part(bytes.len())].to_vec();
            let times = 1 + chance.below(3);
            bytes.splice(at..at, part.repeat(times));
        }
        4 => bytes.truncate(at),
        5 => put_token(bytes, at, chance.pick(tokens), chance),
        6 => {
            let start = chance.below(bytes.len());
            if let Some(number) = numeral(bytes, start) {
                bytes.splice(number, chance.pick(&EDGES).bytes());
            }
        }
        // A value of the other in the place of one here: what is nested stays nested.
        7 | 8 => {
            let wanted = kind(chance);
            // Mostly one of the same kind: another one is refused for its type before anybody looks at it.
            let given = if chance.below(8) == 0 { kind(chance) } else { wanted };
            if let (Some(from), Some(to)) = (value(other, given, chance), value(bytes, wanted, chance)) {
                bytes.splice(to, other[from].iter().copied());
            }
        }
        9 => {
            let wanted = kind(chance);
            if let Some(place) = value(bytes, wanted, chance) {
                let token = chance.pick(tokens);
                let new = match (chance.below(2), wanted) {
                    (0, b'{') => "{}",
                    (0, b'[') => "[]",
                    (0, b'"') => "\"\"",
                    _ if is_member(token) => return put_token(bytes, place.start, token, chance),
                    _ => token,
                };
                bytes.splice(place, new.bytes());
            }
        }
        10 => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[chance.below(other.len() + 1)..]);
        }
        _ => {
            let at = line(bytes, at).start;
            let from = line(other, chance.below(other.len() + 1));
            let mut new = other[from].to_vec();
            new.push(b'\n');
            bytes.splice(at..at, new);
        }
    }
}

/// The number at or after a place.
fn numeral(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let begin = start + bytes[start..].iter().position(u8::is_ascii_digit)?;
    let length = bytes[begin..].iter().take_while(|b| b.is_ascii_digit()).count();
    Some(begin..begin + length)
}

/// Where a token goes in.
fn put_token(bytes: &mut Vec<u8>, at: usize, token: &str, chance: &mut Chance) {
    let opens = |at: &usize| bytes[*at] == b'{';
    let (at, end) = match (at..bytes.len()).chain(0..at).find(opens) {
        Some(open) if is_member(token) => {
            let first = open + 1;
            let is_alone = bytes[first..].starts_with(b"}") || token.ends_with(',');
            (first, if is_alone { "" } else { "," })
        }
        // Some mean something only where a line begins.
        _ if chance.below(2) == 0 => (line(bytes, at).start, ""),
        _ => (at, ""),
    };
    bytes.splice(at..at, token.bytes().chain(end.bytes()));
}

/// Whether a token is a whole member of an object: a name and what it holds.
fn is_member(token: &str) -> bool {
    token.starts_with('"') && token.contains("\":") && !token.ends_with(':')
}

/// What an object, a list, a text or a number begins with; each as often as the others.
fn kind(chance: &mut Chance) -> u8 {
    b"{[\"0"[chance.below(4)]
}

/// A value of a kind somewhere. The name of a member is none.
fn value(bytes: &[u8], wanted: u8, chance: &mut Chance) -> Option<Range<usize>> {
    let begins = |at: &usize| match (wanted, bytes[*at]) {
        (b'0', byte) => byte.is_ascii_digit(),
        // Not the quote that ends a text.
        (b'"', b'"') => *at == 0 || b":,[{= ".contains(&bytes[*at - 1]),
        (wanted, byte) => wanted == byte,
    };
    let is_name =
        |place: &Range<usize>| wanted == b'"' && bytes[place.end..].trim_ascii_start().starts_with(b":");
    let start = chance.below(bytes.len());
    let mut places = (start..bytes.len()).chain(0..start).filter(begins).take(MAX_LOOKS);
    places.find_map(|begin| whole(bytes, begin).filter(|place| !is_name(place)))
}

/// The value that begins at a place, if it ends.
pub(crate) fn whole(bytes: &[u8], begin: usize) -> Option<Range<usize>> {
    let (mut depth, mut at) = (0_usize, begin);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|b| *b != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'0'..=b'9' if depth == 0 => return numeral(bytes, at),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return (at <= bytes.len()).then_some(begin..at);
        }
    }
    None
}

/// The line around a place, without its end.
pub(crate) fn line(bytes: &[u8], at: usize) -> Range<usize> {
    let is_end = |b: &u8| *b == b'\n';
    let start = bytes[..at].iter().rposition(is_end).map_or(0, |end| end + 1);
    let end = bytes[at..].iter().position(is_end).map_or(bytes.len(), |end| at + end);
    start..end
}
