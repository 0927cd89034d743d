//! Limit headers of upstream responses: when to retry ([`retry_after_ms`]), and how much is left ([`read`]).
//!
//! Each provider has its own notation and guarantees none: a value that cannot be parsed counts as absent. Times are
//! rounded up and amounts down, so that the gateway never returns too early. This module keeps no state and decides
//! nothing.

use chrono::{DateTime, Datelike as _, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::catalog::{LimitHeader, Resource, Window};
use crate::time::{DAY_MS, from_rfc3339};

/// The state of one limit, as the headers of one response give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The limited resource.
    pub resource: Resource,
    /// The window of the limit.
    pub window: Window,
    /// The limit, in requests or tokens.
    pub limit: Option<u64>,
    /// The amount that is left, in requests or tokens.
    pub remaining: Option<u64>,
    /// The time at which the limit resets, in milliseconds since 1970. May lie in the past.
    pub reset_ms: Option<u64>,
    /// The time of the response, in milliseconds since 1970.
    pub seen_ms: u64,
}

/// The retry delay of an error response, in milliseconds from `now_ms` (milliseconds since 1970), at most 24 hours:
/// `retry-after-ms` (a number), otherwise `retry-after` (seconds, whole or with a fraction, or an HTTP date). `None` if
/// absent or invalid. A date in the past is a delay of 0.
pub fn retry_after_ms(retry_after: Option<&str>, retry_after_ms: Option<&str>, now_ms: u64) -> Option<u64> {
    retry_after_ms
        .and_then(|text| plain_ms(text.trim(), MS))
        .or_else(|| {
            let text = retry_after?.trim();
            plain_ms(text, SECOND).or_else(|| Some(http_date(text, now_ms)?.saturating_sub(now_ms)))
        })
        .map(|delay| delay.min(DAY_MS))
}

/// Reads the limit headers of a provider. `header` finds a header by its lower-case name; `now_ms` is in milliseconds
/// since 1970. A resource without any header has no reading.
pub fn read(headers: &[LimitHeader], header: impl Fn(&str) -> Option<String>, now_ms: u64) -> Vec<Reading> {
    let value = |name: &str| if name.is_empty() { None } else { header(name) };
    headers
        .iter()
        .map(|of| Reading {
            resource: of.resource,
            window: of.window,
            limit: value(of.limit).and_then(|text| amount(text.trim())),
            remaining: value(of.remaining).and_then(|text| remaining(text.trim())),
            reset_ms: value(of.reset).and_then(|text| reset_ms(text.trim(), now_ms)),
            seen_ms: now_ms,
        })
        .filter(|reading| reading.limit.or(reading.remaining).or(reading.reset_ms).is_some())
        .collect()
}

/// An amount, rounded down: half a request is no request.
fn amount(text: &str) -> Option<u64> {
    Some(saturate(plain(text)? / ONE))
}

/// An amount that is left. Some providers send negative numbers for overdrawn counters.
fn remaining(text: &str) -> Option<u64> {
    match text.strip_prefix('-') {
        Some(debt) => amount(debt).map(|_| 0),
        None => amount(text),
    }
}

/// Plain numbers from here on are a point in time in seconds since 1970 (this one is in 2001); smaller numbers are
/// seconds from now (this one is 31 years).
const LEAST_EPOCH: u64 = 1_000_000_000;
/// The same boundary for milliseconds since 1970: read as seconds, this is the year 5138; as milliseconds, it is in
/// 1973.
const LEAST_EPOCH_MS: u64 = 100_000_000_000;

/// The time at which a limit resets, in milliseconds since 1970.
fn reset_ms(text: &str, now_ms: u64) -> Option<u64> {
    if let Some(number) = plain(text) {
        return Some(match saturate(number / ONE) {
            LEAST_EPOCH_MS.. => to_ms(number, MS),
            LEAST_EPOCH.. => to_ms(number, SECOND),
            _ => now_ms.saturating_add(to_ms(number, SECOND)),
        });
    }
    duration_ms(text).map(|wait| now_ms.saturating_add(wait)).or_else(|| from_rfc3339(text))
}

