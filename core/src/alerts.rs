//! Alerts: conditions of which operators are notified once when they begin, once at each further level, and once when they
//! end.
//!
//! This module decides when a condition holds, and writes the notifications. It stores nothing: the Worker keeps the
//! conditions that hold in the database, and writes each change of one together with its notifications.

use serde::Serialize;

use crate::config::Alerts;
use crate::health::Lanes;
use crate::json;
use crate::ledger::{Kind as LimitKind, Limit, Span, State};
use crate::money::usd;
use crate::onboarding::webhook;
use crate::time::to_rfc3339;

/// A kind of condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key has used a share of a limit. The level is the share, in percent.
    Budget,
    /// A key expires soon.
    KeyExpiring,
    /// Almost every call to a provider fails.
    ProviderFailing,
    /// Many calls to a provider fail.
    ErrorRate,
    /// Key requests wait for an operator.
    RequestsWaiting,
    /// A test.
    Test,
}

impl Kind {
    /// The kinds of conditions that hold for some time: all but the test.
    pub const ALL: [Kind; 5] =
        [Kind::Budget, Kind::KeyExpiring, Kind::ProviderFailing, Kind::ErrorRate, Kind::RequestsWaiting];

    /// Returns `true` if operators want alerts of the kind.
    pub fn is_on(self, config: &Alerts) -> bool {
        match self {
            Kind::Budget => !config.budget_percent.is_empty(),
            Kind::KeyExpiring => config.key_expires_days > 0,
            Kind::ProviderFailing => config.provider_failing,
            Kind::ErrorRate => config.error_rate_percent > 0,
            Kind::RequestsWaiting => config.requests_waiting_hours > 0,
            Kind::Test => true,
        }
    }

    /// The name in documents and in storage.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Budget => "budget",
            Kind::KeyExpiring => "key_expiring",
            Kind::ProviderFailing => "provider_failing",
            Kind::ErrorRate => "error_rate",
            Kind::RequestsWaiting => "requests_waiting",
            Kind::Test => "test",
        }
    }
}

/// Returns `true` if operators want any alert.
pub fn any_is_on(config: &Alerts) -> bool {
    Kind::ALL.iter().any(|kind| kind.is_on(config))
}

/// A way to notify operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The signed webhook.
    Webhook,
    /// A URL that takes Slack's JSON.
    Slack,
    /// E-mail.
    Email,
}

impl Channel {
    /// All channels.
    pub const ALL: [Channel; 3] = [Channel::Webhook, Channel::Slack, Channel::Email];

    /// The name in documents and in storage.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Webhook => "webhook",
            Channel::Slack => "slack",
            Channel::Email => "email",
        }
    }
}

/// A condition that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The kind.
    pub kind: Kind,
    /// The subject, which with the kind names the condition: a key, with the limit; a provider; empty for key requests.
    pub subject: String,
    /// The level, from 1.
    pub level: u32,
    /// One sentence for people, without its full stop.
    pub message: String,
    /// The time at which the condition ends by itself, in milliseconds since 1970.
    pub ends_ms: Option<u64>,
}

/// A condition in `GET /v0/alerts` and in webhooks. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertDocument {
    /// The name of the kind.
    pub alert: String,
    /// The subject.
    pub subject: String,
    /// `firing` or `resolved`.
    pub state: &'static str,
    /// The level: for a budget the share in percent, otherwise 1.
    pub level: u32,
    /// One sentence for people.
    pub message: String,
    /// The time since which the level holds.
    pub since: String,
    /// The time at which it ends by itself.
    pub ends_at: Option<String>,
}

impl AlertDocument {
    /// The document of a condition that holds since a time.
    pub fn firing(alert: &Alert, since_ms: u64) -> AlertDocument {
        AlertDocument {
            alert: alert.kind.name().to_owned(),
            subject: alert.subject.clone(),
            state: "firing",
            level: alert.level,
            message: alert.message.clone(),
            since: to_rfc3339(since_ms),
            ends_at: alert.ends_ms.map(to_rfc3339),
        }
    }

    /// The body of the notification on a channel.
    pub fn body(&self, channel: Channel, now_ms: u64) -> String {
        #[derive(Serialize)]
        struct Slack {
            text: String,
        }
        let event = match (self.alert.as_str(), self.state) {
            ("test", _) => "alert_event.test",
            (_, "firing") => "alert_event.firing",
            _ => "alert_event.resolved",
        };
        let sentence = match self.state {
            "firing" => format!("{}.", self.message),
            _ => format!("Resolved: {}.", self.message),
        };
        match channel {
            Channel::Webhook => webhook::body(event, now_ms, self),
            Channel::Slack => json::to_text(&Slack { text: escaped(&sentence) }),
            Channel::Email => sentence,
        }
    }
}

/// A change of a condition in `GET /v0/alerts`. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertChange {
    /// The time of the change.
    pub at: String,
    /// The name of the kind.
    pub alert: String,
    /// The subject.
    pub subject: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// The level.
    pub level: u32,
    /// One sentence for people.
    pub message: String,
    /// Its notifications.
    pub deliveries: Vec<Delivery>,
}

