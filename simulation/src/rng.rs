//! Seeded random numbers: oorandom, and the distributions of the simulation. oorandom changes its numbers only in a new
//! major version, so that a seed keeps giving the same results.

use oorandom::Rand64;

/// A sequence of random numbers.
#[derive(Clone, Debug)]
pub struct Rng(Rand64);

impl Rng {
    /// The sequence that belongs to these numbers in this order.
    pub fn of(parts: &[u64]) -> Rng {
        let start = Rand64::new(0);
        Rng(parts
            .iter()
            .fold(start, |mut rng, part| Rand64::new(u128::from(rng.rand_u64()) << 64 | u128::from(*part))))
    }

    /// A number of 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0.rand_u64()
    }

    /// A number from 0 up to, but not including, 1.
    pub fn unit(&mut self) -> f64 {
        self.0.rand_float()
    }

    /// A number from `low` up to, but not including, `high`; `low` if the range is empty.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        self.0.rand_range(low..high.max(low + 1))
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of the items; `None` if there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.within(0, items.len() as u64) as usize)
    }

    /// A number of the standard normal distribution (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = ((1.0 - self.unit()).ln() * -2.0, self.unit() * std::f64::consts::TAU);
        radius.sqrt() * angle.cos()
    }

    /// A time until the next event of a Poisson process, whose mean is `mean` (exponential distribution).
    pub fn wait(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_follows_from_its_numbers_and_their_order() {
        assert_eq!(Rng::of(&[1, 2]).number(), Rng::of(&[1, 2]).number());
        assert_ne!(Rng::of(&[1, 2]).number(), Rng::of(&[2, 1]).number());
    }

    #[test]
    fn distributions_have_their_means() {
        let mut rng = Rng::of(&[1, 2]);
        let mut mean =
            |affinity: fn(&mut Rng) -> f64| (0..10_000).map(|_| affinity(&mut rng)).sum::<f64>() / 10_000.0;
        for (mean, expected) in
            [(mean(Rng::unit), 0.5), (mean(Rng::normal), 0.0), (mean(|rng| rng.wait(1.0)), 1.0)]
        {
            assert!((mean - expected).abs() < 0.05, "{mean} instead of {expected}");
        }
        // The first numbers of neighbouring seeds are as independent as those of one sequence.
        let first = (0..10_000).map(|seed| Rng::of(&[seed, 7]).unit()).sum::<f64>() / 10_000.0;
        assert!((first - 0.5).abs() < 0.02, "{first}");
    }
}
