//! Logs: one JSON object for each line, at most one line for each request. Never the content of a call, never a secret.

use gatehouse_core::json;
use serde::Serialize;

/// The events of the log. A line has the name of the event in `event`, then the fields in this order.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'e> {
    /// The settings of an isolate were read.
    Start {
        version: &'e str,
        keys: usize,
        operator_keys: usize,
        malformed_key_entries_skipped: usize,
        providers: Vec<&'e str>,
    },
    /// The settings are not valid.
    #[serde(rename = "start")]
    NotStarted { error: &'e str, detail: &'e str },
    /// An inference call is over.
    Call {
        request_id: &'e str,
        receipt: &'e str,
        caller: &'e str,
        key_id: Option<&'e str>,
        project: Option<&'e str>,
        provider: Option<&'e str>,
        model: Option<&'e str>,
        attempts: u32,
        stream: bool,
        status: u16,
        outcome: &'e str,
        code: Option<&'e str>,
        param: Option<&'e str>,
        partial: bool,
        estimated: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        capped: bool,
        prompt_tokens: Option<u64>,
        completion_tokens: Option<u64>,
        cost_micro_usd: Option<u64>,
        first_token_ms: Option<u64>,
        upstream_ms: u64,
        total_ms: u64,
        detail: Option<&'e str>,
    },
    /// An attempt failed for a reason that only the operator can change: the key or the account at a provider.
    Upstream {
        request_id: &'e str,
        provider: &'e str,
        model: &'e str,
        /// The index of the provider's key.
        key: u8,
        class: &'e str,
        /// The provider's words, without any part of the key.
        detail: &'e str,
    },
    /// A request of a known caller was rejected.
    Refused {
        request_id: &'e str,
        method: &'e str,
        path: &'e str,
        caller: &'e str,
        key_id: Option<&'e str>,
        status: u16,
        code: Option<&'e str>,
        param: Option<&'e str>,
        /// A fact that only the operator may know, such as the variable to set.
        detail: Option<&'e str>,
        total_ms: u64,
    },
    /// A request to an operator's route was denied: with a wrong key, or with a key that does not administer.
    OperatorDenied {
        request_id: &'e str,
        method: &'e str,
        route: &'e str,
        status: u16,
        code: Option<&'e str>,
    },
    /// A response could not be created.
    Response { error: &'e str },
    /// A statement of the database failed.
    Database { error: &'e str },
    /// A run-time setting has a fault.
    Setting { error: &'e str, detail: &'e str },
    /// A ledger failed, or a report to one did, with how many calls.
    Ledger {
        error: &'e str,
        #[serde(skip_serializing_if = "Option::is_none")]
        calls: Option<u64>,
    },
    /// Spans were not exported.
    Telemetry { error: &'e str, given_up: bool },
    /// A notification was not delivered.
    Webhook { id: &'e str, attempts: u32, error: &'e str, given_up: bool },
}

/// Writes one line.
pub fn line(event: &Event<'_>) {
    worker::web_sys::console::log_1(&json::to_text(event).into());
}
