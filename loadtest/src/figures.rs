//! What a series of figures says.

/// Parts into which a series is cut before a line is drawn: what lies close together in time is alike, and would
/// make the line look surer than it is.
const PARTS: usize = 12;
/// Student's t for [`PARTS`] less two degrees of freedom, 97.5 %.
const T: f64 = 2.228;

/// A line through a series, by least squares.
#[derive(Clone, Copy, Debug)]
pub struct Trend {
    /// How much the value grows in a unit of time.
    pub slope: f64,
    /// The slope lies so far at most from the true one, in 95 of 100 series.
    pub margin: f64,
}

impl Trend {
    /// The line through points in order of time; `None` if there are too few to tell.
    pub fn of(points: &[(f64, f64)]) -> Option<Trend> {
        let size = points.len() / PARTS;
        if size == 0 {
            return None;
        }
        let parts: Vec<(f64, f64)> = points[points.len() % PARTS..]
            .chunks(size)
            .map(|part| (mean(part.iter().map(|at| at.0)), mean(part.iter().map(|at| at.1))))
            .take(PARTS)
            .collect();
        let (x, y) = (mean(parts.iter().map(|at| at.0)), mean(parts.iter().map(|at| at.1)));
        let spread: f64 = parts.iter().map(|at| (at.0 - x).powi(2)).sum();
        let slope = parts.iter().map(|at| (at.0 - x) * (at.1 - y)).sum::<f64>() / spread;
        let rest: f64 = parts.iter().map(|at| (at.1 - y - slope * (at.0 - x)).powi(2)).sum();
        #[allow(clippy::cast_precision_loss, reason = "a dozen")]
        let error = (rest / (PARTS - 2) as f64 / spread).sqrt();
        Some(Trend { slope, margin: T * error })
    }

    /// Whether the series may as well not grow at all.
    pub fn is_noise(&self) -> bool {
        self.slope - self.margin <= 0.0
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// The value that so great a share of all does not pass, 0 if there are none; the values are put in order.
pub fn quantile(values: &mut [u32], share: f64) -> u32 {
    values.sort_unstable();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let place = ((values.len() as f64 * share).ceil() as usize).saturating_sub(1);
    values.get(place).copied().unwrap_or(0)
}

/// Microseconds as milliseconds.
pub(crate) fn ms(us: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a minute of microseconds")]
    let us = us as f64;
    us / 1e3
}

/// The middle one, or what lies between the two in the middle; of none it is no number.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(slope: f64, noise: f64) -> Vec<(f64, f64)> {
        // A noise that repeats itself and has no slope.
        let at = |n: u32| (f64::from(n), f64::from(n) * slope + noise * f64::from(n * 7919 % 13));
        (0..480).map(at).collect()
    }

    #[test]
    fn growth_is_told_from_noise() {
        assert!(Trend::of(&series(0.0, 5.0)).expect("enough").is_noise());
        assert!(Trend::of(&series(-0.5, 5.0)).expect("enough").is_noise());
        let grows = Trend::of(&series(0.5, 5.0)).expect("enough");
        assert!(!grows.is_noise() && (grows.slope - 0.5).abs() <= grows.margin, "{grows:?}");
        assert!(Trend::of(&series(1.0, 0.0)[..11]).is_none());
    }

    #[test]
    fn a_quantile_is_a_value_of_the_list() {
        let mut values: Vec<u32> = (1..=100).rev().collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile(&mut values, share)), [50, 99, 100]);
        assert_eq!(quantile(&mut [], 0.99), 0);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
    }
}
