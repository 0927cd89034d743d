//! What calls cost, and limits that hold.
//!
//! One key has one ledger. Its owner is the [`Account`], which stands in a Durable Object and is exact. An isolate does not ask
//! the book for every call: its [`LocalLease`] holds a lease, an amount that the book has set aside for it, and calls spend from
//! that. Before an attempt is sent, the most that it can cost is set aside as a hold; afterwards it is settled with what it did
//! cost. What is set aside counts as spent until it is settled or given back, so that a budget cannot be overrun; a lease of
//! which nothing is heard any more expires, and is then charged, since its isolate may have spent it.
//!
//! Each call that reached an upstream leaves a [`receipt`], which the book chains to those before it.
//!
//! Tokens are whole tokens, money is whole micro-USD, times are milliseconds: nothing here is a float until it is told, and
//! what is not known is never written as 0.
//!
//! Nothing here knows a clock, a network or a database: messages and times come in, answers and [`Changes`] to be stored go out.

mod account;
pub mod estimate;
pub mod headers;
mod lease;
pub mod limit;
mod message;
pub mod price;
pub mod receipt;
mod reservation;
pub mod tally;
mod window;

pub use account::{Account, Changes, Page, State, Stored};
pub use lease::{Hold, IDLE_MS, LocalLease, MAX_SETTLED, RENEW_MS, Reserved};
pub use limit::{Counter, Kind, Limit};
pub use message::{Ask, Charge, Closed, Granted, LeaseResponse, Need, Refusal, Report, Settled, Standing};
pub use reservation::{End, Reservation, Target};
pub use window::{Span, Window};
