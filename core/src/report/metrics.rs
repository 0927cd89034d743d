//! The response of `GET /metrics`, in Prometheus' text format (0.0.4).
//!
//! All metrics are one table, of which [`super::otlp`] exports the same values to a collector. Fractional amounts are written as decimals from whole numbers of their smallest unit,
//! without rounding.

use super::usage::OTHER;
use crate::ledger::tally::{Row, Tally};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The values of all metrics at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot<'a> {
    /// The gateway's version.
    pub version: &'a str,
    /// The usage since counting began: one row for each provider, model and operation. A row without a model is the sum of
    /// several.
    pub totals: Vec<Row>,
    /// The state of each provider that has been called.
    pub providers: Vec<ProviderState<'a>>,
    /// Pending key requests; `None` without a database.
    pub pending_requests: Option<u64>,
    /// Valid issued keys; `None` without a database.
    pub issued_keys: Option<u64>,
    /// Requests to operators' routes that the answering isolate has denied: with a wrong key or none, and with a key that
    /// does not administer.
    pub operator_denials: [u64; 2],
    /// The size of the isolate's Wasm memory, in bytes.
    pub wasm_memory_bytes: u64,
    /// The bytes that the isolate's calls hold.
    pub held_bytes: u64,
    /// Calls whose provider reported more usage than can be right; `None` without a database.
    pub capped_calls: Option<u64>,
    /// Calls whose record was lost; `None` without a database.
    pub lost_records: Option<u64>,
    /// Calls whose spans were not exported; `None` without a database.
    pub dropped_spans: Option<u64>,
}

/// The state of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderState<'a> {
    /// Its name.
    pub name: &'a str,
    /// The recent share of successful calls, in ten-thousandths; `None` is unknown.
    pub success_per_10k: Option<u64>,
    /// Models in cooldown.
    pub models_in_cooldown: u64,
}

pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
    pub(super) samples: Samples,
}

