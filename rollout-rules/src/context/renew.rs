//! Contexts that take the place of others: texts where texts were, without memory of their own.

use alloc::boxed::Box;
use alloc::string::String;

use super::{Attribute, Context, HASHES_EARLY, MAX_CONTEXT_BYTES, Named, Wanted};
use crate::table::hash_of;

impl Context {
    /// Whether a text was added for every attribute that is wanted, and nothing else: then they may be
    /// [renewed](Context::renew_wanted).
    #[inline]
    pub fn is_text_for_all(&self, wanted: &Wanted) -> bool {
        let is_text = |named: &Named| matches!(named.value, Attribute::String(_));
        let named = wanted.0.iter().flatten().count();
        self.attributes.len() == named
            && self.unit.is_some() == (named < wanted.len())
            && self.attributes.iter().all(is_text)
    }

    /// Takes texts in place of those that were added for what is wanted, in its order; one that is as long takes the room, too.
    /// False: one is missing, or cannot be taken so, and the context is of no use any more. That the context
    /// [has them all](Context::is_text_for_all) is the caller's care.
    #[inline(always)]
    pub fn renew_wanted<'t>(&mut self, wanted: &Wanted, mut next: impl FnMut() -> Option<&'t [u8]>) -> bool {
        let mut values = self.attributes.iter_mut().map(|named| &mut named.value);
        let mut bytes = self.bytes;
        for name in &wanted.0 {
            let value = if name.is_some() { values.next() } else { self.unit.as_mut() };
            let (Some(Attribute::String(known)), Some(text)) = (value, next()) else { return false };
            if known.len() == text.len() {
                let mut room = core::mem::take(known).into_boxed_bytes();
                copy_short(text, &mut room);
                let Ok(text) = String::from_utf8(room.into_vec()) else { return false };
                *known = text.into_boxed_str();
            } else {
                let Ok(text) = core::str::from_utf8(text) else { return false };
                bytes = bytes - known.len() + text.len();
                *known = Box::from(text);
                // An empty targeting key is none.
                if text.is_empty() || bytes > MAX_CONTEXT_BYTES {
                    return false;
                }
            }
        }
        self.bytes = bytes;
        if HASHES_EARLY {
            self.unit_hash = self.targeting_key().map_or(self.unit_hash, hash_of);
        }
        true
    }
}

/// Copies to where there is as much room. Copies of a few bytes are dear where they are calls: two pieces that overlap cover every length
/// from one piece to two.
#[inline(always)]
fn copy_short(from: &[u8], to: &mut [u8]) {
    match from.len() {
        4..8 => copy_ends::<4>(from, to),
        8..17 => copy_ends::<8>(from, to),
        17..33 => copy_ends::<16>(from, to),
        _ => to.copy_from_slice(from),
    }
}

#[inline(always)]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(first), Some(place)) = (from.first_chunk::<N>(), to.first_chunk_mut()) {
        *place = *first;
    }
    if let (Some(last), Some(place)) = (from.last_chunk::<N>(), to.last_chunk_mut()) {
        *place = *last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::TARGETING_KEY;

    #[test]
    fn texts_in_place_of_others_make_the_context_that_they_make_alone() {
        // Each comes twice: once after another one, and once after its like, in whose room it is written.
        let lengths = [1_usize, 3, 4, 7, 8, 12, 16, 17, 32, 33, 48, 12, 3].map(|length| [length; 2]);
        for unit in 0..3 {
            let mut names = ["age", "plan", TARGETING_KEY];
            names.swap(unit, 2);
            let wanted = Wanted::new(names);
            let mut context = Context::anonymous();
            let renewed = |context: &mut Context, texts: &[&[u8]]| {
                let mut texts = texts.iter().copied();
                context.renew_wanted(&wanted, || texts.next())
            };
            for (round, length) in lengths.into_iter().flatten().enumerate() {
                let texts = [0, 1, 2].map(|at| -> String {
                    let letters = (0_u8..26).cycle().map(|letter| char::from(b'a' + letter));
                    letters.skip(7 * at + round).take(length).collect()
                });
                let mut expected = Context::anonymous();
                for (at, text) in texts.iter().enumerate() {
                    expected.add_wanted(&wanted, at, Attribute::from(text.as_str())).expect("a text");
                    assert_eq!(expected.is_text_for_all(&wanted), at == 2);
                }
                if round == 0 {
                    context = expected;
                    continue;
                }
                assert!(renewed(&mut context, &[0, 1, 2].map(|at| texts[at].as_bytes())));
                assert_eq!(context, expected);
            }
            let long = "x".repeat(MAX_CONTEXT_BYTES);
            for refused in [b"\xff\xff\xff", &b"\xff\xff\xff\xff"[..], b"", long.as_bytes()] {
                let mut texts: [&[u8]; 3] = [b"abc"; 3];
                texts[unit] = refused;
                assert!(!renewed(&mut context.clone(), &texts), "{refused:?}");
            }
            assert!(!renewed(&mut context.clone(), &[b"abc".as_slice(); 2]), "one is missing");
            assert!(!Context::new("ann").with("plan", "pro").with("age", 41).is_text_for_all(&wanted));
        }
    }
}
