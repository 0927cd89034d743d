//! Drives the attempts of one call: a state machine without clock, randomness or I/O. Events come in, and
//! [`Driver::next`] returns the next command.
//!
//! ```text
//!  next() ─▶ Reserve ── reserved() ─┐
//!    │  └──▶ Send ────────────────┐ │   next() again after each event
//!    │  └──▶ Await ── settled() ──┤ │
//!    │        └────── elapsed() ──┤ │
//!    │  └──▶ Wait ─── elapsed() ──┴─┴─▶ next()
//!    └─────▶ Finish
//! ```
//!
//! [`Plan`] chooses the next lane. This module adds the rest: the hold of an attempt, hedging of a slow attempt, the
//! charge for an abandoned one, and which of several errors the caller gets. The Worker and the simulation run the same
//! driver.

use std::fmt::Write as _;
use std::rc::Rc;

use super::candidates::Candidate;
use super::plan::{LaneIndex, Plan, Step};
use super::response::{Refusal, client_left};
use crate::config::Config;
use crate::error::{Code, Error};
use crate::format::request::PromptBounds;
use crate::format::stream::{Outcome as StreamOutcome, ResponseStream, StreamState};
use crate::format::whole::Whole;
use crate::health::failure::{Class, Failure};
use crate::health::{HealthView, quota};
use crate::ledger::receipt::Outcome;
use crate::ledger::{Charge, End, Need, Reservation, Target, Unreserved};
use crate::usage::Usage;

/// The longest `retry-after` of a response, in seconds. Clients sleep as long as it says without showing why. Longer
/// waits are those of limits per hour or per day, for which only a person can wait.
const MAX_RETRY_AFTER_S: u32 = 300;

/// The number of known latencies from which a percentile decides when to hedge.
const ENOUGH_LATENCIES: f64 = 20.0;

/// The next command.
#[derive(Debug)]
pub enum Command {
    /// Reserve these amounts, then report [`Driver::reserved`].
    Reserve(Vec<Need>),
    /// Send the request to a lane.
    Send(Send),
    /// Wait until an attempt in flight has settled, then report [`Driver::settled`]. If none has settled after this
    /// many milliseconds, report [`Driver::elapsed`]. `None`: one attempt is in flight, and there is no time to check.
    Await(Option<u32>),
    /// No attempt is in flight: wait for this many milliseconds, then report [`Driver::elapsed`].
    Wait(u32),
    /// The call is over.
    Finish(Result<Answered, Box<Exhausted>>),
}

/// One attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// The lane.
    pub lane: LaneIndex,
    /// `true` if another attempt is in flight.
    pub is_hedge: bool,
    /// The limits of the attempt.
    pub limits: AttemptLimits,
    /// The maximum output, in tokens of each choice; `None` if it need not be limited.
    pub output_limit: Option<u64>,
    /// `true` if a limit of money or tokens counts the attempt, so that its usage must be known.
    pub is_metered: bool,
    /// `true` if the request is sent without the reasoning of earlier turns, which the lane has rejected.
    pub without_reasoning: bool,
}

/// The limits of one attempt, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// The maximum time to the status line.
    pub first_byte_ms: u32,
    /// The longest silence of a stream before its first content.
    pub stall_ms: u32,
    /// The maximum time to a whole response, or to the first content of a stream.
    pub total_ms: u32,
}

/// The attempt that succeeded.
#[derive(Debug)]
pub struct Answered {
    /// The lane.
    pub lane: LaneIndex,
    /// The time from sending to the response, or to the first content of a stream, in milliseconds.
    pub upstream_ms: u64,
    /// The lanes of attempts that are still in flight and must be cancelled.
    pub slower: Vec<LaneIndex>,
}

/// The result when every attempt failed.
#[derive(Debug)]
pub struct Exhausted {
    /// The lane whose error is returned to the caller; `None` if no attempt was sent.
    pub lane: Option<LaneIndex>,
    /// The error.
    pub refusal: Refusal,
    /// The class of that attempt's failure.
    pub class: Option<Class>,
    /// The duration of that attempt, in milliseconds.
    pub upstream_ms: u64,
}

/// An attempt in flight.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    lane: LaneIndex,
    sent_ms: u64,
}

/// The state of the driver between commands.
#[derive(Debug)]
enum State {
    /// The plan is consulted next.
    Asking,
    /// An attempt is about to start.
    Beginning(LaneIndex),
    /// An attempt waits for its reservation.
    Reserving(LaneIndex),
    /// An attempt is about to be sent, with at most this much output.
    Sending(LaneIndex, Option<u64>),
    /// At least one attempt is in flight.
    Waiting,
    /// The call is over.
    Over(Result<Answered, Box<Exhausted>>),
}

/// The attempts of one call.
#[derive(Debug)]
pub struct Driver<'c> {
    candidates: Rc<[Candidate<'c>]>,
    config: &'c Config,
    stream: bool,
    plan: Plan,
    reservation: Reservation,
    state: State,
    in_flight: Vec<InFlight>,
    /// The time after which a slow attempt is hedged, in milliseconds.
    hedge_ms: Option<u32>,
    /// The failure whose error is returned if no attempt succeeds.
    failed: Option<Box<Exhausted>>,
    /// `true` if the call must not be served twice.
    is_cautious: bool,
    sent: u32,
    route: String,
}

