//! The export of a ledger's receipts as OpenTelemetry spans.
//!
//! The receipts that the ledger stores anyway are the queue: the object keeps the number of the last receipt that the
//! collector has taken. So an outage of the collector loses nothing until receipts are deleted, which are then counted.

use gatehouse_core::report::otlp;
use worker::Env;
use worker::wasm_bindgen::JsValue;

use super::storage::{self, Receipts};
use crate::objects::telemetry::{Effect, RETRY_MS, Signal, post, retry_wait_ms};
use crate::platform::clock;
use crate::settings::Settings;
use crate::store::counts;

/// The maximum number of exports of one alarm.
const BATCHES: u32 = 10;
/// The name under which the state is stored.
const NAME: &str = "telemetry";

/// The stored state: three numbers.
#[derive(Clone, Copy)]
struct Exported {
    /// The number of the last receipt that the collector has taken.
    seq: u64,
    /// The time of the next try, in milliseconds since 1970; 0 if the last export succeeded.
    at_ms: u64,
    /// The wait that led to it, in milliseconds.
    wait_ms: u64,
}

impl Exported {
    fn read(text: &str) -> Option<Exported> {
        let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
        Some(Exported { seq: numbers.next()?, at_ms: numbers.next()?, wait_ms: numbers.next()? })
    }

    fn store(self, state: &JsValue) {
        let Exported { seq, at_ms, wait_ms } = self;
        storage::set_kept(state, NAME, &format!("{seq} {at_ms} {wait_ms}"));
    }

    /// Stores that an export has failed. Returns the time of the next try.
    fn retry(self, state: &JsValue) -> u64 {
        let wait_ms = retry_wait_ms(self.wait_ms);
        let at_ms = clock::now_ms() + wait_ms;
        Exported { at_ms, wait_ms, ..self }.store(state);
        at_ms
    }
}

/// Exports the receipts that the collector does not have yet. Returns the time of the next try if some are left.
pub async fn export(
    state: &JsValue,
    env: &Env,
    settings: &Settings,
    key_id: &str,
    count: u64,
) -> Option<u64> {
    let url = settings.config.telemetry.otlp_url.as_ref()?;
    let kept = storage::kept(state, NAME).and_then(|text| Exported::read(&text));
    let mut exported = kept.unwrap_or_else(|| {
        // An export that has just been configured begins with the latest calls.
        Exported { seq: storage::before_minute(state, count, clock::now_ms()), at_ms: 0, wait_ms: 0 }
    });
    if exported.at_ms > clock::now_ms() {
        return Some(exported.at_ms);
    }
    for _ in 0..BATCHES {
        let Receipts { first, last, texts } = storage::receipts_after(state, exported.seq)?;
        let deleted = first.saturating_sub(exported.seq + 1);
        let body = otlp::traces(&texts, key_id, env!("CARGO_PKG_VERSION"));
        let dropped = match post(Signal::Traces, url, &settings.otlp_headers, &body).await {
            Effect::Taken => deleted,
            Effect::Rejected => deleted + (last + 1 - first),
            Effect::Failed => return Some(exported.retry(state)),
        };
        if dropped > 0 && counts::add_dropped_spans(env, dropped).await.is_err() {
            return Some(exported.retry(state));
        }
        exported = Exported { seq: last, at_ms: 0, wait_ms: 0 };
        exported.store(state);
    }
    Some(clock::now_ms() + RETRY_MS)
}
