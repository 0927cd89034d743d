//! The metrics of `GET /metrics` for a collector, from the same table and the same values.
//!
//! A metric has its Prometheus name with a dot after `gatehouse` and without `_total`, from which a collector makes the
//! Prometheus name again. Durations and tokens are histograms of the semantic conventions. They have a sum and a count but
//! no buckets, because the sums that the gateway keeps have none.
//!
//! All sums are cumulative since the day of their first call, so that a lost or repeated export changes nothing. What
//! describes a single isolate is not exported.

use serde_json::{Map, Value, json};

use super::{attributes, operation_of, provider_name, resource, scope};
use crate::ledger::tally::{DAY_HOURS, Row, Tally};
use crate::report::metrics::{METRICS, Metric, ProviderState, Samples, Snapshot};
use crate::report::usage::OTHER;
use crate::time::DAY_MS;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u8 = 2;
/// The number of models and operations in one body, which bounds it to less than a megabyte.
const MAX_ROWS: usize = 100;

/// A histogram of the semantic conventions.
struct Histogram {
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    series: &'static [Series],
}

struct Series {
    /// `gen_ai.token.type`; empty without one.
    token_type: &'static str,
    /// The sum, in the smallest part of the unit.
    sum: fn(&Tally) -> u64,
    decimals: usize,
    count: fn(&Tally) -> u64,
}

const HISTOGRAMS: &[Histogram] = &[
    Histogram {
        name: "gen_ai.client.operation.duration",
        unit: "s",
        help: "Duration of calls.",
        series: &[Series {
            token_type: "",
            sum: |tally| tally.duration_ms,
            decimals: 3,
            count: |tally| tally.requests,
        }],
    },
    Histogram {
        name: "gen_ai.client.operation.time_to_first_chunk",
        unit: "s",
        help: "Time until the first content of a stream.",
        series: &[Series {
            token_type: "",
            sum: |tally| tally.first_token_ms,
            decimals: 3,
            count: |tally| tally.streams,
        }],
    },
    Histogram {
        name: "gen_ai.client.token.usage",
        unit: "{token}",
        help: "Tokens of calls, of all their attempts.",
        series: &[
            Series {
                token_type: "input",
                sum: |tally| tally.prompt_tokens,
                decimals: 0,
                count: |tally| tally.requests,
            },
            Series {
                token_type: "output",
                sum: |tally| tally.completion_tokens,
                decimals: 0,
                count: |tally| tally.requests,
            },
        ],
    },
];

/// The time of an export, as `timeUnixNano`.
struct Time(u64);

impl Time {
    fn text(ms: u64) -> String {
        // 0 is an unknown time.
        if ms == 0 { "0".to_owned() } else { format!("{ms}000000") }
    }

