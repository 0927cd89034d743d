//! The providers at work: the outcome of each attempt, its time and its charge.
//!
//! Random numbers belong to the call, the model and the number of the attempt: the same call to the same model gets the
//! same outcome under every policy. Only limits depend on what was sent before.

use std::collections::BTreeMap;

use gatehouse_core::error::{Code, Error};
use gatehouse_core::format::upstream_error;
use gatehouse_core::health::day_end_ms;

use crate::rng::Rng;
use crate::scenario::{Call, Counting, Fate, Fault, Model, Provider, Scenario, Spot, World};

/// The time limits of an attempt, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// Until the status line.
    pub first_byte_ms: u64,
    /// The longest silence after it.
    pub stall_ms: u64,
    /// Until the end.
    pub total_ms: u64,
}

/// The outcome of an attempt.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The time of the first content, of the whole response, or of the failure, in milliseconds since 1970.
    pub settled_ms: u64,
    /// The status; 0 if there was no response.
    pub status: u16,
    /// The response, or the error.
    pub result: Result<Response, Error>,
    /// True if the failure came inside a stream: a gateway that does not hold streams back has responded by then.
    pub inside: bool,
    /// The headers that routing reads.
    pub headers: Vec<(&'static str, String)>,
    /// The charge, in micro-USD.
    pub charge: f64,
}

impl Outcome {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }
}

/// A response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// The time of its end, in milliseconds since 1970.
    pub ends_ms: u64,
    /// True if the stream breaks off.
    pub cut: bool,
}

/// The providers.
#[derive(Debug)]
pub struct Fleet<'w> {
    world: &'w World,
    meters: BTreeMap<Spot, Meter>,
}

/// The usage of one model with one key.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    /// The start of the current fixed minute, or the time of the last update of the buckets.
    at_ms: u64,
    requests: f64,
    tokens: f64,
    day_end_ms: u64,
    today: u32,
}

impl Meter {
    /// Updates the meter to the current time.
    fn update(&mut self, provider: &Provider, now_ms: u64) {
        match provider.counting {
            Counting::Fixed if now_ms >= self.at_ms + 60_000 => {
                (self.at_ms, self.requests, self.tokens) = (now_ms, 0.0, 0.0);
            }
            Counting::Fixed => {}
            Counting::Bucket => {
                let share = now_ms.saturating_sub(self.at_ms) as f64 / 60_000.0;
                let drained = |used: f64, limit: Option<u32>| {
                    limit.map_or(0.0, |limit| (used - share * f64::from(limit)).max(0.0))
                };
                self.requests = drained(self.requests, provider.per_minute);
                self.tokens = drained(self.tokens, provider.tokens_per_minute);
                self.at_ms = now_ms;
            }
        }
        if now_ms >= self.day_end_ms {
            (self.day_end_ms, self.today) = (day_end_ms(now_ms), 0);
        }
    }

    /// The time in milliseconds until there is room for a call of `tokens` tokens; 0 if there is room now.
    fn wait_ms(&self, provider: &Provider, tokens: f64, now_ms: u64) -> u64 {
        if provider.per_day.is_some_and(|limit| self.today >= limit) {
            return self.day_end_ms.saturating_sub(now_ms).max(1);
        }
        let over = |used: f64, more: f64, limit: Option<u32>| {
            let limit = f64::from(limit?);
            // A call that is larger than the limit itself is accepted once the full limit is available.
            let missing = (used + more.min(limit) - limit).max(0.0);
            (missing > 1e-6).then_some(missing / limit)
        };
        let missing = [
            over(self.requests, 1.0, provider.per_minute),
            over(self.tokens, tokens, provider.tokens_per_minute),
        ];
        let missing = missing.into_iter().flatten().fold(0.0, f64::max);
        match provider.counting {
            _ if missing == 0.0 => 0,
            Counting::Fixed => (self.at_ms + 60_000).saturating_sub(now_ms).max(1),
            Counting::Bucket => ((missing * 60_000.0).ceil() as u64).max(1),
        }
    }

    fn headers(&self, provider: &Provider, now_ms: u64) -> Vec<(&'static str, String)> {
        let reset = |used: f64, limit: f64| {
            let ms = match provider.counting {
                Counting::Fixed => (self.at_ms + 60_000).saturating_sub(now_ms),
                Counting::Bucket => (used / limit * 60_000.0).ceil() as u64,
            };
            format!("{}.{:03}s", ms / 1000, ms % 1000)
        };
        let mut headers = Vec::new();
        if let Some(limit) = provider.per_minute {
            let left = (f64::from(limit) - self.requests).max(0.0) as u64;
            headers.push(("x-ratelimit-limit-requests", limit.to_string()));
            headers.push(("x-ratelimit-remaining-requests", left.to_string()));
            headers.push(("x-ratelimit-reset-requests", reset(self.requests, limit.into())));
        }
        if let Some(limit) = provider.tokens_per_minute {
            let left = (f64::from(limit) - self.tokens).max(0.0) as u64;
            headers.push(("x-ratelimit-limit-tokens", limit.to_string()));
            headers.push(("x-ratelimit-remaining-tokens", left.to_string()));
            headers.push(("x-ratelimit-reset-tokens", reset(self.tokens, limit.into())));
        }
        headers
    }
}

