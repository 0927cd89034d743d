//! One simulated day as data, `site/data/routing.json`, for the diagrams of the documentation.

use serde::Serialize;

use crate::Policy;
use crate::day::BEGIN_MS;
use crate::scenario::{Fault, World};
use crate::tally::{SLOT_MS, Tally};

const MINUTE_MS: u64 = 60_000;

/// One day under every routing policy.
#[derive(Debug, Serialize)]
pub struct Day<'a> {
    about: &'static str,
    seed: u64,
    /// Calls that a healthy provider would have answered.
    calls: u64,
    /// The length of a slot, in minutes. The first slot begins at midnight.
    slot_minutes: u64,
    calls_per_slot: Vec<u64>,
    /// Results in the order of [`Policy::ALL`].
    policies: Vec<Measured>,
    providers: Vec<Provider<'a>>,
}

/// The results of a routing policy.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    /// Calls that were answered completely.
    answered: u64,
    answered_per_slot: Vec<u64>,
    /// Calls whose response broke off.
    cut: u64,
    /// Calls without content after 30 seconds.
    late: u64,
    /// Requests to providers.
    attempts: u64,
    /// Requests to providers that were rejected with 429.
    throttled: u64,
    /// Percentiles of the time to the first content, in milliseconds.
    first_content_p50_ms: u64,
    first_content_p95_ms: u64,
    first_content_p99_ms: u64,
    /// The price paid, divided by that of the cheapest model able to answer.
    price_ratio: f64,
    /// The share of the price that was paid for failed attempts.
    wasted_share: f64,
    /// Calls whose prompt a provider had cached, and those that reached that cache.
    cacheable: u64,
    cached: u64,
}

/// A provider and its incidents.
#[derive(Debug, Serialize)]
struct Provider<'a> {
    name: &'a str,
    incidents: Vec<Incident>,
}

/// A fault of a provider, in minutes since midnight.
#[derive(Debug, Serialize)]
struct Incident {
    from_minute: u64,
    until_minute: u64,
    fault: &'static str,
    effect: Effect,
    /// The share of calls that it affects, from 0 to 1.
    share: f64,
}

/// The effect of a fault on a call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    /// The call fails immediately.
    FailsAtOnce,
    /// The call fails after a wait, or after its response has started.
    FailsLate,
    /// The call is slower, or fails with one of the provider's keys.
    Degrades,
}

impl Effect {
    fn of(fault: Fault) -> Effect {
        match fault {
            Fault::Errors | Fault::Unreachable | Fault::NoMoney | Fault::Gone | Fault::Refuses => {
                Effect::FailsAtOnce
            }
            Fault::Hangs | Fault::Stalls | Fault::EarlyErrors | Fault::Cuts => Effect::FailsLate,
            Fault::Slow(_) | Fault::DeadKey(_) => Effect::Degrades,
        }
    }
}

impl<'a> Day<'a> {
    /// The data of a day whose tallies are in the order of [`Policy::ALL`].
    pub fn new(world: &'a World, tallies: &[Tally]) -> Day<'a> {
        let first = tallies.first();
        let minute = |at_ms: u64| at_ms.saturating_sub(BEGIN_MS) / MINUTE_MS;
        let incidents = |index: usize| {
            let of_it = world.scenario.incidents.iter().filter(move |incident| incident.provider == index);
            of_it.map(|incident| Incident {
                from_minute: minute(incident.from_ms),
                until_minute: minute(incident.until_ms),
                fault: incident.fault.name(),
                effect: Effect::of(incident.fault),
                share: rounded(incident.share),
            })
        };
        Day {
            about: "Written by scripts/simulate: one simulated day of calls to invented providers that fail, under three routing policies.",
            seed: world.scenario.seed,
            calls: first.map_or(0, |tally| tally.calls),
            slot_minutes: SLOT_MS / MINUTE_MS,
            calls_per_slot: first
                .map_or_else(Vec::new, |tally| tally.slots.iter().map(|(calls, _)| *calls).collect()),
            policies: Policy::ALL
                .iter()
                .zip(tallies)
                .map(|(policy, tally)| measured(*policy, tally))
                .collect(),
            providers: world
                .scenario
                .providers
                .iter()
                .enumerate()
                .map(|(index, provider)| Provider {
                    name: &provider.name,
                    incidents: incidents(index).collect(),
                })
                .collect(),
        }
    }
}

fn measured(policy: Policy, tally: &Tally) -> Measured {
    Measured {
        name: policy.name(),
        answered: tally.answered,
        answered_per_slot: tally.slots.iter().map(|(_, answered)| *answered).collect(),
        cut: tally.cut,
        late: tally.late,
        attempts: tally.attempts,
        throttled: tally.throttles,
        first_content_p50_ms: tally.percentile_ms(0.5),
        first_content_p95_ms: tally.percentile_ms(0.95),
        first_content_p99_ms: tally.percentile_ms(0.99),
        price_ratio: rounded(tally.price_ratio()),
        wasted_share: rounded(tally.wasted_share()),
        cacheable: tally.cacheable,
        cached: tally.cached,
    }
}

/// A number with four decimals, which hides differences between the mathematical libraries of operating systems.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}
