//! Statistics of a load: counts, percentiles, and the JSON that they are printed as.

use std::time::Duration;

use serde::Serialize;

/// The measurements of one response.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// From the first byte of the request to the last of the response.
    pub(crate) latency: Duration,
    /// From the first byte of the request to the end of the first event; streams only.
    pub(crate) first_event: Option<Duration>,
    pub(crate) events: usize,
    /// The length of the body.
    pub(crate) bytes: usize,
    /// From the sending of each event to its arrival, if the events have their time.
    pub(crate) delays: Vec<Duration>,
}

/// Percentiles of times in microseconds, by nearest rank.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let rank = |percent: usize| {
            let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(at).map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        Some(Self { p50: rank(50)?, p90: rank(90)?, p99: rank(99)?, max: rank(100)? })
    }
}

/// The JSON object that is printed at the end of a load.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Complete responses.
    pub(crate) requests: usize,
    /// From the first request to the end of the last response.
    pub(crate) seconds: f64,
    /// Complete responses per second.
    pub(crate) rps: f64,
    /// Null without a complete response.
    pub(crate) latency_us: Option<Times>,
    /// Null without a stream.
    pub(crate) first_event_us: Option<Times>,
    /// The delay of events; null without stamps.
    pub(crate) event_delay_us: Option<Times>,
    pub(crate) events: usize,
    /// The length of all bodies.
    pub(crate) bytes: usize,
    /// Requests without a complete response.
    pub(crate) errors: usize,
    pub(crate) first_error: Option<String>,
}

impl Report {
    pub(crate) fn new(samples: &[Sample], errors: &[String], took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 responses")]
        let rps = if seconds > 0.0 { samples.len() as f64 / seconds } else { 0.0 };
        Self {
            requests: samples.len(),
            seconds,
            rps,
            latency_us: Times::of(samples.iter().map(|sample| sample.latency).collect()),
            first_event_us: Times::of(samples.iter().filter_map(|sample| sample.first_event).collect()),
            event_delay_us: Times::of(
                samples.iter().flat_map(|sample| sample.delays.iter().copied()).collect(),
            ),
            events: samples.iter().map(|sample| sample.events).sum(),
            bytes: samples.iter().map(|sample| sample.bytes).sum(),
            errors: errors.len(),
            first_error: errors.first().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let of = |times: &[u64]| Times::of(times.iter().map(|time| Duration::from_micros(*time)).collect());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7]), Some(Times { p50: 7, p90: 7, p99: 7, max: 7 }));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(of(&hundred), Some(Times { p50: 50, p90: 90, p99: 99, max: 100 }));
        assert_eq!(of(&[1, 2, 3]), Some(Times { p50: 2, p90: 3, p99: 3, max: 3 }));
    }

    #[test]
    fn a_report_adds_up_its_samples() {
        let sample = |first_event| Sample {
            latency: Duration::from_micros(9),
            first_event,
            events: 3,
            bytes: 10,
            delays: vec![Duration::from_micros(5)],
        };
        let samples = [sample(None), sample(Some(Duration::from_micros(4)))];
        let report = Report::new(&samples, &["broken".to_owned()], Duration::from_secs(2));
        assert_eq!((report.requests, report.events, report.bytes, report.errors), (2, 6, 20, 1));
        assert!((report.rps - 1.0).abs() < 1e-9);
        assert_eq!(report.first_event_us.map(|times| times.max), Some(4));
        assert_eq!(report.event_delay_us.map(|times| times.p50), Some(5));
        assert_eq!(report.first_error.as_deref(), Some("broken"));
    }
}