/// A duration in Go's notation, with days in addition: `12ms`, `6m0s`, `1h2m3.5s`, `1d`.
fn duration_ms(text: &str) -> Option<u64> {
    let (mut rest, mut sum) = (text, 0_u64);
    while !rest.is_empty() {
        let (number, after) = leading(rest)?;
        let unit = after.split(|letter: char| letter.is_ascii_digit()).next().unwrap_or(after);
        sum = sum.saturating_add(to_ms(number, unit_ns(unit)?));
        rest = after.strip_prefix(unit)?;
    }
    (!text.is_empty()).then_some(sum)
}

/// A millisecond, in nanoseconds.
const MS: u128 = 1_000_000;
/// A second, in nanoseconds.
const SECOND: u128 = 1_000 * MS;

/// A unit of time, in nanoseconds.
fn unit_ns(name: &str) -> Option<u128> {
    Some(match name {
        "ns" => 1,
        // The micro sign and the Greek letter look the same.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => MS,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        "d" => 86_400 * SECOND,
        _ => return None,
    })
}

/// Numbers are held in billionths: whole numbers are exact, and no float is cast.
const ONE: u128 = 1_000_000_000;
/// The number of decimals of a billionth.
const PLACES: usize = 9;

/// A text that is one number, in billionths. Exponents are allowed: Python writes very short times so (`1.2e-05`).
fn plain(text: &str) -> Option<u128> {
    let (number, rest) = leading(text)?;
    if rest.is_empty() {
        return Some(number);
    }
    let exponent: i32 = rest.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_u128.saturating_pow(exponent.unsigned_abs());
    Some(if exponent < 0 { number.div_ceil(power) } else { number.saturating_mul(power) })
}

/// A text that is one number of units of `unit_ns` nanoseconds, in milliseconds.
fn plain_ms(text: &str, unit_ns: u128) -> Option<u64> {
    Some(to_ms(plain(text)?, unit_ns))
}

/// Billionths of a unit of `unit_ns` nanoseconds, in milliseconds, rounded up.
fn to_ms(billionths: u128, unit_ns: u128) -> u64 {
    saturate(billionths.saturating_mul(unit_ns).div_ceil(ONE * MS))
}

fn saturate(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The decimal number at the start of a text, in billionths, and the text after it.
fn leading(text: &str) -> Option<(u128, &str)> {
    let (whole, mut rest) = digits(text)?;
    let mut fraction = "";
    if let Some(after) = rest.strip_prefix('.') {
        (fraction, rest) = digits(after)?;
    }
    let places = fraction.bytes().chain(std::iter::repeat(b'0')).take(PLACES);
    let number = whole.bytes().chain(places).fold(0_u128, |number, digit| {
        number.saturating_mul(10).saturating_add(u128::from(digit.saturating_sub(b'0')))
    });
    Some((number, rest))
}

/// The digits at the start of a text, at least one, and the text after them.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 { None } else { text.split_at_checked(end) }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// An HTTP date (RFC 9110 §5.6.7), in milliseconds since 1970; 0 for dates before that.
///
/// Parsed by hand, because chrono's parser of date patterns is many times as large.
fn http_date(text: &str, now_ms: u64) -> Option<u64> {
    // The name of the day is redundant.
    let (_, date) = text.split_once([',', ' '])?;
    let fields: Vec<&str> = date.split([' ', '-']).filter(|field| !field.is_empty()).take(6).collect();
    // `Sun, 06 Nov 1994 08:49:37 GMT` and `Sunday, 06-Nov-94 08:49:37 GMT`, or `Sun Nov  6 08:49:37 1994`.
    let ([day, month, year, clock, "GMT"] | [month, day, clock, year]) = *fields.as_slice() else {
        return None;
    };
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let year = match (year.len(), number(year)?) {
        (4, year) => year,
        (2, year) => full_year(year, now_ms)?,
        _ => return None,
    };
    let mut parts = clock.split(':').map(number);
    let (Some(hour), Some(minute), Some(second), None) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next())
    else {
        return None;
    };
    // 60 is a leap second.
    let second = if second == 60 { 59 } else { second };
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, number(day)?)?;
    let instant = date.and_hms_opt(hour, minute, second)?.and_utc();
    Some(u64::try_from(instant.timestamp_millis()).unwrap_or(0))
}

