//! Drives the attempt plan of one call: sends, waits, notes how each attempt went, and gives the first answer, or the
//! failure that says most.
//!
//! What to do next is decided by `gatehouse_core::route::plan`; how a failure is to be taken, by `health::failure`.

use std::fmt::Write as _;
use std::rc::Rc;

use gatehouse_core::catalog::{AI_BINDING, Access};
use gatehouse_core::config::Auth;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::format::openai_chat::request::ChatRequest;
use gatehouse_core::format::openai_chat::stream::ChatStream;
use gatehouse_core::health::failure::{Class, Failure};
use gatehouse_core::health::quota;
use gatehouse_core::key::Secret;
use gatehouse_core::ledger::{End, Spending, Target};
use gatehouse_core::route::candidates::Candidate;
use gatehouse_core::route::plan::{Lane, Plan, Step};
use worker::js_sys::Uint8Array;

use super::response::{self, Received, Refusal};
use crate::isolate::{Isolate, accounts};
use crate::platform::reply::visible_ascii;
use crate::platform::upstream::{self, AttemptLimits, Flight, Heartbeat};
use crate::platform::{clock, random, variables};
use crate::request_context::{RequestContext, seconds};

/// Calls of which fewer latencies are known have no percentile to hedge by.
const ENOUGH_LATENCIES: f64 = 20.0;
/// How often good answers of an isolate are looked at for what they say of limits, in milliseconds.
const LOOK_EVERY_MS: u64 = 100;

/// The attempts of one call.
pub struct Attempts<'c> {
    /// The call.
    pub context: &'c RequestContext<'c>,
    /// The isolate that it runs in.
    pub isolate: &'c Rc<Isolate>,
    /// What was asked.
    pub request: &'c ChatRequest<'c>,
    /// Its bytes, as the runtime has them.
    pub body: &'c Uint8Array,
    /// Who could answer.
    pub candidates: &'c [Candidate<'c>],
    /// Who is asked when.
    pub plan: Plan,
    /// What the call may spend, and has spent.
    pub spending: Spending,
    /// The name of the key's ledger.
    pub ledger: &'c str,
    /// Lets the ledger hear that something is set aside for the call.
    pub heartbeat: Option<Heartbeat>,
    /// How each attempt went, as `x-gateway-route` tells it.
    pub route: String,
    /// How many have been sent.
    pub sent: u32,
}

/// The attempt that was answered.
pub struct Won {
    /// Its lane.
    pub lane: Lane,
    /// The answer.
    pub received: Received,
    /// What was dropped or changed for the provider's sake.
    pub adjusted: Vec<String>,
    /// From sending to the answer, or to the first content of a stream, in milliseconds.
    pub upstream_ms: u64,
}

/// The call when nobody answered.
pub struct Lost {
    /// The lane whose failure is told; `None` when nobody was asked.
    pub lane: Option<Lane>,
    /// What is told.
    pub refusal: Refusal,
    /// How that attempt failed.
    pub class: Option<Class>,
    /// How long that attempt took, in milliseconds.
    pub upstream_ms: u64,
}

/// An attempt that is under way.
struct Attempt {
    lane: Lane,
    sent_ms: u64,
    flight: Flight,
    adjusted: Vec<String>,
}

