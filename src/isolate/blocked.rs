//! Clients that an isolate blocks because too many of their authentications have failed.

use std::collections::BTreeMap;

/// The largest number of blocked clients that an isolate stores.
const MAX_BLOCKED: usize = 1_000;

/// Blocked clients, with the end of each block in milliseconds since 1970.
#[derive(Default)]
pub struct Blocked(BTreeMap<String, u64>);

impl Blocked {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn until(&self, client: &str, now_ms: u64) -> Option<u64> {
        self.0.get(client).copied().filter(|until_ms| *until_ms > now_ms)
    }

    pub fn add(&mut self, client: String, until_ms: u64, now_ms: u64) {
        if self.0.len() >= MAX_BLOCKED {
            self.0.retain(|_, until_ms| *until_ms > now_ms);
        }
        if self.0.len() < MAX_BLOCKED {
            self.0.insert(client, until_ms);
        }
    }
}
