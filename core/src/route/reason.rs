//! Why a model is not among the candidates for a call.

use std::fmt;

use super::needs::Lack;
use crate::operation::Task;

/// Why a model was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The caller's key may not use it.
    NotAllowed,
    /// Its provider cannot be called, for this reason.
    Inactive(String),
    /// There is no such name.
    Unknown,
    /// The caller's preferences leave its provider out.
    NotPreferred,
    /// It is for another task.
    OtherTask(Task),
    /// Its provider has no such endpoint.
    NoEndpoint,
    /// Its results cannot stand beside those of the model that was named first.
    OtherModel,
    /// It costs more than the caller pays, or nobody knows what it costs.
    TooExpensive,
    /// Its provider would have to drop this parameter.
    WouldDrop(String),
    /// It lacks what the call needs.
    Lacks(Vec<Lack>),
    /// The caller wants no other than the first.
    NoFallbacks,
}

impl Reason {
    /// A stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::NotAllowed => "not_allowed",
            Reason::Inactive(_) => "provider_not_configured",
            Reason::Unknown => "unknown_model",
            Reason::NotPreferred => "not_preferred",
            Reason::OtherTask(_) => "other_task",
            Reason::NoEndpoint => "no_endpoint",
            Reason::OtherModel => "other_model",
            Reason::TooExpensive => "too_expensive",
            Reason::WouldDrop(_) => "would_drop_parameter",
            Reason::Lacks(_) => "not_capable",
            Reason::NoFallbacks => "no_fallbacks",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotAllowed => formatter.write_str("this key may not use it"),
            Reason::Inactive(why) => write!(formatter, "its provider is not configured: {why}"),
            Reason::Unknown => formatter.write_str("there is no model of this name here"),
            Reason::NotPreferred => {
                formatter.write_str("'provider', or x-gateway-force-provider, leaves its provider out")
            }
            Reason::OtherTask(task) => {
                write!(formatter, "it is {}, for {}", task.model(), task.endpoints())
            }
            Reason::NoEndpoint => formatter.write_str("its provider has no such endpoint"),
            Reason::OtherModel => {
                formatter.write_str("its results cannot be mixed with those of the model that is named first")
            }
            Reason::TooExpensive => {
                formatter.write_str("its price is above 'provider.max_price', or not known")
            }
            Reason::WouldDrop(name) => write!(formatter, "its provider does not take '{name}'"),
            Reason::Lacks(lacks) => {
                for (index, lack) in lacks.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(formatter, "{comma}{lack}")?;
                }
                Ok(())
            }
            Reason::NoFallbacks => formatter.write_str("'provider.allow_fallbacks' is false"),
        }
    }
}

/// A model that was left out.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// `provider/model`, or the name that led nowhere.
    pub model: String,
    /// Why.
    pub reason: Reason,
}