    /// The fields of a data point that began at a time.
    fn point(&self, start_ms: u64, attributes: Value) -> Map<String, Value> {
        let fields = [
            ("startTimeUnixNano", Time::text(start_ms).into()),
            ("timeUnixNano", Time::text(self.0).into()),
            ("attributes", attributes),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A data point with a number.
    fn number(&self, start_ms: u64, attributes: Value, amount: u64, decimals: usize) -> Value {
        let mut point = self.point(start_ms, attributes);
        let (kind, value) = match decimals {
            0 => ("asInt", amount.to_string().into()),
            _ => ("asDouble", decimal(amount, decimals).into()),
        };
        point.insert(kind.to_owned(), value);
        point.into()
    }
}

/// A whole number of a unit's smallest part, in the unit.
#[expect(clippy::cast_precision_loss, reason = "a collector gets binary fractions")]
fn decimal(amount: u64, decimals: usize) -> f64 {
    let divisor = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6].get(decimals).copied().unwrap_or(1.0);
    amount as f64 / divisor
}

/// The name of a metric of the gateway: `gatehouse_requests_total` is `gatehouse.requests`.
fn name_of(metric: &Metric) -> String {
    let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
    name.replacen('_', ".", 1)
}

/// The start of the day of a row's first call, in milliseconds since 1970; 0 if it is unknown.
fn start_ms(row: &Row) -> u64 {
    u64::from(row.slice.hour / DAY_HOURS) * DAY_MS
}

/// The name of a row's model.
fn model_of(row: &Row) -> &str {
    if row.slice.model.is_empty() { OTHER } else { &row.slice.model }
}

/// The labels of a sample, as `GET /metrics` has them.
fn labels(row: &Row, label: &str) -> Value {
    let mut more = vec![("provider", row.slice.provider.as_str()), ("model", model_of(row))];
    more.extend((!row.slice.operation.is_empty()).then_some(("operation", &*row.slice.operation)));
    // The label of a sample is `,name="value"`.
    let own = label.strip_prefix(',').and_then(|label| label.strip_suffix('"')?.split_once("=\""));
    more.extend(own);
    attributes(&Value::Null, &[], &more)
}

/// The attributes of a histogram. Several operations of the gateway have the same name in the conventions, so that its own
/// name keeps them apart.
fn conventional(row: &Row, token_type: &str) -> Value {
    let operation = &*row.slice.operation;
    let mut more = vec![
        ("gen_ai.operation.name", operation_of(operation, || None)),
        ("gen_ai.provider.name", provider_name(&row.slice.provider)),
        ("gen_ai.request.model", model_of(row)),
    ];
    more.extend((!operation.is_empty()).then_some(("gatehouse.operation", operation)));
    more.extend((!token_type.is_empty()).then_some(("gen_ai.token.type", token_type)));
    attributes(&Value::Null, &[], &more)
}

/// A histogram of some rows.
fn histogram(of: &Histogram, rows: &[Row], time: &Time) -> Option<Value> {
    let Histogram { name, unit, help, series } = of;
    let points = rows.iter().flat_map(|row| {
        let used = series.iter().filter(|series| (series.count)(&row.tally) > 0);
        used.map(|Series { token_type, sum, decimals, count }| {
            let mut point = time.point(start_ms(row), conventional(row, token_type));
            point.insert("count".to_owned(), count(&row.tally).to_string().into());
            point.insert("sum".to_owned(), decimal(sum(&row.tally), *decimals).into());
            Value::from(point)
        })
    });
    let points: Vec<Value> = points.collect();
    let data = json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE});
    (!points.is_empty()).then(|| json!({"name": name, "unit": unit, "description": help, "histogram": data}))
}

/// A metric of the table: what it has of some rows and, in the first body, of everything else.
fn metric(
    metric: &Metric,
    snapshot: &Snapshot<'_>,
    rows: &[Row],
    is_first: bool,
    time: &Time,
) -> Option<Value> {
    // Summaries are the histograms.
    if metric.kind == "summary" {
        return None;
    }
    let none = || attributes(&Value::Null, &[], &[]);
    // Counters of the gateway count from the first day of all, as far as it is known.
    let first_ms = snapshot.totals.iter().map(start_ms).min().unwrap_or_default();
    let points: Vec<Value> = match &metric.samples {
        Samples::Models(samples) => {
            let of_row = |row| samples.iter().map(move |sample| (row, sample));
            let points = rows.iter().flat_map(of_row).map(|(row, sample)| {
                let amount = (sample.value)(&row.tally);
                time.number(start_ms(row), labels(row, sample.label), amount, sample.decimals)
            });
            points.collect()
        }
        _ if !is_first => Vec::new(),
        Samples::Providers { value, decimals } => {
            let point = |provider: &ProviderState<'_>| {
                let labels = attributes(&Value::Null, &[], &[("provider", provider.name)]);
                Some(time.number(0, labels, value(provider)?, *decimals))
            };
            snapshot.providers.iter().filter_map(point).collect()
        }
        Samples::Gateway(value) => {
            let start_ms = if metric.kind == "counter" { first_ms } else { 0 };
            value(snapshot).into_iter().map(|amount| time.number(start_ms, none(), amount, 0)).collect()
        }
        Samples::Version => {
            let version = attributes(&Value::Null, &[], &[("version", snapshot.version)]);
            vec![time.number(0, version, 1, 0)]
        }
        Samples::Isolate(_) => return None,
    };
    if points.is_empty() {
        return None;
    }
    let (kind, data) = match metric.kind {
        "counter" => {
            ("sum", json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true}))
        }
        _ => ("gauge", json!({"dataPoints": points})),
    };
    Some(json!({"name": name_of(metric), "description": metric.help, kind: data}))
}

