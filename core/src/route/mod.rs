//! Routing: the lanes that a call may use, the order in which they are tried, and the reaction to a failure.
//!
//! A call passes through [`candidates::select`] (the models that qualify, and the reasons against the others),
//! [`plan::Plan`] (the order of attempts) and, after each failed attempt, [`crate::health::failure::Failure`] (its
//! consequences). The health of lanes comes from a [`crate::health::HealthView`]. [`crate::report`] shows all of it to
//! callers and operators.
//!
//! This module sends nothing: the Worker's `inference/attempts.rs` carries out the commands of the [`driver`].

pub mod affinity;
pub mod boundary;
pub mod candidates;
pub mod driver;
pub mod needs;
pub mod plan;
pub mod preferences;
pub mod reason;
pub mod response;
pub mod score;
pub mod trial;
