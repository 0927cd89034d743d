//! Access: how a stranger comes to a key, and what operators do with requests and keys.
//!
//! | module | decides |
//! | --- | --- |
//! | [`submission`] | what `POST /access/request-key` accepts |
//! | [`key_request`] | what a request for a key is, in the words of `/api/portal/requests` |
//! | [`portal`] | how a request is shown in `/api/portal/requests` and webhooks |
//! | [`approval`] | what an operator decides about one: delivery, policies, end |
//! | [`api_key`] | what an issued key is, in the words of `/v0/api_keys` |
//! | [`claim`] | what a claim link looks like, and whether it still works |
//! | [`audit`] | the chain of operator actions, and whether it is whole |
//! | [`webhook`] | what a webhook says, how it is signed, and when it is tried again |
//! | [`client_address`] | who counts as one client |
//! | [`pseudonym`] | how addresses are kept without being known |
//! | [`sliding_log`] | how many times in a span of time |
//! | [`wrong_keys`] | which wrong keys of a client count, and when it is blocked |
//!
//! Nothing here stores anything: the Worker's `store` does, in D1.

pub mod api_key;
pub mod approval;
pub mod audit;
pub mod claim;
pub mod client_address;
pub mod key_request;
pub mod portal;
pub mod pseudonym;
pub mod sliding_log;
pub mod submission;
pub mod webhook;
pub mod wrong_keys;

/// The largest body of a request about keys, in bytes.
pub const MAX_BODY_BYTES: u32 = 64 * 1024;

/// The organisation that everything belongs to: a gateway is one.
pub const ORG_ID: &str = "gatehouse";