/// The source of a metric's samples. A value is a whole number of the unit's smallest part, which has `decimals` decimals.
pub(super) enum Samples {
    /// For each provider, model and operation.
    Models(&'static [Sample]),
    /// For each provider.
    Providers { value: fn(&ProviderState<'_>) -> Option<u64>, decimals: usize },
    /// For the gateway.
    Gateway(fn(&Snapshot<'_>) -> Option<u64>),
    /// For the isolate that answers.
    Isolate(fn(&Snapshot<'_>) -> Option<u64>),
    /// 1, with the version.
    Version,
}

pub(super) struct Sample {
    suffix: &'static str,
    /// A label after provider, model and operation, as `,name="value"`.
    pub(super) label: &'static str,
    pub(super) value: fn(&Tally) -> u64,
    pub(super) decimals: usize,
}

const fn sample(label: &'static str, value: fn(&Tally) -> u64) -> Sample {
    Sample { suffix: "", label, value, decimals: 0 }
}

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "gatehouse_requests_total",
        kind: "counter",
        help: "Calls that were sent to a provider.",
        samples: Samples::Models(&[
            sample(",outcome=\"successful\"", |tally| tally.successful),
            sample(",outcome=\"failed\"", Tally::failed),
        ]),
    },
    Metric {
        name: "gatehouse_attempts_total",
        kind: "counter",
        help: "Attempts sent to providers; a call may need several.",
        samples: Samples::Models(&[sample("", |tally| tally.attempts)]),
    },
    Metric {
        name: "gatehouse_tokens_total",
        kind: "counter",
        help: "Tokens. cached and cache_write are parts of prompt; reasoning is a part of completion.",
        samples: Samples::Models(&[
            sample(",kind=\"prompt\"", |tally| tally.prompt_tokens),
            sample(",kind=\"cached\"", |tally| tally.cached_tokens),
            sample(",kind=\"cache_write\"", |tally| tally.cache_write_tokens),
            sample(",kind=\"completion\"", |tally| tally.completion_tokens),
            sample(",kind=\"reasoning\"", |tally| tally.reasoning_tokens),
        ]),
    },
    Metric {
        name: "gatehouse_cost_usd_total",
        kind: "counter",
        help: "Cost in US dollars of the calls whose price is known.",
        samples: Samples::Models(&[Sample { decimals: 6, ..sample("", |tally| tally.cost_micro_usd) }]),
    },
    Metric {
        name: "gatehouse_unpriced_requests_total",
        kind: "counter",
        help: "Calls whose cost is unknown.",
        samples: Samples::Models(&[sample("", |tally| tally.unpriced)]),
    },
    Metric {
        name: "gatehouse_estimated_requests_total",
        kind: "counter",
        help: "Calls whose tokens were estimated.",
        samples: Samples::Models(&[sample("", |tally| tally.estimated)]),
    },
    Metric {
        name: "gatehouse_request_duration_seconds",
        kind: "summary",
        help: "Duration of calls.",
        samples: Samples::Models(&[
            Sample { suffix: "_sum", decimals: 3, ..sample("", |tally| tally.duration_ms) },
            Sample { suffix: "_count", ..sample("", |tally| tally.requests) },
        ]),
    },
    Metric {
        name: "gatehouse_time_to_first_token_seconds",
        kind: "summary",
        help: "Time until the first content of a stream.",
        samples: Samples::Models(&[
            Sample { suffix: "_sum", decimals: 3, ..sample("", |tally| tally.first_token_ms) },
            Sample { suffix: "_count", ..sample("", |tally| tally.streams) },
        ]),
    },
    Metric {
        name: "gatehouse_provider_success_rate",
        kind: "gauge",
        help: "Share of calls to a provider that succeeded in the last minutes, 0 to 1.",
        samples: Samples::Providers { value: |provider| provider.success_per_10k, decimals: 4 },
    },
    Metric {
        name: "gatehouse_provider_models_in_cooldown",
        kind: "gauge",
        help: "Models of a provider that are in cooldown.",
        samples: Samples::Providers { value: |provider| Some(provider.models_in_cooldown), decimals: 0 },
    },
    Metric {
        name: "gatehouse_operator_logins_failed_total",
        kind: "counter",
        help: "Requests to operators' routes with a wrong key or none, in the isolate that answers.",
        samples: Samples::Isolate(|snapshot| snapshot.operator_denials.first().copied()),
    },
    Metric {
        name: "gatehouse_operator_denials_total",
        kind: "counter",
        help: "Requests to operators' routes with a key that does not administer, in the isolate that answers.",
        samples: Samples::Isolate(|snapshot| snapshot.operator_denials.last().copied()),
    },
    Metric {
        name: "gatehouse_key_requests_pending",
        kind: "gauge",
        help: "Key requests that wait for an operator.",
        samples: Samples::Gateway(|snapshot| snapshot.pending_requests),
    },
    Metric {
        name: "gatehouse_issued_keys",
        kind: "gauge",
        help: "Issued keys that are valid.",
        samples: Samples::Gateway(|snapshot| snapshot.issued_keys),
    },
    Metric {
        name: "gatehouse_wasm_memory_bytes",
        kind: "gauge",
        help: "Wasm memory of the isolate that answers. It never shrinks.",
        samples: Samples::Isolate(|snapshot| Some(snapshot.wasm_memory_bytes)),
    },
    Metric {
        name: "gatehouse_held_bytes",
        kind: "gauge",
        help: "Bytes of bodies, responses and events that the calls of the isolate that answers hold.",
        samples: Samples::Isolate(|snapshot| Some(snapshot.held_bytes)),
    },
    Metric {
        name: "gatehouse_capped_requests_total",
        kind: "counter",
        help: "Calls whose provider reported more usage than can be right.",
        samples: Samples::Gateway(|snapshot| snapshot.capped_calls),
    },
    Metric {
        name: "gatehouse_lost_records_total",
        kind: "counter",
        help: "Calls whose record was lost, because the Wasm failed or a ledger did not respond.",
        samples: Samples::Gateway(|snapshot| snapshot.lost_records),
    },
    Metric {
        name: "gatehouse_telemetry_dropped_total",
        kind: "counter",
        help: "Calls whose OpenTelemetry spans were dropped, because the collector rejected them or was away for too long.",
        samples: Samples::Gateway(|snapshot| snapshot.dropped_spans),
    },
    Metric {
        name: "gatehouse_build_info",
        kind: "gauge",
        help: "Version of the gateway.",
        samples: Samples::Version,
    },
];

impl Snapshot<'_> {
    /// The text of the response.
    pub fn exposition(&self) -> String {
        let mut text = Text(String::new());
        for Metric { name, kind, help, samples } in METRICS {
            text.push(&["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"]);
            match samples {
                Samples::Models(samples) => {
                    for Row { slice, tally } in &self.totals {
                        let model = if slice.model.is_empty() { OTHER } else { &slice.model };
                        let label = |name: &str, value: &str| format!("{name}=\"{}\"", escaped(value));
                        let mut labels =
                            [label("provider", &slice.provider), label("model", model)].join(",");
                        // Sums from before operations were counted have none.
                        if !slice.operation.is_empty() {
                            labels = [labels, label("operation", &slice.operation)].join(",");
                        }
                        for Sample { suffix, label, value, decimals } in *samples {
                            let value = decimal(value(tally), *decimals);
                            text.push(&[name, suffix, "{", &labels, label, "} ", &value, "\n"]);
                        }
                    }
                }
                Samples::Providers { value, decimals } => {
                    for provider in &self.providers {
                        if let Some(value) = value(provider) {
                            let (label, value) = (escaped(provider.name), decimal(value, *decimals));
                            text.push(&[name, "{provider=\"", &label, "\"} ", &value, "\n"]);
                        }
                    }
                }
                Samples::Gateway(value) | Samples::Isolate(value) => {
                    if let Some(value) = value(self) {
                        text.push(&[name, " ", &value.to_string(), "\n"]);
                    }
                }
                Samples::Version => {
                    text.push(&[name, "{version=\"", &escaped(self.version), "\"} 1\n"]);
                }
            }
        }
        text.0
    }
}

struct Text(String);

impl Text {
    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.0.push_str(part);
        }
    }
}

/// Escapes a label's value for use between quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            _ => out.push(character),
        }
    }
    out
}

