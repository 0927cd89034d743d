//! Points in time: milliseconds since 1970 inside, RFC 3339 on the wire. This module does not read a clock.

use chrono::{DateTime, SecondsFormat};

/// A day, in milliseconds.
pub const DAY_MS: u64 = 86_400_000;

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
