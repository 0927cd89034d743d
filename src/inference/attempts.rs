//! Carries out the commands of a call's driver: reserves, sends, waits and cancels.
//!
//! `gatehouse_core::route::driver` decides what to do next, `route::response` how to read a response.

use std::cell::Cell;
use std::rc::Rc;

use gatehouse_core::catalog::{AI_BINDING, Endpoint, Reachability};
use gatehouse_core::config::Auth;
use gatehouse_core::error::{Code, Error, Meaning};
use gatehouse_core::format::request::{Inference, Outgoing, Responder};
use gatehouse_core::format::response_id::response_id;
use gatehouse_core::format::upstream_error::blot;
use gatehouse_core::format::versions::Versions;
use gatehouse_core::format::whole::{BOM, Whole};
use gatehouse_core::health::LastError;
use gatehouse_core::health::failure::Failure;
use gatehouse_core::key::Secret;
use gatehouse_core::ledger::{Charge, End, Need, Unreserved};
use gatehouse_core::route::candidates::Candidate;
use gatehouse_core::route::driver::{self, Answered, Command, Driver, Exhausted, Send};
use gatehouse_core::route::plan::LaneIndex;
use gatehouse_core::route::response::{self, Arrived, Passed, Refusal, Sent};
use worker::js_sys::Uint8Array;

use crate::isolate::{Isolate, accounts};
use crate::platform::memory::Ticket;
use crate::platform::upstream::{
    self, EventStream, Flight, Heartbeat, Target, UpstreamBody, UpstreamResponse,
};
use crate::platform::{clock, log, random, variables};
use crate::request_context::RequestContext;

use super::early::Early;
use super::permission::Permission;
use super::receive::Incoming;

/// The attempts of one call.
pub struct Attempts<'c> {
    /// The HTTP request.
    pub context: &'c RequestContext<'c>,
    /// The isolate that serves it.
    pub isolate: &'c Rc<Isolate>,
    /// The parsed request.
    pub request: &'c Inference<'c>,
    /// The versions of the format that the caller names.
    pub versions: &'c Versions,
    /// The body of the request.
    pub incoming: &'c Incoming,
    /// The candidates of the call.
    pub candidates: &'c [Candidate<'c>],
    /// The request as it was translated for the first candidate when that was selected.
    pub translated: Option<Outgoing>,
    /// The permission of the call.
    pub permission: Permission<'c>,
    /// The name of the key's ledger.
    pub ledger: &'c str,
    /// The reservation from before the body was read.
    pub early: Early,
    /// Reports to the ledger that the call is in flight, once something is reserved for it.
    pub heartbeat: Option<Heartbeat>,
    /// `true` once an attempt was sent, so that the call has a record.
    pub was_sent: bool,
}

/// A response to forward.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment; a box would be an allocation in each call"
)]
pub enum Received {
    /// A whole response, forwarded byte for byte.
    Whole {
        /// The status, 2xx.
        status: u16,
        body: Uint8Array,
        /// The memory of the body.
        ticket: Ticket,
        /// What is read of it.
        whole: Whole,
        /// The content type of a text, as the upstream states it.
        stated_type: Option<String>,
        /// The id of a response that its provider may keep.
        id: Option<String>,
    },
    /// An event stream of which only the held part has been read.
    Stream(EventStream),
}

impl Received {
    /// The id of a response that its provider may keep.
    pub fn response_id(&self) -> Option<String> {
        match self {
            Received::Whole { id, .. } => id.clone(),
            Received::Stream(events) => events.response_id(),
        }
    }
}

/// The successful attempt.
pub struct Success {
    /// Its lane and its duration.
    pub answered: Answered,
    /// Its response.
    pub received: Received,
    /// Parameters that were dropped or changed for the provider.
    pub adjusted: Vec<String>,
}

/// An attempt in flight.
struct Attempt {
    lane: LaneIndex,
    flight: Flight,
    adjusted: Vec<String>,
    responder: Responder,
}

