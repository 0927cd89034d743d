//! Receipts: what is recorded of a call. Never its content: there is no member for it.
//!
//! # The chain
//! The book numbers receipts in the order in which they reach it, and adds to each the sums of all up to it, the hash of the
//! one before, and its own: the SHA-256, in hexadecimal, of the receipt as compact JSON without the member `hash`. All
//! numbers in it are whole, so that any JSON library writes the same text. Whoever holds receipts can check that none of them
//! has been changed, that none between them is missing, and that the totals are their sum.

use serde_json::Value;

use super::tally::{Row, Slice, Tally};
use crate::catalog::{OTHER, Price, Registry};
use crate::format::usage::Usage;
use crate::json::text::{Object, Text, Written};
use crate::json_text;
use crate::key::Digest;
use crate::time::{DAY_MS, to_rfc3339};

/// The hash before the first receipt.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One upstream call, as it is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The provider.
    pub provider: String,
    /// Its id of the model.
    pub model: String,
    /// `ok`, `cancelled`, or the class of the failure.
    pub outcome: &'static str,
    /// Until the answer, the first content of a stream, or the failure, in milliseconds.
    pub duration_ms: u64,
    /// What it used.
    pub usage: Usage,
    /// Whether the provider did not tell that, or not all of it.
    pub estimated: bool,
    /// What it cost, in micro-USD, at the price of its time.
    pub cost_micro_usd: Option<u64>,
    /// That price.
    pub price: Option<Price>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a complete response.
    Answered,
    /// With the provider's word that the request is at fault.
    Refused,
    /// By the provider's fault, or a limit of time or size.
    Failed,
    /// The client left first.
    ClientLeft,
}

impl Outcome {
    /// The outcome of a call whose response is an error of this status.
    pub fn of_status(status: u16) -> Outcome {
        match status {
            499 => Outcome::ClientLeft,
            400 | 404 | 409 | 413 | 415 | 422 => Outcome::Refused,
            _ => Outcome::Failed,
        }
    }

    /// Its name, in receipts and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::ClientLeft => "client_left",
        }
    }
}

impl Attempt {
    /// The model that the attempt is counted as: callers can invent any number of names, so only models that are listed, or
    /// have answered, are counted by their own.
    fn counted_as(&self, registry: &Registry) -> &str {
        let is_listed = || registry.provider(&self.provider).is_some_and(|entry| entry.lists(&self.model));
        if self.outcome == "ok" || is_listed() { &self.model } else { OTHER }
    }
}

/// What is recorded of a call. See the module for what the book adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its id: [`Receipt::id`].
    pub id: String,
    /// `x-request-id`.
    pub request_id: String,
    /// When the call began, in milliseconds since 1970.
    pub at_ms: u64,
    /// The project that it named.
    pub project: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The status that the caller got.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Until the first content of a stream, in milliseconds.
    pub first_token_ms: Option<u64>,
    /// Until the end, in milliseconds.
    pub duration_ms: u64,
    /// Whether the caller got a part of an answer only.
    pub partial: bool,
    /// The attempts, at least one. The last is the one that was answered, or whose failure was told.
    pub attempts: Vec<Attempt>,
}

fn price_text(price: &Price) -> Text {
    json_text!({
        "input": price.input,
        "cached_input": price.cached_input,
        "cache_write": price.cache_write,
        "output": price.output,
    })
}

impl Receipt {
    /// A new id: of the time, in milliseconds since 1970, and ten random bytes. The caller's own request id would not do: it
    /// may be sent twice.
    pub fn new_id(now_ms: u64, random: [u8; 10]) -> String {
        format!("rcpt_{}", crate::request_id::generate(now_ms, random))
    }

    /// What all attempts used of something: `None` where none of them tells.
    fn sum(&self, of: impl Fn(&Usage) -> Option<u64>) -> Option<u64> {
        let told = self.attempts.iter().filter_map(|attempt| of(&attempt.usage));
        told.reduce(u64::saturating_add)
    }

    /// What the call cost, in micro-USD; `None` if that is not known of every attempt.
    pub fn cost_micro_usd(&self) -> Option<u64> {
        let mut sum = 0u64;
        for attempt in &self.attempts {
            sum = sum.saturating_add(attempt.cost_micro_usd?);
        }
        Some(sum)
    }