/// The result of a driver once the call is over.
#[derive(Debug)]
pub struct Ended {
    /// The limits of the call, and the costs of its attempts.
    pub reservation: Reservation,
    /// The number of attempts sent.
    pub sent: u32,
    /// The outcome of each attempt, as in `x-gateway-route`: `groq/a;throttled;dur=5, openai/b;ok;dur=90`.
    pub route: String,
}

impl<'c> Driver<'c> {
    /// A driver for one call. `stream` is `true` if the caller requested a stream.
    pub fn new(
        candidates: Rc<[Candidate<'c>]>,
        config: &'c Config,
        stream: bool,
        plan: Plan,
        reservation: Reservation,
    ) -> Driver<'c> {
        Driver {
            candidates,
            config,
            stream,
            plan,
            reservation,
            state: State::Asking,
            in_flight: Vec::new(),
            hedge_ms: None,
            failed: None,
            is_cautious: false,
            sent: 0,
            route: String::new(),
        }
    }

    /// A driver for a call that must not be served twice: there is no second attempt while one is in flight, and none after
    /// an attempt that a provider may have served.
    #[must_use]
    pub fn cautious(self, is_cautious: bool) -> Driver<'c> {
        Driver { is_cautious, ..self }
    }

    /// The plan, for inspection.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The candidates, in the order of the plan.
    pub fn candidates(&self) -> &Rc<[Candidate<'c>]> {
        &self.candidates
    }

    /// Returns `true` if [`Driver::next`] will read the health view and consult the plan.
    pub fn asks_plan(&self) -> bool {
        matches!(self.state, State::Asking)
    }

    /// Returns `true` if [`Driver::next`] may start or send an attempt, so that the caller's permission must be checked
    /// first: see [`Driver::forbid`].
    pub fn may_send(&self) -> bool {
        matches!(self.state, State::Asking | State::Beginning(_) | State::Sending(..))
    }

    /// Reports that the caller may not send the call any more, for example because its key has been revoked. No further
    /// attempt is sent; one that is in flight may still answer.
    pub fn forbid(&mut self, error: Error) {
        if !self.in_flight.is_empty() {
            self.state = State::Waiting;
            return;
        }
        let lane = self.failed.take().and_then(|failed| failed.lane);
        let exhausted = Exhausted { lane, refusal: error.into(), class: None, upstream_ms: 0 };
        self.state = State::Over(Err(Box::new(exhausted)));
    }

    /// The result, once the call is over.
    pub fn into_ended(self) -> Ended {
        let Driver { reservation, sent, route, .. } = self;
        Ended { reservation, sent, route }
    }

    /// The next command.
    pub fn next(&mut self, now_ms: u64, view: &mut HealthView) -> Command {
        loop {
            match std::mem::replace(&mut self.state, State::Waiting) {
                State::Asking => {
                    if self.plan.attempts() > 0 {
                        self.plan.refresh(&self.candidates, view, now_ms);
                    }
                    match self.plan.next(now_ms) {
                        Step::Send(lane) => self.state = State::Beginning(lane),
                        Step::GiveUp(available_ms) => self.exhausted(available_ms),
                        Step::Wait(ms) => {
                            self.state = State::Asking;
                            return Command::Wait(ms);
                        }
                    }
                }
                State::Beginning(lane) => match self.needs(lane) {
                    Ok(None) => self.state = State::Sending(lane, None),
                    Ok(Some(needs)) => {
                        self.state = State::Reserving(lane);
                        return Command::Reserve(needs);
                    }
                    Err(error) => self.cannot_begin(error),
                },
                State::Sending(lane, output_limit) => {
                    return Command::Send(self.send(lane, output_limit, now_ms, view));
                }
                State::Over(result) => return Command::Finish(result),
                State::Reserving(_) | State::Waiting => return Command::Await(self.wait_ms(now_ms)),
            }
        }
    }

    /// Reports that an attempt has its reservation, or that the reservation was rejected.
    pub fn reserved(&mut self, held: Result<Vec<Charge>, Unreserved>, now_ms: u64) {
        let State::Reserving(lane) = self.state else { return };
        let Some(candidate) = self.candidates.get(lane.candidate) else {
            return self.cannot_begin(no_such_candidate());
        };
        match held {
            Ok(charges) => {
                let output_limit = self.reservation.started(target(candidate, lane), charges);
                self.state = State::Sending(lane, output_limit);
            }
            Err(Unreserved::Refused(refusal)) => {
                let error = self.reservation.refused(target(candidate, lane), &refusal, now_ms);
                self.cannot_begin(error);
            }
            Err(Unreserved::Unavailable(error)) => self.cannot_begin(error),
        }
    }

    /// Reports that the time of [`Command::Await`] or [`Command::Wait`] has passed.
    pub fn elapsed(&mut self, now_ms: u64) {
        if self.in_flight.is_empty() {
            self.state = State::Asking;
            return;
        }
        self.hedge_ms = None;
        let candidates = &self.candidates;
        let may = |lane: LaneIndex| candidates.get(lane.candidate).is_some_and(may_be_hedged);
        if let Some(lane) = self.plan.hedge(now_ms, may) {
            self.state = State::Beginning(lane);
        }
    }

    /// Reports that the client disconnected while no attempt was in flight.
    pub fn client_left(&mut self) {
        let lane = self.failed.take().and_then(|failed| failed.lane);
        let class = Some(Class::ClientLeft);
        let exhausted = Exhausted { lane, refusal: client_left().into(), class, upstream_ms: 0 };
        self.state = State::Over(Err(Box::new(exhausted)));
    }

    /// Reports that the attempt on a lane succeeded or failed. `chance` returns random numbers. Returns the failure.
    pub fn settled(
        &mut self,
        lane: LaneIndex,
        result: Result<(), Box<Refusal>>,
        now_ms: u64,
        view: &mut HealthView,
        mut chance: impl FnMut() -> u64,
    ) -> Option<Failure> {
        let index = self.in_flight.iter().position(|known| known.lane == lane)?;
        let InFlight { sent_ms, .. } = self.in_flight.remove(index);
        let upstream_ms = now_ms.saturating_sub(sent_ms);
        let candidates = Rc::clone(&self.candidates);
        let candidate = candidates.get(lane.candidate)?;
        let Err(refusal) = result else {
            view.answered(candidate.lane(lane.key), sent_ms, now_ms);
            self.note(candidate, "ok", upstream_ms);
            let slower = std::mem::take(&mut self.in_flight);
            for attempt in &slower {
                self.abandon(*attempt, now_ms, view);
            }
            let slower = slower.into_iter().map(|attempt| attempt.lane).collect();
            self.state = State::Over(Ok(Answered { lane, upstream_ms, slower }));
            return None;
        };
        let retry_after_ms = quota::retry_after_ms(
            refusal.retry_header("retry-after"),
            refusal.retry_header("retry-after-ms"),
            now_ms,
        );
        let mut refusal = refusal;
        if retry_after_ms.is_some_and(|ms| ms > u64::from(MAX_RETRY_AFTER_S) * 1000) {
            refusal.retry_headers.clear();
            refusal.error = refusal.error.without_retry();
        }
        let failure = Failure::of(&refusal.error, retry_after_ms);
        view.failed(candidate.lane(lane.key), &failure, false, now_ms, chance());
        self.plan.failed(lane, &failure, now_ms, chance());
        let class = failure.class;
        let end = used_by_failure(&refusal, candidate);
        // A provider that could not be reached has not served the call, as far as anybody can know.
        if self.is_cautious && end != End::Nothing && class != Class::Unreachable {
            self.plan.end();
        }
        self.note(candidate, class.as_str(), upstream_ms);
        self.reservation.ended(target(candidate, lane), class.as_str(), upstream_ms, end);
        self.reservation.failed(&refusal.error);
        let rank = |failed: &Exhausted| failed.class.map_or(0, Class::rank);
        if self.failed.as_ref().is_none_or(|failed| class.rank() > rank(failed)) {
            let class = Some(class);
            let refusal = *refusal;
            self.failed = Some(Box::new(Exhausted { lane: Some(lane), refusal, class, upstream_ms }));
        }
        if self.in_flight.is_empty() {
            self.state = State::Asking;
        }
        Some(failure)
    }

    /// The amounts that an attempt needs of the key's limits; `None` if the key has none.
    fn needs(&self, lane: LaneIndex) -> Result<Option<Vec<Need>>, Error> {
        let Some(candidate) = self.candidates.get(lane.candidate) else {
            return Err(no_such_candidate());
        };
        if self.reservation.is_limited() {
            self.reservation.needs(target(candidate, lane)).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Ends the call if an attempt cannot start. The error of an upstream takes precedence over the error of the
    /// reservation.
    fn cannot_begin(&mut self, error: Error) {
        if !self.in_flight.is_empty() {
            self.state = State::Waiting;
        } else if self.failed.is_some() {
            self.exhausted(None);
        } else {
            let exhausted = Exhausted { lane: None, refusal: error.into(), class: None, upstream_ms: 0 };
            self.state = State::Over(Err(Box::new(exhausted)));
        }
    }

    fn send(
        &mut self,
        lane: LaneIndex,
        output_limit: Option<u64>,
        now_ms: u64,
        view: &mut HealthView,
    ) -> Send {
        let is_hedge = !self.in_flight.is_empty();
        let limits = self.limits(now_ms);
        let mut is_metered = false;
        if let Some(candidate) = self.candidates.get(lane.candidate) {
            is_metered = self.reservation.is_metered(&candidate.provider.name, &candidate.model);
            self.hedge_ms = if is_hedge { None } else { self.hedge_ms(candidate, lane, view) };
            view.begin(candidate.lane(lane.key), now_ms);
        }
        self.sent += 1;
        self.in_flight.push(InFlight { lane, sent_ms: now_ms });
        let without_reasoning = self.plan.is_without_reasoning(lane);
        Send { lane, is_hedge, limits, output_limit, is_metered, without_reasoning }
    }

    fn limits(&self, now_ms: u64) -> AttemptLimits {
        let timeouts = &self.config.timeouts;
        AttemptLimits {
            first_byte_ms: if self.stream {
                timeouts.stream_first_byte_ms.min(timeouts.first_byte_ms)
            } else {
                timeouts.first_byte_ms
            },
            // If no other lane is left, a slow start is better than none.
            stall_ms: if !self.is_cautious && self.plan.has_another(now_ms) {
                timeouts.stall_ms.min(timeouts.idle_ms)
            } else {
                timeouts.idle_ms
            },
            total_ms: self.left_ms(now_ms),
        }
    }

    fn left_ms(&self, now_ms: u64) -> u32 {
        u32::try_from(self.plan.left_ms(now_ms)).unwrap_or(u32::MAX)
    }

    /// The time without content after which a second lane is tried too, in milliseconds; `None` for never. A provider
    /// that charges for cancelled calls is not hedged.
    fn hedge_ms(&self, candidate: &Candidate<'_>, lane: LaneIndex, view: &HealthView) -> Option<u32> {
        let usual_ms = self.config.routing.hedge_ms;
        if usual_ms == 0 || !self.stream || self.is_cautious || !may_be_hedged(candidate) {
            return None;
        }
        let known = view.lane(candidate.lane(lane.key));
        let slow_ms = known.and_then(|lane| lane.percentile_ms(0.95, ENOUGH_LATENCIES));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the end of a latency class"
        )]
        Some(slow_ms.map_or(usual_ms, |ms| ms as u32))
    }

    /// The time to wait for an attempt in flight before [`Driver::elapsed`], in milliseconds.
    fn wait_ms(&self, now_ms: u64) -> Option<u32> {
        if self.in_flight.len() > 1 { Some(self.left_ms(now_ms)) } else { self.hedge_ms }
    }

    /// Cancels an attempt because another lane was faster.
    fn abandon(&mut self, attempt: InFlight, now_ms: u64, view: &mut HealthView) {
        let InFlight { lane, sent_ms } = attempt;
        let candidates = Rc::clone(&self.candidates);
        let Some(candidate) = candidates.get(lane.candidate) else { return };
        let upstream_ms = now_ms.saturating_sub(sent_ms);
        view.hedge_lost(candidate.lane(lane.key), sent_ms, now_ms);
        self.note(candidate, "cancelled", upstream_ms);
        self.reservation.ended(target(candidate, lane), "cancelled", upstream_ms, abandoned(candidate));
    }

    fn note(&mut self, candidate: &Candidate<'_>, outcome: &str, upstream_ms: u64) {
        if !self.route.is_empty() {
            self.route.push_str(", ");
        }
        let address = visible_ascii(&candidate.address());
        let _ = write!(self.route, "{address};{outcome};dur={upstream_ms}");
    }

    /// Ends the call because no lane is left.
    fn exhausted(&mut self, available_ms: Option<u64>) {
        let Some(mut failed) = self.failed.take() else {
            let error = Error::new(
                Code::NoCandidate,
                "No upstream is available for this request: each is rate-limited, failing or out of quota",
            );
            let seconds = available_ms.map_or(1, |ms| u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX));
            let error = if seconds > MAX_RETRY_AFTER_S {
                error.with_more(&format!("; the first is available in about {} minutes", seconds / 60))
            } else {
                error.with_retry_after(seconds.max(1))
            };
            let refusal = error.with_param("model").into();
            let exhausted = Exhausted { lane: None, refusal, class: None, upstream_ms: 0 };
            self.state = State::Over(Err(Box::new(exhausted)));
            return;
        };
        // If only one upstream was tried, its own message is returned unchanged.
        if self.candidates.len() > 1 && self.plan.attempts() > 1 && failed.class.is_some_and(Class::goes_on) {
            let tried = self.route.replace(";dur=", " after ").replace(';', ": ").replace(", ", " ms; ");
            let _ = write!(failed.refusal.error.message, " (all attempts failed: {tried} ms)");
        }
        self.state = State::Over(Err(failed));
    }
}