/// The notification of a change on one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The name of the channel.
    pub channel: String,
    /// `delivered`, `pending` or `failed`.
    pub state: &'static str,
    /// The number of failed attempts; `None` after the delivery, when it is no longer known.
    pub failed_attempts: Option<u32>,
}

/// Escapes the characters that Slack reads as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The highest of the shares, in percent, that the used amount of a limit has reached; 0 if none. A limit that rejects calls
/// has reached all of them, even if a part of it is left that is too small for a call.
pub fn budget_level(shares: &[u32], limit: &Limit, used: u64, is_spent: bool) -> u32 {
    let reached =
        |share: &&u32| is_spent || u128::from(used) * 100 >= u128::from(limit.amount) * u128::from(**share);
    shares.iter().filter(reached).max().copied().unwrap_or(0)
}

/// Returns `true` if a limit is a budget: it lasts longer than a minute and is not of concurrent calls.
pub fn is_budget(limit: &Limit) -> bool {
    limit.kind != LimitKind::Concurrent && limit.span != Span::Minute
}

/// The alert of a key that has reached a share of a limit.
pub fn budget(key: &str, limit: &Limit, state: &State, level: u32) -> Alert {
    let used = match limit.kind {
        LimitKind::MicroUsd => format!("{} USD", usd(state.used)),
        LimitKind::Requests => format!("{} requests", state.used),
        LimitKind::Tokens | LimitKind::Concurrent => format!("{} tokens", state.used),
    };
    Alert {
        kind: Kind::Budget,
        subject: budget_subject(key, &limit.counter()),
        level,
        message: format!("The key '{key}' has used {used} of its limit of {}", limit.describe()),
        ends_ms: state.ends_ms,
    }
}

/// The subject of a budget alert.
pub fn budget_subject(key: &str, counter: &str) -> String {
    format!("{key} {counter}")
}

/// The alert of a key that expires soon.
pub fn key_expiring(key: &str, expires_ms: u64) -> Alert {
    Alert {
        kind: Kind::KeyExpiring,
        subject: key.to_owned(),
        level: 1,
        message: format!("The key '{key}' expires at {}", to_rfc3339(expires_ms)),
        ends_ms: Some(expires_ms),
    }
}

/// The alert of pending key requests, of which the oldest came at `oldest_ms`.
pub fn requests_waiting(count: u64, oldest_ms: u64) -> Alert {
    let message = match count {
        1 => format!("A key request waits for an operator since {}", to_rfc3339(oldest_ms)),
        _ => format!("{count} key requests wait for an operator, the oldest since {}", to_rfc3339(oldest_ms)),
    };
    Alert { kind: Kind::RequestsWaiting, subject: String::new(), level: 1, message, ends_ms: None }
}

/// The alert of `POST /v0/alerts/test`.
pub fn test(actor: &str) -> Alert {
    let message = format!("This is a test of the alerts of Gatehouse, sent by '{actor}'");
    Alert { kind: Kind::Test, subject: actor.to_owned(), level: 1, message, ends_ms: None }
}

/// The weight of failures at which a provider counts as failing, and below which it no longer does. The weight of a failure
/// halves every two minutes.
const FAILING: f64 = 2.5;
const FAILING_STILL: f64 = 0.5;
/// The weight of calls at which an error rate counts, and below which it no longer does.
const COUNTED: f64 = 20.0;
const COUNTED_STILL: f64 = 5.0;