    /// What it used, all attempts together.
    pub fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.sum(|usage| usage.prompt_tokens),
            cached_tokens: self.sum(|usage| usage.cached_tokens),
            cache_write_tokens: self.sum(|usage| usage.cache_write_tokens),
            completion_tokens: self.sum(|usage| usage.completion_tokens),
            reasoning_tokens: self.sum(|usage| usage.reasoning_tokens),
            image_tokens: self.sum(|usage| usage.image_tokens),
        }
    }

    /// Whether some of what it used was estimated.
    pub fn is_estimated(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.estimated)
    }

    /// Its text, as [`Chain::add`] wants it.
    pub fn to_text(&self) -> String {
        let last = self.attempts.last();
        let usage = self.usage();
        let attempt = |attempt: &Attempt| {
            json_text!({
                "provider": attempt.provider,
                "model": attempt.model,
                "outcome": attempt.outcome,
                "duration_ms": attempt.duration_ms,
                "prompt_tokens": attempt.usage.prompt_tokens,
                "completion_tokens": attempt.usage.completion_tokens,
                "cost_micro_usd": attempt.cost_micro_usd,
                "price": attempt.price.as_ref().map(price_text),
            })
        };
        let text = json_text!({
            "id": self.id,
            "request_id": self.request_id,
            "time": to_rfc3339(self.at_ms),
            "project": self.project,
            "provider": last.map(|last| last.provider.as_str()),
            "model": last.map(|last| last.model.as_str()),
            "stream": self.stream,
            "status": self.status,
            "outcome": self.outcome.as_str(),
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "completion_tokens": usage.completion_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "image_tokens": usage.image_tokens,
            "cost_micro_usd": self.cost_micro_usd(),
            "first_token_ms": self.first_token_ms,
            "duration_ms": self.duration_ms,
            "partial": self.partial,
            "estimated": self.is_estimated(),
            "attempts": self.attempts.iter().map(attempt).collect::<Vec<_>>(),
        });
        text.into()
    }

    /// What it adds to the sums: a row for each model that it was sent to. The call itself counts for the last. Models
    /// that are not listed are counted as one.
    pub fn rows(&self, registry: &Registry) -> Vec<Row> {
        let day = u32::try_from(self.at_ms / DAY_MS).unwrap_or(u32::MAX);
        let last = self.attempts.len().saturating_sub(1);
        let mut rows = Vec::with_capacity(self.attempts.len());
        for (index, attempt) in self.attempts.iter().enumerate() {
            let slice = Slice {
                day,
                project: self.project.clone().unwrap_or_default(),
                provider: attempt.provider.clone(),
                model: attempt.counted_as(registry).to_owned(),
            };
            let usage = attempt.usage;
            let mut tally = Tally {
                attempts: 1,
                prompt_tokens: usage.prompt_tokens.unwrap_or(0),
                cached_tokens: usage.cached_tokens.unwrap_or(0),
                cache_write_tokens: usage.cache_write_tokens.unwrap_or(0),
                completion_tokens: usage.completion_tokens.unwrap_or(0),
                reasoning_tokens: usage.reasoning_tokens.unwrap_or(0),
                cost_micro_usd: attempt.cost_micro_usd.unwrap_or(0),
                ..Tally::default()
            };
            if index == last {
                tally.requests = 1;
                tally.successful = u64::from(self.outcome == Outcome::Answered);
                tally.unpriced = u64::from(self.cost_micro_usd().is_none());
                tally.estimated = u64::from(self.is_estimated());
                tally.duration_ms = self.duration_ms;
                tally.streams = u64::from(self.first_token_ms.is_some());
                tally.first_token_ms = self.first_token_ms.unwrap_or(0);
            }
            rows.push(Row { slice, tally });
        }
        rows
    }
}

/// The sums that stand in every receipt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls.
    pub requests: u64,
    /// Tokens that were read.
    pub prompt_tokens: u64,
    /// Tokens that were written.
    pub completion_tokens: u64,
    /// What it cost, in micro-USD, as far as that is known.
    pub cost_micro_usd: u64,
}

impl Totals {
    /// Those of one call's rows.
    pub fn of(rows: &[Row]) -> Totals {
        let mut totals = Totals::default();
        for Row { tally, .. } in rows {
            let Tally { requests, prompt_tokens, completion_tokens, cost_micro_usd, .. } = *tally;
            totals.add(Totals { requests, prompt_tokens, completion_tokens, cost_micro_usd });
        }
        totals
    }