/// The troubles of one attempt.
#[derive(Default)]
struct Troubles {
    fault: Option<Fault>,
    slow: f64,
    dead_key: bool,
}

fn troubles(scenario: &Scenario, spot: Spot, now_ms: u64, rng: &mut Rng) -> Troubles {
    let mut troubles = Troubles { slow: 1.0, ..Troubles::default() };
    for incident in &scenario.incidents {
        // A number is drawn for each incident, so that an additional incident does not change the others.
        let hit = rng.chance(incident.share);
        let is_on =
            incident.provider == spot.provider && incident.from_ms <= now_ms && now_ms < incident.until_ms;
        match incident.fault {
            _ if !hit || !is_on => {}
            Fault::Slow(times) => troubles.slow *= times,
            Fault::DeadKey(key) => troubles.dead_key |= key == spot.key,
            fault => troubles.fault = troubles.fault.or(Some(fault)),
        }
    }
    troubles
}

impl<'w> Fleet<'w> {
    /// Creates the providers of a world, with unused limits.
    pub fn new(world: &'w World) -> Fleet<'w> {
        Fleet { world, meters: BTreeMap::new() }
    }

    /// Sends a call. `nth` is the number of the attempt among those of the call. Calls must be sent in the order of
    /// time.
    pub fn send(
        &mut self,
        spot: Spot,
        call: &Call,
        nth: u32,
        now_ms: u64,
        time_limits: TimeLimits,
    ) -> Outcome {
        let (Some(provider), Some(model)) = (self.world.provider(spot), self.world.model(spot)) else {
            return rejected(now_ms, "none", 404, &[]);
        };
        let model_number = (spot.provider * 100 + spot.model) as u64;
        let mut rng = Rng::of(&[self.world.scenario.seed, 0xF1EE7, call.id as u64, model_number, nth.into()]);
        let (short_ms, varied) = (rng.within(60, 400), (rng.normal() * provider.varying).exp());
        let (failing, when) = (rng.chance(provider.failing), rng.unit());
        let troubles = troubles(&self.world.scenario, spot, now_ms, &mut rng);
        let soon_ms = now_ms + short_ms;

        // A rejected call uses nothing up.
        if troubles.fault == Some(Fault::Unreachable) {
            let error = Error::new(Code::UpstreamUnreachable, "could not be reached");
            let outcome =
                Outcome { status: 0, result: Err(error), ..rejected(now_ms + 20, &provider.name, 503, &[]) };
            return limited(outcome, now_ms, time_limits);
        }
        if troubles.dead_key {
            return limited(rejected(soon_ms, &provider.name, 401, &[]), now_ms, time_limits);
        }
        let status = match (troubles.fault, call.fate) {
            (Some(Fault::NoMoney), _) => Some(402),
            (Some(Fault::Gone), _) => Some(404),
            (Some(Fault::Refuses), _) | (_, Fate::Refused) => Some(422),
            (_, Fate::ContentRefused | Fate::TooLong) => Some(400),
            _ => None,
        };
        if let Some(status) = status {
            let body: &[u8] = match call.fate {
                Fate::ContentRefused if status == 400 => {
                    br#"{"error":{"message":"m","type":"invalid_request_error","code":"content_filter"}}"#
                }
                Fate::TooLong if status == 400 => {
                    br#"{"error":{"message":"m","type":"t","code":"context_length_exceeded"}}"#
                }
                _ => br#"{"error":{"message":"no","type":"invalid_request_error"}}"#,
            };
            return limited(rejected(soon_ms, &provider.name, status, body), now_ms, time_limits);
        }

        let tokens = f64::from(call.input() + call.output);
        let meter = self.meters.entry(spot).or_default();
        meter.update(provider, now_ms);
        let wait_ms = meter.wait_ms(provider, tokens, now_ms);
        if wait_ms > 0 {
            let body = br#"{"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#;
            let mut outcome = rejected(soon_ms, &provider.name, 429, body);
            if provider.headers {
                outcome.headers = meter.headers(provider, now_ms);
            }
            if provider.retry_after {
                // The header counts from the arrival of the response, in whole seconds.
                outcome.headers.push(("retry-after", (wait_ms.div_ceil(1000)).to_string()));
            }
            return limited(outcome, now_ms, time_limits);
        }
        meter.requests += 1.0;
        meter.tokens += tokens;
        meter.today += 1;
        let headers = if provider.headers { meter.headers(provider, now_ms) } else { Vec::new() };

        if failing || troubles.fault == Some(Fault::Errors) {
            let body = br#"{"error":{"message":"oops","type":"server_error"}}"#;
            let outcome = Outcome { headers, ..rejected(soon_ms, &provider.name, 500, body) };
            return limited(outcome, now_ms, time_limits);
        }
        let varied = varied * troubles.slow;
        let fault = troubles.fault;
        self.served(&Accepted {
            spot,
            call,
            model,
            now_ms,
            soon_ms,
            varied,
            when,
            fault,
            time_limits,
            headers,
        })
    }

    /// The outcome of an accepted call.
    fn served(&self, accepted: &Accepted<'_>) -> Outcome {
        let Accepted { spot, call, model, now_ms, soon_ms, varied, when, fault, time_limits, headers } =
            accepted;
        let (spot, now_ms, soon_ms, when, time_limits) = (*spot, *now_ms, *soon_ms, *when, *time_limits);
        let reading_ms = f64::from(call.input()) / 20.0;
        let first_ms = now_ms + ((model.first_ms + reading_ms) * varied) as u64;
        let writing_ms = (f64::from(call.output) / model.tokens_per_second * 1000.0 * varied) as u64;
        let whole_ms = first_ms + writing_ms;
        let price = |written: f64| self.world.price(spot, call, written);
        let name = self.world.provider(spot).map_or("", |provider| provider.name.as_str());
        let ok = |settled_ms: u64, ends_ms: u64, cut: bool, charge: f64| Outcome {
            settled_ms,
            status: 200,
            result: Ok(Response { ends_ms, cut }),
            inside: false,
            headers: headers.clone(),
            charge,
        };
        let failed = |settled_ms: u64, code: Code, inside: bool, charge: f64| Outcome {
            settled_ms,
            status: 200,
            result: Err(Error::new(code, name)),
            inside,
            headers: headers.clone(),
            charge,
        };
        // The status line of a stream comes early; that of a whole response comes with the response.
        let status_ms = if call.stream { soon_ms.min(first_ms) } else { whole_ms };
        let outcome = match (*fault, call.stream) {
            (Some(Fault::Hangs), _) | (Some(Fault::Stalls), false) => {
                return timed_out(
                    failed(u64::MAX, Code::UpstreamTimeout, false, price(0.0)),
                    now_ms,
                    time_limits,
                );
            }
            (Some(Fault::Stalls), true) => failed(u64::MAX, Code::UpstreamTimeout, true, price(0.0)),
            (Some(Fault::EarlyErrors), true) => {
                let error = Error::upstream(502, "server_error".into(), None, "oops".into());
                Outcome {
                    result: Err(error),
                    ..failed(status_ms + 40, Code::InternalError, true, price(0.0))
                }
            }
            (Some(Fault::EarlyErrors), false) => {
                failed(soon_ms, Code::UpstreamInvalidResponse, false, price(0.0))
            }
            (Some(Fault::Cuts), true) => {
                ok(first_ms, first_ms + (writing_ms as f64 * when) as u64, true, price(when))
            }
            (Some(Fault::Cuts), false) => failed(whole_ms, Code::UpstreamInvalidResponse, false, price(when)),
            (_, true) => ok(first_ms, whole_ms, false, price(1.0)),
            (_, false) => ok(whole_ms, whole_ms, false, price(1.0)),
        };
        let silent = outcome.settled_ms.saturating_sub(status_ms) >= time_limits.stall_ms;
        if status_ms >= now_ms + time_limits.first_byte_ms {
            return timed_out(
                failed(u64::MAX, Code::UpstreamTimeout, false, price(0.0)),
                now_ms,
                time_limits,
            );
        }
        if silent {
            let settled_ms = (status_ms + time_limits.stall_ms).min(now_ms + time_limits.total_ms);
            return failed(settled_ms, Code::UpstreamTimeout, true, price(0.0));
        }
        if outcome.settled_ms >= now_ms + time_limits.total_ms {
            return failed(now_ms + time_limits.total_ms, Code::UpstreamTimeout, true, price(0.0));
        }
        outcome
    }
}

/// A call that a provider has accepted.
struct Accepted<'a> {
    spot: Spot,
    call: &'a Call,
    model: &'a Model,
    now_ms: u64,
    /// The time of the provider's first sign, in milliseconds since 1970.
    soon_ms: u64,
    /// The factor by which it is slower than usual.
    varied: f64,
    /// The point at which a response breaks off, if it does, from 0 to 1.
    when: f64,
    fault: Option<Fault>,
    time_limits: TimeLimits,
    headers: Vec<(&'static str, String)>,
}

fn rejected(at_ms: u64, provider: &str, status: u16, body: &[u8]) -> Outcome {
    Outcome {
        settled_ms: at_ms,
        status,
        result: Err(upstream_error::read(provider, status, body, None)),
        inside: false,
        headers: Vec::new(),
        charge: 0.0,
    }
}

/// Replaces an outcome that does not come in time.
fn timed_out(outcome: Outcome, now_ms: u64, time_limits: TimeLimits) -> Outcome {
    let settled_ms = now_ms + time_limits.first_byte_ms.min(time_limits.total_ms);
    Outcome { settled_ms, status: 0, headers: Vec::new(), ..outcome }
}

/// Returns a short response unless even that is too late.
fn limited(outcome: Outcome, now_ms: u64, time_limits: TimeLimits) -> Outcome {
    if outcome.settled_ms < now_ms + time_limits.first_byte_ms.min(time_limits.total_ms) {
        return outcome;
    }
    let error = Error::new(Code::UpstreamTimeout, "took too long to respond");
    timed_out(Outcome { result: Err(error), ..outcome }, now_ms, time_limits)
}
