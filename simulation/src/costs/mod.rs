//! The costs of calls for the operator at list prices, counted by simulation for various numbers of keys, isolates and
//! calls per second.
//!
//! A ledger's work depends on the calls of its own key and the isolates that they come from. So one key is simulated
//! for each setting ([`ledger`]), and the cost of all keys is a multiple of its cost. The one object that all isolates
//! query for provider health is simulated separately ([`health`]). [`prices`] converts counts to money, and [`sweep`]
//! writes them to a data file.
//!
//! All stored numbers are whole and follow from a seed.

pub mod health;
pub mod ledger;
pub mod prices;
pub mod sweep;

use ledger::Setting;

/// The calls of a key that are simulated, in ten thousand seconds: from one in ten thousand seconds to 100,000 a second.
pub const CALLS: [u64; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/// The numbers of isolates that share them.
pub const ISOLATES: [u64; 4] = [1, 10, 100, 1_000];
/// The most calls that an isolate takes in ten thousand seconds: a hundred a second.
pub const CALLS_OF_ISOLATE: u64 = 1_000_000;

/// All settings, in the order of the file.
pub fn settings() -> Vec<Setting> {
    let mut all = Vec::new();
    for limits in [false, true] {
        for calls in CALLS {
            for isolates in ISOLATES {
                if calls <= isolates * CALLS_OF_ISOLATE {
                    all.push(Setting { calls, isolates, limits });
                }
            }
        }
    }
    all
}

/// Applies `count` to each item on all processors; the results keep the order of the items.
pub fn of_each<I: Sync, O: Send + Clone>(items: &[I], count: impl Fn(&I) -> O + Sync) -> Vec<O> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<Vec<(usize, O)>> = std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            // The largest settings come last: they start first, so that no thread waits for them in the end.
            while let Some(index) =
                items.len().checked_sub(1 + next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                && let Some(item) = items.get(index)
            {
                done.push((index, count(item)));
            }
            done
        };
        let parts: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        parts.into_iter().map(|part| part.join().unwrap_or_default()).collect()
    });
    let mut all: Vec<(usize, O)> = parts.into_iter().flatten().collect();
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, counted)| counted).collect()
}