/// A candidate, as reservations and receipts identify it.
fn target<'a>(candidate: &'a Candidate<'_>, lane: LaneIndex) -> Target<'a> {
    let Candidate { provider, model, facts, .. } = candidate;
    Target { provider: &provider.name, model, key: lane.key, facts }
}

/// The usage of a failed attempt.
pub fn used_by_failure(refusal: &Refusal, candidate: &Candidate<'_>) -> End {
    if let Some(used) = refusal.used {
        return used;
    }
    let class = Failure::of(&refusal.error, None).class;
    match class {
        _ if class.may_have_used() => abandoned(candidate),
        // The provider may have received the request.
        Class::Unreachable => End::Unknown,
        // A proxy in front of the provider did not wait for it.
        Class::ServerError if matches!(refusal.error.status, 408 | 504 | 524) => End::Unknown,
        Class::Refused | Class::ReasoningRejected | Class::ContentRefused | Class::TooLong
            if candidate.provider.charges_rejections =>
        {
            End::Unknown
        }
        _ => End::Nothing,
    }
}

/// The charge for an abandoned attempt without visible output.
fn abandoned(candidate: &Candidate<'_>) -> End {
    if candidate.provider.cancel_stops_billing == Some(false) { End::AtMost } else { End::Partly(0) }
}

