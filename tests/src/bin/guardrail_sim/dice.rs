//! Chance, from a seed: the same seed throws the same on every machine.

/// A small generator (splitmix64). Logarithms and the like come from the platform; what is judged is a rate over many
/// seeds, not a single throw.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x1234_5678_9abc_def1));
        dice.throw();
        dice
    }

    pub(crate) fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// At least 0 and below 1.
    pub(crate) fn part(&mut self) -> f64 {
        (self.throw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.throw()) * end as u128) >> 64) as usize
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.part() < probability
    }

    /// Two numbers that are normally distributed around 0 with deviation 1.
    pub(crate) fn normals(&mut self) -> [f64; 2] {
        let radius = (-2.0 * (1.0 - self.part()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.part()).sin_cos();
        [radius * cos, radius * sin]
    }
}

/// How many of what happens at random, by the mean: Poisson's distribution, drawn exactly by inverting a table of it.
/// A table is made once for each mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Vec<Table>);

#[derive(Clone, Debug)]
struct Table {
    mean: f64,
    first: u64,
    /// The probabilities to be at most `first`, `first` + 1 and so on.
    sums: Vec<f64>,
    /// Where to begin to look, by the first bits of the throw.
    from: Vec<u32>,
}

impl Counts {
    pub(crate) fn draw(&mut self, mean: f64, dice: &mut Dice) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        let at = self.0.iter().position(|table| table.mean == mean);
        let at = at.unwrap_or_else(|| {
            self.0.push(Table::of(mean));
            self.0.len() - 1
        });
        self.0[at].draw(dice.part())
    }
}

impl Table {
    const STEPS: usize = 256;

    fn of(mean: f64) -> Table {
        // Beyond twelve deviations and thirty there is less than a double can tell from nothing.
        let reach = 12.0 * mean.sqrt() + 30.0;
        let first = (mean - reach).max(0.0) as u64;
        let middle = mean as u64;
        let log_of_middle =
            middle as f64 * mean.ln() - mean - (1..=middle).map(|n| (n as f64).ln()).sum::<f64>();
        let mut below: Vec<f64> = Vec::new();
        let mut each = log_of_middle.exp();
        for count in (first..middle).rev() {
            each *= (count + 1) as f64 / mean;
            below.push(each);
        }
        below.reverse();
        each = log_of_middle.exp();
        below.push(each);
        for count in middle + 1..=(mean + reach) as u64 {
            each *= mean / count as f64;
            below.push(each);
        }
        let mut sum = 0.0;
        let sums: Vec<f64> = below
            .into_iter()
            .map(|each| {
                sum += each;
                sum
            })
            .collect();
        let step = |at: usize| at as f64 / Table::STEPS as f64;
        let from = (0..Table::STEPS).map(|at| sums.partition_point(|sum| *sum <= step(at)) as u32).collect();
        Table { mean, first, sums, from }
    }

    fn draw(&self, part: f64) -> u64 {
        let from = self.from[(part * Table::STEPS as f64) as usize] as usize;
        let beyond = self.sums[from..].iter().take_while(|sum| **sum <= part).count();
        self.first + (from + beyond).min(self.sums.len() - 1) as u64
    }
}

/// Spreads a number over all numbers of 64 bits.
pub(crate) fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
