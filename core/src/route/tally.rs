//! How each provider and model has been doing in this isolate: counts in memory, for `GET /health`.
//!
//! It is seen by nobody else and lost with the isolate; nothing decides by it yet.

use std::collections::BTreeMap;

use serde::Serialize;

/// What has been counted of one `provider:model`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    attempts: u64,
    successes: u64,
    latency_ms: u64,
}

/// Counts of all providers and models that have been called.
#[derive(Debug, Default)]
pub struct Tally {
    models: BTreeMap<String, Counts>,
}

/// One row of `GET /health`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelTally<'a> {
    /// `provider:model`.
    pub key: &'a str,
    /// Calls sent.
    pub attempts: u64,
    /// The share of them that did not fail by the provider's fault, 0 to 1.
    pub success_rate: f64,
    /// The mean time until an answer had come, or, of a stream, until it began, in milliseconds.
    pub avg_latency_ms: f64,
}

impl Tally {
    /// Counts one call. `model` is `None` for a model that is not listed: what a caller may invent, or what only its owner
    /// should know of, is counted under one name. `latency_ms` runs until the answer had come or the stream began.
    pub fn record(&mut self, provider: &str, model: Option<&str>, success: bool, latency_ms: u64) {
        let key = format!("{provider}:{}", model.unwrap_or("other"));
        let counts = self.models.entry(key).or_default();
        counts.attempts += 1;
        counts.successes += u64::from(success);
        counts.latency_ms = counts.latency_ms.saturating_add(latency_ms);
    }

    /// One row for each model, sorted.
    #[expect(clippy::cast_precision_loss, reason = "counts of one isolate's life are far below 2^52")]
    pub fn rows(&self) -> impl Iterator<Item = ModelTally<'_>> {
        self.models.iter().map(|(key, counts)| {
            let attempts = counts.attempts as f64;
            ModelTally {
                key,
                attempts: counts.attempts,
                success_rate: counts.successes as f64 / attempts,
                avg_latency_ms: counts.latency_ms as f64 / attempts,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_successes_and_latency() {
        let mut tally = Tally::default();
        tally.record("acme", Some("a"), true, 10);
        tally.record("acme", Some("a"), false, 30);
        tally.record("acme", None, true, 5);
        let rows: Vec<_> = tally.rows().collect();
        assert_eq!(
            rows,
            [
                ModelTally { key: "acme:a", attempts: 2, success_rate: 0.5, avg_latency_ms: 20.0 },
                ModelTally { key: "acme:other", attempts: 1, success_rate: 1.0, avg_latency_ms: 5.0 },
            ]
        );
    }
}
