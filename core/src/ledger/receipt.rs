//! Receipts: what is recorded of a call. Never its content: there is no member for it.
//!
//! # The chain
//! The book numbers receipts in the order in which they reach it, and adds to each the sums of all up to it, the hash of the
//! one before, and its own: the SHA-256, in hexadecimal, of the receipt as compact JSON without the member `hash`. All
//! numbers in it are whole, so that any JSON library writes the same text. Whoever holds receipts can check that none of them
//! has been changed, that none between them is missing, and that the totals are their sum.

use serde_json::{Value, json};

use super::tally::Tally;
use crate::key::Digest;

/// The hash before the first receipt.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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
    /// Adds what a call adds.
    pub fn add(&mut self, tally: &Tally) {
        self.requests = self.requests.saturating_add(tally.requests);
        self.prompt_tokens = self.prompt_tokens.saturating_add(tally.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(tally.completion_tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(tally.cost_micro_usd);
    }

    /// As JSON.
    pub fn to_json(self) -> Value {
        json!({
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
    pub fn add(&mut self, receipt: &str, tally: &Tally) -> String {
        self.count += 1;
        self.totals.add(tally);
        let open = receipt.strip_suffix('}').unwrap_or("{\"id\":null");
        let (count, totals, previous) = (self.count, self.totals.to_json(), &self.head);
        let text = format!("{open},\"seq\":{count},\"totals\":{totals},\"previous\":\"{previous}\"}}");
        self.head = Digest::of(text.as_bytes()).to_hex();
        let open = text.strip_suffix('}').unwrap_or_default();
        format!("{open},\"hash\":\"{}\"}}", self.head)
    }
}

/// The id of a receipt that [`crate::ledger`] keeps as this text; `None` if it has none.
pub fn id_of(text: &str) -> Option<&str> {
    text.strip_prefix("{\"id\":\"")?.split_once('"').map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_can_check_the_chain() {
        let mut chain = Chain::default();
        let mut previous = GENESIS.to_owned();
        for seq in 1..4u64 {
            let receipt =
                json!({"id": format!("rcpt_{seq}"), "project": "é\"\u{7}", "cost": null}).to_string();
            let tally = Tally { requests: 1, prompt_tokens: seq, cost_micro_usd: 10, ..Tally::default() };
            let text = chain.add(&receipt, &tally);
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
        assert_eq!(Totals::from_json(&chain.totals.to_json()), chain.totals);
        assert_eq!(chain.head, previous);
    }
}
