//! Limits as callers see them: response headers and the errors of rejected calls.
//!
//! OpenAI's clients know `x-ratelimit-*`. `RateLimit` and `RateLimit-Policy` follow
//! draft-ietf-httpapi-ratelimit-headers (-08 and later); because that is a draft, they come in addition.

use std::fmt::Write as _;

use super::limit::{Counter, Kind, Limit};
use super::message::{Refusal, Unreserved};
use super::window::{Span, Window};
use crate::error::{Code, Error};
use crate::money::usd;
use crate::time::to_rfc3339;

/// The header names for requests and for tokens: limit, remaining, reset.
const OPENAI_HEADERS: [(Kind, [&str; 3]); 2] = [
    (
        Kind::Requests,
        ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ),
    (Kind::Tokens, ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]),
];

/// The headers for a key's limits. `left` returns the remaining amount of a counter and its window, as far as this
/// isolate knows them.
pub fn headers(
    limits: &[Limit],
    left: impl Fn(&str) -> Option<(u64, Window)>,
    now_ms: u64,
) -> Vec<(&'static str, String)> {
    let states: Vec<LimitState<'_>> = limits
        .iter()
        .map(|limit| {
            let counter = limit.counter();
            let (left, window) = left(&counter).unwrap_or_else(|| (limit.amount, limit.span.window(now_ms)));
            let reset_s = window.ends_ms.map(|ends_ms| ends_ms.saturating_sub(now_ms).div_ceil(1000));
            LimitState { limit, counter, left: left.min(limit.amount), reset_s }
        })
        .collect();
    let mut headers = Vec::with_capacity(2 * OPENAI_HEADERS.len() + 4);
    for (kind, names) in OPENAI_HEADERS {
        // The tightest limit: the one with the smallest remaining share.
        let share = |of: &&LimitState<'_>| of.left.saturating_mul(1_000_000) / of.limit.amount.max(1);
        let of_kind = states.iter().filter(|of| of.limit.kind == kind);
        let Some(of) = of_kind.min_by_key(share) else { continue };
        let values = [of.limit.amount.to_string(), of.left.to_string(), duration(of.reset_s.unwrap_or(0))];
        headers.extend(names.into_iter().zip(values));
    }
    let (mut policy, mut state) = (String::with_capacity(256), String::with_capacity(256));
    for LimitState { limit, counter, left, reset_s } in states {
        add(
            &mut policy,
            &counter,
            [(";q=", Some(limit.amount)), (";w=", limit.span.seconds().map(u64::from))],
        );
        add(&mut state, &counter, [(";r=", Some(left)), (";t=", reset_s)]);
    }
    if !limits.is_empty() {
        headers.push(("ratelimit-policy", policy));
        headers.push(("ratelimit", state));
    }
    headers
}

/// Adds a counter to a list, with its numbers after their marks.
fn add(list: &mut String, counter: &str, numbers: [(&str, Option<u64>); 2]) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    quote(counter, list);
    for (mark, number) in numbers {
        if let Some(number) = number {
            // Writing to a string does not fail.
            let _ = write!(list, "{mark}{number}");
        }
    }
}

/// The state of a limit.
struct LimitState<'l> {
    limit: &'l Limit,
    counter: Counter,
    left: u64,
    /// The seconds until the window ends; `None` for never.
    reset_s: Option<u64>,
}

/// Writes a string of a structured field (RFC 9651, section 3.3.3). Characters other than visible ASCII are replaced,
/// because such a string cannot contain them.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            ' '..='~' => out.push(char),
            _ => out.push('?'),
        }
    }
    out.push('"');
}