impl Attempts<'_> {
    /// Runs the driver to its end.
    pub async fn run(&mut self, driver: &mut Driver<'_>) -> Result<Success, Box<Exhausted>> {
        let isolate = Rc::clone(self.isolate);
        let view = || isolate.health.view.borrow_mut();
        let mut in_flight: Vec<Attempt> = Vec::new();
        // The response of the last settled attempt, with the adjusted parameters.
        let mut settled: Option<(Received, Vec<String>)> = None;
        loop {
            if driver.may_send()
                && let Err(error) = self.permission.check().await
            {
                driver.forbid(error);
            }
            let command = driver.next(clock::now_ms(), &mut view());
            match command {
                Command::Reserve(needs) => {
                    let held = self.reserve(&needs).await;
                    driver.reserved(held, clock::now_ms());
                }
                Command::Send(send) => match self.send(send) {
                    Ok(attempt) => in_flight.push(attempt),
                    Err(error) => {
                        let refusal = Err(error.into());
                        driver.settled(send.lane, refusal, clock::now_ms(), &mut view(), random::chance);
                    }
                },
                Command::Await(limit_ms) => {
                    let index = first_settled(&in_flight, limit_ms).await;
                    let Some(index) = index.filter(|index| *index < in_flight.len()) else {
                        driver.elapsed(clock::now_ms());
                        continue;
                    };
                    let Attempt { lane, flight, adjusted, responder } = in_flight.remove(index);
                    let mut result = self.settle(lane, flight, responder).await;
                    if let Err(refusal) = &mut result {
                        self.check_reasoning(refusal);
                        self.clear_of_keys(lane, refusal);
                        self.tell_operator(lane, refusal);
                    }
                    let said = result.as_ref().err().and_then(|refusal| self.last_error(lane, refusal));
                    let result = result.map(|received| settled = Some((received, adjusted)));
                    let failure = driver.settled(lane, result, clock::now_ms(), &mut view(), random::chance);
                    if let (Some(said), Some(candidate)) = (said, self.candidates.get(lane.candidate)) {
                        view().keep_error(candidate.lane(lane.key), said);
                    }
                    if failure.is_some() {
                        // Other isolates should not have to wait until this call ends.
                        self.isolate.health.publish_after_response(self.context);
                    }
                }
                Command::Wait(ms) => {
                    if let Some(heartbeat) = &self.heartbeat {
                        heartbeat.beat();
                    }
                    let ms = ms.min(accounts::HEARTBEAT_MS);
                    if upstream::wait(&self.context.request.signal(), ms).await {
                        driver.elapsed(clock::now_ms());
                    } else {
                        driver.client_left();
                    }
                }
                Command::Finish(result) => {
                    for attempt in in_flight {
                        attempt.flight.cancel();
                    }
                    let answered = result?;
                    return match settled {
                        Some((received, adjusted)) => Ok(Success { answered, received, adjusted }),
                        None => Err(Box::new(nothing_received())),
                    };
                }
            }
        }
    }

    /// Reasoning that the request does not have cannot be left out of it: such a request is invalid as it is.
    fn check_reasoning(&self, Refusal { error, .. }: &mut Refusal) {
        if error.meaning() == Some(Meaning::ReasoningRejected) && !self.request.has_reasoning() {
            *error = error.clone().with_meaning(Meaning::Refused, None);
        }
    }

    /// Removes every key of the provider from what it said, for the log: it may name another one than was sent.
    fn clear_of_keys(&self, lane: LaneIndex, refusal: &mut Refusal) {
        let Some(candidate) = self.candidates.get(lane.candidate) else { return };
        let keys = || candidate.provider.keys().iter();
        refusal.detail =
            refusal.detail.take().map(|said| keys().fold(said, |said, key| blot(&said, key.secret.expose())));
    }

    /// The failure of a lane as operators see it; `None` if it was the caller's.
    fn last_error(&self, lane: LaneIndex, Refusal { error, detail, .. }: &Refusal) -> Option<LastError> {
        let candidate = self.candidates.get(lane.candidate)?;
        let said = detail.as_deref().or(error.told()).unwrap_or(&error.message).to_owned();
        let keys = candidate.provider.keys().iter();
        let said = keys.fold(said, |said, key| blot(&said, key.secret.expose()));
        LastError::of(error, &said, clock::now_ms())
    }

    /// Logs an error that only the operator can fix: the caller may never hear of it, because another lane answers. A
    /// lane with such an error has a long cooldown, so there are few of these lines.
    fn tell_operator(&self, lane: LaneIndex, Refusal { error, detail, .. }: &Refusal) {
        let Some(candidate) = self.candidates.get(lane.candidate) else { return };
        if error.meaning().is_some_and(Meaning::is_operators) {
            log::line(&log::Event::Upstream {
                request_id: &self.context.id,
                provider: &candidate.provider.name,
                model: &candidate.model,
                key: lane.key,
                class: Failure::of(error, None).class.as_str(),
                detail: detail.as_deref().unwrap_or(&error.message),
            });
        }
    }

    /// Reserves what an attempt needs.
    async fn reserve(&mut self, needs: &[Need]) -> Result<Vec<Charge>, Unreserved> {
        let accounts = &self.isolate.accounts;
        let (mut held, rest) = self.early.take(needs);
        match accounts.reserve(self.context, self.ledger, &rest).await {
            Ok(charges) => held.extend(charges),
            Err(error) => {
                self.early.put_back(held);
                return Err(error);
            }
        }
        if self.heartbeat.is_none() && !held.is_empty() {
            self.heartbeat = Some(accounts.heartbeat(self.context, self.ledger));
        }
        Ok(held)
    }

    fn send(&mut self, send: Send) -> Result<Attempt, Error> {
        if !std::mem::replace(&mut self.was_sent, true) {
            accounts::will_record();
        }
        let Send { lane, limits, output_limit, is_metered, without_reasoning, .. } = send;
        let translated = self.translated.take().filter(|_| lane.candidate == 0 && output_limit.is_none());
        let candidate = self.candidate(lane)?;
        let provider = candidate.provider;
        let key = self.key(lane);
        let outgoing = match translated {
            _ if without_reasoning => {
                self.request.outgoing_without_reasoning(&candidate.upstream(), output_limit)?
            }
            Some(translated) => translated,
            None => self.request.outgoing(&candidate.upstream(), output_limit)?,
        };
        let outgoing = outgoing.created_at(clock::now_ms() / 1000, random::id_bytes);
        let target = match &provider.reachability {
            Reachability::Active { .. } => {
                let endpoint = provider.endpoint(outgoing.responder.format).ok_or_else(|| {
                    Error::new(Code::InternalError, "A call was routed to a provider without its endpoint")
                })?;
                let mut headers = headers(endpoint, key, self.versions);
                if endpoint.format.has_other_types(self.request.stream) {
                    headers.push(("accept", "*/*".to_owned()));
                }
                Target::Http(&endpoint.url, headers)
            }
            Reachability::Binding => {
                let binding = variables::binding(&self.context.env, AI_BINDING).ok_or_else(|| {
                    Error::new(Code::ProviderNotConfigured, "there is no binding AI for workers_ai")
                })?;
                Target::Binding(binding, &candidate.model)
            }
            Reachability::Inactive(_) => {
                return Err(Error::new(
                    Code::InternalError,
                    "A call was routed to a provider that is not active",
                ));
            }
        };
        let settings = &self.isolate.settings;
        let max_event = settings.config.responses.max_bytes as usize;
        let is_whole = !self.request.stream;
        let stream = if is_whole {
            outgoing.responder.large(&provider.name, key.cloned())
        } else {
            outgoing.responder.stream(&provider.name, key.cloned(), max_event)
        };
        let body = self.incoming.outgoing(outgoing.body.as_deref())?;
        drop(outgoing.body);
        let client = self.context.request.signal();
        let flight = upstream::begin(
            &client,
            target,
            &body,
            &settings.limits,
            limits,
            stream.map(|stream| (stream, is_whole)),
            is_metered,
            self.heartbeat.as_ref(),
        );
        Ok(Attempt { lane, flight, adjusted: outgoing.adjusted, responder: outgoing.responder })
    }

    fn candidate(&self, lane: LaneIndex) -> Result<&Candidate<'_>, Error> {
        self.candidates.get(lane.candidate).ok_or_else(|| {
            Error::new(Code::InternalError, "The call was routed to a candidate that does not exist")
        })
    }

    fn key(&self, lane: LaneIndex) -> Option<&Secret> {
        self.candidates.get(lane.candidate)?.provider.secret(lane.key)
    }

    /// Waits for one attempt and reads its response.
    async fn settle(
        &self,
        lane: LaneIndex,
        flight: Flight,
        responder: Responder,
    ) -> Result<Received, Box<Refusal>> {
        let outcome = flight.settle().await;
        let candidate = self.candidate(lane)?;
        let provider = &candidate.provider.name;
        let response = outcome.map_err(|interrupted| {
            let detail = interrupted.detail().map(str::to_owned);
            let refusal = match interrupted.early() {
                Some(error) => {
                    response::refused(error.clone(), |name| interrupted.header(name)).after_success()
                }
                None => response::interrupted(provider, interrupted.why).into(),
            };
            let used = if interrupted.unsent { Some(End::Nothing) } else { refusal.used };
            Box::new(Refusal { detail: refusal.detail.clone().or(detail), used, ..refusal })
        })?;
        self.isolate.health.view.borrow_mut().observe_limits(
            candidate.lane(lane.key),
            candidate.provider.limit_headers,
            response.status == 200,
            |name| response.header(name),
            clock::now_ms(),
        );
        let has_id = self.request.is_stored() && responder.is_own_response();
        let id = Cell::new(None);
        let sent = Sent { provider, key: self.key(lane), responder };
        let arrived =
            Arrived { status: response.status, is_stream: matches!(response.body, UpstreamBody::Stream(_)) };
        let bytes = || match &response.body {
            UpstreamBody::Whole(Some(body)) => {
                let bytes = body.to_vec();
                id.set(if has_id { response_id(&bytes) } else { None });
                bytes
            }
            UpstreamBody::Whole(None) | UpstreamBody::Stream(_) => Vec::new(),
        };
        let passed = response::read(sent, arrived, bytes, |name| response.header(name));
        if response.late {
            let used = match passed {
                Ok(Passed::Whole(whole)) => {
                    driver::charge_of_whole(&whole, self.request.size.prompt_bounds())
                }
                Ok(Passed::Stream) => End::AtMost,
                Err(refusal) => driver::used_by_failure(&refusal, candidate),
            };
            return Err(Box::new(Refusal { used: Some(used), ..Refusal::from(response::client_left()) }));
        }
        let passed = passed?;
        let is_text = matches!(&passed, Passed::Whole(whole) if whole.is_text);
        let stated_type = if is_text { response.header("content-type") } else { None };
        let UpstreamResponse { status, ticket, .. } = response;
        Ok(match (response.body, passed) {
            (UpstreamBody::Stream(events), _) => Received::Stream(events),
            (UpstreamBody::Whole(body), Passed::Whole(whole)) => {
                let body = body.unwrap_or_default();
                let bom = u32::try_from(BOM.len()).unwrap_or(0);
                let body = match &whole.translated {
                    Some(translated) => Uint8Array::from(translated.as_slice()),
                    None if whole.has_bom => body.subarray(bom, body.length()),
                    None => body,
                };
                Received::Whole { status, body, ticket, whole, stated_type, id: id.take() }
            }
            (UpstreamBody::Whole(_), Passed::Stream) => return Err(Box::new(nothing_received().refusal)),
        })
    }
}

/// Waits until one of the attempts has settled, at most `limit_ms`.
async fn first_settled(in_flight: &[Attempt], limit_ms: Option<u32>) -> Option<usize> {
    match limit_ms {
        None => Some(0),
        Some(ms) => upstream::first_of(in_flight.iter().map(|attempt| &attempt.flight), ms).await,
    }
}

fn nothing_received() -> Exhausted {
    let error = Error::new(Code::InternalError, "A call ended with a response that is not there");
    Exhausted { lane: None, refusal: error.into(), class: None, upstream_ms: 0 }
}

/// The headers of a request that depend on the upstream: the key, and the versions of the format.
pub fn headers<'a>(
    endpoint: &'a Endpoint,
    key: Option<&Secret>,
    versions: &Versions,
) -> Vec<(&'a str, String)> {
    let key = key.and_then(|key| match &endpoint.auth {
        Auth::Bearer => Some(("authorization", format!("Bearer {}", key.expose()))),
        Auth::Header(name) => Some((&**name, key.expose().to_owned())),
        Auth::None => None,
    });
    key.into_iter().chain(versions.headers(endpoint.format)).collect()
}
