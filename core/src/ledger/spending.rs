//! One call's way through its limits: what each attempt needs of them, what it may write, what it has cost, and what of it
//! all is charged in the end.

use super::estimate::Estimate;
use super::limit::{Kind, Limit};
use super::message::{Charge, Need};
use super::price::cost;
use super::purse::Hold;
use super::receipt::Attempt;
use crate::catalog::{Facts, Price};
use crate::config::UnknownPrice;
use crate::error::{Code, Error};
use crate::key::covers;
use crate::protocol::usage::Usage;

/// The least output that is worth paying for, in tokens of each choice, where less than what was asked for can be paid.
const LEAST_OUTPUT: u64 = 256;
/// The output that is set aside of limits of tokens. These are held to what was used afterwards.
const LIKELY_OUTPUT: u64 = 1_024;

/// One call's way through its limits.
#[derive(Debug)]
pub struct Spending {
    limits: Vec<Limit>,
    estimate: Estimate,
    unknown_price: UnknownPrice,
    /// The caller's name of the model.
    asked: String,
    hold: Hold,
    /// The attempts that are under way.
    flying: Vec<Flying>,
    attempts: Vec<Attempt>,
}

/// An attempt that is under way, and what of the hold is for it: of which counter how much.
#[derive(Debug)]
struct Flying {
    address: String,
    shares: Vec<(String, u64)>,
    /// The most output that it may have, in tokens of each choice.
    output: u64,
}

/// A model that an attempt may be sent to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its provider.
    pub provider: &'a str,
    /// The provider's id of it.
    pub model: &'a str,
    /// What is known of it.
    pub facts: &'a Facts,
}

/// How an attempt ended, as far as it is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The upstream told what it used.
    Told(Usage),
    /// It did not: this many tokens of output have come.
    Partly(u64),
    /// It was refused, or never reached: nothing was used.
    Nothing,
    /// It was abandoned, and the provider goes on and charges all that it can.
    AtMost,
}

impl Spending {
    /// A call of a key with limits; none: of a key without.
    pub fn new(limits: Vec<Limit>, estimate: Estimate, unknown_price: UnknownPrice, asked: &str) -> Spending {
        let asked = asked.to_owned();
        Spending {
            limits,
            estimate,
            unknown_price,
            asked,
            hold: Hold::default(),
            flying: Vec::new(),
            attempts: Vec::new(),
        }
    }

    /// Whether the key has any limits.
    pub fn is_limited(&self) -> bool {
        !self.limits.is_empty()
    }

    /// The key's limits.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The limits that hold for a model.
    fn limits_of(&self, provider: &str, model: &str) -> impl Iterator<Item = &Limit> {
        let address = address(provider, model);
        self.limits.iter().filter(move |limit| {
            limit.models.as_ref().is_none_or(|models| covers(models, &self.asked, &address))
        })
    }

    /// What an attempt needs, beyond what the call holds already.
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
                    // A call that is larger than the limit by itself may go when nothing else does.
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
            // What earlier attempts have not used serves this one.
            let free = self.free(limit);
            let (least, most) = (least.saturating_sub(free), most.saturating_sub(free));
            if most > 0 {
                needs.push(Need { counter, limit: limit.amount, least, most });
            }
        }
        Ok(needs)
    }

    /// What is set aside of a limit and neither used nor for an attempt that is under way.
    fn free(&self, limit: &Limit) -> u64 {
        let counter = limit.counter();
        let shares = self.flying.iter().flat_map(|attempt| &attempt.shares);
        let flying: u64 = shares.filter(|(name, _)| *name == counter).map(|(_, amount)| *amount).sum();
        self.hold.of(&counter).saturating_sub(self.used(limit)).saturating_sub(flying)
    }

    /// Adds what has been set aside for an attempt. Gives the most output that it may have, in tokens of each choice, since
    /// what it holds pays for no more; `None`: it need not be limited.
    pub fn begun(&mut self, target: Target<'_>, charges: Vec<Charge>) -> Option<u64> {
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
        self.flying.push(Flying {
            address: address(provider, model),
            shares,
            output: limit.unwrap_or(bound),
        });
        limit
    }

    /// Notes how an attempt ended.
    pub fn ended(&mut self, target: Target<'_>, outcome: &'static str, duration_ms: u64, end: End) {
        let Target { provider, model, facts } = target;
        let price = facts.price;
        let estimate = &self.estimate;
        let tokens = |prompt, completion| Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            ..Usage::default()
        };
        let address = address(provider, model);
        let index = self.flying.iter().position(|attempt| attempt.address == address);
        let output = index.map_or(0, |index| self.flying.remove(index).output);
        let (usage, estimated) = match end {
            End::Told(usage) if usage.is_known() => (usage, false),
            End::Told(usage) => {
                let prompt = usage.prompt_tokens.unwrap_or(estimate.prompt_tokens);
                let told = Usage { prompt_tokens: Some(prompt), ..usage };
                (Usage { completion_tokens: Some(usage.completion_tokens.unwrap_or(0)), ..told }, true)
            }
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

    /// What the attempts so far have used of a limit.
    fn used(&self, limit: &Limit) -> u64 {
        let covered = self.attempts.iter().filter(|attempt| {
            let address = address(&attempt.provider, &attempt.model);
            limit.models.as_ref().is_none_or(|models| covers(models, &self.asked, &address))
        });
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

    /// The attempts, and what is to be charged for them. `sent`: whether any upstream was asked; if none was, the call does not
    /// count as a request.
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

fn address(provider: &str, model: &str) -> String {
    format!("{provider}/{model}")
}

fn has_price(price: &Price) -> bool {
    price.input.or(price.output).is_some()
}

fn price_unknown(limit: &Limit, provider: &str, model: &str) -> Error {
    let words = format!(
        "The gateway refused this call: the price of {provider}/{model} is not known, and this key may spend {}",
        limit.describe()
    );
    Error::new(Code::PriceUnknown, words).with_param(limit.counter())
}