/// Returns `true` unless the provider is known to charge for cancelled calls.
fn may_be_hedged(candidate: &Candidate<'_>) -> bool {
    candidate.provider.cancel_stops_billing != Some(false)
}

/// The charge for a whole response. If it does not report its output, the estimate is used.
pub fn charge_of_whole(whole: &Whole, prompt: PromptBounds) -> End {
    let Whole { usage, produced, .. } = *whole;
    match usage.completion_tokens {
        Some(_) => believed(usage, produced, produced, prompt),
        None if whole.is_text || usage.units.has_whole() => End::Reported(usage),
        None => End::Partly(produced),
    }
}

/// The charge for a reported usage. Of a number that cannot be true, the larger of it and the estimate is charged.
/// `produced` is the estimated output, of which at least `surely` is certain.
fn believed(usage: Usage, produced: u64, surely: u64, prompt: PromptBounds) -> End {
    let completion = usage.completion_tokens.unwrap_or(0);
    let told = usage.prompt_tokens.unwrap_or(prompt.likely);
    let is_too_little = completion.saturating_mul(2) < surely || (completion == 0 && produced > 0);
    if !is_too_little && (prompt.least..=prompt.most).contains(&told) {
        return End::Reported(usage);
    }
    End::Corrected(Usage {
        prompt_tokens: Some(if told < prompt.least { prompt.likely } else { told }),
        completion_tokens: Some(if is_too_little { completion.max(produced) } else { completion }),
        ..usage
    })
}