    /// Adds others.
    pub fn add(&mut self, more: Totals) {
        self.requests = self.requests.saturating_add(more.requests);
        self.prompt_tokens = self.prompt_tokens.saturating_add(more.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(more.completion_tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(more.cost_micro_usd);
    }

    /// As JSON.
    pub fn to_text(self) -> Text {
        json_text!({
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_micro_usd": self.cost_micro_usd,
        })
    }

    /// From JSON; what is missing is 0.
    pub fn from_json(value: &Value) -> Totals {
        let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
        Totals {
            requests: number("requests"),
            prompt_tokens: number("prompt_tokens"),
            completion_tokens: number("completion_tokens"),
            cost_micro_usd: number("cost_micro_usd"),
        }
    }
}

/// Writes a receipt and what it adds to the totals as a line: four numbers, each with a space behind it, and the receipt, which as JSON
/// has no line feeds.
pub fn to_line(receipt: &str, adds: Totals, out: &mut String) {
    let Totals { requests, prompt_tokens, completion_tokens, cost_micro_usd } = adds;
    for number in [requests, prompt_tokens, completion_tokens, cost_micro_usd] {
        number.write(out);
        out.push(' ');
    }
    out.push_str(receipt);
    out.push('\n');
}

/// Reads what [`to_line`] wrote; `None` if it is anything else.
pub fn of_line(mut line: &str) -> Option<(&str, Totals)> {
    let adds = Totals {
        requests: number(&mut line)?,
        prompt_tokens: number(&mut line)?,
        completion_tokens: number(&mut line)?,
        cost_micro_usd: number(&mut line)?,
    };
    Some((line, adds))
}

#[inline(never)]
fn number(line: &mut &str) -> Option<u64> {
    let (digits, rest) = line.split_once(' ')?;
    *line = rest;
    digits.parse().ok()
}

/// Where the chain stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// How many receipts there are.
    pub count: u64,
    /// The hash of the last.
    pub head: String,
    /// The sums of all.
    pub totals: Totals,
}

impl Default for Chain {
    fn default() -> Self {
        Chain { count: 0, head: GENESIS.to_owned(), totals: Totals::default() }
    }
}

impl Chain {
    /// Adds a receipt (a JSON object's text) and gives its text as it is kept.
    pub fn add(&mut self, receipt: &str, adds: Totals) -> Text {
        self.count += 1;
        self.totals.add(adds);
        let mut text = Object::of(receipt.to_owned());
        text.member("seq", &self.count);
        text.member("totals", &self.totals.to_text());
        text.member("previous", &self.head);
        let text = String::from(text.done());
        self.head = Digest::of(text.as_bytes()).to_hex();
        let mut text = Object::of(text);
        text.member("hash", &self.head);
        text.done()
    }
}

/// The id of a receipt that [`crate::ledger`] keeps as this text; `None` if it has none.
pub fn id_of(text: &str) -> Option<&str> {
    text.strip_prefix("{\"id\":\"")?.split_once('"').map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use serde_json::Value;

    #[test]
    fn a_holder_can_check_the_chain() {
        let mut chain = Chain::default();
        let mut previous = GENESIS.to_owned();
        for seq in 1..4u64 {
            let receipt =
                json!({"id": format!("rcpt_{seq}"), "project": "é\"\u{7}", "cost": null}).to_string();
            let adds = Totals { requests: 1, prompt_tokens: seq, completion_tokens: 0, cost_micro_usd: 10 };
            let mut line = String::new();
            to_line(&receipt, adds, &mut line);
            let (read, adds) = of_line(line.strip_suffix('\n').unwrap()).unwrap();
            assert_eq!(read, receipt);
            assert_eq!(of_line(&receipt), None);
            let text = String::from(chain.add(read, adds));
            assert_eq!(id_of(&text), Some(format!("rcpt_{seq}").as_str()));
            let mut value: Value = serde_json::from_str(&text).unwrap();
            let hash = value.as_object_mut().unwrap().remove("hash").unwrap();
            assert_eq!(hash, Digest::of(value.to_string().as_bytes()).to_hex());
            assert_eq!(value["previous"], previous);
            assert_eq!(value["totals"]["requests"], seq);
            previous = hash.as_str().unwrap().to_owned();
        }
        assert_eq!(
            chain.totals,
            Totals { requests: 3, prompt_tokens: 6, completion_tokens: 0, cost_micro_usd: 30 }
        );
        assert_eq!(Totals::from_json(&json::read(chain.totals.to_text().as_str()).unwrap()), chain.totals);
        assert_eq!(chain.head, previous);
    }
}
