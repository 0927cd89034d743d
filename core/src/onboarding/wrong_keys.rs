//! The wrong keys that one isolate remembers, by client (an address), so that guessing is slow and costs little.
//!
//! - A wrong key counts once in a minute, however often a client presents it: a program that keeps using a revoked key
//!   does not use up the allowance of the others behind its address.
//! - Look-ups in the database are counted before they are made, so that many at once do not escape the limit; those that
//!   find a key do not count.
//! - A client over its limit is blocked until it has room again. What that means for which key is decided by
//!   authentication: a valid key of the generated form works all the same.

use std::collections::BTreeMap;

/// One minute, in milliseconds: the span of the limit.
pub const MINUTE_MS: u64 = 60_000;
/// The largest number of clients that are remembered.
const MAX_CLIENTS: usize = 1_000;
/// The largest number of wrong keys that are remembered of a client.
const MAX_KEYS: usize = 1_000;

/// The wrong keys of all clients.
#[derive(Debug, Default)]
pub struct WrongKeys(BTreeMap<String, Client>);

#[derive(Debug, Default)]
struct Client {
    /// The end of its block, in milliseconds since 1970.
    blocked_ms: u64,
    /// The start of the minute in which `look_ups` are counted.
    since_ms: u64,
    /// Look-ups that found no key, or have not ended.
    look_ups: u32,
    /// Wrong keys that have been counted, with the time.
    counted: BTreeMap<u64, u64>,
}

impl Client {
    fn is_idle(&self, now_ms: u64) -> bool {
        self.blocked_ms <= now_ms
            && now_ms.saturating_sub(self.since_ms) >= MINUTE_MS
            && self.counted.values().all(|at_ms| now_ms.saturating_sub(*at_ms) >= MINUTE_MS)
    }
}

impl WrongKeys {
    /// Returns `true` if no client is known, so that none is blocked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The end of a client's block, in milliseconds since 1970; `None` if it is not blocked.
    pub fn blocked_until(&self, client: &str, now_ms: u64) -> Option<u64> {
        self.0.get(client).map(|client| client.blocked_ms).filter(|until_ms| *until_ms > now_ms)
    }

    /// Blocks a client.
    pub fn block(&mut self, client: &str, until_ms: u64, now_ms: u64) {
        if let Some(client) = self.client(client, now_ms) {
            client.blocked_ms = until_ms;
        }
    }

    /// Counts a look-up that is about to be made. The error is the time until the client may have another one made, in
    /// milliseconds.
    pub fn look_up(&mut self, client: &str, limit: u32, now_ms: u64) -> Result<(), u64> {
        let Some(client) = self.client(client, now_ms) else { return Ok(()) };
        if now_ms.checked_sub(client.since_ms).is_none_or(|ms| ms >= MINUTE_MS) {
            (client.since_ms, client.look_ups) = (now_ms, 0);
        }
        if client.look_ups >= limit {
            return Err(client.since_ms + MINUTE_MS - now_ms);
        }
        client.look_ups += 1;
        Ok(())
    }

    /// Takes a counted look-up back, because it found a key.
    pub fn found(&mut self, client: &str) {
        if let Some(client) = self.0.get_mut(client) {
            client.look_ups = client.look_ups.saturating_sub(1);
        }
    }

    /// Returns `true` if this wrong key of a client has been counted in the last minute.
    pub fn is_counted(&self, client: &str, key: u64, now_ms: u64) -> bool {
        let at_ms = self.0.get(client).and_then(|client| client.counted.get(&key));
        at_ms.is_some_and(|at_ms| now_ms.checked_sub(*at_ms).is_some_and(|ms| ms < MINUTE_MS))
    }

    /// Remembers that this wrong key of a client has been counted.
    pub fn counted(&mut self, client: &str, key: u64, now_ms: u64) {
        let Some(client) = self.client(client, now_ms) else { return };
        if client.counted.len() >= MAX_KEYS {
            client.counted.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < MINUTE_MS);
        }
        if client.counted.len() < MAX_KEYS {
            client.counted.insert(key, now_ms);
        }
    }

    /// The state of a client; `None` if too many others are remembered.
    fn client(&mut self, name: &str, now_ms: u64) -> Option<&mut Client> {
        if !self.0.contains_key(name) {
            if self.0.len() >= MAX_CLIENTS {
                self.0.retain(|_, client| !client.is_idle(now_ms));
            }
            if self.0.len() >= MAX_CLIENTS {
                return None;
            }
        }
        Some(self.0.entry(name.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    #[test]
    fn a_key_that_is_presented_again_has_been_counted_for_a_minute() {
        let mut wrong = WrongKeys::default();
        assert!(!wrong.is_counted("a", 1, NOW));
        wrong.counted("a", 1, NOW);
        assert!(wrong.is_counted("a", 1, NOW + MINUTE_MS - 1));
        assert!(!wrong.is_counted("a", 2, NOW) && !wrong.is_counted("b", 1, NOW));
        assert!(!wrong.is_counted("a", 1, NOW + MINUTE_MS));
    }

    #[test]
    fn look_ups_count_before_they_are_made_unless_they_find_a_key() {
        let mut wrong = WrongKeys::default();
        for _ in 0..50 {
            assert_eq!(wrong.look_up("a", 2, NOW), Ok(()));
            wrong.found("a");
        }
        assert_eq!([wrong.look_up("a", 2, NOW), wrong.look_up("a", 2, NOW)], [Ok(()), Ok(())]);
        assert_eq!(wrong.look_up("a", 2, NOW + 1_000), Err(MINUTE_MS - 1_000));
        assert_eq!(wrong.look_up("b", 2, NOW), Ok(()), "another client");
        assert_eq!(wrong.look_up("a", 2, NOW + MINUTE_MS), Ok(()), "the next minute");
    }

    #[test]
    fn a_block_ends() {
        let mut wrong = WrongKeys::default();
        wrong.block("a", NOW + 500, NOW);
        assert_eq!(wrong.blocked_until("a", NOW + 499), Some(NOW + 500));
        assert_eq!(wrong.blocked_until("a", NOW + 500), None);
        assert_eq!(wrong.blocked_until("b", NOW), None);
    }

    #[test]
    fn the_memory_is_bounded_and_active_clients_stay() {
        let mut wrong = WrongKeys::default();
        wrong.block("first", NOW + 2 * MINUTE_MS, NOW);
        for number in 0..5_000_u64 {
            let client = number.to_string();
            let _ = wrong.look_up(&client, 5, NOW);
            wrong.counted("first", number, NOW);
        }
        assert!(wrong.0.len() <= MAX_CLIENTS);
        assert!(wrong.0.get("first").is_some_and(|first| first.counted.len() <= MAX_KEYS));
        let _ = wrong.look_up("later", 5, NOW + MINUTE_MS);
        assert!(wrong.0.contains_key("later"), "idle clients make room");
        assert!(wrong.blocked_until("first", NOW + MINUTE_MS).is_some());
    }
}
