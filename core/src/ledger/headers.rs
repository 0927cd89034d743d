//! What callers are told of limits: the headers of answers, the words of a refusal, and how their account stands.
//!
//! `x-ratelimit-*` is what OpenAI's clients know. `RateLimit` and `RateLimit-Policy` are those of
//! draft-ietf-httpapi-ratelimit-headers (-08 and later): a draft, so they come in addition.

use std::fmt::Write as _;

use super::limit::{Counter, Kind, Limit};
use super::message::Refusal;
use super::window::{Span, Window};
use crate::error::{Code, Error};
use crate::money::usd;
use crate::time::to_rfc3339;

/// The names of the headers of requests and of tokens: limit, remaining, reset.
const OPENAI_HEADERS: [(Kind, [&str; 3]); 2] = [
    (
        Kind::Requests,
        ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ),
    (Kind::Tokens, ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]),
];

/// The headers for a key's limits. `left` is what is left of a counter, and its window, as far as that is known here.
pub fn headers(
    limits: &[Limit],
    left: impl Fn(&str) -> Option<(u64, Window)>,
    now_ms: u64,
) -> Vec<(&'static str, String)> {
    let standing: Vec<Standing<'_>> = limits
        .iter()
        .map(|limit| {
            let counter = limit.counter();
            let (left, window) = left(&counter).unwrap_or_else(|| (limit.amount, limit.span.window(now_ms)));
            let reset_s = window.ends_ms.map(|ends_ms| ends_ms.saturating_sub(now_ms).div_ceil(1000));
            Standing { limit, counter, left: left.min(limit.amount), reset_s }
        })
        .collect();
    let mut headers = Vec::with_capacity(2 * OPENAI_HEADERS.len() + 4);
    for (kind, names) in OPENAI_HEADERS {
        // The tightest: that of which the smallest part is left.
        let share = |of: &&Standing<'_>| of.left.saturating_mul(1_000_000) / of.limit.amount.max(1);
        let of_kind = standing.iter().filter(|of| of.limit.kind == kind);
        let Some(of) = of_kind.min_by_key(share) else { continue };
        let values = [of.limit.amount.to_string(), of.left.to_string(), duration(of.reset_s.unwrap_or(0))];
        headers.extend(names.into_iter().zip(values));
    }
    let (mut policy, mut state) = (String::with_capacity(256), String::with_capacity(256));
    for Standing { limit, counter, left, reset_s } in standing {
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

/// Adds a counter to a list, with its numbers behind their marks.
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

/// How a limit stands.
struct Standing<'l> {
    limit: &'l Limit,
    counter: Counter,
    left: u64,
    /// In how many seconds its window ends; `None`: never.
    reset_s: Option<u64>,
}

/// Writes a string of a structured field (RFC 9651, section 3.3.3). What is not visible ASCII cannot stand in one.
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

/// A time as OpenAI writes it: `12s`, `6m0s`, `1h0m0s`.
fn duration(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The error for a refusal.
pub fn refused(refusal: &Refusal, now_ms: u64) -> Error {
    let Refusal { counter, limit, needed, left, held, ends_ms } = refusal;
    let Some(limit) = Limit::of_counter(counter, *limit) else {
        return Error::new(Code::InternalError, "A limit that nobody knows was reached");
    };
    let amount = |amount: u64| match limit.kind {
        Kind::MicroUsd => format!("{} USD", usd(amount)),
        Kind::Requests | Kind::Concurrent => amount.to_string(),
        Kind::Tokens => format!("{amount} tokens"),
    };
    let resets =
        ends_ms.map_or_else(String::new, |ends_ms| format!("; it begins anew at {}", to_rfc3339(ends_ms)));
    let what = limit.describe();
    let window_s = ends_ms
        .map(|ends_ms| u32::try_from(ends_ms.saturating_sub(now_ms).div_ceil(1000)).unwrap_or(u32::MAX));
    let spent = refusal.is_spent();
    let (code, words, retry_s) = match limit.kind {
        Kind::Concurrent => {
            (Code::RateLimitExceeded, format!("this key may have {what}, and so many are under way"), Some(1))
        }
        Kind::MicroUsd if spent => (
            Code::InsufficientQuota,
            format!(
                "this key may spend {what}, of which {} are left; this call needs up to {}{resets}",
                amount(left + held),
                amount(*needed)
            ),
            window_s,
        ),
        Kind::MicroUsd => (
            Code::RateLimitExceeded,
            format!(
                "this key may spend {what}; {} are left, {} are set aside for calls that are under way, and this call needs up to {}. Try again when some of them have ended{resets}",
                amount(*left),
                amount(*held),
                amount(*needed)
            ),
            Some(1),
        ),
        Kind::Requests | Kind::Tokens => {
            // What is set aside for calls under way is used by most of them.
            let retry_s = if limit.span == Span::Minute || spent { window_s } else { Some(1) };
            let words = format!(
                "this key may make {what}, of which {} are left; this call needs {}{resets}",
                amount(*left),
                amount(*needed)
            );
            (Code::RateLimitExceeded, words, retry_s)
        }
    };
    let error =
        Error::new(code, format!("The gateway refused this call: {words}")).with_param(counter.clone());
    match retry_s {
        Some(seconds) => error.with_retry_after(seconds.max(1)),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn headers_tell_the_tightest_of_each_kind_and_all_of_them() {
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
        let shown: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            shown,
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
    fn a_refusal_says_which_limit_and_when_it_begins_anew() {
        let ends_ms = Limit::of_counter("usd_per_day", 0).unwrap().span.window(NOW_MS).ends_ms;
        let refusal = Refusal {
            counter: "usd_per_day".into(),
            limit: 5_000_000,
            needed: 100,
            left: 20,
            held: 0,
            ends_ms,
        };
        let error = refused(&refusal, NOW_MS);
        assert!(error.is(Code::InsufficientQuota));
        assert_eq!(
            error.message,
            "The gateway refused this call: this key may spend 5 USD a day, of which 0.00002 USD are left; this call needs up \
             to 0.0001 USD; it begins anew at 2026-11-23T00:00:00Z"
        );
        assert_eq!(error.param.as_deref(), Some("usd_per_day"));
        let held = refused(&Refusal { held: 1_000, ..refusal.clone() }, NOW_MS);
        assert!(
            held.is(Code::RateLimitExceeded) && held.message.contains("0.001 USD are set aside"),
            "{}",
            held.message
        );
        let total =
            refused(&Refusal { counter: "usd_total".into(), ends_ms: None, ..refusal.clone() }, NOW_MS);
        assert!(total.is(Code::InsufficientQuota) && !total.message.contains("anew"));
        let minute = Refusal {
            counter: "requests_per_minute groq/*".into(),
            limit: 60,
            needed: 1,
            left: 0,
            ..refusal
        };
        assert!(
            refused(&minute, NOW_MS).message.contains("60 requests a minute for groq/*, of which 0 are left")
        );
    }
}
