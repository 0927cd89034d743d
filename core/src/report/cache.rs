//! The usage reports that an isolate caches, so that a public route cannot be used to load the database.
//!
//! A report is used for [`FRESH_MS`]. In the last second of that time, one request queries the database again while the
//! others use the cached report: no request waits for another. [`MAX_QUERIES`] bounds all queries, including those of
//! concurrent requests that find no report. The module reads no clock.

/// The time for which a report is used, in milliseconds, counted from its query.
pub const FRESH_MS: u64 = 5_000;
/// The age from which on one request queries again.
const AGEING_MS: u64 = 4_000;
/// The maximum number of database queries in [`FRESH_MS`].
const MAX_QUERIES: u32 = 100;
/// The maximum number of cached reports.
const MAX_ENTRIES: usize = 100;
/// Their maximum total size, in bytes.
const MAX_BYTES: usize = 4_000_000;

/// A query for a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// The number of days, today included.
    pub days: u32,
    /// The project; none: all calls.
    pub project: Option<String>,
    /// The report names projects.
    pub projects: bool,
}

struct Entry {
    query: UsageQuery,
    asked_ms: u64,
    text: String,
    /// A request has started to query again.
    asking: bool,
}

/// The cache of one isolate.
#[derive(Default)]
pub struct ReportCache {
    kept: Vec<Entry>,
    /// The start of the current span, in milliseconds since 1970, and the number of queries in it.
    span: (u64, u32),
}

impl ReportCache {
    /// The cached report, unless this request has to query the database.
    pub fn recall(&mut self, query: &UsageQuery, now_ms: u64) -> Option<&str> {
        let kept = self.kept.iter_mut().find(|kept| kept.query == *query && kept.is_fresh(now_ms))?;
        if !kept.asking && now_ms - kept.asked_ms >= AGEING_MS {
            kept.asking = true;
            return None;
        }
        Some(&kept.text)
    }

    /// Counts a query; the error is the number of milliseconds until the next one is allowed.
    pub fn ask(&mut self, now_ms: u64) -> Result<(), u64> {
        let (began_ms, asked) = &mut self.span;
        // A clock that was set back starts a new span too.
        if now_ms.checked_sub(*began_ms).is_none_or(|ms| ms >= FRESH_MS) {
            (*began_ms, *asked) = (now_ms, 0);
        }
        if *asked >= MAX_QUERIES {
            return Err(*began_ms + FRESH_MS - now_ms);
        }
        *asked += 1;
        Ok(())
    }

    /// Stores a report. `asked_ms` is the time of its query.
    pub fn remember(&mut self, query: UsageQuery, asked_ms: u64, text: String) {
        self.kept.retain(|kept| kept.is_fresh(asked_ms) && kept.query != query);
        let bytes: usize = self.kept.iter().map(|kept| kept.text.len()).sum();
        if self.kept.len() >= MAX_ENTRIES || bytes + text.len() > MAX_BYTES {
            self.kept.clear();
        }
        if text.len() <= MAX_BYTES {
            self.kept.push(Entry { query, asked_ms, text, asking: false });
        }
    }
}

impl Entry {
    fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.checked_sub(self.asked_ms).is_some_and(|age_ms| age_ms < FRESH_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(days: u32) -> UsageQuery {
        UsageQuery { days, project: None, projects: true }
    }

    #[test]
    fn a_report_is_used_for_five_seconds() {
        let mut answers = ReportCache::default();
        assert_eq!(answers.recall(&query(1), 1_000), None);
        answers.remember(query(1), 1_000, "one".into());
        assert_eq!(answers.recall(&query(1), 4_999), Some("one"));
        assert_eq!(answers.recall(&query(1), 5_000), None, "the first queries again");
        assert_eq!(answers.recall(&query(1), 5_000), Some("one"), "the others use the cached report");
        assert_eq!(answers.recall(&query(1), 5_999), Some("one"));
        assert_eq!(answers.recall(&query(1), 6_000), None, "the first did not return");
        assert_eq!(answers.recall(&query(1), 999), None, "a clock that was set back");
        answers.remember(query(1), 5_000, "two".into());
        assert_eq!(answers.recall(&query(1), 6_000), Some("two"));
    }

    #[test]
    fn each_query_has_its_own_report() {
        let mut answers = ReportCache::default();
        answers.remember(query(1), 0, "one".into());
        for other in [
            query(2),
            UsageQuery { project: Some("p".into()), ..query(1) },
            UsageQuery { projects: false, ..query(1) },
        ] {
            assert_eq!(answers.recall(&other, 0), None);
            answers.remember(other.clone(), 0, "other".into());
            assert_eq!(answers.recall(&other, 0), Some("other"));
        }
        assert_eq!(answers.recall(&query(1), 0), Some("one"));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut answers = ReportCache::default();
        for days in 0..1_000 {
            answers.remember(query(days), 0, days.to_string());
            assert!(answers.kept.len() <= MAX_ENTRIES);
            assert!(answers.recall(&query(days), 0).is_some());
        }
        for days in 0..20 {
            answers.remember(query(days), 0, "x".repeat(1_500_000));
            assert!(answers.kept.iter().map(|kept| kept.text.len()).sum::<usize>() <= MAX_BYTES);
        }
        answers.remember(query(1), 0, "x".repeat(MAX_BYTES + 1));
        assert_eq!(answers.recall(&query(1), 0), None);
    }

    #[test]
    fn queries_are_bounded_in_each_span() {
        let mut answers = ReportCache::default();
        for _ in 0..MAX_QUERIES {
            assert_eq!(answers.ask(10_000), Ok(()));
        }
        assert_eq!(answers.ask(10_000), Err(5_000));
        assert_eq!(answers.ask(14_999), Err(1));
        assert_eq!(answers.ask(15_000), Ok(()));
        assert_eq!(answers.ask(3_000), Ok(()), "a clock that was set back");
    }
}