/// The bodies of an export, as `POST /v1/metrics` of a collector takes them; `now_ms` is the time of the values, in
/// milliseconds since 1970. No series is in two of them.
pub fn metrics(snapshot: &Snapshot<'_>, now_ms: u64) -> Vec<String> {
    let time = Time(now_ms);
    let mut batches: Vec<&[Row]> = snapshot.totals.chunks(MAX_ROWS).collect();
    if batches.is_empty() {
        batches.push(&[]);
    }
    let body = |(index, rows): (usize, &[Row])| {
        let own = METRICS.iter().filter_map(|one| metric(one, snapshot, rows, index == 0, &time));
        let conventional = HISTOGRAMS.iter().filter_map(|one| histogram(one, rows, &time));
        let metrics: Vec<Value> = own.chain(conventional).collect();
        json!({"resourceMetrics": [{
            "resource": resource(snapshot.version),
            "scopeMetrics": [{"scope": scope(snapshot.version), "metrics": metrics}],
        }]})
        .to_string()
    };
    batches.into_iter().enumerate().map(body).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ledger::tally::Slice;

    fn row(model: &str, operation: &str) -> Row {
        let slice = Slice {
            hour: 20_000 * DAY_HOURS,
            operation: operation.to_owned().into(),
            provider: "mistral".into(),
            model: model.into(),
            ..Slice::default()
        };
        Row {
            slice,
            tally: Tally::from_array([5, 3, 6, 100, 40, 30, 50, 20, 1_500_000, 1, 2, 2_345, 2, 301]),
        }
    }

    fn snapshot(totals: Vec<Row>) -> Snapshot<'static> {
        Snapshot {
            version: "1.2.3",
            totals,
            providers: vec![
                ProviderState { name: "groq", success_per_10k: Some(9_750), models_in_cooldown: 2 },
                ProviderState { name: "openai", success_per_10k: None, models_in_cooldown: 0 },
            ],
            pending_requests: Some(4),
            dropped_spans: Some(3),
            held_bytes: 17,
            ..Snapshot::default()
        }
    }

    fn exported(snapshot: &Snapshot<'_>) -> Vec<Vec<Value>> {
        let bodies = metrics(snapshot, 1_800_000_000_000);
        let read = |body: &String| {
            let body: Value = serde_json::from_str(body).unwrap();
            let of = &body["resourceMetrics"][0];
            assert_eq!(of["resource"]["attributes"][1]["value"]["stringValue"], "1.2.3");
            of["scopeMetrics"][0]["metrics"].as_array().unwrap().clone()
        };
        bodies.iter().map(read).collect()
    }

    fn find<'m>(metrics: &'m [Value], name: &str) -> &'m Value {
        metrics.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("{name}"))
    }

    fn text<'p>(point: &'p Value, key: &str) -> Option<&'p str> {
        let attributes = point["attributes"].as_array().unwrap();
        attributes.iter().find(|one| one["key"] == key)?["value"]["stringValue"].as_str()
    }

    #[test]
    fn sums_are_cumulative_since_the_day_of_their_first_call() {
        let bodies = exported(&snapshot(vec![row("small", "chat/completions")]));
        let [metrics] = bodies.as_slice() else { panic!("{bodies:?}") };
        let requests = &find(metrics, "gatehouse.requests")["sum"];
        assert_eq!(
            (&requests["aggregationTemporality"], &requests["isMonotonic"]),
            (&json!(2), &json!(true))
        );
        let [successful, failed] = requests["dataPoints"].as_array().unwrap().as_slice() else { panic!() };
        assert_eq!((&successful["asInt"], &failed["asInt"]), (&json!("3"), &json!("2")));
        assert_eq!(text(successful, "outcome"), Some("successful"));
        assert_eq!(text(successful, "provider"), Some("mistral"));
        assert_eq!(text(successful, "operation"), Some("chat/completions"));
        assert_eq!(successful["startTimeUnixNano"], "1728000000000000000");
        assert_eq!(successful["timeUnixNano"], "1800000000000000000");
        assert_eq!(find(metrics, "gatehouse.cost_usd")["sum"]["dataPoints"][0]["asDouble"], 1.5);
        let dropped = &find(metrics, "gatehouse.telemetry_dropped")["sum"]["dataPoints"][0];
        assert_eq!(
            (&dropped["asInt"], &dropped["startTimeUnixNano"]),
            (&json!("3"), &json!("1728000000000000000"))
        );
        let rate = &find(metrics, "gatehouse.provider_success_rate")["gauge"]["dataPoints"];
        assert_eq!(rate.as_array().unwrap().len(), 1);
        assert_eq!((&rate[0]["asDouble"], &rate[0]["startTimeUnixNano"]), (&json!(0.975), &json!("0")));
        assert_eq!(find(metrics, "gatehouse.key_requests_pending")["gauge"]["dataPoints"][0]["asInt"], "4");
        assert_eq!(
            text(&find(metrics, "gatehouse.build_info")["gauge"]["dataPoints"][0], "version"),
            Some("1.2.3")
        );
    }

    #[test]
    fn durations_and_tokens_follow_the_conventions() {
        let bodies = exported(&snapshot(vec![row("small", "messages"), row("", "embeddings"), row("x", "")]));
        let [metrics] = bodies.as_slice() else { panic!("{bodies:?}") };
        let duration = find(metrics, "gen_ai.client.operation.duration");
        assert_eq!(duration["unit"], "s");
        assert_eq!(duration["histogram"]["aggregationTemporality"], 2);
        let points = duration["histogram"]["dataPoints"].as_array().unwrap();
        let facts = |point: &Value| {
            ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gatehouse.operation"]
                .map(|key| text(point, key).unwrap_or_default().to_owned())
        };
        assert_eq!(facts(&points[0]), ["chat", "mistral_ai", "small", "messages"]);
        assert_eq!(facts(&points[1]), ["embeddings", "mistral_ai", "(other)", "embeddings"]);
        assert_eq!(facts(&points[2]), ["chat", "mistral_ai", "x", ""]);
        assert_eq!((&points[0]["count"], &points[0]["sum"]), (&json!("5"), &json!(2.345)));
        let tokens =
            find(metrics, "gen_ai.client.token.usage")["histogram"]["dataPoints"].as_array().unwrap();
        let of = |point: &Value| (text(point, "gen_ai.token.type").map(str::to_owned), point["sum"].as_f64());
        assert_eq!(of(&tokens[0]), (Some("input".to_owned()), Some(100.0)));
        assert_eq!(of(&tokens[1]), (Some("output".to_owned()), Some(50.0)));
        let first = find(metrics, "gen_ai.client.operation.time_to_first_chunk");
        assert_eq!(first["histogram"]["dataPoints"][0]["count"], "2");
    }

    #[test]
    fn each_series_is_in_one_body_and_each_metric_has_its_place() {
        let totals: Vec<Row> = (0..250).map(|number| row(&format!("m{number}"), "messages")).collect();
        let snapshot = Snapshot {
            issued_keys: Some(1),
            capped_calls: Some(0),
            lost_records: Some(0),
            ..snapshot(totals)
        };
        let bodies = metrics(&snapshot, 1);
        assert!(bodies.len() == 3 && bodies.iter().all(|body| body.len() < 1_000_000), "{}", bodies.len());
        let (mut names, mut series) = (BTreeSet::new(), BTreeSet::new());
        for metric in exported(&snapshot).into_iter().flatten() {
            let name = metric["name"].as_str().unwrap().to_owned();
            for kind in ["sum", "gauge", "histogram"] {
                for point in metric[kind]["dataPoints"].as_array().into_iter().flatten() {
                    assert!(series.insert(format!("{name} {}", point["attributes"])), "{name} {point}");
                }
            }
            names.insert(name);
        }
        for metric in METRICS {
            let is_exported = metric.kind != "summary" && !matches!(metric.samples, Samples::Isolate(_));
            assert_eq!(names.contains(&name_of(metric)), is_exported, "{}", metric.name);
        }
        assert!(HISTOGRAMS.iter().all(|histogram| names.contains(histogram.name)));
        // Without any call there are still the gauges.
        assert_eq!(exported(&Snapshot { totals: Vec::new(), ..snapshot }).len(), 1);
    }
}
