//! Points in time: milliseconds since 1970 inside, RFC 3339 on the wire. This module does not read a clock.

use chrono::{DateTime, SecondsFormat};

/// A day, in milliseconds.
pub const DAY_MS: u64 = 86_400_000;
/// An hour, in milliseconds.
pub const HOUR_MS: u64 = 3_600_000;

/// A point in time in RFC 3339, UTC, without zeros at the end of the fraction: `2026-11-22T07:11:26.5Z`.
pub fn to_rfc3339(ms: u64) -> String {
    let date = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    tidy(&date.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The milliseconds since 1970 of an RFC 3339 text; `None` if the text is invalid or lies before 1970.
pub fn from_rfc3339(text: &str) -> Option<u64> {
    u64::try_from(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()).ok()
}

/// Normalizes an RFC 3339 text as Go writes dates, because clients of the portal compare them: no zeros at the end of
/// the fraction, the offset unchanged. `None` if the text is invalid.
pub fn keep_rfc3339(text: &str) -> Option<String> {
    DateTime::parse_from_rfc3339(text).is_ok().then(|| tidy(&text.to_ascii_uppercase().replace(' ', "T")))
}

/// A day as a date: `2026-11-30`. `day` counts days since 1970.
pub fn to_date(day: u16) -> String {
    let mut date = to_rfc3339(u64::from(day) * DAY_MS);
    date.truncate("2026-11-30".len());
    date
}

/// The beginning of a day, UTC, as HTTP writes dates (RFC 9110, § 5.6.7): `Mon, 30 Nov 2026 00:00:00 GMT`.
pub fn to_http_date(day: u16) -> String {
    let date = to_date(day);
    let mut parts = date.split('-');
    let year = parts.next().unwrap_or_default();
    let month = parts.next().and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    let month = MONTHS.get(month.saturating_sub(1)).unwrap_or(&"Jan");
    // 1970-01-01 was a Thursday.
    let weekday = WEEKDAYS.get(usize::from(day) % WEEKDAYS.len()).unwrap_or(&"Thu");
    format!("{weekday}, {} {month} {year} 00:00:00 GMT", parts.next().unwrap_or_default())
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// The date that Go writes for an unset date.
pub const GO_ZERO: &str = "0001-01-01T00:00:00Z";

fn tidy(text: &str) -> String {
    let Some((whole, rest)) = text.split_once('.') else { return text.to_owned() };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, offset) = rest.split_at_checked(digits).unwrap_or((rest, ""));
    match fraction.trim_end_matches('0') {
        "" => format!("{whole}{offset}"),
        fraction => format!("{whole}.{fraction}{offset}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_523_619_784_698, "2018-04-13T11:43:04.698Z"),
            (1_559_633_721_970, "2019-06-04T07:35:21.97Z"),
            (1_559_633_721_900, "2019-06-04T07:35:21.9Z"),
        ] {
            assert_eq!(to_rfc3339(ms), text);
            assert_eq!(from_rfc3339(text), Some(ms));
        }
        assert_eq!(from_rfc3339("2015-05-08T04:49:20.992-04:00"), from_rfc3339("2015-05-08T08:49:20.992Z"));
        for text in ["", "2015-05-08", "2015-05-08T04:49:20", "2015-13-08T04:49:20Z", "yesterday", GO_ZERO] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn writes_days() {
        for (day, date, http) in [
            (0, "1970-01-01", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (11_016, "2000-02-29", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (20_787, "2026-11-30", "Mon, 30 Nov 2026 00:00:00 GMT"),
            (u16::MAX, "2149-06-06", "Fri, 06 Jun 2149 00:00:00 GMT"),
        ] {
            assert_eq!((to_date(day).as_str(), to_http_date(day).as_str()), (date, http));
        }
    }

    #[test]
    fn keeps_the_instant_as_it_was_written() {
        for (text, kept) in [
            ("2015-05-08T04:49:20.992-04:00", "2015-05-08T04:49:20.992-04:00"),
            ("2020-02-24T16:19:12.175113-05:00", "2020-02-24T16:19:12.175113-05:00"),
            ("2019-06-04T07:21:35.970Z", "2019-06-04T07:21:35.97Z"),
            ("2019-06-04t07:21:35.000z", "2019-06-04T07:21:35Z"),
            (GO_ZERO, GO_ZERO),
        ] {
            assert_eq!(keep_rfc3339(text).as_deref(), Some(kept));
        }
        assert_eq!(keep_rfc3339("2019-06-04"), None);
    }
}
