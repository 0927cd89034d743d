//! Messages requests and the neutral form: reads the caller's request, and writes one for an upstream.
//!
//! Fields that change the meaning and have no place in the other form are errors that name the field. Hints are dropped
//! and reported. A call whose upstream serves Messages never comes here: its bytes pass.

mod abilities;
mod client_tools;
mod fields;
mod read;
mod schema;
mod write;

pub use read::read;
pub use write::write;
