//! The limits of keys: of their policies, and of their own.

use std::borrow::Cow;

use super::window::Span;
use crate::config::{Config, Limits};
use crate::error::Error;
use crate::key::IssuedKey;
use crate::money::{MicroUsd, usd};

/// The quantity that a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Calls that are sent to an upstream; a call counts once, however many attempts it takes.
    Requests,
    /// Input and output tokens.
    Tokens,
    /// Money, in micro-USD.
    MicroUsd,
    /// Concurrent calls.
    Concurrent,
}

/// The table of limits: name, kind, span and amount of each.
pub fn table(stated: &Limits) -> [(&'static str, Kind, Span, Option<u64>); 8] {
    let number = |value: Option<u32>| value.map(u64::from);
    let money = |value: Option<MicroUsd>| value.map(|MicroUsd(micro)| micro);
    [
        ("requests_per_minute", Kind::Requests, Span::Minute, number(stated.requests_per_minute)),
        ("requests_per_day", Kind::Requests, Span::Day, number(stated.requests_per_day)),
        ("tokens_per_minute", Kind::Tokens, Span::Minute, number(stated.tokens_per_minute)),
        ("tokens_per_day", Kind::Tokens, Span::Day, number(stated.tokens_per_day)),
        ("concurrent", Kind::Concurrent, Span::Total, number(stated.concurrent)),
        ("usd_per_day", Kind::MicroUsd, Span::Day, money(stated.usd_per_day)),
        ("usd_per_month", Kind::MicroUsd, Span::Month, money(stated.usd_per_month)),
        ("usd_total", Kind::MicroUsd, Span::Total, money(stated.usd_total)),
    ]
}

/// The name of a counter: see [`Limit::counter`].
pub type Counter = Cow<'static, str>;

/// One limit of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The name in the configuration.
    pub name: &'static str,
    /// The quantity that it counts.
    pub kind: Kind,
    /// The span over which it counts.
    pub span: Span,
    /// The models that it applies to, as the policy names them; `None` for all together.
    pub models: Option<String>,
    /// The models behind `models`, as `provider/model`, if that is an alias or a group.
    pub behind: Vec<String>,
    /// The amount, in calls, tokens or micro-USD.
    pub amount: u64,
}

impl Limit {
    /// The name of its counter: the name of the limit, followed by the models if it applies only to some.
    pub fn counter(&self) -> Counter {
        match &self.models {
            None => Cow::Borrowed(self.name),
            Some(models) => Cow::Owned(format!("{} {models}", self.name)),
        }
    }

    /// The limit for a counter's name, with the given amount. `None` if there is no such limit.
    pub fn of_counter(counter: &str, amount: u64) -> Option<Limit> {
        let (name, models) = match counter.split_once(' ') {
            Some((name, models)) => (name, Some(models.to_owned())),
            None => (counter, None),
        };
        let table = table(&Limits::default());
        let (name, kind, span, _) = table.into_iter().find(|(known, ..)| *known == name)?;
        Some(Limit { name, kind, span, models, behind: Vec::new(), amount })
    }

    /// The limits of a key: its own and those of its policies. Of several limits of one kind, the strictest counts.
    pub fn of_key(key: &IssuedKey, config: &Config) -> Result<Vec<Limit>, Error> {
        let mut limits = Vec::new();
        Limit::gather(&mut limits, &key.limits, None);
        for policy in key.policies(config)? {
            Limit::gather(&mut limits, &policy.limits, None);
            for (models, stated) in &policy.model_limits {
                Limit::gather(&mut limits, stated, Some(models));
            }
        }
        for limit in &mut limits {
            limit.behind = limit.models.as_deref().map_or_else(Vec::new, |models| config.behind(models));
        }
        Ok(limits)
    }

    /// Adds a policy's limits to those of a key; the stricter of two limits of one kind counts.
    fn gather(limits: &mut Vec<Limit>, stated: &Limits, models: Option<&str>) {
        for (name, kind, span, amount) in table(stated) {
            let Some(amount) = amount else { continue };
            let same = |known: &&mut Limit| known.name == name && known.models.as_deref() == models;
            if let Some(known) = limits.iter_mut().find(same) {
                known.amount = known.amount.min(amount);
            } else {
                let models = models.map(str::to_owned);
                limits.push(Limit { name, kind, span, models, behind: Vec::new(), amount });
            }
        }
    }

    /// A description for people: `5 USD per day`, `60 requests per minute for openai/gpt-5`.
    pub fn describe(&self) -> String {
        let amount = self.amount;
        let what = match self.kind {
            Kind::Requests => format!("{amount} requests"),
            Kind::Tokens => format!("{amount} tokens"),
            Kind::MicroUsd => format!("{} USD", usd(amount)),
            Kind::Concurrent => format!("{amount} concurrent calls"),
        };
        let span = match (self.kind, self.span) {
            (Kind::Concurrent, _) => "",
            (_, Span::Minute) => " per minute",
            (_, Span::Day) => " per day",
            (_, Span::Month) => " per month",
            (_, Span::Total) => " in total",
        };
        let models = self.models.as_ref().map_or_else(String::new, |models| format!(" for {models}"));
        format!("{what}{span}{models}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_policies_the_strictest_limit_counts() {
        let config: Config = serde_json::from_value(serde_json::json!({"policies": {
            "small": {"limits": {"requests_per_minute": 10}},
            "big": {"limits": {"requests_per_minute": 5}, "model_limits": {"groq/*": {"usd_per_day": 0.5}}},
        }}))
        .unwrap();
        let of = |policies: &[&str]| {
            let policies = policies.iter().map(|name| (*name).to_owned()).collect();
            let limits = Limit::of_key(&IssuedKey { policies, ..IssuedKey::default() }, &config).unwrap();
            limits.iter().map(|limit| (limit.counter().into_owned(), limit.amount)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), []);
        let both = [("requests_per_minute".to_owned(), 5), ("usd_per_day groq/*".to_owned(), 500_000)];
        assert_eq!(of(&["small", "big"]), both);
        let own = Limits { requests_per_minute: Some(7), tokens_per_day: Some(9), ..Limits::default() };
        let key = IssuedKey { policies: vec!["small".to_owned()], limits: own, ..IssuedKey::default() };
        let limits = Limit::of_key(&key, &config).unwrap();
        let found: Vec<_> = limits.iter().map(|limit| (limit.name, limit.amount)).collect();
        assert_eq!(found, [("requests_per_minute", 7), ("tokens_per_day", 9)]);
    }

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
        let described: Vec<_> = limits.iter().map(|limit| (limit.counter(), limit.describe())).collect();
        let expected = [
            ("requests_per_minute", "60 requests per minute"),
            ("usd_per_day", "2.5 USD per day"),
            ("requests_per_minute groq/*", "70 requests per minute for groq/*"),
            ("usd_per_day groq/*", "0.000001 USD per day for groq/*"),
        ];
        assert_eq!(described, expected.map(|(counter, text)| (Cow::Borrowed(counter), text.to_owned())));
        for limit in limits {
            assert_eq!(Limit::of_counter(&limit.counter(), limit.amount), Some(limit));
        }
        assert_eq!(Limit::of_counter("nothing", 1), None);
    }
}