/// The conditions of providers that hold. `holds` returns `true` if the condition of a provider held before: it ends only
/// when it is clearly over, so that a rate near the limit does not alternate.
pub fn of_providers(
    lanes: &Lanes,
    config: &Alerts,
    holds: impl Fn(Kind, &str) -> bool,
    now_ms: u64,
) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (provider, [good, bad]) in lanes.outcomes(now_ms) {
        let weight = good + bad;
        let share = if weight > 0.0 { bad / weight } else { 0.0 };
        let is_failing = if holds(Kind::ProviderFailing, provider) {
            bad >= FAILING_STILL && share >= 0.5
        } else {
            bad >= FAILING && share >= 0.9
        };
        let limit = f64::from(config.error_rate_percent) / 100.0;
        let is_above = if holds(Kind::ErrorRate, provider) {
            weight >= COUNTED_STILL && share >= limit * 0.8
        } else {
            weight >= COUNTED && share >= limit
        };
        let mut add = |kind, message| {
            alerts.push(Alert { kind, subject: provider.to_owned(), level: 1, message, ends_ms: None });
        };
        if Kind::ProviderFailing.is_on(config) && is_failing {
            add(Kind::ProviderFailing, format!("Almost every call to the provider '{provider}' fails"));
        }
        if Kind::ErrorRate.is_on(config) && is_above {
            let percent = config.error_rate_percent;
            let message = format!(
                "At least {percent} % of the calls to the provider '{provider}' failed in the last minutes"
            );
            add(Kind::ErrorRate, message);
        }
    }
    alerts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lanes(outcomes: &[(&str, f64, f64)]) -> Lanes {
        let records: Vec<Value> = outcomes
            .iter()
            .map(|(provider, good, bad)| {
                json!({"provider": provider, "model": "m", "key": 0, "lane": {"recent": {"at_ms": 1000, "good": good, "bad": bad}}})
            })
            .collect();
        serde_json::from_value(records.into()).unwrap()
    }

    fn kinds(alerts: &[Alert]) -> Vec<(&'static str, &str)> {
        alerts.iter().map(|alert| (alert.kind.name(), alert.subject.as_str())).collect()
    }

    #[test]
    fn a_budget_has_the_highest_level_that_it_has_reached() {
        let limit = Limit::of_counter("usd_per_day", 5_000_000).unwrap();
        for (used, is_spent, level) in [
            (0, false, 0),
            (3_999_999, false, 0),
            (4_000_000, false, 80),
            (4_999_999, false, 80),
            (5_000_000, false, 100),
            (4_100_000, true, 100),
        ] {
            assert_eq!(budget_level(&[100, 80], &limit, used, is_spent), level, "{used}");
        }
        assert_eq!(budget_level(&[], &limit, 5_000_000, true), 0);
        let state = State { used: 4_020_000, held: 0, unconfirmed: 0, left: 0, ends_ms: Some(0) };
        let alert = budget("ci", &limit, &state, 80);
        assert_eq!(alert.message, "The key 'ci' has used 4.02 USD of its limit of 5 USD per day");
        assert_eq!((alert.subject.as_str(), alert.ends_ms), ("ci usd_per_day", Some(0)));
        assert!(is_budget(&limit) && !is_budget(&Limit::of_counter("requests_per_minute", 1).unwrap()));
    }

    #[test]
    fn each_kind_has_its_setting() {
        let on = |config: Alerts| {
            assert_eq!(any_is_on(&config), config != Alerts::default());
            Kind::ALL.into_iter().filter(|kind| kind.is_on(&config)).map(Kind::name).collect::<Vec<_>>()
        };
        assert!(on(Alerts::default()).is_empty());
        assert_eq!(on(Alerts { budget_percent: vec![80], ..Alerts::default() }), ["budget"]);
        assert_eq!(on(Alerts { key_expires_days: 1, ..Alerts::default() }), ["key_expiring"]);
        assert_eq!(on(Alerts { provider_failing: true, ..Alerts::default() }), ["provider_failing"]);
        assert_eq!(on(Alerts { error_rate_percent: 1, ..Alerts::default() }), ["error_rate"]);
        assert_eq!(on(Alerts { requests_waiting_hours: 1, ..Alerts::default() }), ["requests_waiting"]);
    }

    #[test]
    fn conditions_of_providers_begin_and_end_apart() {
        let config = Alerts { provider_failing: true, error_rate_percent: 25, ..Alerts::default() };
        let all =
            lanes(&[("a", 0.0, 3.0), ("b", 15.0, 5.0), ("c", 100.0, 1.0), ("d", 0.0, 1.0), ("e", 0.0, 0.0)]);
        let found = of_providers(&all, &config, |_, _| false, 1000);
        assert_eq!(kinds(&found), [("provider_failing", "a"), ("error_rate", "b")]);
        let later = 1000 + 240_000; // a quarter of the weight is left
        assert!(of_providers(&all, &config, |_, _| false, later).is_empty());
        let found = of_providers(&all, &config, |_, _| true, later);
        assert_eq!(kinds(&found), [("provider_failing", "a"), ("error_rate", "b")]);
        assert!(of_providers(&all, &config, |_, _| true, later + 480_000).is_empty());
        assert!(of_providers(&all, &Alerts::default(), |_, _| true, 1000).is_empty());
    }

    #[test]
    fn each_channel_has_its_body() {
        let document = AlertDocument::firing(&key_expiring("<ci>", 0), 1000);
        assert_eq!(
            document.body(Channel::Webhook, 2000),
            concat!(
                r#"{"type":"alert_event.firing","timestamp":"1970-01-01T00:00:02Z","event":"alert_event.firing","#,
                r#""data":{"alert":"key_expiring","subject":"<ci>","state":"firing","level":1,"#,
                r#""message":"The key '<ci>' expires at 1970-01-01T00:00:00Z","since":"1970-01-01T00:00:01Z","#,
                r#""ends_at":"1970-01-01T00:00:00Z"}}"#,
            )
        );
        assert_eq!(
            document.body(Channel::Slack, 0),
            r#"{"text":"The key '&lt;ci&gt;' expires at 1970-01-01T00:00:00Z."}"#
        );
        let resolved = AlertDocument { state: "resolved", ..document };
        assert_eq!(
            resolved.body(Channel::Email, 0),
            "Resolved: The key '<ci>' expires at 1970-01-01T00:00:00Z."
        );
        assert_eq!(
            requests_waiting(2, 0).message,
            "2 key requests wait for an operator, the oldest since 1970-01-01T00:00:00Z"
        );
    }
}
