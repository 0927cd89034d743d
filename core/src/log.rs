//! The events of the log, as one table: their names, their fields, and what these mean. The documentation's page of the
//! fields is generated from it.
//!
//! An event is one JSON object: `event` has its name, then the fields follow in the order of the table. No field has the
//! content of a call or a secret. The module does not write lines; the Worker does, at most one for each request.

use serde::Serialize;

/// One event, for the documentation.
#[derive(Clone, Copy, Debug)]
pub struct EventSpec {
    /// The name in `event`.
    pub name: &'static str,
    /// What has happened.
    pub meaning: &'static str,
    /// The fields, in order.
    pub fields: &'static [FieldSpec],
}

/// One field of an event, for the documentation.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    /// The name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The value may be `null`.
    pub is_nullable: bool,
    /// The field may be absent.
    pub is_optional: bool,
    /// The meaning.
    pub meaning: &'static str,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list of texts.
    Texts,
}

impl Kind {
    /// The name in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Number => "number",
            Kind::Flag => "true or false",
            Kind::Texts => "list of texts",
        }
    }
}

/// A type of Rust that a field can have.
trait Value {
    const KIND: Kind;
    const IS_NULLABLE: bool = false;
}

impl Value for &str {
    const KIND: Kind = Kind::Text;
}

impl Value for bool {
    const KIND: Kind = Kind::Flag;
}

impl Value for Vec<&str> {
    const KIND: Kind = Kind::Texts;
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;
    const IS_NULLABLE: bool = true;
}

/// Returns `true` if a field has a condition under which it is absent.
const fn is_given(condition: &str) -> bool {
    !condition.is_empty()
}

macro_rules! numbers {
    ($($of:ty),+) => { $(impl Value for $of { const KIND: Kind = Kind::Number; })+ };
}

numbers!(u8, u16, u32, u64, usize);

macro_rules! events {
    ($($(#[doc = $meaning:literal])+ $name:literal, $variant:ident { $(
        $(#[doc = $says:literal])+ $(#[absent_if($absent:literal)])? $field:ident: $of:ty,
    )* })+) => {
        /// The events of the log.
        #[derive(Serialize)]
        #[serde(tag = "event")]
        pub enum Event<'e> {
            $($(#[doc = $meaning])+ #[serde(rename = $name)] $variant { $(
                $(#[doc = $says])+ $(#[serde(skip_serializing_if = $absent)])? $field: $of,
            )* },)+
        }

        impl<'e> Event<'e> {
            /// All events, in the table's order.
            pub const ALL: &'static [EventSpec] = &[$(EventSpec {
                name: $name,
                meaning: concat!($($meaning),+),
                fields: &[$(FieldSpec {
                    name: stringify!($field),
                    kind: <$of as Value>::KIND,
                    is_nullable: <$of as Value>::IS_NULLABLE,
                    is_optional: is_given(concat!($($absent)?)),
                    meaning: concat!($($says),+),
                }),*],
            }),+];
        }
    };
}

