//! Numbers written as text. The standard library's reader is quick by tables that cost as much as the rest of a small
//! module; where that counts, in WebAssembly, numbers are read by long division, to the same bit.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn parse(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(target_arch = "wasm32")]
pub(crate) use exact::parse;

#[cfg(any(target_arch = "wasm32", test))]
pub(super) mod exact {
    use alloc::vec::Vec;
    use core::cmp::Ordering;

    /// More digits than any number needs to be told from its neighbours; of further ones only counts whether one is not
    /// zero.
    const MOST_DIGITS: usize = 800;
    /// Exponents beyond this are zero or infinite, however many digits stand before them.
    const FARTHEST_EXPONENT: i64 = 100_000_000;
    const MANTISSA_BITS: i64 = 53;
    const LEAST_EXPONENT: i64 = -1022;
    const GREATEST_EXPONENT: i64 = 1023;

    /// A sign, digits with or without a point, an exponent. Too large a number is infinite.
    pub(crate) fn parse(text: &str) -> Option<f64> {
        let (is_negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let written = Written::read(rest)?;
        let bits = written.bits() | (u64::from(is_negative) << 63);
        Some(f64::from_bits(bits))
    }

    /// The number is `digits * 10^exponent`.
    struct Written {
        digits: Large,
        /// How many digits that count.
        count: i64,
        exponent: i64,
    }

    impl Written {
        fn read(mut bytes: &[u8]) -> Option<Written> {
            let mut written = Written { digits: Large::of(0), count: 0, exponent: 0 };
            let (mut any, mut after_point, mut kept) = (false, false, 0);
            let mut rest_is_zero = true;
            while let [byte, rest @ ..] = bytes {
                match byte {
                    b'0'..=b'9' => {
                        any = true;
                        let digit = u32::from(byte - b'0');
                        let counts = written.count > 0 || digit > 0;
                        written.count += i64::from(counts);
                        if kept < MOST_DIGITS {
                            written.digits.multiply_and_add(10, digit);
                            kept += usize::from(counts);
                            written.exponent -= i64::from(after_point);
                        } else {
                            rest_is_zero &= digit == 0;
                            written.exponent += i64::from(!after_point);
                        }
                    }
                    b'.' if !after_point => after_point = true,
                    _ => break,
                }
                bytes = rest;
            }
            if !rest_is_zero {
                written.digits.multiply_and_add(10, 1);
                written.exponent -= 1;
            }
            written.exponent += exponent(bytes)?;
            any.then_some(written)
        }

        /// The nearest number's bits, the even one of two as near.
        fn bits(&self) -> u64 {
            const INFINITE: u64 = 0x7ff0_0000_0000_0000;
            let magnitude = self.digits.decimal_length() + self.exponent;
            if self.count == 0 || magnitude < -330 {
                return 0;
            }
            if magnitude > 310 {
                return INFINITE;
            }
            let (mut above, mut below) = (self.digits.clone(), Large::of(1));
            let scaled = if self.exponent < 0 { &mut below } else { &mut above };
            for _ in 0..self.exponent.unsigned_abs() {
                scaled.multiply_and_add(10, 0);
            }
            // From here on the number is `above / below * 2^exponent`, and the quotient is from one to below two.
            let mut exponent = above.bit_length() - below.bit_length();
            above.shift_left(u32::try_from(-exponent).unwrap_or(0));
            below.shift_left(u32::try_from(exponent).unwrap_or(0));
            if above.compare(&below).is_lt() {
                above.shift_left(1);
                exponent -= 1;
            }
            // Small numbers have fewer digits.
            let bits = MANTISSA_BITS - (LEAST_EXPONENT - exponent).max(0);
            if bits < 0 {
                return 0;
            }
            let mut mantissa = 0_u64;
            for _ in 0..bits {
                mantissa <<= 1;
                if above.compare(&below).is_ge() {
                    above.subtract(&below);
                    mantissa |= 1;
                }
                above.shift_left(1);
            }
            let rounds_up = match above.compare(&below) {
                Ordering::Less => false,
                Ordering::Equal => mantissa & 1 == 1,
                Ordering::Greater => true,
            };
            mantissa += u64::from(rounds_up);
            if exponent < LEAST_EXPONENT {
                return mantissa;
            }
            // The mantissa's first bit is the lowest of the exponent: a mantissa that grew by a bit adds one to it.
            let biased = u64::try_from(exponent + GREATEST_EXPONENT - 1).unwrap_or(0);
            ((biased << (MANTISSA_BITS - 1)) + mantissa).min(INFINITE)
        }
    }

    /// What follows the digits: nothing, or an exponent.
    fn exponent(bytes: &[u8]) -> Option<i64> {
        let (is_negative, digits) = match bytes {
            [] => return Some(0),
            [b'e' | b'E', b'-', rest @ ..] => (true, rest),
            [b'e' | b'E', b'+', rest @ ..] | [b'e' | b'E', rest @ ..] => (false, rest),
            _ => return None,
        };
        if digits.is_empty() {
            return None;
        }
        let mut exponent = 0;
        for byte in digits {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
            exponent = (exponent * 10 + i64::from(digit)).min(FARTHEST_EXPONENT);
        }
        Some(if is_negative { -exponent } else { exponent })
    }

    /// A whole number without bounds, the lowest digits first, of which the last is not zero.
    #[derive(Clone)]
    struct Large(Vec<u32>);

    impl Large {
        fn of(number: u32) -> Large {
            Large(Vec::from([number]))
        }

        fn multiply_and_add(&mut self, factor: u32, more: u32) {
            let mut carry = u64::from(more);
            for digit in &mut self.0 {
                carry += u64::from(*digit) * u64::from(factor);
                *digit = low(carry);
                carry >>= 32;
            }
            if carry > 0 {
                self.0.push(low(carry));
            }
        }

        fn shift_left(&mut self, mut bits: u32) {
            while bits > 0 {
                let step = bits.min(31);
                self.multiply_and_add(1 << step, 0);
                bits -= step;
            }
        }

        fn bit_length(&self) -> i64 {
            let last = self.0.last().map_or(0, |last| 32 - last.leading_zeros());
            i64::try_from(self.0.len()).unwrap_or(0) * 32 - 32 + i64::from(last)
        }

        /// How many decimal digits it has, or one more or less.
        fn decimal_length(&self) -> i64 {
            self.bit_length() * 1233 / 4096 + 1
        }

        fn compare(&self, other: &Large) -> Ordering {
            self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
        }

        /// The other is not greater.
        fn subtract(&mut self, other: &Large) {
            let mut borrowed = false;
            for (at, digit) in self.0.iter_mut().enumerate() {
                let less = other.0.get(at).copied().unwrap_or(0);
                let (once, first) = digit.overflowing_sub(less);
                let (twice, second) = once.overflowing_sub(u32::from(borrowed));
                (*digit, borrowed) = (twice, first || second);
            }
            while self.0.len() > 1 && self.0.last() == Some(&0) {
                self.0.pop();
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    fn low(number: u64) -> u32 {
        number as u32
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::exact;

    fn agree(text: &str) {
        let bits = |number: Option<f64>| number.filter(|number| number.is_finite()).map(f64::to_bits);
        assert_eq!(bits(exact::parse(text)), bits(text.parse().ok()), "{text}");
    }

    #[test]
    fn the_hard_numbers_are_read_as_the_standard_library_reads_them() {
        for text in [
            "0",
            "-0",
            "+1",
            ".5",
            "5.",
            ".",
            "",
            "-",
            "1e",
            "1e+",
            "1e5",
            "1E-5",
            "1e5x",
            "1.2.3",
            "00012",
            "1_0",
            "9007199254740993",
            "9007199254740992.999999999999999999999",
            "2.2250738585072011e-308",
            "2.2250738585072014e-308",
            "4.9406564584124654e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "2.47032822920623272088284396434110686182e-324",
            "5e-324",
            "3e-324",
            "2e-324",
            "1.7976931348623157e308",
            "1.7976931348623158e308",
            "1.7976931348623159e308",
            "1e309",
            "1e-400",
            "0e999999999999999999999",
            "1e999999999999999999999",
            "1e-99999999999999999999",
            "8.5e22",
            "1e23",
            "6.0221e23",
            "123456789012345678901234567890",
        ] {
            agree(text);
        }
        let half = format!("{}.5", u64::MAX >> 11);
        agree(&half);
        agree(&format!("{half}{}1", "0".repeat(1_000)));
        agree(&format!("0.{}1", "0".repeat(500)));
        agree(&format!("0.{}1e500", "0".repeat(500)));
        agree(&format!("1{}e-400", "0".repeat(400)));
        agree(&"9".repeat(2_000));
    }

    proptest! {
        #[test]
        fn every_number_reads_as_the_standard_library_reads_it(bits in any::<u64>(), more in "[0-9]{0,20}") {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            agree(&format!("{number:e}"));
            agree(&format!("{number}"));
            // Halfway to the next number, and about there.
            let exact: String = format!("{number:.400e}");
            let (digits, exponent) = exact.split_once('e').expect("an exponent");
            agree(&format!("{digits}{more}e{exponent}"));
        }

        #[test]
        fn what_may_be_a_number_reads_as_the_standard_library_reads_it(
            text in "[+-]?[0-9]{0,25}\\.?[0-9]{0,25}([eE][+-]?[0-9]{1,3})?"
        ) {
            agree(&text);
        }
    }
}