/// The outcome of a call whose stream has ended. `client_stayed` is `true` if the client was connected when it ended.
pub fn outcome_of_stream(stream: &dyn ResponseStream, client_stayed: bool) -> Outcome {
    match stream.state() {
        _ if !client_stayed => Outcome::ClientLeft,
        StreamState::Over(StreamOutcome::Done) => Outcome::Answered,
        _ => Outcome::Failed,
    }
}

/// The charge for a stream. `cancel_stops_billing` is a property of the provider: it stops charging when a call is
/// cancelled. `is_metered` is [`Reservation::is_metered`]: then only the usage of a complete stream counts. `prompt` are
/// the bounds of what it may report as input.
pub fn charge_of_stream(
    stream: &dyn ResponseStream,
    outcome: Outcome,
    cancel_stops_billing: Option<bool>,
    is_metered: bool,
    prompt: PromptBounds,
) -> End {
    let usage = stream.usage();
    let produced = stream.produced();
    // The stream may have been read to its end after the client left.
    let is_complete = stream.state() == StreamState::Over(StreamOutcome::Done);
    match outcome {
        _ if is_complete && usage.is_known() => believed(usage, produced, stream.surely_produced(), prompt),
        // Bytes have no place for a usage: it follows from the request.
        _ if is_complete && (stream.is_bytes() || usage.units.has_whole()) => End::Reported(usage),
        _ if is_metered => End::AtMost,
        Outcome::ClientLeft if cancel_stops_billing == Some(false) && !is_complete => End::AtMost,
        // Some providers report usage along the way: the last report of a stream that was cut may be behind its
        // content.
        _ if usage.is_known() && usage.completion_tokens >= Some(produced) => {
            believed(usage, produced, 0, prompt)
        }
        _ => End::Partly(produced),
    }
}