/// Writes a whole number of a unit's smallest part as a decimal of the unit, without trailing zeros.
fn decimal(amount: u64, decimals: usize) -> String {
    let digits = format!("{amount:0>width$}", width = decimals + 1);
    match digits.split_at_checked(digits.len() - decimals) {
        Some((whole, fraction)) if !fraction.trim_end_matches('0').is_empty() => {
            [whole, ".", fraction.trim_end_matches('0')].concat()
        }
        Some((whole, _)) => whole.to_owned(),
        None => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tally::Slice;

    #[test]
    fn decimals_are_exact() {
        for (amount, decimals, text) in [
            (0, 0, "0"),
            (0, 6, "0"),
            (7, 0, "7"),
            (70, 0, "70"),
            (1, 6, "0.000001"),
            (250_000, 6, "0.25"),
            (10_000_000, 6, "10"),
            (1_234_567_890, 6, "1234.56789"),
            (10_000, 4, "1"),
            (9_999, 4, "0.9999"),
            (u64::MAX, 6, "18446744073709.551615"),
        ] {
            assert_eq!(decimal(amount, decimals), text);
        }
    }

    #[test]
    fn every_metric_has_its_head_and_all_its_samples() {
        let slice = Slice {
            operation: "embeddings".into(),
            provider: "groq".into(),
            model: "a\"\\\nä".into(),
            ..Slice::default()
        };
        let tally = Tally::from_array([5, 3, 6, 100, 40, 30, 50, 20, 1_500_000, 1, 2, 2_345, 2, 301]);
        let others = Slice { model: String::new(), operation: "".into(), ..slice.clone() };
        let snapshot = Snapshot {
            version: "1.2.3",
            totals: vec![Row { slice, tally }, Row { slice: others, tally: Tally::default() }],
            providers: vec![
                ProviderState { name: "groq", success_per_10k: Some(9_750), models_in_cooldown: 2 },
                ProviderState { name: "openai", success_per_10k: None, models_in_cooldown: 0 },
            ],
            pending_requests: Some(4),
            issued_keys: None,
            operator_denials: [6, 7],
            wasm_memory_bytes: 1_310_720,
            held_bytes: 17,
            capped_calls: None,
            lost_records: None,
            dropped_spans: Some(3),
        };
        let text = snapshot.exposition();
        let model = r#"provider="groq",model="a\"\\\nä",operation="embeddings""#;
        for line in [
            "# HELP gatehouse_requests_total Calls that were sent to a provider.",
            "# TYPE gatehouse_requests_total counter",
            &format!("gatehouse_requests_total{{{model},outcome=\"successful\"}} 3"),
            &format!("gatehouse_requests_total{{{model},outcome=\"failed\"}} 2"),
            "gatehouse_requests_total{provider=\"groq\",model=\"(other)\",outcome=\"failed\"} 0",
            &format!("gatehouse_attempts_total{{{model}}} 6"),
            &format!("gatehouse_tokens_total{{{model},kind=\"prompt\"}} 100"),
            &format!("gatehouse_tokens_total{{{model},kind=\"cached\"}} 40"),
            &format!("gatehouse_tokens_total{{{model},kind=\"cache_write\"}} 30"),
            &format!("gatehouse_tokens_total{{{model},kind=\"completion\"}} 50"),
            &format!("gatehouse_tokens_total{{{model},kind=\"reasoning\"}} 20"),
            &format!("gatehouse_cost_usd_total{{{model}}} 1.5"),
            &format!("gatehouse_unpriced_requests_total{{{model}}} 1"),
            &format!("gatehouse_estimated_requests_total{{{model}}} 2"),
            "# TYPE gatehouse_request_duration_seconds summary",
            &format!("gatehouse_request_duration_seconds_sum{{{model}}} 2.345"),
            &format!("gatehouse_request_duration_seconds_count{{{model}}} 5"),
            &format!("gatehouse_time_to_first_token_seconds_sum{{{model}}} 0.301"),
            &format!("gatehouse_time_to_first_token_seconds_count{{{model}}} 2"),
            "gatehouse_provider_success_rate{provider=\"groq\"} 0.975",
            "gatehouse_provider_models_in_cooldown{provider=\"groq\"} 2",
            "gatehouse_provider_models_in_cooldown{provider=\"openai\"} 0",
            "gatehouse_operator_logins_failed_total 6",
            "gatehouse_operator_denials_total 7",
            "gatehouse_key_requests_pending 4",
            "# TYPE gatehouse_issued_keys gauge",
            "gatehouse_wasm_memory_bytes 1310720",
            "gatehouse_held_bytes 17",
            "gatehouse_telemetry_dropped_total 3",
            "gatehouse_build_info{version=\"1.2.3\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(
            !text.contains("success_rate{provider=\"openai\"}") && !text.contains("\ngatehouse_issued_keys")
        );
        assert!(text.ends_with('\n'));
        assert_eq!(text.matches("# TYPE ").count(), METRICS.len());
    }
}