/// A number that consists of digits only.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The year with these last two digits that is at most 50 years ahead, as RFC 9110 §5.6.7 requires.
fn full_year(last_two: u32, now_ms: u64) -> Option<u32> {
    let now = DateTime::from_timestamp_millis(i64::try_from(now_ms).ok()?)?.year();
    let latest = u32::try_from(now).ok()?.checked_add(50)?;
    latest.checked_sub((latest % 100 + 100 - last_two) % 100)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// 2026-11-22T04:49:07Z
    const NOW: u64 = 1_795_322_947_000;

    #[test]
    fn reads_retry_delays() {
        for (retry_after, ms, delay) in [
            (None, None, None),
            (Some("7"), None, Some(7_000)),
            (Some(" 0 "), None, Some(0)),
            (Some("1.5"), None, Some(1_500)),
            (Some("0.0001"), None, Some(1)),
            (Some("1e1"), None, Some(10_000)),
            // The more precise header wins if it is valid.
            (Some("7"), Some("6500"), Some(6_500)),
            (Some("7"), Some("6500.25"), Some(6_501)),
            (Some("7"), Some("soon"), Some(7_000)),
            (None, Some("12"), Some(12)),
            (Some("nonsense"), Some("12"), Some(12)),
            // Dates: in 53 seconds, and long ago.
            (Some("Sun, 22 Nov 2026 04:50:00 GMT"), None, Some(53_000)),
            (Some("Sunday, 22-Nov-26 04:50:00 GMT"), None, Some(53_000)),
            (Some("Sun Nov 22 04:50:00 2026"), None, Some(53_000)),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), None, Some(0)),
            (Some("Sun Nov  6 08:49:37 1994"), None, Some(0)),
            (Some("Sat, 06 Nov 1954 08:49:37 GMT"), None, Some(0)),
            // The maximum is a day.
            (Some("86401"), None, Some(DAY_MS)),
            (Some("99999999999999999999999999999999999999999999999999"), None, Some(DAY_MS)),
            (Some("1e999"), None, Some(DAY_MS)),
            (None, Some("18446744073709551616"), Some(DAY_MS)),
            (Some("Fri, 31 Dec 9999 23:59:59 GMT"), None, Some(DAY_MS)),
        ] {
            assert_eq!(retry_after_ms(retry_after, ms, NOW), delay, "{retry_after:?} {ms:?}");
        }
        for nonsense in [
            "",
            "-1",
            "+1",
            ".",
            ".5",
            "5.",
            "1.2.3",
            "5s",
            "5, 5",
            "NaN",
            "inf",
            "0x10",
            "1e",
            "1e+",
            "1e99999999999",
            "1 2",
            "１",
            "soon",
            "Sun, 22 Nov 2026 04:50:00",
            "Sun, 22 Nov 2026 04:50:00 CET",
            "Sun, 31 Nov 2026 04:50:00 GMT",
            "Sun, 22 Nov 2026 24:00:00 GMT",
            "Sun, 22 Nov 2026 04:50 GMT",
            "Sun, 22 Nov 2026 04:50:00:00 GMT",
            "Sun, 22 Nov 026 04:50:00 GMT",
            "Sun, 22 Nov +026 04:50:00 GMT",
            "Sun, 22 Mai 2026 04:50:00 GMT",
            "2026-11-22T04:50:00Z",
        ] {
            assert_eq!(retry_after_ms(Some(nonsense), Some(nonsense), NOW), None, "{nonsense}");
        }
    }

    #[test]
    fn two_digit_years_are_at_most_50_years_ahead() {
        let year = |last_two| full_year(last_two, NOW);
        assert_eq!(
            [year(26), year(99), year(0), year(76), year(77)],
            [2026, 1999, 2000, 2076, 1977].map(Some)
        );
        assert_eq!(http_date("Sunday, 06-Nov-94 08:49:37 GMT", NOW), Some(784_111_777_000));
        assert_eq!(http_date("Saturday, 31-Dec-16 23:59:60 GMT", NOW), Some(1_483_228_799_000));
        assert_eq!(full_year(26, u64::MAX), None);
    }

    #[test]
    fn reads_resets() {
        for (text, at) in [
            ("12ms", NOW + 12),
            ("1s", NOW + 1_000),
            ("6m0s", NOW + 360_000),
            ("1h2m3.5s", NOW + 3_723_500),
            ("2m59.56s", NOW + 179_560),
            ("7.66s", NOW + 7_660),
            ("1d", NOW + DAY_MS),
            ("1d2h", NOW + 93_600_000),
            ("250µs", NOW + 1),
            ("250us", NOW + 1),
            ("0s", NOW),
            ("59", NOW + 59_000),
            ("59.7", NOW + 59_700),
            ("33011.382867097855", NOW + 33_011_383),
            ("1.1920928955078125e-05", NOW + 1),
            ("0", NOW),
            // A point in time, in seconds, in milliseconds and as RFC 3339.
            ("1795323000", 1_795_323_000_000),
            ("1795323000.25", 1_795_323_000_250),
            ("1795323000250", 1_795_323_000_250),
            ("2026-11-22T04:50:00Z", 1_795_323_000_000),
            ("2026-11-22T04:50:00.25+00:00", 1_795_323_000_250),
            ("2015-05-08T08:49:20.992Z", 1_431_074_960_992),
            // The boundaries between the notations.
            ("999999999", NOW + 999_999_999_000),
            ("1000000000", 1_000_000_000_000),
            ("99999999999", 99_999_999_999_000),
            ("100000000000", 100_000_000_000),
            // Numbers that exceed a u64.
            ("99999999999999999999999999999999999999999999999999", u64::MAX),
            ("99999999999999999999999999999999999999999999999999d", u64::MAX),
            ("1e300", u64::MAX),
        ] {
            assert_eq!(reset_ms(text, NOW), Some(at), "{text}");
        }
        for text in
            ["", "s", "1x", "1h2", "h1", "1 s", "-1s", "-1", "1.s", "1.5.5s", "1sm", "never", "1S", "é"]
        {
            assert_eq!(reset_ms(text, NOW), None, "{text}");
        }
        assert_eq!(reset_ms("1s", u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn reads_amounts() {
        for (text, limit, left) in [
            ("14400", Some(14_400), Some(14_400)),
            ("0", Some(0), Some(0)),
            ("99.9", Some(99), Some(99)),
            ("1.5e3", Some(1_500), Some(1_500)),
            // An overdrawn counter; a limit below zero is invalid.
            ("-3", None, Some(0)),
            ("-0.5", None, Some(0)),
            ("99999999999999999999999999999999999999999999999999", Some(u64::MAX), Some(u64::MAX)),
            ("-", None, None),
            ("--3", None, None),
            ("unlimited", None, None),
            ("100;w=60", None, None),
            ("", None, None),
        ] {
            assert_eq!((amount(text), remaining(text)), (limit, left), "{text}");
        }
    }

    const GROQ: [LimitHeader; 2] = [
        LimitHeader {
            resource: Resource::Requests,
            window: Window::Day,
            limit: "x-ratelimit-limit-requests",
            remaining: "x-ratelimit-remaining-requests",
            reset: "x-ratelimit-reset-requests",
        },
        LimitHeader {
            resource: Resource::Tokens,
            window: Window::Minute,
            limit: "",
            remaining: "x-ratelimit-remaining-tokens",
            reset: "x-ratelimit-reset-tokens",
        },
    ];

    #[test]
    fn reads_the_limit_headers_of_a_provider() {
        let sent = |headers: &'static [(&str, &str)]| {
            move |name: &str| {
                headers.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            }
        };
        let requests = Reading {
            resource: Resource::Requests,
            window: Window::Day,
            limit: Some(14_400),
            remaining: Some(14_370),
            reset_ms: Some(NOW + 179_560),
            seen_ms: NOW,
        };
        let tokens = Reading {
            resource: Resource::Tokens,
            window: Window::Minute,
            limit: None,
            remaining: Some(0),
            reset_ms: None,
            seen_ms: NOW,
        };
        let headers = sent(&[
            ("", "7"),
            ("x-ratelimit-limit-requests", " 14400 "),
            ("x-ratelimit-remaining-requests", "14370"),
            ("x-ratelimit-reset-requests", "2m59.56s"),
            ("x-ratelimit-remaining-tokens", "-12"),
            ("x-ratelimit-reset-tokens", "nonsense"),
        ]);
        assert_eq!(read(&GROQ, headers, NOW), [requests, tokens]);
        let headers = sent(&[("x-ratelimit-limit-requests", "?"), ("x-ratelimit-reset-tokens", "1s")]);
        assert_eq!(
            read(&GROQ, headers, NOW),
            [Reading { remaining: None, reset_ms: Some(NOW + 1_000), ..tokens }]
        );
        assert_eq!(read(&GROQ, |_| None, NOW), []);
        assert_eq!(read(&[], |_| Some("1".to_owned()), NOW), []);

        let json = serde_json::to_value(requests).unwrap();
        assert_eq!((&json["resource"], &json["window"]), (&"requests".into(), &"day".into()));
        assert_eq!(serde_json::from_value::<Reading>(json).unwrap(), requests);
    }

    /// A duration in Go's notation.
    fn printed(mut ms: u64) -> String {
        let mut text = String::new();
        for (unit, length) in [("d", DAY_MS), ("h", 3_600_000), ("m", 60_000)] {
            if ms >= length {
                write!(text, "{}{unit}", ms / length).unwrap();
                ms %= length;
            }
        }
        write!(text, "{}.{:03}s", ms / 1_000, ms % 1_000).unwrap();
        text
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text: String, now: u64) {
            check(&text, now);
        }

        #[test]
        fn almost_valid_text_is_read_without_a_panic(
            text in "[-+.,:eETZ0-9 dhmsnuµ]{0,40}|[A-Z][a-z]{2,5},? [0-9]{1,3}[ -](Nov|Feb)[ -][0-9]{1,5} [0-9:]{1,9}( GMT)?",
            now: u64,
        ) {
            check(&text, now);
        }

        #[test]
        fn a_printed_duration_is_read_back(ms in 0..100 * 365 * DAY_MS) {
            prop_assert_eq!(duration_ms(&printed(ms)), Some(ms));
            prop_assert_eq!(duration_ms(&format!("{ms}ms")), Some(ms));
            let seconds = format!("{}.{:03}", ms / 1_000, ms % 1_000);
            prop_assert_eq!(plain_ms(&seconds, SECOND), Some(ms));
            prop_assert_eq!(retry_after_ms(Some(&seconds), None, NOW), Some(ms.min(DAY_MS)));
        }

        #[test]
        fn a_printed_date_is_read_back(seconds in 0u64..253_402_300_800) {
            let date = DateTime::from_timestamp(i64::try_from(seconds).unwrap(), 0).unwrap();
            prop_assert_eq!(http_date(&fixed(date), NOW), Some(seconds * 1_000));
            prop_assert_eq!(from_rfc3339(&date.to_rfc3339()), reset_ms(&date.to_rfc3339(), NOW));
        }
    }

    fn check(text: &str, now: u64) {
        assert!(retry_after_ms(Some(text), Some(text), now).is_none_or(|delay| delay <= DAY_MS));
        let readings = read(&GROQ, |_| Some(text.to_owned()), now);
        assert!(readings.iter().all(|reading| reading.seen_ms == now));
        let _ = http_date(text, now);
    }

    fn fixed(date: DateTime<chrono::Utc>) -> String {
        use chrono::Timelike as _;
        format!(
            "Day, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
            date.day(),
            MONTHS[date.month0() as usize],
            date.year(),
            date.hour(),
            date.minute(),
            date.second()
        )
    }
}
