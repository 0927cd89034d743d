//! The reservation of one call: the needs and the output limit of each attempt, the costs of the attempts, and the
//! final charges.

use super::estimate::Estimate;
use super::headers;
use super::lease::Hold;
use super::limit::{Counter, Kind, Limit};
use super::message::{Charge, Need, Refusal};
use super::price::{cost, cost_of_units, has_fees, has_tokens};
use super::receipt::{Attempt, code_of};
use crate::catalog::{Facts, Price};
use crate::config::UnknownPrice;
use crate::error::{Code, Error};
use crate::format::billing::{Billing, Extra};
use crate::key::binds;
use crate::unit::Unit;
use crate::usage::Usage;

/// The maximum charge of an attempt, as a multiple of the most that it can cost. The hold is an upper bound, so a usage
/// above it means that the provider counts something that the gateway cannot see, or that the report is wrong. Up to
/// this multiple the provider is believed. A larger report must not end the key: an attempt holds at most an eighth of
/// what is left, unless little is left.
const MOST_OF_HOLD: u64 = 2;

/// The limits, holds and attempts of one call.
#[derive(Debug)]
pub struct Reservation {
    limits: Vec<Limit>,
    estimate: Estimate,
    unknown_price: UnknownPrice,
    /// The model name in the call.
    requested: String,
    /// The parts of the request that cost more than their tokens.
    extras: Vec<&'static Extra>,
    hold: Hold,
    /// The attempts in progress.
    in_flight: Vec<InFlight>,
    attempts: Vec<Attempt>,
}

/// An attempt in progress, and its share of the hold: counters and amounts.
#[derive(Debug)]
struct InFlight {
    provider: String,
    model: String,
    key: u8,
    shares: Vec<(Counter, u64)>,
    /// The maximum output, in tokens of each choice.
    output: u64,
}

/// A model that an attempt may be sent to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The provider's id of the model.
    pub model: &'a str,
    /// The index of the provider's key.
    pub key: u8,
    /// The facts in the catalogue.
    pub facts: &'a Facts,
}

/// The end of an attempt, as far as it affects its charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The upstream reported the usage.
    Reported(Usage),
    /// The upstream reported a usage that cannot be true: this one is charged instead.
    Corrected(Usage),
    /// The upstream did not report the usage: this many output tokens were received. A limit of money or tokens is
    /// charged as for [`End::AtMost`], because the provider may have billed more than was received.
    Partly(u64),
    /// It is not known whether anything was used. A limit of money or tokens is charged as for [`End::AtMost`];
    /// otherwise it counts as nothing.
    Unknown,
    /// Nothing was used: the request was rejected or never arrived.
    Nothing,
    /// The attempt was abandoned, and the provider goes on and charges as much as it can.
    AtMost,
}

impl Reservation {
    /// A reservation for a call; without `limits` for a key without limits.
    pub fn new(
        limits: Vec<Limit>,
        estimate: Estimate,
        unknown_price: UnknownPrice,
        requested: &str,
    ) -> Reservation {
        let requested = requested.to_owned();
        Reservation {
            limits,
            estimate,
            unknown_price,
            requested,
            extras: Vec::new(),
            hold: Hold::default(),
            in_flight: Vec::new(),
            attempts: Vec::new(),
        }
    }

    /// Adds what is only read of a request whose key has limits of money or tokens.
    #[must_use]
    pub fn billed(mut self, billing: Billing) -> Reservation {
        self.estimate.images = self.estimate.images.max(billing.images);
        self.extras = billing.extras;
        self
    }

    /// Returns `true` if the key has a limit of money or tokens.
    pub fn has_meter(&self) -> bool {
        self.limits.iter().any(is_metered)
    }

    /// Returns `true` if a limit of money or tokens applies to a model. Then, whenever the usage is not known, the most
    /// that the provider can have billed is charged.
    pub fn is_metered(&self, provider: &str, model: &str) -> bool {
        self.limits_of(provider, model).any(is_metered)
    }

    /// Returns `true` if the key has limits.
    pub fn is_limited(&self) -> bool {
        !self.limits.is_empty()
    }

