//! The Grafana dashboard, checked against the metrics of `GET /metrics`: each of its queries names metrics that exist, with
//! labels that they have, and each metric of the gateway is in it or has a reason not to be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_core::ledger::tally::{Row, Slice, Tally};
use gatehouse_core::report::metrics::{ProviderState, Snapshot};
use serde_json::Value;

const DASHBOARD: &str = include_str!("../../docs/grafana/gatehouse.json");
/// Metrics for the alerts of a Prometheus rather than for a look.
const NOT_SHOWN: [&str; 4] = [
    "gatehouse_build_info",
    "gatehouse_issued_keys",
    "gatehouse_operator_denials_total",
    "gatehouse_operator_logins_failed_total",
];

/// The names of all samples, with the names of their labels.
fn samples() -> BTreeMap<String, BTreeSet<String>> {
    let operation = "chat/completions".into();
    let slice = Slice { hour: 0, operation, project: String::new(), provider: "p".into(), model: "m".into() };
    let snapshot = Snapshot {
        version: "1",
        totals: vec![Row { slice, tally: Tally::default() }],
        providers: vec![ProviderState { name: "p", success_per_10k: Some(1), models_in_cooldown: 0 }],
        pending_requests: Some(0),
        issued_keys: Some(0),
        operator_denials: [0, 0],
        wasm_memory_bytes: 0,
        held_bytes: 0,
        capped_calls: Some(0),
        lost_records: Some(0),
        dropped_spans: Some(0),
    };
    let text = snapshot.exposition();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut samples = BTreeMap::<_, BTreeSet<_>>::new();
    for line in lines {
        let name = line.split(['{', ' ']).next().unwrap().to_owned();
        let labels = line.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap());
        let names = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        samples.entry(name).or_default().extend(names);
    }
    samples
}

/// The words of a query that are names.
fn words(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_name = |byte: char| byte.is_ascii_alphanumeric() || byte == '_';
    query.match_indices("gatehouse_").map(move |(at, _)| {
        let rest = &query[at..];
        let end = rest.find(|byte| !is_name(byte)).unwrap_or(rest.len());
        rest.split_at(end)
    })
}

#[test]
fn every_query_of_the_dashboard_names_metrics_and_labels_that_exist() {
    let samples = samples();
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut shown = BTreeSet::new();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            queries += 1;
            for (name, rest) in words(query) {
                let labels = samples.get(name);
                assert!(labels.is_some(), "{}: there is no metric {name}", panel["title"]);
                shown.insert(name.to_owned());
                let filter = rest.strip_prefix('{').map_or("", |rest| rest.split('}').next().unwrap());
                for label in filter.split(',').filter(|label| !label.is_empty()) {
                    let label = label.split(['=', '!']).next().unwrap();
                    assert!(labels.unwrap().contains(label), "{name} has no label {label}");
                }
                let grouped = query.split(" by (").skip(1).filter_map(|by| by.split(')').next());
                for label in grouped.flat_map(|by| by.split(", ")) {
                    assert!(labels.unwrap().contains(label), "{name} has no label {label}");
                }
            }
        }
    }
    assert!(queries > 10);
    let missing: Vec<_> =
        samples.keys().filter(|name| !shown.contains(*name) && !NOT_SHOWN.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "not in the dashboard: {missing:?}");
}
