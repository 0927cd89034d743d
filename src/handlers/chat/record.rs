//! What is noted of a call once it is over: in this isolate's tally, and as the request's one log line. Never its content.

use std::rc::Rc;

use gatehouse_core::protocol::usage::Usage;
use serde::Serialize;
use serde_json::json;

use crate::gateway::Gateway;
use crate::platform::{clock, log};

/// What is noted of a call once it is over: in this isolate's tally, and as the request's one log line.
pub struct Record {
    /// The isolate that it ran in.
    pub gateway: Rc<Gateway>,
    /// The id that the caller was told.
    pub request_id: String,
    /// The label of the caller's key.
    pub caller: Rc<str>,
    /// The project that it named.
    pub project: Option<String>,
    /// The provider that was asked.
    pub provider: String,
    /// The provider's id of the model.
    pub model: String,
    /// Whether the model is one that `GET /v1/models` shows.
    pub listed: bool,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// Until the upstream's status line, or, of a whole answer, its end.
    pub upstream_ms: u64,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With a complete answer.
    Answered,
    /// With the provider's word that the request is at fault.
    Refused,
    /// By the provider's fault, or a limit of time or size.
    Failed,
    /// The client left first.
    ClientLeft,
}

impl Outcome {
    /// How a call that was answered with an error ended.
    pub fn of_status(status: u16) -> Outcome {
        match status {
            499 => Outcome::ClientLeft,
            400 | 404 | 409 | 413 | 415 | 422 => Outcome::Refused,
            _ => Outcome::Failed,
        }
    }
}

impl Record {
    /// Notes the end of the call.
    pub fn close(&self, status: u16, outcome: Outcome, usage: Usage, detail: Option<&str>) {
        // Whose fault it was matters: a caller's bad requests do not make a provider look ill.
        let success = outcome != Outcome::Failed;
        let model = self.listed.then_some(self.model.as_str());
        self.gateway.tally.borrow_mut().record(&self.provider, model, success, self.upstream_ms);
        log::line(&json!({
            "event": "call",
            "request_id": self.request_id,
            "caller": &*self.caller,
            "project": self.project,
            "provider": self.provider,
            "model": self.model,
            "stream": self.stream,
            "status": status,
            "outcome": outcome,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "upstream_ms": self.upstream_ms,
            "total_ms": clock::now_ms().saturating_sub(self.began_ms),
            "detail": detail,
        }));
    }
}