    /// The limits of the key.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The limits that apply to a model.
    fn limits_of<'s>(
        &'s self,
        provider: &'s str,
        model: &'s str,
    ) -> impl Iterator<Item = &'s Limit> + use<'s> {
        self.limits.iter().filter(move |limit| self.is_for(limit, provider, model))
    }

    /// Returns `true` if a limit applies to a model.
    fn is_for(&self, limit: &Limit, provider: &str, model: &str) -> bool {
        let is_bound =
            |models: &String| binds(models, &limit.behind, &self.requested, &format!("{provider}/{model}"));
        limit.models.as_ref().is_none_or(is_bound)
    }

    /// The needs of an attempt, beyond the amounts that the call already holds.
    pub fn needs(&self, target: Target<'_>) -> Result<Vec<Need>, Error> {
        let Target { provider, model, facts, .. } = target;
        let estimate = self.estimate.at(model);
        let output = estimate.output_bound(facts);
        let price = self.highest_price(facts, &estimate);
        let mut needs = Vec::new();
        for limit in self.limits_of(provider, model) {
            let counter = limit.counter();
            if let Some(extra) =
                self.extras.iter().find(|extra| is_billed(extra, limit.kind, provider, &price))
            {
                return Err(not_priced(limit, extra, provider));
            }
            let (least, most) = match limit.kind {
                Kind::Requests | Kind::Concurrent if self.hold.has(&counter) => continue,
                Kind::Requests | Kind::Concurrent => (1, 1),
                Kind::Tokens => {
                    (estimate.most_tokens(estimate.least_output(output)), estimate.most_tokens(output))
                }
                Kind::MicroUsd if self.unknown_price == UnknownPrice::Refuse && has_fees(provider, model) => {
                    return Err(price_unknown(limit, provider, model));
                }
                Kind::MicroUsd => {
                    let least = estimate.most(estimate.least_output(output), &price);
                    let most = estimate.most(output, &price);
                    match (least.zip(most), self.unknown_price) {
                        (Some(bounds), _) => bounds,
                        (None, UnknownPrice::CountTokens) => continue,
                        (None, UnknownPrice::Refuse) => return Err(price_unknown(limit, provider, model)),
                    }
                }
            };
            // Unused amounts of earlier attempts serve this one.
            let free = self.free(limit);
            let (least, most) = (least.saturating_sub(free), most.saturating_sub(free));
            if most > 0 {
                needs.push(Need { counter, limit: limit.amount, least, most });
            }
        }
        Ok(needs)
    }

    /// The highest price of each kind of token that an attempt can reach.
    fn highest_price(&self, facts: &Facts, estimate: &Estimate) -> Price {
        let price = facts.highest_price(estimate.max_prompt_tokens);
        let writes_1h = self.extras.iter().any(|extra| extra.writes_1h());
        // Without a request for it, nothing is written to the cache for an hour.
        Price { cache_write_1h: price.cache_write_1h.filter(|_| writes_1h), ..price }
    }

    /// The error of an attempt that cannot be reserved.
    pub fn refused(&self, target: Target<'_>, refusal: &Refusal, now_ms: u64) -> Error {
        let limit = self.limits.iter().find(|limit| limit.counter() == refusal.counter);
        let limit = limit.filter(|limit| {
            limit.kind == Kind::MicroUsd && self.estimate.choices > 0 && !self.estimate.is_fixed
        });
        let fit = limit.map(|limit| {
            let held = if refusal.is_spent() { refusal.held } else { 0 };
            let left = refusal.left.saturating_add(held).saturating_add(self.free(limit));
            let estimate = self.estimate.at(target.model);
            let price = self.highest_price(target.facts, &estimate);
            estimate.affordable_output(left, &price).unwrap_or(0)
        });
        headers::refused(refusal, fit, now_ms)
    }

    /// The reserved amount of a limit that is neither used nor held for an attempt in progress.
    fn free(&self, limit: &Limit) -> u64 {
        let counter = limit.counter();
        let shares = self.in_flight.iter().flat_map(|attempt| &attempt.shares);
        let in_flight: u64 = shares.filter(|(name, _)| *name == counter).map(|(_, amount)| *amount).sum();
        self.hold.of(&counter).saturating_sub(self.used(limit)).saturating_sub(in_flight)
    }

    /// Adds the charges reserved for an attempt. Returns the maximum output that they pay for, in tokens of each
    /// choice; `None` if the output need not be limited.
    pub fn started(&mut self, target: Target<'_>, charges: Vec<Charge>) -> Option<u64> {
        let Target { provider, model, key, facts } = target;
        self.hold.charges.extend(charges);
        let estimate = self.estimate.at(model);
        let price = self.highest_price(facts, &estimate);
        let bound = estimate.output_bound(facts);
        let mut shares = Vec::new();
        let mut limited: Option<u64> = None;
        for limit in self.limits_of(provider, model) {
            let free = self.free(limit);
            let affordable = match limit.kind {
                Kind::Requests | Kind::Concurrent => continue,
                Kind::Tokens => Some(estimate.affordable_tokens(free)),
                Kind::MicroUsd => estimate.affordable_output(free, &price),
            };
            if let Some(tokens) = affordable {
                limited = Some(limited.unwrap_or(bound).min(tokens));
            }
            shares.push((limit.counter(), free));
        }
        let (provider, model) = (provider.to_owned(), model.to_owned());
        self.in_flight.push(InFlight { provider, model, key, shares, output: limited.unwrap_or(bound) });
        limited
    }

    /// Records the end of an attempt.
    pub fn ended(&mut self, target: Target<'_>, outcome: &'static str, duration_ms: u64, end: End) {
        let Target { provider, model, key, facts } = target;
        let is_metered = self.is_metered(provider, model);
        let estimate = self.estimate.at(model);
        let is_this = |in_flight: &InFlight| {
            in_flight.provider == provider && in_flight.model == model && in_flight.key == key
        };
        let index = self.in_flight.iter().position(is_this);
        let output = index.map(|index| self.in_flight.remove(index).output);
        let output = output.unwrap_or_else(|| estimate.output_bound(facts));
        let highest = self.highest_price(facts, &estimate);
        let most = Most {
            prompt: estimate.max_prompt_tokens,
            output: output.saturating_mul(estimate.choices),
            cost: estimate.most(output, &highest).filter(|_| is_metered),
        };
        let end = match end {
            End::Partly(_) | End::Unknown if is_metered => End::AtMost,
            End::Unknown => End::Nothing,
            end => end,
        };
        let tokens = |prompt, completion| Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            ..Usage::default()
        };
        // What is not reported of the units that have a price follows from the request.
        let possible = estimate.units.only(highest.units);
        let guesses = estimate.guesses.only(highest.units);
        let assumed = if is_metered { possible } else { guesses.or(possible) };
        let mut is_guessed = false;
        let end = match end {
            // Tokens are charged: the rest need not be known.
            End::Reported(usage) if !guesses.is_empty() && usage.is_known() && has_tokens(&highest) => {
                End::Reported(usage)
            }
            End::Reported(usage) => {
                is_guessed = guesses.iter().any(|(unit, _)| usage.units.get(unit).is_none());
                End::Reported(Usage { units: usage.units.or(assumed), ..usage })
            }
            end => end,
        };
        let in_units = match end {
            End::Reported(usage) if !usage.is_known() => cost_of_units(&usage.units, &highest.units),
            _ => None,
        };
        let counts_tokens = || self.limits_of(provider, model).any(|limit| limit.kind == Kind::Tokens);
        let (usage, estimated) = match end {
            End::Reported(usage) if usage.is_known() || (in_units.is_some() && !counts_tokens()) => {
                (usage, is_guessed)
            }
            End::Reported(usage) => {
                let (prompt, output) = if is_metered {
                    (most.prompt, most.output)
                } else {
                    (estimate.prompt_tokens, estimate.likely_output)
                };
                let prompt_tokens = Some(usage.prompt_tokens.unwrap_or(prompt));
                let completion_tokens = Some(usage.completion_tokens.unwrap_or(output));
                (Usage { prompt_tokens, completion_tokens, ..usage }, true)
            }
            End::Corrected(usage) => (usage, true),
            End::Partly(completion) => {
                (Usage { units: assumed, ..tokens(estimate.prompt_tokens, completion) }, true)
            }
            End::Nothing | End::Unknown => (tokens(0, 0), false),
            End::AtMost => (Usage { units: possible, ..tokens(most.prompt, most.output) }, true),
        };
        let usage = with_plausible_kinds(usage);
        let cost_of = |usage: &Usage| {
            let price = facts.price_at(usage.prompt_tokens.unwrap_or(0));
            (in_units.or_else(|| cost(usage, &price)), price)
        };
        let (cost, price) = cost_of(&usage);
        let mut attempt = Attempt {
            provider: provider.to_owned(),
            model: model.to_owned(),
            key,
            outcome,
            failure: None,
            duration_ms,
            usage,
            estimated,
            cost_micro_usd: cost,
            price: has_price(&price).then_some(price),
            reported: None,
        };
        match end {
            End::Nothing => attempt.cost_micro_usd = Some(0),
            // The input may have been of the most expensive kind.
            End::AtMost => attempt.cost_micro_usd = most.cost.or(cost),
            // A kind of token without a price was used.
            _ if cost.is_none() && most.cost.is_some() => attempt.cost_micro_usd = most.cost,
            _ if is_metered && most.is_exceeded(&usage, cost) => {
                attempt.reported = Some(usage);
                attempt.usage = most.bounded(&usage);
                let (_, price) = cost_of(&attempt.usage);
                let bound = most.cost.map_or(u64::MAX, |most| most.saturating_mul(MOST_OF_HOLD));
                attempt.cost_micro_usd = cost.map(|cost| cost.min(bound));
                attempt.price = has_price(&price).then_some(price);
            }
            _ => {}
        }
        self.attempts.push(attempt);
    }

    /// Adds the error of the attempt that has just ended, for its receipt.
    pub fn failed(&mut self, error: &Error) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.failure = Some((error.status, code_of(error).map(str::to_owned)));
        }
    }

    /// The amount of a limit that the attempts so far have used.
    fn used(&self, limit: &Limit) -> u64 {
        let is_covered = |attempt: &&Attempt| self.is_for(limit, &attempt.provider, &attempt.model);
        let covered = self.attempts.iter().filter(is_covered);
        let amount = |attempt: &Attempt| match limit.kind {
            Kind::Tokens => tokens_of(&attempt.usage),
            Kind::MicroUsd => attempt.cost_micro_usd.unwrap_or(0),
            Kind::Requests | Kind::Concurrent => 0,
        };
        covered.map(amount).fold(0, u64::saturating_add)
    }

    /// The attempts, and the charges for them. A call that was not sent to any upstream does not count as a request.
    pub fn settle(mut self) -> (Vec<Attempt>, Vec<Charge>) {
        let sent = !self.attempts.is_empty();
        for limit in &self.limits {
            let used = match limit.kind {
                Kind::Requests => u64::from(sent),
                Kind::Concurrent => 0,
                Kind::Tokens | Kind::MicroUsd => self.used(limit),
            };
            self.hold.charge(&limit.counter(), used);
        }
        (self.attempts, self.hold.charges)
    }
}