impl Attempts<'_> {
    /// Runs the plan to its end.
    pub async fn run(&mut self) -> Result<Won, Lost> {
        let mut lost: Option<Lost> = None;
        loop {
            let now_ms = clock::now_ms();
            if self.plan.attempts() > 0 {
                self.plan.look_again(self.candidates, &self.isolate.health.view.borrow(), now_ms);
            }
            match self.plan.next(now_ms) {
                Step::Send(lane) => match self.begin(lane).await {
                    Ok(attempt) => {
                        if let Some(won) = self.land(attempt, &mut lost).await {
                            return Ok(won);
                        }
                    }
                    // What an upstream has said goes before what keeps the next from being asked.
                    Err(_) if lost.is_some() => return Err(self.lost(lost, None)),
                    Err(error) => {
                        return Err(Lost { lane: None, refusal: error.into(), class: None, upstream_ms: 0 });
                    }
                },
                Step::Wait(ms) => {
                    let ms = ms.min(accounts::BEAT_MS);
                    if let Some(heartbeat) = &self.heartbeat {
                        heartbeat.beat();
                    }
                    if !upstream::wait(&self.context.request.signal(), ms).await {
                        let left = Error::new(Code::ClientClosedRequest, "The client left before the answer");
                        let class = Some(Class::ClientLeft);
                        let lane = lost.and_then(|lost| lost.lane);
                        return Err(Lost { lane, refusal: left.into(), class, upstream_ms: 0 });
                    }
                }
                Step::GiveUp(again_ms) => return Err(self.lost(lost, again_ms)),
            }
        }
    }

    fn candidate(&self, lane: Lane) -> Result<&Candidate<'_>, Error> {
        self.candidates.get(lane.candidate).ok_or_else(no_such_lane)
    }

    fn key(&self, lane: Lane) -> Option<&Secret> {
        self.candidates.get(lane.candidate)?.provider.keys().get(usize::from(lane.key))
    }

    /// Sends an attempt, once what it may cost has been set aside.
    async fn begin(&mut self, lane: Lane) -> Result<Attempt, Error> {
        let candidates = self.candidates;
        let candidate = candidates.get(lane.candidate).ok_or_else(no_such_lane)?;
        let output_limit = self.set_aside(candidate).await?;
        let key = self.key(lane);
        let outgoing =
            self.request.outgoing(&candidate.model, candidate.provider, candidate.own_routing, output_limit);
        let config = &self.isolate.settings.config;
        let now_ms = clock::now_ms();
        let target = match &candidate.provider.access {
            Access::Active { chat_url, auth, .. } => {
                upstream::Target::Http(chat_url, key.and_then(|key| header(auth, key)))
            }
            Access::Binding => {
                let binding = variables::binding(&self.context.env, AI_BINDING).ok_or_else(|| {
                    Error::new(Code::ProviderNotConfigured, "there is no binding AI for workers_ai")
                })?;
                upstream::Target::Binding(binding, &candidate.model)
            }
            Access::Inactive(_) => {
                return Err(Error::new(
                    Code::InternalError,
                    "A call was routed to a provider that is not active",
                ));
            }
        };
        let timeouts = &config.timeouts;
        let limits = AttemptLimits {
            first_byte_ms: if self.request.stream {
                timeouts.stream_first_byte_ms.min(timeouts.first_byte_ms)
            } else {
                timeouts.first_byte_ms
            },
            // Where nobody could take its place, a slow beginning is better than none.
            stall_ms: if self.plan.has_another(now_ms) {
                timeouts.stall_ms.min(timeouts.idle_ms)
            } else {
                timeouts.idle_ms
            },
            total_ms: u32::try_from(self.plan.left_ms(now_ms)).unwrap_or(u32::MAX),
        };
        let stream = self.request.stream.then(|| {
            let max_event = config.answers.max_bytes as usize;
            ChatStream::new(&candidate.provider.name, key.cloned(), outgoing.hide_usage, max_event)
        });
        let body = outgoing.body.as_deref().map(Uint8Array::from);
        let body = body.as_ref().unwrap_or(self.body);
        self.isolate.health.view.borrow_mut().begin(candidate.lane(lane.key), now_ms);
        self.sent += 1;
        let (client, usual) = (self.context.request.signal(), &self.isolate.settings.limits);
        let flight = upstream::begin(&client, target, body, usual, limits, stream, self.heartbeat.as_ref());
        Ok(Attempt { lane, sent_ms: now_ms, flight, adjusted: outgoing.adjusted })
    }

    /// Sets aside what an attempt may cost, and says how much output that pays for, in tokens of each choice.
    async fn set_aside(&mut self, candidate: &Candidate<'_>) -> Result<Option<u64>, Error> {
        if !self.spending.is_limited() {
            return Ok(None);
        }
        let needs = self.spending.needs(target(candidate))?;
        let held = self.isolate.accounts.set_aside(self.context, self.ledger, &needs).await?;
        if self.heartbeat.is_none() && !held.is_empty() {
            self.heartbeat = Some(self.isolate.accounts.heartbeat(self.context, self.ledger));
        }
        Ok(self.spending.begun(target(candidate), held))
    }

    /// Waits for an attempt, and for the one that it is hedged with.
    async fn land(&mut self, attempt: Attempt, lost: &mut Option<Lost>) -> Option<Won> {
        let mut hedge_ms = self.hedge_ms(attempt.lane);
        let mut attempts = vec![attempt];
        while !attempts.is_empty() {
            let index = if hedge_ms.is_none() && attempts.len() == 1 {
                0
            } else {
                let left_ms = u32::try_from(self.plan.left_ms(clock::now_ms())).unwrap_or(u32::MAX);
                let flights = attempts.iter().map(|attempt| &attempt.flight);
                match upstream::first_of(flights, hedge_ms.take().unwrap_or(left_ms)).await {
                    Some(index) if index < attempts.len() => index,
                    _ => {
                        attempts.extend(self.second().await);
                        continue;
                    }
                }
            };
            if let Some(won) = self.settle(attempts.remove(index), lost).await {
                for Attempt { lane, sent_ms, flight, .. } in attempts {
                    flight.cancel();
                    self.outrun(lane, sent_ms);
                }
                return Some(won);
            }
        }
        None
    }

    /// After how many milliseconds without content a second lane is asked too; `None`: never. Not where a cancelled call is
    /// charged all the same.
    fn hedge_ms(&self, lane: Lane) -> Option<u32> {
        let usual_ms = self.isolate.settings.config.routing.hedge_ms;
        let candidate = self.candidate(lane).ok()?;
        if usual_ms == 0 || !self.request.stream || !may_be_hedged(candidate) {
            return None;
        }
        let board = self.isolate.health.view.borrow();
        let slow_ms =
            board.lane(candidate.lane(lane.key)).and_then(|lane| lane.percentile_ms(0.95, ENOUGH_LATENCIES));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the end of a latency class"
        )]
        Some(slow_ms.map_or(usual_ms, |ms| ms as u32))
    }

    async fn second(&mut self) -> Option<Attempt> {
        let candidates = self.candidates;
        let may = |lane: Lane| candidates.get(lane.candidate).is_some_and(may_be_hedged);
        let lane = self.plan.hedge(clock::now_ms(), may)?;
        self.begin(lane).await.ok()
    }

    /// Waits for one attempt, and notes how it went.
    async fn settle(&mut self, attempt: Attempt, lost: &mut Option<Lost>) -> Option<Won> {
        let Attempt { lane, sent_ms, flight, adjusted } = attempt;
        let outcome = flight.settle().await;
        let now_ms = clock::now_ms();
        let upstream_ms = now_ms.saturating_sub(sent_ms);
        let candidate = self.candidates.get(lane.candidate)?;
        let key = self.key(lane);
        let place = candidate.lane(lane.key);
        let board = &self.isolate.health.view;
        if let Ok(answer) = &outcome {
            let limits = candidate.provider.limit_headers;
            // What is left is told with every answer; some of them are enough to know.
            let looked_ms = &self.isolate.health.quota_read_ms;
            let is_time = now_ms.saturating_sub(looked_ms.get()) >= LOOK_EVERY_MS;
            if !limits.is_empty() && (answer.status != 200 || is_time) {
                looked_ms.set(now_ms);
                let readings = quota::read(limits, |name| answer.header(name), now_ms);
                board.borrow_mut().quota(place, readings);
            }
        }
        match response::read(&candidate.provider.name, key, self.request.stream, outcome) {
            Ok(received) => {
                board.borrow_mut().answered(place, sent_ms, now_ms);
                self.note(lane, "ok", upstream_ms);
                Some(Won { lane, received, adjusted, upstream_ms })
            }
            Err(refusal) => {
                let header = |name| {
                    refusal
                        .retry_headers
                        .iter()
                        .find(|(known, _)| *known == name)
                        .map(|(_, value)| value.as_str())
                };
                let retry_after_ms =
                    quota::retry_after_ms(header("retry-after"), header("retry-after-ms"), now_ms);
                let failure = Failure::of(&refusal.error, retry_after_ms);
                board.borrow_mut().failed(place, &failure, false, now_ms, random::chance());
                self.plan.failed(lane, &failure, now_ms, random::chance());
                // The others should not have to wait until this call is over.
                self.isolate.health.publish_after_response(self.context);
                self.note(lane, failure.class.as_str(), upstream_ms);
                let class = failure.class;
                let end = if class.may_have_used() { abandoned(candidate) } else { End::Nothing };
                self.spending.ended(target(candidate), class.as_str(), upstream_ms, end);
                let rank = |lost: &Lost| lost.class.map_or(0, Class::rank);
                if lost.as_ref().is_none_or(|lost| class.rank() > rank(lost)) {
                    *lost = Some(Lost { lane: Some(lane), refusal, class: Some(class), upstream_ms });
                }
                None
            }
        }
    }

    /// Notes that another lane was faster.
    fn outrun(&mut self, lane: Lane, sent_ms: u64) {
        let Some(candidate) = self.candidates.get(lane.candidate) else { return };
        let now_ms = clock::now_ms();
        self.isolate.health.view.borrow_mut().outrun(candidate.lane(lane.key), sent_ms, now_ms);
        self.note(lane, "cancelled", now_ms.saturating_sub(sent_ms));
        self.spending.ended(
            target(candidate),
            "cancelled",
            now_ms.saturating_sub(sent_ms),
            abandoned(candidate),
        );
    }

    fn note(&mut self, lane: Lane, how: &str, upstream_ms: u64) {
        if !self.route.is_empty() {
            self.route.push_str(", ");
        }
        if let Some(candidate) = self.candidates.get(lane.candidate) {
            let address = visible_ascii(&candidate.address());
            let _ = write!(self.route, "{address};{how};dur={upstream_ms}");
        }
    }

    /// What is told when nobody answered.
    fn lost(&self, lost: Option<Lost>, again_ms: Option<u64>) -> Lost {
        let Some(mut lost) = lost else {
            let error = Error::new(
                Code::NoCandidate,
                "Every upstream that could answer this call is resting: it was throttled, failed, or has used up a limit",
            );
            let error = error.with_retry_after(again_ms.map_or(1, seconds).max(1));
            return Lost {
                lane: None,
                refusal: error.with_param("model").into(),
                class: None,
                upstream_ms: 0,
            };
        };
        // The words of the upstream stand as they are where it alone was asked.
        if self.candidates.len() > 1 && self.plan.attempts() > 1 && lost.class.is_some_and(Class::goes_on) {
            let tried = self.route.replace(";dur=", " after ").replace(';', ": ").replace(", ", " ms; ");
            let _ = write!(lost.refusal.error.message, " (nobody answered: {tried} ms)");
        }
        lost
    }
}

fn no_such_lane() -> Error {
    Error::new(Code::InternalError, "A call was routed to a model that is not there")
}

/// A candidate, as what is spent on it goes by it.
fn target<'a>(candidate: &'a Candidate<'_>) -> Target<'a> {
    Target { provider: &candidate.provider.name, model: &candidate.model, facts: &candidate.facts }
}

/// What an attempt is charged that was given up before any of its output was seen.
pub fn abandoned(candidate: &Candidate<'_>) -> End {
    if candidate.provider.cancel_stops_billing == Some(false) { End::AtMost } else { End::Partly(0) }
}

/// Whether a call may be cancelled without being charged, as far as is known.
fn may_be_hedged(candidate: &Candidate<'_>) -> bool {
    candidate.provider.cancel_stops_billing != Some(false)
}

fn header<'a>(auth: &'a Auth, key: &Secret) -> Option<(&'a str, String)> {
    match auth {
        Auth::Bearer => Some(("authorization", format!("Bearer {}", key.expose()))),
        Auth::Header(name) => Some((name, key.expose().to_owned())),
        Auth::None => None,
    }
}