/// A duration in OpenAI's notation: `12s`, `6m0s`, `1h0m0s`.
fn duration(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The longest `retry-after` of a spent limit, in seconds: the window of limits per minute. Clients sleep as long as
/// `retry-after` says without showing why, and retry a 429 without one for minutes. A limit that lasts longer is
/// therefore [`Code::InsufficientQuota`]: coding agents show a 402 at once.
const MAX_WAIT_S: u32 = 60;

/// The output that what is left of a budget would pay for, in tokens of each choice. 0 if it does not even pay for the
/// input; `None` if that is not known, or if the call has no output.
pub type Fit = Option<u64>;

impl Unreserved {
    /// The error, for a call whose size is not known.
    pub fn into_error(self, now_ms: u64) -> Error {
        match self {
            Unreserved::Refused(refusal) => refused(&refusal, None, now_ms),
            Unreserved::Unavailable(error) => error,
        }
    }
}

/// A span of time in the largest unit of which there are at least two, rounded up.
fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        7_200..172_800 => format!("{} h", seconds.div_ceil(3_600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// The error for a rejected call.
pub fn refused(refusal: &Refusal, fit: Fit, now_ms: u64) -> Error {
    let Refusal { counter, limit, needed, left, held, ends_ms } = refusal;
    let Some(limit) = Limit::of_counter(counter, *limit) else {
        return Error::new(
            Code::InternalError,
            format!("The limit '{counter}' was reached, but does not exist"),
        );
    };
    let amount = |amount: u64| match limit.kind {
        Kind::MicroUsd => format!("{} USD", usd(amount)),
        Kind::Requests | Kind::Concurrent => amount.to_string(),
        Kind::Tokens => format!("{amount} tokens"),
    };
    let resets = ends_ms.map_or_else(String::new, |ends_ms| {
        format!("; the limit resets at {}, in {}", to_rfc3339(ends_ms), span(ends_ms.saturating_sub(now_ms)))
    });
    let what = limit.describe();
    let window_s = ends_ms
        .map(|ends_ms| u32::try_from(ends_ms.saturating_sub(now_ms).div_ceil(1000)).unwrap_or(u32::MAX));
    let spent = refusal.is_spent();
    let fit = match fit {
        None => String::new(),
        Some(0) => ", more than is left for its input alone".to_owned(),
        Some(tokens) => format!(", and a 'max_tokens' of up to {tokens} would fit"),
    };
    let (code, message, retry_s) = match limit.kind {
        Kind::Concurrent => (
            Code::RateLimitExceeded,
            format!(
                "this key may have {what}, and as many are in progress; retry when one of them has ended"
            ),
            Some(1),
        ),
        Kind::MicroUsd if spent => (
            Code::InsufficientQuota,
            format!(
                "this key may spend {what}, of which {} are left; this call needs up to {}{fit}{resets}",
                amount(left + held),
                amount(*needed)
            ),
            None,
        ),
        Kind::MicroUsd => (
            Code::RateLimitExceeded,
            format!(
                "this key may spend {what}; {} are left, {} are reserved for calls in progress, and this call needs up to {}{fit}. Retry when some of these calls have ended{resets}",
                amount(*left),
                amount(*held),
                amount(*needed)
            ),
            Some(1),
        ),
        Kind::Requests | Kind::Tokens => {
            let (code, retry_s) = if limit.span == Span::Minute {
                (Code::RateLimitExceeded, window_s.map(|seconds| seconds.min(MAX_WAIT_S)))
            } else if spent {
                (Code::InsufficientQuota, None)
            } else {
                // Most calls in progress use the amount that is reserved for them.
                (Code::RateLimitExceeded, Some(1))
            };
            let message = format!(
                "this key may use {what}, of which {} are left; this call needs {}{resets}",
                amount(*left),
                amount(*needed)
            );
            (code, message, retry_s)
        }
    };
    let error =
        Error::new(code, format!("The gateway rejected this call: {message}")).with_param(counter.clone());
    match retry_s {
        Some(seconds) => error.with_retry_after(seconds.max(1)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Retry;

    const NOW_MS: u64 = 1_795_355_101_000;

    fn limits() -> Vec<Limit> {
        [
            ("requests_per_minute", 60),
            ("requests_per_day", 100),
            ("usd_per_day groq/\"é", 5_000_000),
            ("concurrent", 4),
        ]
        .map(|(counter, amount)| Limit::of_counter(counter, amount).unwrap())
        .to_vec()
    }

    #[test]
    fn headers_have_the_tightest_limit_of_each_kind_and_a_list_of_all() {
        let left = |counter: &str| {
            let left = match counter {
                "requests_per_minute" => 59,
                "requests_per_day" => 7,
                _ => return None,
            };
            let window = Limit::of_counter(counter, 0).unwrap().span.window(NOW_MS);
            Some((left, window))
        };
        let headers = headers(&limits(), left, NOW_MS);
        let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            lines,
            [
                "x-ratelimit-limit-requests: 100",
                "x-ratelimit-remaining-requests: 7",
                "x-ratelimit-reset-requests: 10h14m59s",
                "ratelimit-policy: \"requests_per_minute\";q=60;w=60, \"requests_per_day\";q=100;w=86400, \
                 \"usd_per_day groq/\\\"?\";q=5000000;w=86400, \"concurrent\";q=4",
                "ratelimit: \"requests_per_minute\";r=59;t=59, \"requests_per_day\";r=7;t=36899, \
                 \"usd_per_day groq/\\\"?\";r=5000000;t=36899, \"concurrent\";r=4",
            ]
        );
        assert_eq!(super::headers(&[], |_| None, NOW_MS), []);
        assert_eq!([5, 60, 361, 3600].map(duration), ["5s", "1m0s", "6m1s", "1h0m0s"]);
    }

    #[test]
    fn a_spent_limit_that_lasts_longer_than_a_minute_makes_no_client_wait() {
        for counter in ["requests_per_day", "tokens_per_day", "usd_per_day", "usd_per_month", "usd_total"] {
            let ends_ms = Limit::of_counter(counter, 0).unwrap().span.window(NOW_MS).ends_ms;
            let spent = Refusal { counter: counter.into(), limit: 9, needed: 5, left: 4, held: 0, ends_ms };
            let error = refused(&spent, None, NOW_MS);
            assert_eq!((error.status, error.retry()), (402, Some(Retry::Never)), "{counter}");
            let held = refused(&Refusal { held: 1, ..spent }, None, NOW_MS);
            assert_eq!((held.status, held.retry()), (429, Some(Retry::After(1))), "{counter}");
        }
    }

    #[test]
    fn the_error_names_the_limit_the_amounts_and_the_reset() {
        let ends_ms = Limit::of_counter("usd_per_day", 0).unwrap().span.window(NOW_MS).ends_ms;
        let refusal = Refusal {
            counter: "usd_per_day".into(),
            limit: 5_000_000,
            needed: 100,
            left: 20,
            held: 0,
            ends_ms,
        };
        let error = refused(&refusal, Some(7), NOW_MS);
        assert!(error.is(Code::InsufficientQuota));
        assert_eq!((error.status, error.retry()), (402, Some(Retry::Never)));
        assert_eq!(
            error.message,
            "The gateway rejected this call: this key may spend 5 USD per day, of which 0.00002 USD are left; this call needs up \
             to 0.0001 USD, and a 'max_tokens' of up to 7 would fit; the limit resets at 2026-11-23T00:00:00Z, in 11 h"
        );
        assert_eq!(error.param.as_deref(), Some("usd_per_day"));
        let input = refused(&refusal, Some(0), NOW_MS);
        assert!(
            input.message.contains("more than is left for its input alone; the limit"),
            "{}",
            input.message
        );
        let held = refused(&Refusal { held: 1_000, ..refusal.clone() }, None, NOW_MS);
        assert!(
            held.is(Code::RateLimitExceeded) && held.message.contains("0.001 USD are reserved"),
            "{}",
            held.message
        );
        let total =
            refused(&Refusal { counter: "usd_total".into(), ends_ms: None, ..refusal.clone() }, None, NOW_MS);
        assert!(total.is(Code::InsufficientQuota) && !total.message.contains("resets"));
        let minute = Refusal {
            counter: "requests_per_minute groq/*".into(),
            limit: 60,
            needed: 1,
            left: 0,
            ends_ms: Some(NOW_MS + 59_000),
            ..refusal.clone()
        };
        let minute = refused(&minute, None, NOW_MS);
        assert!(minute.message.contains("60 requests per minute for groq/*, of which 0 are left"));
        assert_eq!((minute.status, minute.retry()), (429, Some(Retry::After(59))));
    }
}