/// The most that one attempt can have used.
struct Most {
    prompt: u64,
    /// The output of all choices, in tokens.
    output: u64,
    /// The cost in micro-USD; `None` if no limit counts it, or the price is not known.
    cost: Option<u64>,
}

impl Most {
    fn tokens(&self) -> u64 {
        self.prompt.saturating_add(self.output).saturating_mul(MOST_OF_HOLD)
    }

    /// Returns `true` if a report is too large to be charged.
    fn is_exceeded(&self, usage: &Usage, cost: Option<u64>) -> bool {
        let cost_bound = self.cost.map(|most| most.saturating_mul(MOST_OF_HOLD));
        tokens_of(usage) > self.tokens() || cost.zip(cost_bound).is_some_and(|(cost, bound)| cost > bound)
    }

    /// The part of a report that is charged, in tokens.
    fn bounded(&self, usage: &Usage) -> Usage {
        let bound = self.tokens();
        let prompt = usage.prompt_tokens.unwrap_or(0).min(bound);
        let completion = usage.completion_tokens.unwrap_or(0).min(bound - prompt);
        let part = |tokens: Option<u64>, whole: u64| tokens.map(|tokens| tokens.min(whole));
        Usage {
            prompt_tokens: Some(prompt),
            cached_tokens: part(usage.cached_tokens, prompt),
            cache_write_tokens: part(usage.cache_write_tokens, prompt),
            cache_write_1h_tokens: part(usage.cache_write_1h_tokens, prompt),
            completion_tokens: Some(completion),
            reasoning_tokens: part(usage.reasoning_tokens, completion),
            image_tokens: part(usage.image_tokens, bound),
            units: usage.units,
        }
    }
}

