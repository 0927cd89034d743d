//! The windows over which limits count. Windows are fixed and in UTC: a per-minute limit counts from one full minute to
//! the next. The time of the reset is therefore known to everybody, and a counter needs no log of single calls.

use chrono::{DateTime, Datelike};

use crate::time::DAY_MS;

/// The span over which a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// One minute, from one full minute to the next.
    Minute,
    /// One day (UTC).
    Day,
    /// One calendar month (UTC).
    Month,
    /// All time.
    Total,
}

/// One window of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The number of the window; later windows have higher numbers.
    pub number: u64,
    /// The end, in milliseconds since 1970; `None` for never.
    pub ends_ms: Option<u64>,
}

const MINUTE_MS: u64 = 60_000;

impl Span {
    /// The window at a time.
    pub fn window(self, now_ms: u64) -> Window {
        let fixed = |length: u64| {
            let number = now_ms / length;
            Window { number, ends_ms: Some((number + 1) * length) }
        };
        match self {
            Span::Minute => fixed(MINUTE_MS),
            Span::Day => fixed(DAY_MS),
            Span::Month => month(now_ms),
            Span::Total => Window::default(),
        }
    }

    /// The usual length in seconds, for the `RateLimit-Policy` header; a month counts as thirty days. `None` for all
    /// time.
    pub fn seconds(self) -> Option<u32> {
        match self {
            Span::Minute => Some(60),
            Span::Day => Some(86_400),
            Span::Month => Some(30 * 86_400),
            Span::Total => None,
        }
    }
}

fn month(now_ms: u64) -> Window {
    let date = i64::try_from(now_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    let number = u64::try_from(date.year()).unwrap_or_default() * 12 + u64::from(date.month0());
    let (year, month) =
        if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
    let first = chrono::NaiveDate::from_ymd_opt(year, month, 1).and_then(|first| first.and_hms_opt(0, 0, 0));
    let ends_ms = first.and_then(|first| u64::try_from(first.and_utc().timestamp_millis()).ok());
    Window { number, ends_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{from_rfc3339, to_rfc3339};

    #[test]
    fn windows_end_at_full_minutes_days_and_months() {
        for (now, span, ends) in [
            ("2026-11-22T13:45:59.999Z", Span::Minute, "2026-11-22T13:46:00Z"),
            ("2026-11-22T13:46:00Z", Span::Minute, "2026-11-22T13:47:00Z"),
            ("2026-11-22T23:59:59Z", Span::Day, "2026-11-23T00:00:00Z"),
            ("2026-11-22T13:45:59Z", Span::Month, "2026-12-01T00:00:00Z"),
            ("2026-12-31T23:59:59.999Z", Span::Month, "2027-01-01T00:00:00Z"),
            ("2028-02-29T00:00:00Z", Span::Month, "2028-03-01T00:00:00Z"),
        ] {
            let window = span.window(from_rfc3339(now).unwrap());
            assert_eq!(to_rfc3339(window.ends_ms.unwrap()), ends, "{now}");
            let next = span.window(window.ends_ms.unwrap());
            assert_eq!(next.number, window.number + 1, "{now}");
        }
        assert_eq!(Span::Total.window(5), Span::Total.window(u64::MAX));
    }
}
