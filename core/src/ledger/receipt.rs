//! Receipts: the records of calls. A receipt never contains content: it has no field for it.
//!
//! # The chain
//! The account numbers receipts in the order in which they arrive. It adds to each receipt the sums of all receipts up
//! to it, the hash of the previous one, and its own hash: the SHA-256, in hexadecimal, of the receipt as compact JSON
//! without the field `hash`. All numbers are whole, so that any JSON library writes the same text. The holder of
//! receipts can verify that none was changed, that none between them is missing, and that the totals are correct.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize, Serializer};

use super::tally::{Row, Slice, Tally};
use crate::catalog::{OTHER, Price, Registry};
use crate::error::Error;
use crate::json;
use crate::key::Digest;
use crate::time::{HOUR_MS, to_rfc3339};
use crate::unit::{Unit, Units};
use crate::usage::Usage;

/// The hash before the first receipt.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One attempt, as it is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The provider.
    pub provider: String,
    /// The provider's id of the model.
    pub model: String,
    /// The index of the provider's key.
    pub key: u8,
    /// `ok`, `cancelled`, or the class of the failure.
    pub outcome: &'static str,
    /// The failure: its status and its code.
    pub failure: Option<(u16, Option<String>)>,
    /// Until the response, the first content of a stream, or the failure, in milliseconds.
    pub duration_ms: u64,
    /// The usage.
    pub usage: Usage,
    /// Some of the usage is estimated, because the provider did not report it.
    pub estimated: bool,
    /// The cost in micro-USD, at the price of its time.
    pub cost_micro_usd: Option<u64>,
    /// The price that the cost is computed with.
    pub price: Option<Price>,
    /// The usage that the provider reported, if it was too large to be charged. Then `usage` is what was charged.
    pub reported: Option<Usage>,
}

/// The end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Complete response.
    Answered,
    /// Rejected by the provider as an invalid request.
    Refused,
    /// Failed because of the provider, or because of a limit of time or size.
    Failed,
    /// The client disconnected first.
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

    /// The name in receipts and logs.
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
    /// The model under which the attempt is counted. Callers can invent any number of names, so only models that are
    /// listed or have responded are counted under their own name.
    fn counted_as(&self, registry: &Registry) -> &str {
        let is_listed = || registry.provider(&self.provider).is_some_and(|entry| entry.lists(&self.model));
        if self.outcome == "ok" || is_listed() { &self.model } else { OTHER }
    }
}

/// The code of an error for receipts. A provider chooses its codes, so only words of letters, digits, `_`, `-` and `.` are
/// kept.
pub fn code_of(error: &Error) -> Option<&str> {
    error.code().filter(|code| is_word(code) && !code.contains(['[', ']']))
}

/// Returns `true` for the name of a limit or of a field, such as `messages[0].role`: at most 64 letters, digits, `_`, `-`, `.`,
/// `[` and `]`.
pub(super) fn is_word(text: &str) -> bool {
    const MAX: usize = 64;
    let of_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    (1..=MAX).contains(&text.len()) && text.bytes().all(of_word)
}

/// The record of a call. The account adds the fields of the chain (see the module).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The id: [`Receipt::new_id`].
    pub id: String,
    /// `x-request-id`.
    pub request_id: String,
    /// The start of the call, in milliseconds since 1970.
    pub at_ms: u64,
    /// The operation: [`crate::operation::Operation::name`].
    pub operation: &'static str,
    /// The project of the call.
    pub project: Option<String>,
    /// The call requested a stream.
    pub stream: bool,
    /// The status that the caller got.
    pub status: u16,
    /// The code of the error that the caller got: [`code_of`].
    pub code: Option<String>,
    /// The end of the call.
    pub outcome: Outcome,
    /// Until the first content of a stream, in milliseconds.
    pub first_token_ms: Option<u64>,
    /// Until the end, in milliseconds.
    pub duration_ms: u64,
    /// The caller got only a part of the response.
    pub partial: bool,
    /// The attempts, at least one. The last is the one from which the response or the error comes.
    pub attempts: Vec<Attempt>,
}