/// A usage in which no kind of tokens is more than the tokens of its side.
fn with_plausible_kinds(usage: Usage) -> Usage {
    let sides = [
        (Unit::AudioInput, usage.prompt_tokens),
        (Unit::ImageInput, usage.prompt_tokens),
        (Unit::AudioOutput, usage.completion_tokens),
        (Unit::ImageOutput, usage.completion_tokens),
    ];
    let units = sides.into_iter().fold(usage.units, |units, (unit, all)| {
        units.with(unit, units.get(unit).zip(all).map(|(kind, all)| kind.min(all)))
    });
    Usage { units, ..usage }
}

fn tokens_of(usage: &Usage) -> u64 {
    usage.prompt_tokens.unwrap_or(0).saturating_add(usage.completion_tokens.unwrap_or(0))
}

/// Returns `true` if a limit cannot hold for a call with this part.
fn is_billed(extra: &Extra, kind: Kind, provider: &str, price: &Price) -> bool {
    let counts = match kind {
        Kind::MicroUsd => !(extra.writes_1h() && price.cache_write_1h.is_some()),
        Kind::Tokens => extra.adds_tokens,
        Kind::Requests | Kind::Concurrent => false,
    };
    counts && extra.is_billed_by(provider)
}

fn is_metered(limit: &Limit) -> bool {
    matches!(limit.kind, Kind::Tokens | Kind::MicroUsd)
}

fn has_price(price: &Price) -> bool {
    price.input.or(price.output).is_some() || !price.units.is_empty()
}

fn not_priced(limit: &Limit, extra: &Extra, provider: &str) -> Error {
    let Extra { field, why, .. } = extra;
    let message = format!(
        "The gateway rejected this call: {why}, and {provider} may bill for it, so the call cannot be charged to this key's limit of {}; remove it from '{field}'",
        limit.describe()
    );
    Error::new(Code::PriceUnknown, message).with_param(*field)
}

