//! Which upstreams could answer a call, in which order they are asked, and what is done when one fails.
//!
//! A call goes through [`candidates::select`] (which models could answer, and why others not), [`plan::Plan`] (which is
//! asked when), and, for each attempt that fails, [`failure::Failure`] (what that says, and where to go next). What is known
//! of how they are doing is on a [`health::HealthView`]. All of it is told to callers and operators by [`report`].
//!
//! Nothing here sends anything: the Worker's `inference/attempts.rs` carries out what the [`driver`] decides.

pub mod affinity;
pub mod candidates;
pub mod driver;
pub mod needs;
pub mod plan;
pub mod preferences;
pub mod reason;
pub mod response;
pub mod score;
