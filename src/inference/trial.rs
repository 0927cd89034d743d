//! The trial of a provider's key: one small request that no key's limit counts and no receipt records. It does not count
//! for or against a lane.

use gatehouse_core::catalog::{AI_BINDING, Entry, Facts, Reachability};
use gatehouse_core::error::{Code, Error};
use gatehouse_core::format;
use gatehouse_core::format::request::Responder;
use gatehouse_core::format::upstream_error::blot;
use gatehouse_core::format::versions::Versions;
use gatehouse_core::health::failure::{Class, Failure};
use gatehouse_core::key::Secret;
use gatehouse_core::ledger::price;
use gatehouse_core::money::usd;
use gatehouse_core::operation::Task;
use gatehouse_core::route::candidates::Candidate;
use gatehouse_core::route::driver::AttemptLimits;
use gatehouse_core::route::response::{self, Arrived, Passed, Refusal, Sent};
use gatehouse_core::route::trial::Trial;
use gatehouse_core::time::DAY_MS;
use gatehouse_core::usage::Usage;
use serde::Serialize;
use worker::js_sys::Uint8Array;

use super::attempts::headers;
use crate::isolate::Isolate;
use crate::platform::upstream::{self, Flight, Target, UpstreamBody};
use crate::platform::{clock, variables};
use crate::request_context::RequestContext;

/// The longest message of a provider that is repeated, in characters.
const MAX_MESSAGE: usize = 400;

/// A trial that was sent.
pub struct SentTrial {
    flight: Flight,
    provider: String,
    secret: Option<Secret>,
    model: String,
    facts: Facts,
    is_chat: bool,
    responder: Responder,
    began_ms: u64,
}

/// The result of a trial.
#[derive(Serialize)]
pub struct TrialReport {
    /// The provider answered the request.
    pub ok: bool,
    /// The model that was tried, as `provider/model`.
    pub model: String,
    /// The status of the response; without a response, that of the error.
    pub status: u16,
    /// The class of the failure.
    pub class: Option<&'static str>,
    /// The provider's words, without any part of the key.
    pub message: Option<String>,
    /// US dollars, as a decimal; `None` if the usage or the price is not known.
    pub cost_usd: Option<String>,
    /// The time to the whole response.
    pub latency_ms: u64,
    /// The cost in micro-USD, for sums.
    #[serde(skip)]
    pub cost: Option<u64>,
    /// The model is one for conversations.
    #[serde(skip)]
    pub is_chat: bool,
}

/// Sends a trial of a key, or of a provider without one. The error states what the operator has to change.
pub fn send(
    context: &RequestContext<'_>,
    isolate: &Isolate,
    provider: &Entry,
    secret: Option<&Secret>,
    model: Option<&str>,
    limit_ms: u32,
) -> Result<SentTrial, Error> {
    let today = u16::try_from(clock::now_ms() / DAY_MS).unwrap_or(u16::MAX);
    let trial = Trial::of(provider, model, today).ok_or_else(|| {
        let message = format!(
            "The gateway knows no model of {}: name one in 'model', or list the provider's models in the configuration",
            provider.name
        );
        Error::new(Code::InvalidValue, message).with_param("model")
    })?;
    let request = format::read(trial.operation, trial.body.as_bytes())?;
    let candidate = Candidate::of(provider, &trial.model);
    let outgoing = request.outgoing(&candidate.upstream(), None)?;
    let target = match &provider.reachability {
        Reachability::Active { .. } => {
            let endpoint = provider.endpoint(outgoing.responder.format);
            let endpoint = endpoint.ok_or_else(|| {
                Error::new(Code::InternalError, "The provider has no endpoint for the trial")
            })?;
            Target::Http(&endpoint.url, headers(endpoint, secret, &Versions::default()))
        }
        Reachability::Binding => {
            let binding = variables::binding(&context.env, AI_BINDING)
                .ok_or_else(|| Error::new(Code::ProviderNotConfigured, "There is no binding AI"))?;
            Target::Binding(binding, &candidate.model)
        }
        Reachability::Inactive(why) => {
            let message = format!("{} cannot be called: {why}", provider.name);
            return Err(Error::new(Code::ProviderNotConfigured, message));
        }
    };
    let flight = upstream::begin(
        &context.request.signal(),
        target,
        &Uint8Array::from(outgoing.body.as_deref().unwrap_or(trial.body.as_bytes())),
        &isolate.settings.limits,
        AttemptLimits { first_byte_ms: limit_ms, stall_ms: limit_ms, total_ms: limit_ms },
        None,
        false,
        None,
    );
    Ok(SentTrial {
        flight,
        provider: provider.name.clone(),
        secret: secret.cloned(),
        facts: trial.facts,
        is_chat: trial.operation.task == Task::Chat,
        responder: outgoing.responder,
        began_ms: clock::now_ms(),
        model: trial.model,
    })
}

impl SentTrial {
    /// Waits for the response.
    pub async fn settle(self) -> TrialReport {
        let SentTrial { flight, provider, secret, model, facts, is_chat, responder, began_ms } = self;
        let result = read(flight, &provider, secret.as_ref(), responder).await;
        let cost_of = |usage: &Usage| {
            let prompt = usage.prompt_tokens.unwrap_or_default();
            // A response with vectors has no output.
            let usage = Usage { completion_tokens: usage.completion_tokens.or(Some(0)), ..*usage };
            price::cost(&usage, &facts.price_at(prompt))
        };
        let model = format!("{provider}/{model}");
        let latency_ms = clock::now_ms().saturating_sub(began_ms);
        let cost = match &result {
            Ok((_, usage)) => cost_of(usage),
            Err(refusal) if class_of(refusal).may_have_used() => None,
            Err(_) => Some(0),
        };
        let (status, class, message) = match result {
            Ok((status, _)) => (status, None, None),
            Err(refusal) => {
                let Refusal { error, detail, .. } = &*refusal;
                let said = detail.as_deref().or(error.told()).unwrap_or(&error.message);
                let said = secret.iter().fold(said.to_owned(), |said, key| blot(&said, key.expose()));
                let said = said.chars().take(MAX_MESSAGE).collect();
                (error.told_status(), Some(class_of(&refusal).as_str()), Some(said))
            }
        };
        TrialReport {
            ok: class.is_none(),
            model,
            status,
            class,
            message,
            cost_usd: cost.map(usd),
            latency_ms,
            cost,
            is_chat,
        }
    }
}

fn class_of(refusal: &Refusal) -> Class {
    Failure::of(&refusal.error, None).class
}

/// Reads the response: its status and usage.
async fn read(
    flight: Flight,
    provider: &str,
    key: Option<&Secret>,
    responder: Responder,
) -> Result<(u16, Usage), Box<Refusal>> {
    let response = flight.settle().await.map_err(|interrupted| {
        let detail = interrupted.detail().map(str::to_owned);
        let refusal = Refusal::from(response::interrupted(provider, interrupted.why));
        Box::new(Refusal { detail, ..refusal })
    })?;
    let body = || match &response.body {
        UpstreamBody::Whole(Some(body)) => body.to_vec(),
        UpstreamBody::Whole(None) | UpstreamBody::Stream(_) => Vec::new(),
    };
    let sent = Sent { provider, key, responder };
    let arrived = Arrived { status: response.status, is_stream: false };
    match response::read(sent, arrived, body, |name| response.header(name))? {
        Passed::Whole(whole) => Ok((response.status, whole.usage)),
        Passed::Stream => Ok((response.status, Usage::default())),
    }
}