events! {
    /// The settings of an isolate were read.
    "start", Start {
        /// The version of the gateway.
        version: &'e str,
        /// The number of keys in the ring.
        keys: usize,
        /// The number of operator keys.
        operator_keys: usize,
        /// The number of entries of key rings that are not valid.
        malformed_key_entries_skipped: usize,
        /// The providers that have a key.
        providers: Vec<&'e str>,
    }
    /// The configuration is not valid, so that every request fails.
    "not_started", NotStarted {
        /// What is wrong.
        error: &'e str,
        /// The setting, and what it must be.
        detail: &'e str,
    }
    /// An inference call is over.
    "call", Call {
        /// The `x-request-id`.
        request_id: &'e str,
        /// The id of the receipt. A call that no provider was called for has no receipt.
        receipt: &'e str,
        /// The label of a key of the ring, or the name of an issued key.
        caller: &'e str,
        /// The id of an issued key.
        key_id: Option<&'e str>,
        /// The project.
        project: Option<&'e str>,
        /// The provider that answered, or whose error is returned.
        provider: Option<&'e str>,
        /// The provider’s id of the model.
        model: Option<&'e str>,
        /// The number of attempts that were sent.
        attempts: u32,
        /// The request asks for a stream.
        stream: bool,
        /// The status that the caller got.
        status: u16,
        /// `answered`, `refused`, `failed` or `client_left`, as in [receipts](/docs/usage).
        outcome: &'e str,
        /// The [code](/docs/errors) of the error.
        code: Option<&'e str>,
        /// The field or the limit at fault, such as `usd_per_month`.
        param: Option<&'e str>,
        /// The caller got only a part of the response.
        partial: bool,
        /// Some of the tokens are estimated.
        estimated: bool,
        /// The provider reported more usage than can be right. Absent otherwise.
        #[absent_if("std::ops::Not::not")]
        capped: bool,
        /// Input tokens.
        prompt_tokens: Option<u64>,
        /// Output tokens.
        completion_tokens: Option<u64>,
        /// The cost in millionths of a US dollar.
        cost_micro_usd: Option<u64>,
        /// The time to the first content of a stream, in milliseconds.
        first_token_ms: Option<u64>,
        /// The time that the provider took to respond, in milliseconds.
        upstream_ms: u64,
        /// The time to the end, in milliseconds.
        total_ms: u64,
        /// What only the operator may know about the failure, such as the variable to set.
        detail: Option<&'e str>,
    }
    /// An attempt failed for a reason that only the operator can change: the key or the account at a provider.
    "upstream", Upstream {
        /// The `x-request-id`.
        request_id: &'e str,
        /// The provider.
        provider: &'e str,
        /// The provider’s id of the model.
        model: &'e str,
        /// The index of the provider’s key.
        key: u8,
        /// The class of the failure.
        class: &'e str,
        /// The provider’s message, without any part of the key.
        detail: &'e str,
    }
    /// A request of a known caller was rejected before anything was sent.
    "refused", Refused {
        /// The `x-request-id`.
        request_id: &'e str,
        /// The HTTP method.
        method: &'e str,
        /// The route, without the ids in its path.
        path: &'e str,
        /// The label of a key of the ring, or the name of an issued key.
        caller: &'e str,
        /// The id of an issued key.
        key_id: Option<&'e str>,
        /// The status.
        status: u16,
        /// The [code](/docs/errors) of the error.
        code: Option<&'e str>,
        /// The field or the limit at fault, such as `requests_per_minute`.
        param: Option<&'e str>,
        /// What only the operator may know, such as the variable to set.
        detail: Option<&'e str>,
        /// The time to the response, in milliseconds.
        total_ms: u64,
    }
    /// A request to an operator’s route was denied: with a wrong key, or with a key that does not administer.
    "operator_denied", OperatorDenied {
        /// The `x-request-id`.
        request_id: &'e str,
        /// The HTTP method.
        method: &'e str,
        /// The route; empty if there is none.
        route: &'e str,
        /// The status.
        status: u16,
        /// The [code](/docs/errors) of the error.
        code: Option<&'e str>,
    }
    /// A response could not be created.
    "response", Response {
        /// The reason.
        error: &'e str,
    }
    /// A statement of the database failed.
    "database", Database {
        /// The database’s message.
        error: &'e str,
    }
    /// A secret or a run-time setting is not valid, and does not apply.
    "setting", Setting {
        /// What is wrong.
        error: &'e str,
        /// Which one, and why.
        detail: &'e str,
    }
    /// A ledger failed, or a report to one did.
    "ledger", Ledger {
        /// The reason.
        error: &'e str,
        /// The number of calls whose records are concerned. Absent if it is not known.
        #[absent_if("Option::is_none")]
        calls: Option<u64>,
    }
    /// Spans or metrics were not exported.
    "telemetry", Telemetry {
        /// The reason.
        error: &'e str,
        /// The collector does not take them, so that they are not sent again.
        given_up: bool,
    }
    /// A notification was not delivered.
    "webhook", Webhook {
        /// The id of the notification.
        id: &'e str,
        /// The number of tries.
        attempts: u32,
        /// The reason.
        error: &'e str,
        /// It is not tried again.
        given_up: bool,
    }
    /// The Wasm of an isolate panicked: its calls ended, and the next request gets a new instance.
    "panic", Panic {
        /// The message.
        error: &'e str,
        /// The file, line and column.
        place: &'e str,
        /// The functions of the stack, innermost first.
        stack: Vec<&'e str>,
    }
    /// The Wasm of an isolate failed otherwise, with the same effect.
    "trap", Trap {
        /// The message.
        error: &'e str,
        /// The functions of the stack, innermost first.
        stack: Vec<&'e str>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn a_line_has_the_fields_of_the_table_in_their_order() {
        let event = Event::Ledger { error: "x", calls: Some(2) };
        assert_eq!(json::to_text(&event), r#"{"event":"ledger","error":"x","calls":2}"#);
        let event = Event::Ledger { error: "x", calls: None };
        assert_eq!(json::to_text(&event), r#"{"event":"ledger","error":"x"}"#);
        let spec = Event::ALL.iter().find(|event| event.name == "ledger").unwrap();
        let fields: Vec<_> =
            spec.fields.iter().map(|field| (field.name, field.kind, field.is_optional)).collect();
        assert_eq!(fields, [("error", Kind::Text, false), ("calls", Kind::Number, true)]);
    }

    #[test]
    fn every_event_has_one_name_and_every_field_a_meaning() {
        for (index, event) in Event::ALL.iter().enumerate() {
            assert!(!Event::ALL.iter().take(index).any(|other| other.name == event.name), "{}", event.name);
            for field in event.fields {
                assert!(field.meaning.trim().ends_with('.') && field.name != "event", "{}", field.name);
            }
        }
    }
}