/// The JSON of a receipt. Its hash depends on the order of the fields.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the members of a JSON object")]
struct ReceiptText<'r> {
    id: &'r str,
    request_id: &'r str,
    time: String,
    operation: &'r str,
    project: Option<&'r str>,
    provider: Option<&'r str>,
    model: Option<&'r str>,
    stream: bool,
    status: u16,
    code: Option<&'r str>,
    outcome: &'static str,
    prompt_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_1h_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    image_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Units::is_empty", serialize_with = "write_units")]
    units: Units,
    cost_micro_usd: Option<u64>,
    first_token_ms: Option<u64>,
    duration_ms: u64,
    partial: bool,
    estimated: bool,
    capped: bool,
    #[serde(serialize_with = "write_attempts")]
    attempts: &'r [Attempt],
}

fn write_attempts<S: Serializer>(attempts: &[Attempt], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(attempts.iter().map(AttemptText::of))
}

/// A quantity of a unit in a receipt, and its price in micro-USD per million.
#[derive(Serialize)]
struct UnitText {
    unit: Unit,
    quantity: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<u64>,
}

fn write_units<S: Serializer>(units: &Units, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(units.iter().map(|(unit, quantity)| UnitText { unit, quantity, price: None }))
}

#[derive(Serialize)]
struct AttemptText<'r> {
    provider: &'r str,
    model: &'r str,
    key: u8,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'r str>,
    duration_ms: u64,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    cost_micro_usd: Option<u64>,
    price: Option<PriceText>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    units: Vec<UnitText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<ReportedText>,
}

#[derive(Serialize)]
struct ReportedText {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

#[derive(Serialize)]
struct PriceText {
    input: Option<u64>,
    cached_input: Option<u64>,
    cache_write: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_1h: Option<u64>,
    output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_output: Option<u64>,
}

impl AttemptText<'_> {
    fn of(attempt: &Attempt) -> AttemptText<'_> {
        let price = attempt.price.map(|price| PriceText {
            input: price.input,
            cached_input: price.cached_input,
            cache_write: price.cache_write,
            cache_write_1h: price.cache_write_1h,
            output: price.output,
            reasoning_output: price.reasoning_output,
        });
        AttemptText {
            provider: &attempt.provider,
            model: &attempt.model,
            key: attempt.key,
            outcome: attempt.outcome,
            status: attempt.failure.as_ref().map(|(status, _)| *status),
            code: attempt.failure.as_ref().and_then(|(_, code)| code.as_deref()),
            duration_ms: attempt.duration_ms,
            prompt_tokens: attempt.usage.prompt_tokens,
            completion_tokens: attempt.usage.completion_tokens,
            cost_micro_usd: attempt.cost_micro_usd,
            price,
            units: attempt
                .usage
                .units
                .iter()
                .map(|(unit, quantity)| {
                    let price = attempt.price.and_then(|price| price.units.get(unit));
                    UnitText { unit, quantity, price }
                })
                .collect(),
            reported: attempt.reported.map(|usage| ReportedText {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
            }),
        }
    }
}

impl Receipt {
    /// A new id, from the time in milliseconds since 1970 and ten random bytes. The caller's own request id is
    /// unsuitable: it may be sent twice.
    pub fn new_id(now_ms: u64, random: [u8; 10]) -> String {
        format!("rcpt_{}", crate::request_id::generate(now_ms, random))
    }

    /// The sum of one kind of usage over all attempts; `None` if no attempt has it.
    fn sum(&self, of: impl Fn(&Usage) -> Option<u64>) -> Option<u64> {
        let told = self.attempts.iter().filter_map(|attempt| of(&attempt.usage));
        told.reduce(u64::saturating_add)
    }

    /// The cost of the call in micro-USD; `None` if the cost of an attempt is unknown.
    pub fn cost_micro_usd(&self) -> Option<u64> {
        let mut sum = 0u64;
        for attempt in &self.attempts {
            sum = sum.saturating_add(attempt.cost_micro_usd?);
        }
        Some(sum)
    }

