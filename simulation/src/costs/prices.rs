//! Prices, and the units of each priced item that a million calls need. The list of prices is
//! `docs/site/docs/prices.json`, which the page reads too.

use serde_json::Value;

use super::{health, ledger};

/// The memory that a Durable Object is charged for, in MB.
pub const OBJECT_MB: u64 = 128;

/// A priced item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name in files.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// The price of a million units, in micro-USD.
    pub micro_usd_per_million: u64,
    /// True if the price is from the provider's documentation.
    pub is_certain: bool,
}

/// Reads the list of prices.
///
/// # Errors
/// The text is not such a list.
pub fn list(text: &str) -> Result<Vec<Item>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let items = value.get("items").and_then(Value::as_array).ok_or("no items")?;
    let item = |item: &Value| {
        let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Item {
            id: text("id")?,
            name: text("name")?,
            micro_usd_per_million: item.get("micro_usd_per_million")?.as_u64()?,
            is_certain: item.get("certain")?.as_bool()?,
        })
    };
    items.iter().map(|value| item(value).ok_or_else(|| format!("not an item: {value}"))).collect()
}

/// The resources that a million calls need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    ledger: ledger::Counts,
    health: health::Counts,
    /// The CPU time of a call, in microseconds.
    cpu_us: u64,
}

impl Needs {
    /// Combines the counts of a million calls of a key, those of a million calls of an isolate, and the CPU time of a call
    /// in microseconds.
    pub fn new(ledger: ledger::Counts, health: health::Counts, cpu_us: u64) -> Needs {
        Needs { ledger, health, cpu_us }
    }

    /// The units of an item; `None` if the item is unknown. The Analytics Engine is optional and logs can be sampled: both
    /// are counted in full.
    pub fn units(&self, id: &str) -> Option<u64> {
        let Needs { ledger, cpu_us, .. } = self;
        let updates = self.health.requests;
        Some(match id {
            "worker_requests" | "log_events" | "analytics_points" => 1_000_000,
            "cpu_ms" => cpu_us * 1_000,
            "object_requests" => ledger.object_requests() + updates,
            "object_gb_s" => {
                let active_ms = ledger.active_ms + updates * ledger::ACTIVE_MS;
                (active_ms * OBJECT_MB).div_ceil(1_000_000)
            }
            "object_rows_written" => ledger.object_written,
            "object_rows_read" => ledger.object_read,
            "d1_rows_written" => ledger.d1_written,
            "d1_rows_read" => ledger.d1_read,
            "kv_reads" => 0,
            _ => return None,
        })
    }

    /// The cost of an item for a million calls, in micro-USD.
    pub fn micro_usd(&self, item: &Item) -> u64 {
        let units = u128::from(self.units(&item.id).unwrap_or_default());
        ((units * u128::from(item.micro_usd_per_million) + 500_000) / 1_000_000) as u64
    }
}
