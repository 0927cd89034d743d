//! The collector of OpenTelemetry: sending a body to it, and the export of the metrics of the deployment.
//!
//! `ProviderHealth` exports the metrics, so that they are exported once and not by each isolate. All sums are in the
//! database and cumulative: an outage of the collector, a restart of the object or a repeated export loses nothing, and
//! nothing has to be queued. The export of spans is a part of `KeyLedger`, which has the receipts.

use gatehouse_core::config::BaseUrl;
use gatehouse_core::error::Error;
use gatehouse_core::health::HealthView;
use gatehouse_core::report::metrics::Snapshot;
use gatehouse_core::report::{otlp, routing};
use gatehouse_core::run_time;
use worker::wasm_bindgen::{self, prelude::wasm_bindgen};
use worker::{Env, js_sys};

use crate::platform::{clock, log, task, variables};
use crate::settings::{self, Settings};
use crate::store::{self, counts, usage};

#[wasm_bindgen(module = "/src/platform/bindings.js")]
extern "C" {
    #[wasm_bindgen(js_name = postTelemetry)]
    fn post_telemetry(url: &str, headers: &str, body: &str) -> js_sys::Promise;
}

/// The wait after a failed export, in milliseconds; it doubles up to the maximum.
pub const RETRY_MS: u64 = 5_000;
const MAX_RETRY_MS: u64 = 300_000;

/// A kind of data that a collector takes.
#[derive(Clone, Copy)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    fn path(self) -> &'static str {
        match self {
            Signal::Traces => "/v1/traces",
            Signal::Metrics => "/v1/metrics",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Signal::Traces => "spans",
            Signal::Metrics => "metrics",
        }
    }
}

/// The effect of an export.
pub enum Effect {
    /// The collector has taken the body.
    Taken,
    /// The collector will not take the body, however often it is sent.
    Rejected,
    /// The body is to be sent again.
    Failed,
}

/// The wait after another failure, in milliseconds. `before_ms` is the wait before it; 0 if there was no failure.
pub fn retry_wait_ms(before_ms: u64) -> u64 {
    (before_ms * 2).clamp(RETRY_MS, MAX_RETRY_MS)
}

/// Sends a body to the collector. Logs a failure.
pub async fn post(signal: Signal, url: &BaseUrl, headers: &str, body: &str) -> Effect {
    let url = format!("{}{}", url.as_str(), signal.path());
    let posted = task::settled(post_telemetry(&url, headers, body)).await;
    let status = posted.map(|status| status.as_string().unwrap_or_default());
    match status.as_deref() {
        Ok(status) if status.starts_with('2') => Effect::Taken,
        Ok(status @ ("400" | "413" | "422")) => {
            let message = format!("the collector rejected {} with status {status}", signal.name());
            log::line(&log::Event::Telemetry { error: &message, given_up: true });
            Effect::Rejected
        }
        failed => {
            let message = match failed {
                Ok(status) => format!("the collector responded to {} with status {status}", signal.name()),
                Err(error) => variables::message(error),
            };
            log::line(&log::Event::Telemetry { error: &message, given_up: false });
            Effect::Failed
        }
    }
}

/// The schedule of the exports of metrics. It is in memory: a new life of the object exports at once.
#[derive(Default)]
pub struct Schedule {
    /// The time of the next export, in milliseconds since 1970.
    due_ms: u64,
    /// The wait that led to it after a failure, in milliseconds; 0 after a success.
    wait_ms: u64,
}

impl Schedule {
    /// Exports the metrics if it is time. Returns the time of the next export; `None` if metrics are not exported.
    pub async fn export(&mut self, env: &Env, settings: &Settings, view: &HealthView) -> Option<u64> {
        let (url, interval_ms) = settings.config.telemetry.of_metrics()?;
        let now_ms = clock::now_ms();
        if self.due_ms > now_ms {
            return Some(self.due_ms);
        }
        self.wait_ms = if export(env, settings, view, url).await { 0 } else { retry_wait_ms(self.wait_ms) };
        self.due_ms = if self.wait_ms == 0 { now_ms + interval_ms } else { clock::now_ms() + self.wait_ms };
        Some(self.due_ms)
    }
}

/// Exports the metrics. Returns `false` if the export is to be repeated soon.
async fn export(env: &Env, settings: &Settings, view: &HealthView, url: &BaseUrl) -> bool {
    let Ok(bodies) = bodies(env, settings, view).await else { return false };
    for body in bodies {
        if matches!(post(Signal::Metrics, url, &settings.otlp_headers, &body).await, Effect::Failed) {
            return false;
        }
    }
    true
}

/// The bodies of an export.
async fn bodies(env: &Env, settings: &Settings, view: &HealthView) -> Result<Vec<String>, Error> {
    // Aliases and groups of operators name models that have series of their own.
    let stored = store::settings::all(env).await?;
    let (config, _) = run_time::apply(&settings.base, &stored.settings);
    let registry = settings::registry(env, &config, &[]);
    let totals = usage::totals(env, &usage::listed(&registry, &config)).await?;
    let now_ms = clock::now_ms();
    let counts = counts::now(env, now_ms).await?;
    let snapshot = Snapshot {
        totals,
        providers: routing::provider_states(view, &registry, now_ms),
        ..counts.as_ref().map_or_else(Snapshot::default, counts::Counts::snapshot)
    };
    Ok(otlp::metrics(&Snapshot { version: env!("CARGO_PKG_VERSION"), ..snapshot }, now_ms))
}
