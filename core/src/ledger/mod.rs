//! Costs of calls, and exact limits.
//!
//! Each key has one ledger. Its [`Account`], in a Durable Object, is the exact balance. An isolate does not send a
//! request to the account for every call: its [`LocalLease`] holds a lease, an amount that the account has reserved for
//! it, and calls spend from that. Before an attempt is sent, its maximum cost is reserved as a hold; afterwards, the
//! hold is settled with the actual cost. A reserved amount counts as spent until it is settled or returned, so a budget
//! cannot be overrun. A lease without reports expires and is then charged, because its isolate may have spent it.
//!
//! Each call that reached an upstream has a [`receipt`], which the account chains to the receipts before it. Calls that were
//! rejected before that are counted ([`rejection`]).
//!
//! Tokens are whole tokens, money is whole micro-USD, times are milliseconds: no amount is a float before it is
//! reported, and an unknown amount is never written as 0.
//!
//! This module does not know clocks, networks or databases: messages and times enter, responses and [`Changes`] to
//! store leave.

mod account;
pub mod estimate;
pub mod headers;
mod lease;
pub mod limit;
mod message;
pub mod price;
pub mod receipt;
pub mod rejection;
mod reservation;
pub mod tally;
mod window;

pub use account::{Account, Changes, Page, State, Stored};
pub use lease::{Hold, IDLE_MS, LocalLease, MAX_SETTLED, RENEW_MS, Reserved};
pub use limit::{Counter, Kind, Limit};
pub use message::{
    Charge, Closed, Granted, KEEP_RESPONSES_MS, KeptResponse, LeaseRequest, LeaseResponse,
    MAX_KEPT_RESPONSES, Need, Refusal, Report, ReportResponse, Settled, Unreserved,
};
pub use reservation::{End, Reservation, Target};
pub use window::{Span, Window};
