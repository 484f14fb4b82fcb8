//! Which bucket a unit falls into. Integers only, so that every machine agrees for ever.

use crate::percent::Exposure;

/// Hashed after the unit to decide exposure, so that who is exposed says nothing of who gets which
/// variant. Part of the golden vectors: it never changes.
const EXPOSURE_SUFFIX: &[u8; 4] = b"#exp";

/// MurmurHash3 x86 32 bit with seed 0, fed piece by piece without a buffer. It is a small value: what
/// is hashed first (the flag's key) is hashed once, when the flag is written, and copied for each check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Murmur3 {
    hash: u32,
    /// The last `length % 4` bytes, not mixed in yet.
    pending: u32,
    length: u32,
}

const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;

#[inline]
fn scramble(block: u32) -> u32 {
    block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

impl Murmur3 {
    /// Nothing hashed yet.
    pub const fn new() -> Murmur3 {
        Murmur3 { hash: 0, pending: 0, length: 0 }
    }

    /// The state after some more bytes.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the low half of `carry` is the next block")]
    pub fn write(mut self, bytes: &[u8]) -> Murmur3 {
        let shift = (self.length & 3) * 8;
        let mut carry = u64::from(self.pending);
        let (blocks, rest) = bytes.as_chunks::<4>();
        for block in blocks {
            carry |= u64::from(u32::from_le_bytes(*block)) << shift;
            self.mix(carry as u32);
            carry >>= 32;
        }
        let mut tail = 0;
        for (at, byte) in rest.iter().enumerate() {
            tail |= u64::from(*byte) << (8 * at);
        }
        carry |= tail << shift;
        if shift as usize + 8 * rest.len() >= 32 {
            self.mix(carry as u32);
            carry >>= 32;
        }
        self.pending = carry as u32;
        self.length = self.length.wrapping_add(bytes.len() as u32);
        self
    }

    #[inline(always)]
    fn mix(&mut self, block: u32) {
        self.hash = (self.hash ^ scramble(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }

    /// The hash of all bytes so far.
    #[inline(always)]
    #[must_use]
    pub fn finish(self) -> u32 {
        // Scrambling nothing gives nothing, so a hash without pending bytes needs no case of its own.
        let mut hash = self.hash ^ scramble(self.pending) ^ self.length;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }
}

/// MurmurHash3 x86 32 bit of some bytes, with seed 0.
pub fn murmur3(bytes: &[u8]) -> u32 {
    Murmur3::new().write(bytes).finish()
}

/// The place of a hash among `total` equal places: 0 to `total - 1`.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the product of two 32-bit numbers, shifted by 32")]
pub fn scale(hash: u32, total: u32) -> u32 {
    ((u64::from(hash) * u64::from(total)) >> 32) as u32
}

/// The bucket of a unit in a split: 0 to `total_weight - 1`. The same as in flagd's `fractional`.
pub fn split_bucket(seed: &str, unit: &str, total_weight: u32) -> u32 {
    scale(Murmur3::new().write(seed.as_bytes()).write(unit.as_bytes()).finish(), total_weight)
}

/// Whether a rollout that reached `exposure` has reached this unit. Once reached, always reached, as
/// long as the exposure does not shrink.
pub fn is_exposed(flag: &str, unit: &str, exposure: Exposure) -> bool {
    exposed(Murmur3::new().write(flag.as_bytes()).write(unit.as_bytes()), exposure.milli_percent())
}

/// [`is_exposed`] for a state that has seen the flag's key and the unit.
#[inline(always)]
pub(crate) fn exposed(seen: Murmur3, milli_percent: u32) -> bool {
    exposure_bucket(seen) < milli_percent
}

/// The place of a unit among [`Exposure::SCALE`]: a rollout reaches it once its exposure, in thousandths of
/// a percent, is higher. For a state that has seen the flag's key and the unit.
#[inline(always)]
pub(crate) fn exposure_bucket(seen: Murmur3) -> u32 {
    scale(seen.write(EXPOSURE_SUFFIX).finish(), Exposure::SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn murmur3_gives_the_published_hashes() {
        for (text, hash) in [
            ("", 0),
            ("hello", 0x248b_fa47),
            ("hello, world", 0x149b_bb7f),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
            ("test", 0xba6b_d213),
            ("Hello, world!", 0xc036_3e43),
        ] {
            assert_eq!(murmur3(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn hashing_in_pieces_is_hashing_the_whole() {
        let text = b"checkout/new-flow and a user of some length";
        for first in 0..text.len() {
            for second in first..text.len() {
                let pieces = Murmur3::new()
                    .write(&text[..first])
                    .write(&text[first..second])
                    .write(&text[second..])
                    .finish();
                assert_eq!(pieces, murmur3(text), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn exposure_and_split_are_independent() {
        let exposure = Exposure::from_milli_percent(30_000).expect("30 %");
        let (mut exposed, mut first) = (0, 0);
        for unit in 0..100_000 {
            let unit = format!("user-{unit}");
            if is_exposed("checkout", &unit, exposure) {
                exposed += 1;
                first += u32::from(split_bucket("checkout", &unit, 2) == 0);
            }
        }
        assert!((29_400..30_600).contains(&exposed), "{exposed} of 100000 at 30 %");
        assert!((exposed / 2 - 400..exposed / 2 + 400).contains(&first), "{first} of {exposed} exposed");
    }
}