/// A name as a header value: bytes other than visible ASCII are percent-encoded.
pub fn visible_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn no_such_candidate() -> Error {
    Error::new(Code::InternalError, "The call was routed to a candidate that does not exist")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Registry;
    use crate::format::request::Size;
    use crate::ledger::estimate::Estimate;
    use crate::route::affinity::{Affinity, AffinitySource};
    use crate::route::plan::Limits;

    /// Providers `a`, `b` and `c`, each with one model; `b` charges for cancelled calls.
    const CONFIG: &str = r#"{
        "routing": {"hedge_ms": 100, "retries": 0, "max_wait_ms": 1000},
        "providers": {
            "a": {"base_url": "http://a.example", "auth": "none", "models": ["m"], "cancel_stops_billing": true},
            "b": {"base_url": "http://b.example", "auth": "none", "models": ["m"], "cancel_stops_billing": false},
            "c": {"base_url": "http://c.example", "auth": "none", "models": ["m"]}
        }
    }"#;

    struct World {
        config: Config,
        registry: Registry,
        view: HealthView,
    }

    impl World {
        fn new() -> World {
            let config = Config::read("{}", Some(CONFIG)).unwrap();
            let registry = Registry::new(&config, false, |_| None);
            World { config, registry, view: HealthView::default() }
        }

        fn driver(&self, providers: &[&str], stream: bool) -> Driver<'_> {
            let candidates: Rc<[Candidate<'_>]> = providers
                .iter()
                .map(|name| Candidate::of(self.registry.provider(name).unwrap(), "m"))
                .collect();
            let affinity = Affinity { seed: 1, source: AffinitySource::None };
            let plan = Plan::new(&candidates, &self.view, affinity, Limits::of(&self.config, 0), 0);
            let estimate = Estimate::of(&Size { text: 400, choices: 1, ..Size::default() });
            let reservation = Reservation::new(Vec::new(), estimate, self.config.ledger.unknown_price, "m");
            Driver::new(candidates, &self.config, stream, plan, reservation)
        }
    }

    fn lane(candidate: usize) -> LaneIndex {
        LaneIndex { candidate, key: 0 }
    }

    fn rejected(status: u16, message: &str) -> Result<(), Box<Refusal>> {
        Err(Error::upstream(status, "t".into(), None, message.into()).into())
    }

    /// A short description of a command.
    fn describe(command: &Command) -> String {
        match command {
            Command::Reserve(needs) => format!("reserve {}", needs.len()),
            Command::Send(send) => {
                format!("send {}{}", send.lane.candidate, if send.is_hedge { " hedge" } else { "" })
            }
            Command::Await(None) => "await".to_owned(),
            Command::Await(Some(ms)) => format!("await {ms}"),
            Command::Wait(ms) => format!("wait {ms}"),
            Command::Finish(Ok(answered)) => format!("answered by {}", answered.lane.candidate),
            Command::Finish(Err(exhausted)) => format!("failed: {}", exhausted.refusal.error.message),
        }
    }

    #[test]
    fn the_first_lane_succeeds() {
        let world = World::new();
        let mut view = HealthView::default();
        let mut driver = world.driver(&["a", "b"], false);
        assert_eq!(describe(&driver.next(0, &mut view)), "send 0");
        assert_eq!(describe(&driver.next(0, &mut view)), "await");
        assert_eq!(driver.settled(lane(0), Ok(()), 30, &mut view, || 0), None);
        assert_eq!(describe(&driver.next(30, &mut view)), "answered by 0");
        let ended = driver.into_ended();
        assert_eq!((ended.sent, ended.route.as_str()), (1, "a/m;ok;dur=30"));
    }

    #[test]
    fn after_a_failure_the_next_lane_is_tried_and_the_most_useful_error_is_returned() {
        let world = World::new();
        let mut view = HealthView::default();
        let mut driver = world.driver(&["a", "c"], false);
        driver.next(0, &mut view);
        let failure = driver.settled(lane(0), rejected(429, "slow down"), 10, &mut view, || 0);
        assert_eq!(failure.map(|failure| failure.class), Some(Class::Throttled));
        assert_eq!(describe(&driver.next(10, &mut view)), "send 1");
        driver.settled(lane(1), rejected(404, "no such model"), 30, &mut view, || 0);
        assert_eq!(
            describe(&driver.next(30, &mut view)),
            "failed: slow down (all attempts failed: a/m: throttled after 10 ms; c/m: model_gone after 20 ms)"
        );
    }

    #[test]
    fn rejected_reasoning_is_retried_on_the_same_lane_without_a_mark_against_it() {
        use crate::error::Meaning;
        let world = World::new();
        let mut view = HealthView::default();
        let mut driver = world.driver(&["a", "c"], false);
        let Command::Send(send) = driver.next(0, &mut view) else { panic!("not sent") };
        assert!(!send.without_reasoning);
        let error = Error::upstream(400, "t".into(), None, "Invalid `signature` in `thinking` block".into());
        let error = error.with_meaning(Meaning::ReasoningRejected, None);
        let failure = driver.settled(lane(0), Err(error.into()), 10, &mut view, || 0);
        assert_eq!(failure.map(|failure| failure.class), Some(Class::ReasoningRejected));
        let Command::Send(send) = driver.next(10, &mut view) else { panic!("not sent") };
        assert_eq!((send.lane, send.without_reasoning), (lane(0), true));
        assert!(driver.candidates()[0].is_available(&view, 10));
        // The failure of the retry is the one that the caller can act on.
        driver.settled(lane(0), rejected(402, "pay"), 20, &mut view, || 0);
        driver.next(20, &mut view);
        driver.settled(lane(1), rejected(402, "pay too"), 30, &mut view, || 0);
        assert!(describe(&driver.next(30, &mut view)).starts_with("failed: pay (all attempts failed"));
    }

    #[test]
    fn an_invalid_request_ends_the_call_with_the_upstreams_own_message() {
        let world = World::new();
        let mut view = HealthView::default();
        let mut driver = world.driver(&["a", "c"], false);
        driver.next(0, &mut view);
        driver.settled(lane(0), rejected(400, "messages: field required"), 10, &mut view, || 0);
        assert_eq!(describe(&driver.next(10, &mut view)), "failed: messages: field required");
    }

    #[test]
    fn a_slow_stream_is_hedged_and_the_cancelled_attempt_is_charged_for_its_input() {
        let world = World::new();
        let mut view = HealthView::default();
        let mut driver = world.driver(&["a", "c"], true);
        assert_eq!(describe(&driver.next(0, &mut view)), "send 0");
        assert_eq!(describe(&driver.next(0, &mut view)), "await 100");
        driver.elapsed(100);
        assert_eq!(describe(&driver.next(100, &mut view)), "send 1 hedge");
        assert!(describe(&driver.next(100, &mut view)).starts_with("await "));
        driver.settled(lane(1), Ok(()), 150, &mut view, || 0);
        let Command::Finish(Ok(answered)) = driver.next(150, &mut view) else { panic!("not answered") };
        assert_eq!((answered.lane, answered.upstream_ms, answered.slower), (lane(1), 50, vec![lane(0)]));
        let ended = driver.into_ended();
        assert_eq!(ended.route, "c/m;ok;dur=50, a/m;cancelled;dur=150");
        let (attempts, _) = ended.reservation.settle();
        let [cancelled] = attempts.as_slice() else { panic!("{attempts:?}") };
        assert_eq!((cancelled.usage.prompt_tokens, cancelled.usage.completion_tokens), (Some(100), Some(0)));
    }

    #[test]
    fn a_lane_that_charges_for_cancelled_calls_is_not_hedged_and_is_no_hedge() {
        let world = World::new();
        let mut view = HealthView::default();
        let mut driver = world.driver(&["b", "a"], true);
        driver.next(0, &mut view);
        assert_eq!(describe(&driver.next(0, &mut view)), "await");
        let mut driver = world.driver(&["a", "b"], true);
        driver.next(0, &mut view);
        driver.elapsed(100);
        assert_eq!(describe(&driver.next(100, &mut view)), "await", "nor is it used as a hedge");
    }

    #[test]
    fn without_an_available_lane_the_error_has_the_time_to_retry() {
        let world = World::new();
        let mut view = HealthView::default();
        let failure = Failure { class: Class::Throttled, retry_after_ms: Some(30_000) };
        for provider in ["a", "c"] {
            let candidate = Candidate::of(world.registry.provider(provider).unwrap(), "m");
            view.failed(candidate.lane(0), &failure, false, 0, 0);
        }
        let world = World { view, ..world };
        let mut driver = world.driver(&["a", "c"], false);
        let Command::Finish(Err(exhausted)) = driver.next(0, &mut HealthView::default()) else {
            panic!("not over")
        };
        let error = exhausted.refusal.error;
        assert!(error.is(Code::NoCandidate), "{error:?}");
        assert_eq!(error.retry(), Some(crate::error::Retry::After(30)));
        assert_eq!(exhausted.lane, None);
    }

    #[test]
    fn no_client_waits_for_a_limit_of_a_day() {
        for (seconds, passed) in [("300", true), ("301", false), ("85055", false)] {
            let world = World::new();
            let mut driver = world.driver(&["a"], false);
            let mut view = HealthView::default();
            let Command::Send(send) = driver.next(0, &mut view) else { panic!("not sent") };
            let error = Error::upstream(429, "rate_limit_error".into(), None, "daily limit".into());
            let retry_headers = vec![("retry-after", seconds.to_owned())];
            let refusal = Box::new(Refusal { retry_headers, ..Refusal::from(error) });
            driver.settled(send.lane, Err(refusal), 1, &mut view, || 0);
            let Command::Finish(Err(exhausted)) = driver.next(60_000, &mut view) else { panic!("not over") };
            let Refusal { error, retry_headers, .. } = exhausted.refusal;
            assert_eq!((error.status, retry_headers.is_empty()), (429, !passed), "{seconds}");
            assert_eq!(error.retry() == Some(crate::error::Retry::Never), !passed, "{seconds}");
        }
    }

    #[test]
    fn a_client_that_disconnects_ends_the_call() {
        let world = World::new();
        let mut driver = world.driver(&["a"], false);
        driver.client_left();
        let Command::Finish(Err(exhausted)) = driver.next(0, &mut HealthView::default()) else {
            panic!("not over")
        };
        assert_eq!(exhausted.class, Some(Class::ClientLeft));
        assert_eq!(exhausted.refusal.error.status, 499);
    }

    #[test]
    fn a_call_that_is_forbidden_sends_nothing_more_and_keeps_what_is_in_flight() {
        let world = World::new();
        let mut view = HealthView::default();
        let revoked = || Error::new(Code::InvalidApiKey, "revoked");
        let mut driver = world.driver(&["a", "c"], true);
        assert!(driver.may_send());
        assert_eq!(describe(&driver.next(0, &mut view)), "send 0");
        assert!(!driver.may_send(), "nothing is sent while the attempt is awaited");
        driver.elapsed(100);
        assert!(driver.may_send(), "a hedge would be sent");
        driver.forbid(revoked());
        assert!(describe(&driver.next(100, &mut view)).starts_with("await"));
        driver.settled(lane(0), rejected(500, "broken"), 200, &mut view, || 0);
        assert!(driver.may_send());
        driver.forbid(revoked());
        assert_eq!(describe(&driver.next(200, &mut view)), "failed: revoked");
        assert_eq!(driver.into_ended().sent, 1);
    }

    /// A stream in a given state, with usage and produced tokens.
    struct Stream(StreamState, Usage, u64);

    impl ResponseStream for Stream {
        fn push(&mut self, _: &[u8]) -> crate::format::stream::Relayed {
            crate::format::stream::Relayed::AsIs
        }

        fn end(&mut self, _: crate::format::stream::Ending) -> Vec<u8> {
            Vec::new()
        }

        fn state(&self) -> StreamState {
            self.0
        }

        fn early_end(&self) -> Option<Error> {
            None
        }

        fn error(&self) -> Option<&Error> {
            None
        }

        fn failure(&mut self, _: &Error) -> Vec<u8> {
            Vec::new()
        }

        fn usage(&self) -> Usage {
            self.1
        }

        fn produced(&self) -> u64 {
            self.2
        }

        fn surely_produced(&self) -> u64 {
            self.2
        }
    }

    #[test]
    fn a_stream_is_charged_by_its_usage_or_by_the_content_received() {
        let usage = |completion| Usage {
            prompt_tokens: Some(9),
            completion_tokens: Some(completion),
            ..Usage::default()
        };
        let none = Usage::default();
        let done = StreamState::Over(StreamOutcome::Done);
        let cut = StreamState::Over(StreamOutcome::Cut);
        for (state, reported, produced, stayed, stops, outcome, end) in [
            (done, usage(5), 7, true, None, Outcome::Answered, End::Reported(usage(5))),
            (done, usage(5), 7, false, Some(false), Outcome::ClientLeft, End::Reported(usage(5))),
            (done, none, 7, true, None, Outcome::Answered, End::Partly(7)),
            (cut, none, 7, true, Some(false), Outcome::Failed, End::Partly(7)),
            (cut, usage(5), 7, true, None, Outcome::Failed, End::Partly(7)),
            (cut, usage(8), 7, true, None, Outcome::Failed, End::Reported(usage(8))),
            (StreamState::Begun, none, 7, false, None, Outcome::ClientLeft, End::Partly(7)),
            (StreamState::Begun, none, 7, false, Some(false), Outcome::ClientLeft, End::AtMost),
        ] {
            let stream = Stream(state, reported, produced);
            assert_eq!(outcome_of_stream(&stream, stayed), outcome, "{state:?} {stayed}");
            assert_eq!(charge_of_stream(&stream, outcome, stops, false, PROMPT), end, "{state:?} {produced}");
            // Of a key with limits of money or tokens, only the usage of a complete stream counts.
            let metered = if state == done && reported != none { end } else { End::AtMost };
            let charged = charge_of_stream(&stream, outcome, stops, true, PROMPT);
            assert_eq!(charged, metered, "{state:?} {produced}");
        }
        let whole =
            |usage, produced| Whole { usage, produced, has_bom: false, is_text: false, translated: None };
        assert_eq!(charge_of_whole(&whole(none, 10), PROMPT), End::Partly(10));
        assert_eq!(charge_of_whole(&whole(usage(3), 0), PROMPT), End::Reported(usage(3)));
        let output_alone = Usage { prompt_tokens: None, ..usage(0) };
        assert_eq!(charge_of_whole(&whole(output_alone, 0), PROMPT), End::Reported(output_alone));
    }

    const PROMPT: PromptBounds = PromptBounds { least: 1, likely: 12, most: 100 };

    #[test]
    fn a_usage_that_cannot_be_true_is_corrected_upwards() {
        let usage = |prompt, completion| Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            ..Usage::default()
        };
        for (told, produced, charged) in [
            (usage(9, 5), 7, None),
            (usage(9, 3), 7, Some(usage(9, 7))),
            (usage(9, 0), 1, Some(usage(9, 1))),
            (usage(0, 9), 7, Some(usage(12, 9))),
            (usage(0, 0), 7, Some(usage(12, 7))),
            (usage(100, 900), 7, None),
            (usage(101, 9), 7, Some(usage(101, 9))),
        ] {
            let end = charged.map_or(End::Reported(told), End::Corrected);
            let stream = Stream(StreamState::Over(StreamOutcome::Done), told, produced);
            assert_eq!(charge_of_stream(&stream, Outcome::Answered, None, false, PROMPT), end, "{told:?}");
            let whole = Whole { usage: told, produced, has_bom: false, is_text: false, translated: None };
            assert_eq!(charge_of_whole(&whole, PROMPT), end, "{told:?}");
        }
    }

    #[test]
    fn names_in_headers_are_visible_ascii() {
        assert_eq!(visible_ascii("acme/modèle x"), "acme/mod%C3%A8le%20x");
    }
}
