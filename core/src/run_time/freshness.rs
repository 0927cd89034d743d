//! The age of the run-time settings of one isolate.
//!
//! The rule is that of issued keys ([`crate::key::KeyCache`]): a result of the database is used without a question for
//! [`SOFT_MS`], counted from before the query; after that, one request queries again in the background while all others
//! go on; after [`HARD_MS`], a request waits for its own query. While the database does not respond, nobody waits: the
//! last known settings stay in use.

/// The age in milliseconds from which the settings are read again, in the background.
pub const SOFT_MS: u64 = 4_000;
/// The age in milliseconds from which a request waits for the settings: the guaranteed delay of a change.
pub const HARD_MS: u64 = 10_000;
/// The time between two queries in the background, in milliseconds.
const INTERVAL_MS: u64 = 1_000;
/// The time after a failed query for which no request waits, in milliseconds.
const FAILURE_MS: u64 = 5_000;

/// The use that a request can make of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Use them.
    Fresh,
    /// Use them, and read them again in the background.
    Ageing,
    /// Read them first.
    Stale,
}

/// The times of the queries of one isolate, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "all of them are times")]
pub struct Freshness {
    /// The time of the last query that succeeded.
    read_ms: Option<u64>,
    /// The time of the last query in the background.
    tried_ms: u64,
    /// The time of the last failure, unless a later query succeeded.
    failed_ms: Option<u64>,
}

impl Freshness {
    /// The age of the settings. After [`Age::Ageing`] the caller must query.
    pub fn age(&mut self, now_ms: u64) -> Age {
        let within = |since: Option<u64>, span_ms: u64| {
            since.and_then(|since| now_ms.checked_sub(since)).is_some_and(|age| age < span_ms)
        };
        if within(self.read_ms, SOFT_MS) {
            return Age::Fresh;
        }
        if !within(self.read_ms, HARD_MS) && !within(self.failed_ms, FAILURE_MS) {
            return Age::Stale;
        }
        if within(Some(self.tried_ms), INTERVAL_MS) {
            return Age::Fresh;
        }
        self.tried_ms = now_ms;
        Age::Ageing
    }

    /// Takes note of a query at `asked_ms` that succeeded. `false` if a later one has succeeded before.
    pub fn succeeded(&mut self, asked_ms: u64) -> bool {
        if self.read_ms.is_some_and(|read_ms| read_ms > asked_ms) {
            return false;
        }
        (self.read_ms, self.failed_ms) = (Some(asked_ms), None);
        true
    }

    /// Takes note of a query that failed.
    pub fn failed(&mut self, now_ms: u64) {
        self.failed_ms = Some(now_ms);
    }

    /// Returns `true` if the last query failed.
    pub fn has_failed(&self) -> bool {
        self.failed_ms.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_request_refreshes_while_others_go_on() {
        let mut settings = Freshness::default();
        assert_eq!(settings.age(100_000), Age::Stale, "nothing has been read");
        assert!(settings.succeeded(100_000));
        assert_eq!(settings.age(103_999), Age::Fresh);
        assert_eq!(settings.age(104_000), Age::Ageing);
        assert_eq!(settings.age(104_001), Age::Fresh, "another request is reading them");
        assert_eq!(settings.age(105_000), Age::Ageing, "it has not finished within a second");
        assert_eq!(settings.age(110_000), Age::Stale);
        assert!(!settings.succeeded(99_999), "an older result replaces nothing");
    }

    #[test]
    fn nobody_waits_for_a_database_that_does_not_respond() {
        let mut settings = Freshness::default();
        settings.failed(50_000);
        assert_eq!(settings.age(50_001), Age::Ageing);
        assert_eq!(settings.age(50_002), Age::Fresh);
        assert!(settings.has_failed());
        assert_eq!(settings.age(55_000), Age::Stale, "a request tries again");
        settings.succeeded(55_000);
        assert!(!settings.has_failed());
    }

    proptest! {
        #[test]
        fn settings_older_than_the_bound_are_never_used_while_the_database_responds(
            steps in prop::collection::vec(0u64..6_000, 1..60),
        ) {
            let (mut settings, mut now_ms, mut read_ms) = (Freshness::default(), 1_000_000, None);
            for step in steps {
                now_ms += step;
                match settings.age(now_ms) {
                    Age::Fresh => {}
                    Age::Ageing | Age::Stale => {
                        settings.succeeded(now_ms);
                        read_ms = Some(now_ms);
                        continue;
                    }
                }
                prop_assert!(read_ms.is_some_and(|read_ms| now_ms - read_ms < HARD_MS));
            }
        }
    }
}
