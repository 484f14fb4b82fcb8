//! How many times one is the other, by pairs that were measured next to each other.

use crate::figures::median;
use crate::scenario::Bar;

/// Fewest pairs that allow for bounds: the least and the greatest of fewer hold the true middle less surely.
const FEWEST_PAIRS: usize = 6;
/// How sure the bounds are to hold the true middle.
const SURE: f64 = 0.95;
/// The bounds may reach so far beyond a bar that the middle meets.
const MARGIN: f64 = 0.05;

/// The middle of all pairs, and between what the true middle lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) middle: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) pairs: usize,
}

/// What a figure is worth beside its bar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// It may be either.
    Unsure(String),
    /// There is no figure.
    NotMeasured(String),
}

impl Verdict {
    /// In one word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::Unsure(_) => "unsure",
            Verdict::NotMeasured(_) => "not measured",
        }
    }

    /// Why it is neither met nor missed.
    pub(crate) fn why(&self) -> &str {
        match self {
            Verdict::Met | Verdict::Missed => "",
            Verdict::Unsure(why) | Verdict::NotMeasured(why) => why,
        }
    }
}

impl Ratio {
    /// Of the ratio of each pair; none if there are no pairs. If one is no number, the ratio is none either, and nothing is
    /// measured: what is left of the pairs, or each side's own middle, would say something else.
    pub(crate) fn of(pairs: &[f64]) -> Option<Ratio> {
        if pairs.is_empty() {
            return None;
        }
        if !pairs.iter().all(|ratio| ratio.is_finite()) {
            let none = f64::NAN;
            return Some(Ratio { middle: none, low: none, high: none, pairs: pairs.len() });
        }
        let mut sorted = pairs.to_vec();
        sorted.sort_by(f64::total_cmp);
        let left_out = left_out(sorted.len());
        let [low, high] = [sorted[left_out], sorted[sorted.len() - 1 - left_out]];
        Some(Ratio { middle: median(pairs), low, high, pairs: pairs.len() })
    }

    /// Judged by a bar.
    pub(crate) fn judged(&self, bar: Bar) -> Verdict {
        if self.pairs < FEWEST_PAIRS {
            return Verdict::Unsure(format!("{} pairs are too few to judge by", self.pairs));
        }
        if !bar.is_met_by(self.middle) {
            return Verdict::Missed;
        }
        let eased = bar.eased(MARGIN);
        if !eased.is_met_by(self.low) || !eased.is_met_by(self.high) {
            let (low, high) = (self.low, self.high);
            return Verdict::Unsure(format!("between {low:.2} and {high:.2}: run it on a quieter machine"));
        }
        Verdict::Met
    }
}

/// How many at each end may be left out, so that what remains still holds the true middle: each of `count` lies to
/// either side of it by the toss of a coin.
fn left_out(count: usize) -> usize {
    let tosses = i32::try_from(count).unwrap_or(i32::MAX);
    let mut term = 0.5_f64.powi(tosses);
    let mut below = 0.0;
    for out in 0..count {
        below += term;
        if 2.0 * below > 1.0 - SURE {
            return out.saturating_sub(1).min(count.saturating_sub(1) / 2);
        }
        #[allow(clippy::cast_precision_loss, reason = "a few dozen")]
        let step = (count - out) as f64 / (out + 1) as f64;
        term *= step;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(pairs: &[f64]) -> Ratio {
        Ratio::of(pairs).expect("there are pairs")
    }

    #[test]
    fn the_bounds_are_those_of_the_order_statistics() {
        // By the table of the binomial distribution: the 4th of 16 and the 13th, the first of 6 and the last.
        let sixteen: Vec<f64> = (1..=16).rev().map(f64::from).collect();
        let Ratio { middle, low, high, pairs } = ratio(&sixteen);
        assert!((middle - 8.5).abs() < 1e-9 && pairs == 16, "{middle}");
        assert!((low - 4.0).abs() < 1e-9 && (high - 13.0).abs() < 1e-9, "{low} to {high}");
        assert_eq!([1, 2, 5, 6, 8, 9, 16, 64].map(left_out), [0, 0, 0, 0, 0, 1, 3, 23]);
        assert_eq!(Ratio::of(&[]), None);
        assert!(ratio(&[1.0, f64::NAN]).middle.is_nan() && ratio(&[f64::INFINITY, 1.0]).middle.is_nan());
    }

    #[test]
    fn a_bar_is_met_only_by_a_middle_whose_bounds_are_near() {
        let least = Bar::AtLeast;
        let tight = ratio(&[0.80, 0.81, 0.80, 0.82, 0.79, 0.80, 0.81, 0.80]);
        assert_eq!(tight.judged(least(0.8)), Verdict::Met);
        assert_eq!(tight.judged(least(0.83)), Verdict::Missed);
        let wide = ratio(&[0.5, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]);
        let unsure = wide.judged(least(0.8));
        assert!(matches!(&unsure, Verdict::Unsure(why) if why.contains("0.50 and 0.90")), "{unsure:?}");
        let few = ratio(&[2.0, 2.0]).judged(least(0.8));
        assert!(matches!(few, Verdict::Unsure(_)), "{few:?}");
    }

    #[test]
    fn a_bar_that_may_not_be_passed_is_met_from_below() {
        let most = Bar::AtMost;
        let tight = ratio(&[1.50, 1.49, 1.50, 1.48, 1.51, 1.50, 1.49, 1.50]);
        assert_eq!(tight.judged(most(1.5)), Verdict::Met);
        assert_eq!(tight.judged(most(1.4)), Verdict::Missed);
        let wide = ratio(&[1.9, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4]);
        assert!(matches!(wide.judged(most(1.5)), Verdict::Unsure(_)));
        // A bound that is better than the bar is no reason to doubt.
        let good = ratio(&[0.2, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4]);
        assert_eq!(good.judged(most(1.5)), Verdict::Met);
    }
}
