//! Onboarding: requests for keys, their approval, and issued keys.
//!
//! | module | contents |
//! | --- | --- |
//! | [`submission`] | the body of `POST /access/request-key` |
//! | [`key_request`] | a key request |
//! | [`portal`] | the document of a key request in `/api/portal/requests` and webhooks |
//! | [`approval`] | the operator's decision: delivery, policies, expiry |
//! | [`api_key`] | an issued key and its document in `/v0/api_keys` |
//! | [`claim`] | the token and the state of a claim link |
//! | [`key_name`] | the form of names of keys and policies |
//! | [`increase`] | a request of a key holder for higher limits |
//! | [`audit`] | the chain of operator actions, and its verification |
//! | [`audit_state`] | the keys as that chain states them, compared with the tables |
//! | [`webhook`] | the body, the signature and the retries of webhooks |
//! | [`client_address`] | the client of an address |
//! | [`pseudonym`] | keyed hashes of addresses |
//! | [`sliding_log`] | limits over a span of time |
//! | [`wrong_keys`] | wrong keys of clients, and blocked clients |
//!
//! The module stores nothing: the Worker's `store` does, in D1.

pub mod api_key;
pub mod approval;
pub mod audit;
pub mod audit_state;
pub mod claim;
pub mod client_address;
pub mod increase;
pub mod key_name;
pub mod key_request;
pub mod portal;
pub mod pseudonym;
pub mod sliding_log;
pub mod submission;
pub mod webhook;
pub mod wrong_keys;

/// The maximum body of a request about keys, in bytes.
pub const MAX_BODY_BYTES: u32 = 64 * 1024;

/// The only organisation: a gateway has one.
pub const ORG_ID: &str = "gatehouse";
