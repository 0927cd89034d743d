//! The reservation of one call: the needs and the output limit of each attempt, the costs of the attempts, and the
//! final charges.

use super::estimate::Estimate;
use super::lease::Hold;
use super::limit::{Counter, Kind, Limit};
use super::message::{Charge, Need};
use super::price::cost;
use super::receipt::Attempt;
use crate::catalog::{Facts, Price};
use crate::config::UnknownPrice;
use crate::error::{Code, Error};
use crate::format::usage::Usage;
use crate::key::covers;

/// The smallest output that is worth paying for, in tokens of each choice, if the hold cannot pay for all of the
/// requested output.
const LEAST_OUTPUT: u64 = 256;
/// The output that is reserved of token limits. The actual usage is charged afterwards.
const LIKELY_OUTPUT: u64 = 1_024;

/// The limits, holds and attempts of one call.
#[derive(Debug)]
pub struct Reservation {
    limits: Vec<Limit>,
    estimate: Estimate,
    unknown_price: UnknownPrice,
    /// The model name in the call.
    requested: String,
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
    /// The upstream did not report the usage: this many output tokens were received.
    Partly(u64),
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
            hold: Hold::default(),
            in_flight: Vec::new(),
            attempts: Vec::new(),
        }
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
    fn limits_of<'s>(&'s self, provider: &'s str, model: &'s str) -> impl Iterator<Item = &'s Limit> {
        self.limits.iter().filter(move |limit| self.is_for(limit, provider, model))
    }

    /// Returns `true` if a limit applies to a model.
    fn is_for(&self, limit: &Limit, provider: &str, model: &str) -> bool {
        let is_covered = |models: &String| covers(models, &self.requested, &format!("{provider}/{model}"));
        limit.models.as_ref().is_none_or(is_covered)
    }

    /// The needs of an attempt, beyond the amounts that the call already holds.
    pub fn needs(&self, target: Target<'_>) -> Result<Vec<Need>, Error> {
        let Target { provider, model, facts } = target;
        let output = self.estimate.output_bound(facts);
        let mut needs = Vec::new();
        for limit in self.limits_of(provider, model) {
            let counter = limit.counter();
            let (least, most) = match limit.kind {
                Kind::Requests | Kind::Concurrent if self.hold.has(&counter) => continue,
                Kind::Requests | Kind::Concurrent => (1, 1),
                Kind::Tokens => {
                    let output = output.min(LIKELY_OUTPUT).saturating_mul(self.estimate.choices);
                    // A call that is larger than the limit by itself may run if nothing else does.
                    let likely = self.estimate.prompt_tokens.saturating_add(output).min(limit.amount);
                    (likely, likely)
                }
                Kind::MicroUsd => {
                    let least = self.estimate.most(output.min(LEAST_OUTPUT), &facts.price);
                    let most = self.estimate.most(output, &facts.price);
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
        let Target { provider, model, facts } = target;
        self.hold.charges.extend(charges);
        let mut shares = Vec::new();
        let mut money = None;
        for limit in self.limits_of(provider, model) {
            let free = self.free(limit);
            match limit.kind {
                Kind::Requests | Kind::Concurrent => continue,
                Kind::Tokens => {}
                Kind::MicroUsd => money = Some(money.map_or(free, |known: u64| known.min(free))),
            }
            shares.push((limit.counter(), free));
        }
        let bound = self.estimate.output_bound(facts);
        let affordable = money.and_then(|money| self.estimate.affordable_output(money, &facts.price));
        let limit = affordable.map(|tokens| tokens.min(bound));
        let (provider, model) = (provider.to_owned(), model.to_owned());
        self.in_flight.push(InFlight { provider, model, shares, output: limit.unwrap_or(bound) });
        limit
    }

    /// Records the end of an attempt.
    pub fn ended(&mut self, target: Target<'_>, outcome: &'static str, duration_ms: u64, end: End) {
        let Target { provider, model, facts } = target;
        let price = facts.price;
        let estimate = &self.estimate;
        let tokens = |prompt, completion| Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            ..Usage::default()
        };
        let is_this = |in_flight: &InFlight| in_flight.provider == provider && in_flight.model == model;
        let index = self.in_flight.iter().position(is_this);
        let output = index.map_or(0, |index| self.in_flight.remove(index).output);
        let (usage, estimated) = match end {
            End::Reported(usage) if usage.is_known() => (usage, false),
            End::Reported(usage) => {
                let prompt = usage.prompt_tokens.unwrap_or(estimate.prompt_tokens);
                let known = Usage { prompt_tokens: Some(prompt), ..usage };
                (Usage { completion_tokens: Some(usage.completion_tokens.unwrap_or(0)), ..known }, true)
            }
            End::Corrected(usage) => (usage, true),
            End::Partly(completion) => (tokens(estimate.prompt_tokens, completion), true),
            End::Nothing => (tokens(0, 0), false),
            End::AtMost => {
                (tokens(estimate.max_prompt_tokens, output.saturating_mul(estimate.choices)), true)
            }
        };
        let cost_micro_usd = if end == End::Nothing { Some(0) } else { cost(&usage, &price) };
        self.attempts.push(Attempt {
            provider: provider.to_owned(),
            model: model.to_owned(),
            outcome,
            duration_ms,
            usage,
            estimated,
            cost_micro_usd,
            price: has_price(&price).then_some(price),
        });
    }

    /// The amount of a limit that the attempts so far have used.
    fn used(&self, limit: &Limit) -> u64 {
        let is_covered = |attempt: &&Attempt| self.is_for(limit, &attempt.provider, &attempt.model);
        let covered = self.attempts.iter().filter(is_covered);
        let amount = |attempt: &Attempt| match limit.kind {
            Kind::Tokens => {
                let Usage { prompt_tokens, completion_tokens, .. } = attempt.usage;
                prompt_tokens.unwrap_or(0).saturating_add(completion_tokens.unwrap_or(0))
            }
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

fn has_price(price: &Price) -> bool {
    price.input.or(price.output).is_some()
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

    const PRICED: Price =
        Price { input: Some(1_000_000), output: Some(10_000_000), cached_input: None, cache_write: None };
    const SMALL: Facts = facts(PRICED, 1_000);

    const fn facts(price: Price, max_output: u32) -> Facts {
        Facts {
            context: None,
            max_output: Some(max_output),
            price,
            tools: None,
            json_mode: None,
            json_schema: None,
            vision: None,
            reasoning: None,
            tier: None,
            priority: None,
            requests_per_day: None,
            not_automatic: false,
            task: None,
        }
    }

    fn target(provider: &str) -> Target<'_> {
        Target { provider, model: "m", facts: &SMALL }
    }

    fn reservation(counters: &[(&str, u64)]) -> Reservation {
        let limits = counters.iter().map(|(counter, amount)| Limit::of_counter(counter, *amount).unwrap());
        let estimate = Estimate { prompt_tokens: 25, max_prompt_tokens: 100, max_output: None, choices: 1 };
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
        // 100 input tokens at 1 and 256 or 1000 output tokens at 10 micro-USD each; 25 likely input tokens and 1000
        // output tokens, but never more than the limit.
        assert_eq!(
            bounds(&reservation.needs(target("a")).unwrap()),
            [
                ("requests_per_minute", 1, 1),
                ("tokens_per_minute", 500, 500),
                ("usd_total", 2_660, 10_100),
                ("concurrent", 1, 1)
            ]
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
        reservation.ended(target("b"), "timed_out", 1, End::Partly(0));
        // 25 likely tokens have been used.
        assert_eq!(bounds(&reservation.needs(target("c")).unwrap()), [("usd_total", 0, 25)]);
        assert_eq!(reservation.started(target("c"), Vec::new()), Some(997));
        reservation.ended(target("c"), "cancelled", 1, End::AtMost);
        let (attempts, charges) = reservation.settle();
        let costs: Vec<_> =
            attempts.iter().map(|attempt| (attempt.cost_micro_usd, attempt.estimated)).collect();
        assert_eq!(costs, [(Some(0), false), (Some(25), true), (Some(10_070), true)]);
        assert_eq!(charges.iter().map(|charge| charge.used).collect::<Vec<_>>(), [10_095, 1]);
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
        assert_eq!(used(reservation), [("usd_total a/*".into(), 125), ("requests_per_day chat".into(), 1)]);
    }

    #[test]
    fn without_a_price_a_call_cannot_be_charged_to_a_budget() {
        let free = Facts { price: Price::default(), ..SMALL };
        let target = Target { provider: "a", model: "m", facts: &free };
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
