//! What a series of figures says.

use std::cmp::Ordering;

/// Parts into which a series is cut before a line is drawn: what lies close together in time is alike, and would
/// make the line look surer than it is.
const PARTS: usize = 12;
/// Student's t for ten degrees of freedom, 97.5 %: [`PARTS`] less two of a line, or less two of the growth from each
/// part to the next.
const T: f64 = 2.228;
/// Share of a step below which what is left without it is lost in computing.
const NOTHING: f64 = 1e-9;

/// A line through a series.
#[derive(Clone, Copy, Debug)]
pub struct Trend {
    /// How much the value grows in a unit of time.
    pub slope: f64,
    /// The slope lies so far at most from the true one, in 95 of 100 series.
    pub margin: f64,
}

impl Trend {
    /// The line through points in order of time, by least squares; `None` if there are too few to tell.
    ///
    /// They take each part for a witness by itself, and a single step for growth all along. So where a series grows but would not
    /// without its greatest step, up or down, the line is that from the first part to the last, and its margin tells how unlike
    /// each other the growths from part to part are: great, as the step may be the first of more.
    pub fn of(points: &[(f64, f64)]) -> Option<Trend> {
        Trend::through(points, mean)
    }

    /// The same of the least in each part: of what comes and goes within one, whatever stays.
    pub fn of_least(points: &[(f64, f64)]) -> Option<Trend> {
        Trend::through(points, |part| part.fold(f64::INFINITY, f64::min))
    }

    fn through(points: &[(f64, f64)], told: fn(&mut dyn Iterator<Item = f64>) -> f64) -> Option<Trend> {
        let size = points.len() / PARTS;
        if size == 0 {
            return None;
        }
        let parts: Vec<(f64, f64)> = points[points.len() % PARTS..]
            .chunks(size)
            .map(|part| (mean(&mut part.iter().map(|at| at.0)), told(&mut part.iter().map(|at| at.1))))
            .take(PARTS)
            .collect();
        let line = Trend::of_parts(&parts);
        let is_one_step = !line.is_noise() && makes_one_step(&parts);
        Some(if is_one_step { Trend::of_growths(&parts) } else { line })
    }

    fn of_parts(parts: &[(f64, f64)]) -> Trend {
        let (x, y) = (mean(&mut parts.iter().map(|at| at.0)), mean(&mut parts.iter().map(|at| at.1)));
        let spread: f64 = parts.iter().map(|at| (at.0 - x).powi(2)).sum();
        let slope = parts.iter().map(|at| (at.0 - x) * (at.1 - y)).sum::<f64>() / spread;
        let rest: f64 = parts.iter().map(|at| (at.1 - y - slope * (at.0 - x)).powi(2)).sum();
        #[allow(clippy::cast_precision_loss, reason = "a dozen")]
        let error = (rest / (PARTS - 2) as f64 / spread).sqrt();
        Trend { slope, margin: T * error }
    }

    fn of_growths(parts: &[(f64, f64)]) -> Trend {
        let growths: Vec<f64> =
            parts.windows(2).map(|two| (two[1].1 - two[0].1) / (two[1].0 - two[0].0)).collect();
        let slope = mean(&mut growths.iter().copied());
        let unlike: f64 = growths.iter().map(|growth| (growth - slope).powi(2)).sum();
        #[allow(clippy::cast_precision_loss, reason = "a dozen")]
        let error = (unlike / ((growths.len() - 1) * growths.len()) as f64).sqrt();
        Trend { slope, margin: T * error }
    }

    /// Whether the series may as well not grow at all.
    pub fn is_noise(&self) -> bool {
        self.slope - self.margin <= 0.0
    }
}

/// Whether parts do not grow but for their greatest step, up or down. It may lie within a part, whose middle then lies between
/// those of its neighbours.
fn makes_one_step(parts: &[(f64, f64)]) -> bool {
    let step = |at: usize| parts[at + 1].1 - parts[at - 1].1;
    let greatest = (1..parts.len() - 1).max_by(|one, other| step(*one).abs().total_cmp(&step(*other).abs()));
    let Some(at) = greatest else { return false };
    let without = |(place, (x, y)): (usize, &(f64, f64))| match place.cmp(&at) {
        Ordering::Less => (*x, *y),
        Ordering::Equal => (*x, parts[at - 1].1),
        Ordering::Greater => (*x, *y - step(at)),
    };
    let rest: Vec<(f64, f64)> = parts.iter().enumerate().map(without).collect();
    let line = Trend::of_parts(&rest);
    let grown = line.slope * (rest[rest.len() - 1].0 - rest[0].0);
    line.is_noise() || grown < NOTHING * step(at).abs()
}

fn mean(values: &mut dyn Iterator<Item = f64>) -> f64 {
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

    /// Memory in KiB, ten times a second for two minutes, that grows by so much a second and by steps at some of them.
    fn memory(kib_a_second: f64, steps: &[(u32, f64)]) -> Trend {
        let stepped = |second| steps.iter().filter(|(at, _)| *at <= second).map(|(_, kib)| kib).sum::<f64>();
        let at =
            |n: u32| (f64::from(n) / 10.0, 80_000.0 + f64::from(n) / 10.0 * kib_a_second + stepped(n / 10));
        Trend::of(&(0..1_200).map(at).collect::<Vec<_>>()).expect("enough")
    }

    #[test]
    fn a_single_step_is_no_growth_and_makes_what_is_known_of_it_less_sure() {
        for (second, kib) in [(20, 4.0), (61, 4.0), (61, 1_036.0), (95, 1_036.0)] {
            let trend = memory(0.0, &[(second, kib)]);
            assert!(trend.is_noise() && trend.slope > 0.0, "{second}: {trend:?}");
            // A mebibyte may be the first of more: two minutes of the like are not known to take less than two.
            assert!((trend.slope + trend.margin) * 120.0 > 2.0 * kib, "{second}: {trend:?}");
        }
        assert!(memory(0.0, &[]).is_noise());
    }

    #[test]
    fn what_always_grows_is_growth_in_steps_and_beside_one() {
        let steps: Vec<(u32, f64)> = (0..10).map(|step| (step * 12 + 7, 128.0)).collect();
        let doubling: Vec<(u32, f64)> = (0..10).map(|step| (step * 12 + 7, f64::from(1 << step))).collect();
        let late = [(95, 100.0), (105, 100.0), (115, 100.0)];
        let freed = [(65, -400.0)];
        for trend in [
            memory(0.5, &[]),
            memory(0.0, &steps),
            memory(4.0, &[(61, 40.0)]),
            memory(0.0, &doubling),
            memory(0.0, &late),
            memory(10.0, &freed),
        ] {
            assert!(!trend.is_noise(), "{trend:?}");
        }
    }

    #[test]
    fn what_comes_and_goes_within_a_part_is_no_noise_of_what_stays() {
        // Buffers of half a mebibyte are filled in 4.3 s and go.
        let memory = |kib_a_second: f64| -> Vec<(f64, f64)> {
            let at =
                |n: u32| (f64::from(n) / 10.0, f64::from(n) / 10.0 * kib_a_second + f64::from(n % 43) * 12.0);
            (0..600).map(at).collect()
        };
        let least = |kib| Trend::of_least(&memory(kib)).expect("enough");
        assert!(Trend::of(&memory(0.0)).expect("enough").margin > 2.0 * least(0.0).margin);
        assert!(least(0.0).is_noise() && least(0.0).margin < 0.5, "{:?}", least(0.0));
        assert!(!least(5.0).is_noise() && (least(5.0).slope - 5.0).abs() < 0.5, "{:?}", least(5.0));
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