fn price_unknown(limit: &Limit, provider: &str, model: &str) -> Error {
    let message = format!(
        "The gateway rejected this call: the price of {provider}/{model} is not known, so it cannot be charged to this key's limit of {}",
        limit.describe()
    );
    Error::new(Code::PriceUnknown, message).with_param(limit.counter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Units;
    use std::sync::LazyLock;

    const PRICED: Price = Price {
        input: Some(1_000_000),
        output: Some(10_000_000),
        cached_input: None,
        cache_write: None,
        cache_write_1h: None,
        reasoning_output: None,
        units: Units::NONE,
    };

    fn facts(price: Price, max_output: u32) -> Facts {
        Facts { max_output: Some(max_output), price, ..Facts::default() }
    }

    fn target(provider: &str) -> Target<'_> {
        static SMALL: LazyLock<Facts> = LazyLock::new(|| facts(PRICED, 1_000));
        Target { provider, model: "m", key: 0, facts: &SMALL }
    }

    fn reservation(counters: &[(&str, u64)]) -> Reservation {
        let limits = counters.iter().map(|(counter, amount)| Limit::of_counter(counter, *amount).unwrap());
        let estimate =
            Estimate { prompt_tokens: 25, max_prompt_tokens: 100, choices: 1, ..Estimate::default() };
        Reservation::new(limits.collect(), estimate, UnknownPrice::Refuse, "chat")
    }

    fn bounds(needs: &[Need]) -> Vec<(&str, u64, u64)> {
        needs.iter().map(|need| (&*need.counter, need.least, need.most)).collect()
    }

    fn charges(held: &[(&str, u64)]) -> Vec<Charge> {
        let charge = |(counter, held): &(&str, u64)| Charge {
            lease: 1,
            counter: (*counter).to_owned().into(),
            window: 0,
            held: *held,
            used: 0,
        };
        held.iter().map(charge).collect()
    }

    fn used(reservation: Reservation) -> Vec<(Counter, u64)> {
        reservation.settle().1.into_iter().map(|charge| (charge.counter, charge.used)).collect()
    }

    fn reported(prompt: u64, completion: u64) -> End {
        End::Reported(Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            ..Usage::default()
        })
    }

    #[test]
    fn an_attempt_needs_its_maximum_cost() {
        let reservation = reservation(&[
            ("requests_per_minute", 5),
            ("tokens_per_minute", 500),
            ("usd_total", 9),
            ("concurrent", 2),
        ]);
        // 100 input tokens at 1 and 256 or 1000 output tokens at 10 micro-USD each.
        assert_eq!(
            bounds(&reservation.needs(target("a")).unwrap()),
            [
                ("requests_per_minute", 1, 1),
                ("tokens_per_minute", 356, 1_100),
                ("usd_total", 2_660, 10_100),
                ("concurrent", 1, 1)
            ]
        );
    }

    #[test]
    fn other_units_are_held_and_charged_as_a_whole() {
        let image = Price { units: Units::of(&[(Unit::Image, 40_000_000_000)]), ..Price::default() };
        let facts = facts(image, 1_000);
        let target = Target { provider: "a", model: "m", key: 0, facts: &facts };
        let units = Units::of(&[(Unit::Image, 3), (Unit::ImageOutput, 900)]);
        let estimate =
            Estimate { choices: 3, max_output: Some(900), is_fixed: true, units, ..Estimate::default() };
        let reservation = |counter: &str| {
            let limit = Limit::of_counter(counter, 1).unwrap();
            Reservation::new(vec![limit], estimate, UnknownPrice::Refuse, "image")
        };
        let two = Usage { units: Units::of(&[(Unit::Image, 2)]), ..Usage::default() };
        for (end, cost, images, estimated) in [
            (End::Reported(two), 80_000, Some(2), false),
            (End::Reported(Usage::default()), 120_000, Some(3), false),
            (End::AtMost, 120_000, Some(3), true),
            (End::Partly(0), 120_000, Some(3), true),
            (End::Nothing, 0, None, false),
        ] {
            let mut reservation = reservation("usd_total");
            // 4 cents for each image, all or nothing.
            assert_eq!(bounds(&reservation.needs(target).unwrap()), [("usd_total", 120_000, 120_000)]);
            assert_eq!(reservation.started(target, charges(&[("usd_total", 120_000)])), None);
            reservation.ended(target, "ok", 1, end);
            let (attempts, charges) = reservation.settle();
            assert_eq!(charges[0].used, cost, "{end:?}");
            assert_eq!(
                (attempts[0].cost_micro_usd, attempts[0].estimated),
                (Some(cost), estimated),
                "{end:?}"
            );
            assert_eq!(attempts[0].usage.units.get(Unit::Image), images, "{end:?}");
        }
        // A limit of tokens counts the most that the images may be, because no tokens are reported.
        let mut reservation = reservation("tokens_per_day");
        reservation.started(target, charges(&[("tokens_per_day", 900)]));
        reservation.ended(target, "ok", 1, End::Reported(two));
        let (attempts, charges) = reservation.settle();
        assert_eq!(
            (charges[0].used, attempts[0].cost_micro_usd, attempts[0].estimated),
            (900, Some(80_000), true)
        );
    }

    #[test]
    fn the_hold_limits_the_output() {
        let mut reservation = reservation(&[("usd_total", 1)]);
        assert_eq!(reservation.started(target("a"), charges(&[("usd_total", 5_109)])), Some(500));
        reservation.ended(target("a"), "ok", 1, reported(100, 500));
        assert_eq!(used(reservation), [("usd_total".into(), 5_100)]);
    }

    #[test]
    fn the_unused_hold_of_a_failed_attempt_serves_the_next() {
        let mut reservation = reservation(&[("usd_total", 1), ("requests_per_day", 9)]);
        reservation.started(target("a"), charges(&[("usd_total", 10_100), ("requests_per_day", 1)]));
        reservation.ended(target("a"), "server_error", 1, End::Nothing);
        assert_eq!(bounds(&reservation.needs(target("b")).unwrap()), []);
        assert_eq!(reservation.started(target("b"), Vec::new()), Some(1_000));
        reservation.ended(target("b"), "ok", 1, reported(25, 0));
        assert_eq!(bounds(&reservation.needs(target("c")).unwrap()), [("usd_total", 0, 25)]);
        assert_eq!(reservation.started(target("c"), Vec::new()), Some(997));
        reservation.ended(target("c"), "cancelled", 1, End::AtMost);
        let (attempts, charges) = reservation.settle();
        let costs: Vec<_> =
            attempts.iter().map(|attempt| (attempt.cost_micro_usd, attempt.estimated)).collect();
        assert_eq!(costs, [(Some(0), false), (Some(25), false), (Some(10_070), true)]);
        assert_eq!(charges.iter().map(|charge| charge.used).collect::<Vec<_>>(), [10_095, 1]);
    }

    #[test]
    fn what_is_not_known_is_charged_as_the_most_that_can_have_been_billed() {
        let half = Usage { prompt_tokens: Some(40), ..Usage::default() };
        for (end, cost, tokens) in [
            (End::AtMost, 5_100, 600),
            (End::Partly(3), 5_100, 600),
            (End::Unknown, 5_100, 600),
            (End::Reported(half), 5_040, 540),
            (End::Reported(Usage::default()), 5_100, 600),
            (End::Nothing, 0, 0),
        ] {
            let mut metered = reservation(&[("usd_total", 1), ("tokens_per_day", 1)]);
            let held = charges(&[("usd_total", 5_109), ("tokens_per_day", 700)]);
            assert_eq!(metered.started(target("a"), held), Some(500));
            metered.ended(target("a"), "broken", 1, end);
            let expected = [("usd_total".into(), cost), ("tokens_per_day".into(), tokens)];
            assert_eq!(used(metered), expected, "{end:?}");
        }
        // Without such a limit, it is estimated for the receipt.
        let mut free = reservation(&[("concurrent", 1), ("usd_total b/*", 1)]);
        free.started(target("a"), charges(&[("concurrent", 1)]));
        free.ended(target("a"), "broken", 1, End::Partly(3));
        free.ended(target("a"), "unreachable", 1, End::Unknown);
        let (attempts, _) = free.settle();
        let costs: Vec<_> = attempts.iter().map(|attempt| attempt.cost_micro_usd).collect();
        assert_eq!(costs, [Some(25 + 30), Some(0)]);
    }

    #[test]
    fn the_most_is_charged_at_the_most_expensive_price() {
        let price = Price { cache_write: Some(3_000_000), ..PRICED };
        let facts = facts(price, 1_000);
        let target = Target { facts: &facts, ..target("a") };
        let mut reservation = reservation(&[("usd_total", 1)]);
        assert_eq!(bounds(&reservation.needs(target).unwrap()), [("usd_total", 2_860, 10_300)]);
        reservation.started(target, charges(&[("usd_total", 2_860)]));
        reservation.ended(target, "timed_out", 1, End::Unknown);
        assert_eq!(used(reservation), [("usd_total".into(), 2_860)]);
    }

    #[test]
    fn an_absurd_report_is_charged_up_to_twice_the_most() {
        for (prompt, completion, used_tokens, cost, capped) in [
            (100, 500, 600, 5_100, false),
            (900, 290, 1_190, 3_800, false),
            (300, 900, 1_200, 9_300, false),
            (3, 1 << 40, 1_200, 10_200, true),
            (1 << 40, 1 << 40, 1_200, 10_200, true),
            (u64::MAX, u64::MAX, 1_200, 10_200, true),
        ] {
            let mut reservation = reservation(&[("usd_total", 1), ("tokens_per_day", 1)]);
            let held = charges(&[("usd_total", 5_100), ("tokens_per_day", 600)]);
            assert_eq!(reservation.started(target("a"), held), Some(500));
            reservation.ended(target("a"), "ok", 1, reported(prompt, completion));
            let (attempts, charges) = reservation.settle();
            assert_eq!(attempts[0].reported.is_some(), capped, "{prompt} {completion}");
            assert_eq!(charges.iter().map(|charge| charge.used).collect::<Vec<_>>(), [cost, used_tokens]);
        }
    }

    #[test]
    fn two_keys_of_one_model_have_holds_of_their_own() {
        let mut reservation = reservation(&[("usd_total", 1)]);
        let other = Target { key: 1, ..target("a") };
        reservation.started(target("a"), charges(&[("usd_total", 10_100)]));
        reservation.started(other, charges(&[("usd_total", 2_660)]));
        reservation.ended(other, "cancelled", 1, End::AtMost);
        reservation.ended(target("a"), "ok", 1, reported(100, 1_000));
        let costs: Vec<_> = reservation.settle().0.iter().map(|attempt| attempt.cost_micro_usd).collect();
        assert_eq!(costs, [Some(2_660), Some(10_100)]);
    }

    /// The steps of the catalogue, and those steps under an operator's price that is half of the catalogue's.
    #[test]
    fn a_long_prompt_is_held_and_charged_at_its_own_price() {
        let known = crate::catalog::facts("openai", "gpt-6-sol").unwrap();
        let price = (known.price.input, known.price.output, known.price.cache_write);
        assert_eq!(price, (Some(2_000_000), Some(10_000_000), Some(2_500_000)));
        let half = crate::config::ModelSettings {
            input_usd_per_mtok: Some(crate::money::MicroUsd(1_000_000)),
            output_usd_per_mtok: Some(crate::money::MicroUsd(5_000_000)),
            cache_write_usd_per_mtok: Some(crate::money::MicroUsd(1_250_000)),
            ..Default::default()
        };
        for (tokens, [input, written, output]) in [
            (100, [8, 10, 40]),
            (200_000, [8, 10, 40]),
            (272_000, [8, 10, 40]),
            (272_001, [16, 20, 60]),
            (1_000_000, [16, 20, 60]),
        ] {
            for (facts, part) in [(known, 4), (known.with(&half), 8)] {
                let facts = Facts { max_output: Some(1_000), ..facts };
                let target = Target { model: "gpt-6-sol", facts: &facts, ..target("openai") };
                let mut reservation = reservation(&[("usd_total", 1)]);
                reservation.estimate.max_prompt_tokens = tokens;
                let whole = |sum: u64| sum.div_ceil(part);
                // All of the input may be written to the cache.
                let most = whole(tokens * written + 1_000 * output);
                assert_eq!(reservation.needs(target).unwrap()[0].most, most);
                reservation.started(target, charges(&[("usd_total", most)]));
                reservation.ended(target, "ok", 1, reported(tokens, 1_000));
                assert_eq!(used(reservation), [("usd_total".into(), whole(tokens * input + 1_000 * output))]);
            }
        }
    }

    #[test]
    fn an_hour_in_the_cache_is_held_and_charged_where_it_has_a_price() {
        let body = br#"{"model":"m","messages":[{"content":[{"cache_control":{"ttl":"1h"}}]}]}"#;
        let request = crate::format::read(&crate::operation::CHAT_COMPLETIONS, body).unwrap();
        let with = || reservation(&[("usd_total", 1)]).billed(request.billing());
        let error = with().needs(target("a")).unwrap_err();
        assert!(error.is(Code::PriceUnknown));
        assert_eq!(error.param.as_deref(), Some("messages"));
        let price = Price { cache_write: Some(1_250_000), cache_write_1h: Some(2_000_000), ..PRICED };
        let priced = facts(price, 1_000);
        let target = Target { facts: &priced, ..target("a") };
        // 100 tokens of input at 2, 1000 of output at 10 micro-USD.
        assert_eq!(with().needs(target).unwrap()[0].most, 200 + 10_000);
        assert_eq!(reservation(&[("usd_total", 1)]).needs(target).unwrap()[0].most, 125 + 10_000);
        let mut reservation = with();
        reservation.started(target, charges(&[("usd_total", 10_200)]));
        let usage = r#"{"input_tokens":10,"cache_creation_input_tokens":90,"output_tokens":5,
            "cache_creation":{"ephemeral_5m_input_tokens":30,"ephemeral_1h_input_tokens":60}}"#;
        reservation.ended(target, "ok", 1, End::Reported(Usage::read(usage).unwrap()));
        // 30 × 1.25 = 37.5
        assert_eq!(used(reservation), [("usd_total".into(), 10 + 38 + 120 + 50)]);
    }

    #[test]
    fn a_kind_of_token_without_a_price_is_charged_as_the_most() {
        let priced = facts(Price { cache_write: Some(1_250_000), ..PRICED }, 1_000);
        let target = Target { facts: &priced, ..target("a") };
        let mut reservation = reservation(&[("usd_total", 1)]);
        reservation.started(target, charges(&[("usd_total", 10_125)]));
        let hour = Usage { cache_write_tokens: Some(9), cache_write_1h_tokens: Some(9), ..Usage::default() };
        let usage = Usage { prompt_tokens: Some(9), completion_tokens: Some(1), ..hour };
        reservation.ended(target, "ok", 1, End::Reported(usage));
        assert_eq!(used(reservation), [("usd_total".into(), 10_125)]);
    }

    #[test]
    fn what_cannot_be_priced_is_rejected_where_a_limit_counts_it() {
        let body = br#"{"model":"m","messages":[],"service_tier":"priority"}"#;
        let request = crate::format::read(&crate::operation::CHAT_COMPLETIONS, body).unwrap();
        let with = |limits| reservation(limits).billed(request.billing());
        let error = with(&[("usd_total", 9)]).needs(target("a")).unwrap_err();
        assert!(error.is(Code::PriceUnknown));
        assert_eq!(error.param.as_deref(), Some("service_tier"));
        assert!(with(&[("usd_total", 9)]).needs(target("cerebras")).is_ok());
        assert!(with(&[("usd_total b/*", 9)]).needs(target("a")).is_ok());
        assert!(with(&[("tokens_per_day", 9)]).needs(target("a")).is_ok(), "the tier adds no tokens");
    }

    #[test]
    fn a_model_with_fees_has_no_known_price() {
        for (provider, model, known) in
            [("perplexity", "sonar", false), ("openai", "gpt-6-search-api", false), ("openai", "gpt-6", true)]
        {
            let target = Target { model, ..target(provider) };
            assert_eq!(reservation(&[("usd_total", 9)]).needs(target).is_ok(), known, "{model}");
        }
    }

    #[test]
    fn concurrent_attempts_do_not_share_a_hold() {
        let mut reservation = reservation(&[("usd_total", 1)]);
        reservation.started(target("a"), charges(&[("usd_total", 10_100)]));
        assert_eq!(bounds(&reservation.needs(target("b")).unwrap()), [("usd_total", 2_660, 10_100)]);
        assert_eq!(reservation.started(target("b"), charges(&[("usd_total", 2_660)])), Some(256));
        reservation.ended(target("b"), "ok", 1, reported(100, 256));
        reservation.ended(target("a"), "cancelled", 1, End::AtMost);
        assert_eq!(used(reservation), [("usd_total".into(), 10_100), ("usd_total".into(), 2_660)]);
    }

    #[test]
    fn limits_for_models_count_only_their_models() {
        let mut reservation =
            reservation(&[("usd_total a/*", 1), ("requests_per_day chat", 9), ("usd_total b/m", 9)]);
        assert_eq!(
            bounds(&reservation.needs(target("a")).unwrap()),
            [("usd_total a/*", 2_660, 10_100), ("requests_per_day chat", 1, 1)]
        );
        reservation.started(target("a"), charges(&[("usd_total a/*", 10_100), ("requests_per_day chat", 1)]));
        reservation.ended(target("a"), "broken", 1, End::Partly(10));
        assert_eq!(bounds(&reservation.needs(target("b")).unwrap()), [("usd_total b/m", 2_660, 10_100)]);
        assert_eq!(
            used(reservation),
            [("usd_total a/*".into(), 10_100), ("requests_per_day chat".into(), 1)]
        );
    }

    #[test]
    fn without_a_price_a_call_cannot_be_charged_to_a_budget() {
        let free = facts(Price::default(), 1_000);
        let target = Target { provider: "a", model: "m", key: 0, facts: &free };
        let mut reservation = reservation(&[("usd_total", 1)]);
        let error = reservation.needs(target).unwrap_err();
        assert!(error.is(Code::PriceUnknown) && error.message.contains("a/m"), "{}", error.message);
        reservation.unknown_price = UnknownPrice::CountTokens;
        assert_eq!(bounds(&reservation.needs(target).unwrap()), []);
        assert_eq!(reservation.started(target, Vec::new()), None);
        reservation.ended(target, "ok", 1, reported(3, 5));
        let (attempts, _) = reservation.settle();
        assert_eq!((attempts[0].cost_micro_usd, attempts[0].price), (None, None));
    }

    #[test]
    fn a_call_that_was_not_sent_does_not_count_as_a_request() {
        let mut reservation = reservation(&[("requests_per_day", 9)]);
        reservation.started(target("a"), charges(&[("requests_per_day", 1)]));
        assert_eq!(used(reservation), [("requests_per_day".into(), 0)]);
    }
}