    /// The usage of all attempts together.
    pub fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.sum(|usage| usage.prompt_tokens),
            cached_tokens: self.sum(|usage| usage.cached_tokens),
            cache_write_tokens: self.sum(|usage| usage.cache_write_tokens),
            cache_write_1h_tokens: self.sum(|usage| usage.cache_write_1h_tokens),
            completion_tokens: self.sum(|usage| usage.completion_tokens),
            reasoning_tokens: self.sum(|usage| usage.reasoning_tokens),
            image_tokens: self.sum(|usage| usage.image_tokens),
            units: self.attempts.iter().fold(Units::default(), |sum, attempt| sum.plus(attempt.usage.units)),
        }
    }

    /// Returns true if some of the usage was estimated.
    pub fn is_estimated(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.estimated)
    }

    /// Returns `true` if a provider reported more than can be right, so that less was charged.
    pub fn is_capped(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.reported.is_some())
    }

    /// The text, as the argument of [`Chain::add`].
    pub fn to_text(&self) -> String {
        let last = self.attempts.last();
        let usage = self.usage();
        json::to_text(&ReceiptText {
            id: &self.id,
            request_id: &self.request_id,
            time: to_rfc3339(self.at_ms),
            operation: self.operation,
            project: self.project.as_deref(),
            provider: last.map(|last| last.provider.as_str()),
            model: last.map(|last| last.model.as_str()),
            stream: self.stream,
            status: self.status,
            code: self.code.as_deref(),
            outcome: self.outcome.as_str(),
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            cache_write_1h_tokens: usage.cache_write_1h_tokens,
            completion_tokens: usage.completion_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            image_tokens: usage.image_tokens,
            units: usage.units,
            cost_micro_usd: self.cost_micro_usd(),
            first_token_ms: self.first_token_ms,
            duration_ms: self.duration_ms,
            partial: self.partial,
            estimated: self.is_estimated(),
            capped: self.is_capped(),
            attempts: &self.attempts,
        })
    }

    /// The rows that the receipt adds to the sums: one for each model that was called. The call itself counts for the
    /// last model. Unlisted models are counted as one.
    pub fn rows(&self, registry: &Registry) -> Vec<Row> {
        let hour = u32::try_from(self.at_ms / HOUR_MS).unwrap_or(u32::MAX);
        let last = self.attempts.len().saturating_sub(1);
        let mut rows = Vec::with_capacity(self.attempts.len());
        for (index, attempt) in self.attempts.iter().enumerate() {
            let slice = Slice {
                hour,
                operation: self.operation.into(),
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

/// The sums in every receipt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Totals {
    /// Calls.
    pub requests: u64,
    /// Input tokens.
    pub prompt_tokens: u64,
    /// Output tokens.
    pub completion_tokens: u64,
    /// The cost in micro-USD, as far as it is known.
    pub cost_micro_usd: u64,
}

impl Totals {
    /// The sums of one call's rows.
    pub fn of(rows: &[Row]) -> Totals {
        let mut totals = Totals::default();
        for Row { tally, .. } in rows {
            let Tally { requests, prompt_tokens, completion_tokens, cost_micro_usd, .. } = *tally;
            totals.add(Totals { requests, prompt_tokens, completion_tokens, cost_micro_usd });
        }
        totals
    }

    /// Adds other sums.
    pub fn add(&mut self, more: Totals) {
        self.requests = self.requests.saturating_add(more.requests);
        self.prompt_tokens = self.prompt_tokens.saturating_add(more.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(more.completion_tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(more.cost_micro_usd);
    }
}

/// Writes a receipt and its addition to the totals as a line: four numbers, each followed by a space, and the receipt,
/// which as JSON has no line feeds.
pub fn to_line(receipt: &str, adds: Totals, out: &mut String) {
    let Totals { requests, prompt_tokens, completion_tokens, cost_micro_usd } = adds;
    // Writing to a string does not fail.
    let _ = writeln!(out, "{requests} {prompt_tokens} {completion_tokens} {cost_micro_usd} {receipt}");
}

/// Reads the output of [`to_line`]; `None` for any other text.
pub fn of_line(mut line: &str) -> Option<(&str, Totals)> {
    let adds = Totals {
        requests: number(&mut line)?,
        prompt_tokens: number(&mut line)?,
        completion_tokens: number(&mut line)?,
        cost_micro_usd: number(&mut line)?,
    };
    Some((line, adds))
}

fn number(line: &mut &str) -> Option<u64> {
    let (digits, rest) = line.split_once(' ')?;
    *line = rest;
    digits.parse().ok()
}

/// The head of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The number of receipts.
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
    /// Adds a receipt (the text of a JSON object) and returns the text to store.
    pub fn add(&mut self, receipt: &str, adds: Totals) -> String {
        self.count += 1;
        self.totals.add(adds);
        let link = Link { seq: self.count, totals: self.totals, previous: &self.head };
        let text = with_fields(receipt, &link);
        self.head = Digest::of(text.as_bytes()).to_hex();
        with_fields(&text, &Hash { hash: &self.head })
    }
}

/// A receipt in the list of the calls of all keys: the text with the id of its key.
pub fn with_key(receipt: &str, key_id: &str) -> String {
    #[derive(Serialize)]
    struct OfKey<'c> {
        key_id: &'c str,
    }
    with_fields(receipt, &OfKey { key_id })
}

/// A receipt in that list with the name of its key.
pub fn with_name(receipt: &str, key_name: Option<&str>) -> String {
    #[derive(Serialize)]
    struct Named<'c> {
        key_name: Option<&'c str>,
    }
    with_fields(receipt, &Named { key_name })
}

/// Returns `true` if a receipt's text is that of a call without a complete response.
pub fn is_failed(text: &str) -> bool {
    // Quotes inside of strings are escaped, so no other field can look like this.
    !text.contains("\"outcome\":\"answered\"")
}

/// The fields that make a receipt a link of the chain.
#[derive(Serialize)]
struct Link<'c> {
    seq: u64,
    totals: Totals,
    previous: &'c str,
}

