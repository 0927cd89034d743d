//! The limits that a policy can state.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::window::Span;
use crate::config::MicroUsd;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Calls that are sent to an upstream, each once, however many attempts it takes.
    Requests,
    /// Tokens, read and written.
    Tokens,
    /// Money, in micro-USD.
    MicroUsd,
    /// Calls that are under way at once.
    Concurrent,
}

/// The limits of a key, or of a key's use of some models. Absent: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Calls in a day, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u32>,
    /// Tokens, read and written, in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// Tokens in a day, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u32>,
    /// Calls at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// US dollars in a day, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_day: Option<MicroUsd>,
    /// US dollars in a calendar month, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_month: Option<MicroUsd>,
    /// US dollars in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_total: Option<MicroUsd>,
}

impl Limits {
    /// Each limit by its name: the one table of what there is.
    pub fn table(&self) -> [(&'static str, Kind, Span, Option<u64>); 8] {
        let number = |value: Option<u32>| value.map(u64::from);
        let money = |value: Option<MicroUsd>| value.map(|MicroUsd(micro)| micro);
        [
            ("requests_per_minute", Kind::Requests, Span::Minute, number(self.requests_per_minute)),
            ("requests_per_day", Kind::Requests, Span::Day, number(self.requests_per_day)),
            ("tokens_per_minute", Kind::Tokens, Span::Minute, number(self.tokens_per_minute)),
            ("tokens_per_day", Kind::Tokens, Span::Day, number(self.tokens_per_day)),
            ("concurrent", Kind::Concurrent, Span::Total, number(self.concurrent)),
            ("usd_per_day", Kind::MicroUsd, Span::Day, money(self.usd_per_day)),
            ("usd_per_month", Kind::MicroUsd, Span::Month, money(self.usd_per_month)),
            ("usd_total", Kind::MicroUsd, Span::Total, money(self.usd_total)),
        ]
    }
}

/// The name of a count: [`Limit::counter`].
pub type Counter = Cow<'static, str>;

/// One limit of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name in the configuration.
    pub name: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// How long.
    pub span: Span,
    /// The models that it is for, as the policy names them; `None`: all together.
    pub models: Option<String>,
    /// How much: calls, tokens, micro-USD.
    pub amount: u64,
}

impl Limit {
    /// The name of the count that it is held against: that of the limit, and of the models where it is for some only.
    pub fn counter(&self) -> Counter {
        match &self.models {
            None => Cow::Borrowed(self.name),
            Some(models) => Cow::Owned(format!("{} {models}", self.name)),
        }
    }

    /// The limit of a counter's name, with another amount. `None` if there is no such limit.
    pub fn of_counter(counter: &str, amount: u64) -> Option<Limit> {
        let (name, models) = match counter.split_once(' ') {
            Some((name, models)) => (name, Some(models.to_owned())),
            None => (counter, None),
        };
        let table = Limits::default().table();
        let (name, kind, span, _) = table.into_iter().find(|(known, ..)| *known == name)?;
        Some(Limit { name, kind, span, models, amount })
    }

    /// Adds a policy's limits to those of a key: of two of one kind the stricter counts.
    pub fn gather(limits: &mut Vec<Limit>, stated: &Limits, models: Option<&str>) {
        for (name, kind, span, amount) in stated.table() {
            let Some(amount) = amount else { continue };
            let same = |known: &&mut Limit| known.name == name && known.models.as_deref() == models;
            match limits.iter_mut().find(same) {
                Some(known) => known.amount = known.amount.min(amount),
                None => limits.push(Limit { name, kind, span, models: models.map(str::to_owned), amount }),
            }
        }
    }

    /// What it is, for people: `5 USD a day`, `60 requests a minute for openai/gpt-5`.
    pub fn describe(&self) -> String {
        let amount = self.amount;
        let what = match self.kind {
            Kind::Requests => format!("{amount} requests"),
            Kind::Tokens => format!("{amount} tokens"),
            Kind::MicroUsd => format!("{} USD", usd(amount)),
            Kind::Concurrent => format!("{amount} calls at once"),
        };
        let span = match (self.kind, self.span) {
            (Kind::Concurrent, _) => "",
            (_, Span::Minute) => " a minute",
            (_, Span::Day) => " a day",
            (_, Span::Month) => " a month",
            (_, Span::Total) => " in all",
        };
        let models = self.models.as_ref().map_or_else(String::new, |models| format!(" for {models}"));
        format!("{what}{span}{models}")
    }
}

/// Micro-USD as US dollars, exactly: `0.000123`, `5`.
pub fn usd(micro: u64) -> String {
    let (whole, fraction) = (micro / 1_000_000, micro % 1_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{fraction:06}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_of_two_limits_counts() {
        let mut limits = Vec::new();
        let stated = |requests, usd| Limits {
            requests_per_minute: requests,
            usd_per_day: Some(MicroUsd(usd)),
            ..Limits::default()
        };
        Limit::gather(&mut limits, &stated(Some(60), 5_000_000), None);
        Limit::gather(&mut limits, &stated(None, 2_500_000), None);
        Limit::gather(&mut limits, &stated(Some(70), 1), Some("groq/*"));
        let shown: Vec<_> = limits.iter().map(|limit| (limit.counter(), limit.describe())).collect();
        let expected = [
            ("requests_per_minute", "60 requests a minute"),
            ("usd_per_day", "2.5 USD a day"),
            ("requests_per_minute groq/*", "70 requests a minute for groq/*"),
            ("usd_per_day groq/*", "0.000001 USD a day for groq/*"),
        ];
        assert_eq!(shown, expected.map(|(counter, text)| (Cow::Borrowed(counter), text.to_owned())));
        for limit in limits {
            assert_eq!(Limit::of_counter(&limit.counter(), limit.amount), Some(limit));
        }
        assert_eq!(Limit::of_counter("nothing", 1), None);
    }
}