#[derive(Serialize)]
struct Hash<'c> {
    hash: &'c str,
}

/// The text of an object with further fields at its end. Any other text counts as an object without fields.
fn with_fields<T: Serialize>(object: &str, fields: &T) -> String {
    let object = object.strip_suffix('}').unwrap_or("{");
    let comma = if object.len() > 1 { "," } else { "" };
    let fields = json::to_text(fields);
    format!("{object}{comma}{}", fields.strip_prefix('{').unwrap_or("}"))
}

/// The id of a receipt in the stored text; `None` if it has none.
pub fn id_of(text: &str) -> Option<&str> {
    text.strip_prefix("{\"id\":\"")?.split_once('"').map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_holder_can_verify_the_chain() {
        let mut chain = Chain::default();
        let mut previous = GENESIS.to_owned();
        for seq in 1..4u64 {
            let receipt =
                serde_json::json!({"id": format!("rcpt_{seq}"), "project": "é\"\u{7}", "cost": null})
                    .to_string();
            let adds = Totals { requests: 1, prompt_tokens: seq, completion_tokens: 0, cost_micro_usd: 10 };
            let mut line = String::new();
            to_line(&receipt, adds, &mut line);
            let (read, adds) = of_line(line.strip_suffix('\n').unwrap()).unwrap();
            assert_eq!(read, receipt);
            assert_eq!(of_line(&receipt), None);
            let text = chain.add(read, adds);
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
        assert_eq!(json::read::<Totals>(&json::to_text(&chain.totals)).unwrap(), chain.totals);
        assert_eq!(chain.head, previous);
    }

    /// The fields of the longer time in the cache come only with such tokens, so that other receipts keep their text.
    #[test]
    fn tokens_written_for_an_hour_are_part_of_the_chain() {
        let usage = r#"{"input_tokens":1,"output_tokens":2,"cache_creation_input_tokens":30,
            "cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}"#;
        let receipt = Receipt {
            id: "rcpt_1".to_owned(),
            request_id: "r".to_owned(),
            at_ms: 0,
            operation: "messages",
            project: None,
            stream: false,
            status: 200,
            code: None,
            outcome: Outcome::Answered,
            first_token_ms: None,
            duration_ms: 1,
            partial: false,
            attempts: vec![Attempt {
                provider: "anthropic".to_owned(),
                model: "claude-opus-5-5".to_owned(),
                key: 0,
                outcome: "ok",
                failure: None,
                duration_ms: 1,
                usage: Usage::read(usage).unwrap(),
                estimated: false,
                cost_micro_usd: Some(254),
                price: crate::catalog::facts("anthropic", "claude-opus-5-5").map(|facts| facts.price),
                reported: None,
            }],
        };
        let text = receipt.to_text();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["cache_write_tokens"], &value["cache_write_1h_tokens"]), (&30.into(), &20.into()));
        assert_eq!(value["attempts"][0]["price"]["cache_write_1h"], 8_000_000);
        let mut value: Value = serde_json::from_str(&Chain::default().add(&text, Totals::default())).unwrap();
        let hash = value.as_object_mut().unwrap().remove("hash").unwrap();
        assert_eq!(hash, Digest::of(value.to_string().as_bytes()).to_hex());
    }

    #[test]
    fn is_written_with_its_fields_in_their_order() {
        let attempt = |outcome, usage, price, cost_micro_usd| Attempt {
            provider: "groq".to_owned(),
            model: "llama \"3\"".to_owned(),
            key: 1,
            outcome,
            failure: (outcome != "ok").then(|| (429, Some("slow_down".to_owned()))),
            duration_ms: 120,
            usage,
            estimated: false,
            cost_micro_usd,
            price,
            reported: None,
        };
        let used = Usage {
            prompt_tokens: Some(9),
            cached_tokens: Some(2),
            completion_tokens: Some(3),
            ..Usage::default()
        };
        let price =
            Price { input: Some(50_000), output: Some(80_000), cached_input: Some(0), ..Price::default() };
        let receipt = Receipt {
            id: "rcpt_1".to_owned(),
            request_id: "req-é\u{1}".to_owned(),
            at_ms: 1_700_000_000_123,
            operation: "chat/completions",
            project: None,
            stream: true,
            status: 200,
            code: None,
            outcome: Outcome::ClientLeft,
            first_token_ms: Some(u64::MAX),
            duration_ms: 0,
            partial: true,
            attempts: vec![
                attempt("rate_limited", Usage::default(), None, Some(0)),
                attempt("ok", used, Some(price), Some(1)),
            ],
        };
        assert_eq!(
            receipt.to_text(),
            concat!(
                r#"{"id":"rcpt_1","request_id":"req-é\u0001","time":"2023-11-14T22:13:20.123Z","operation":"chat/completions","project":null,"#,
                r#""provider":"groq","model":"llama \"3\"","stream":true,"status":200,"code":null,"outcome":"client_left","#,
                r#""prompt_tokens":9,"cached_tokens":2,"cache_write_tokens":null,"completion_tokens":3,"#,
                r#""reasoning_tokens":null,"image_tokens":null,"cost_micro_usd":1,"#,
                r#""first_token_ms":18446744073709551615,"duration_ms":0,"partial":true,"estimated":false,"capped":false,"#,
                r#""attempts":[{"provider":"groq","model":"llama \"3\"","key":1,"outcome":"rate_limited","status":429,"code":"slow_down","duration_ms":120,"#,
                r#""prompt_tokens":null,"completion_tokens":null,"cost_micro_usd":0,"price":null},"#,
                r#"{"provider":"groq","model":"llama \"3\"","key":1,"outcome":"ok","duration_ms":120,"prompt_tokens":9,"#,
                r#""completion_tokens":3,"cost_micro_usd":1,"#,
                r#""price":{"input":50000,"cached_input":0,"cache_write":null,"output":80000}}]}"#,
            )
        );
    }
}
