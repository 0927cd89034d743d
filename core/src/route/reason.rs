//! The reason why a model is not among the candidates for a call.

use std::borrow::Cow;
use std::fmt;

use super::needs::Lack;
use crate::error::Error;
use crate::operation::Task;

/// The reason why a model is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The caller's key may not use the model.
    NotAllowed,
    /// By this field, the provider would choose what the caller's key may not use or pay.
    FieldNotAllowed(Cow<'static, str>),
    /// The provider cannot be called, for this reason, which is for the operator.
    Inactive(String),
    /// No model has this name.
    Unknown,
    /// The caller's preferences exclude the provider.
    NotPreferred,
    /// The model is for another task.
    OtherTask(Task),
    /// The provider does not serve the endpoint.
    NoEndpoint,
    /// The request would have to be translated and cannot be; the error names the field.
    NotTranslatable(Box<Error>),
    /// The results of the model cannot be mixed with those of the model that is named first.
    OtherModel,
    /// The price is above the caller's maximum, or is not known.
    TooExpensive,
    /// The provider would have to drop this parameter.
    WouldDrop(String),
    /// The model does not have the capabilities that the call needs.
    Lacks(Vec<Lack>),
    /// The caller allows no fallbacks.
    NoFallbacks,
}

impl Reason {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::NotAllowed => "not_allowed",
            Reason::FieldNotAllowed(_) => "field_not_allowed",
            Reason::Inactive(_) => "provider_not_configured",
            Reason::Unknown => "unknown_model",
            Reason::NotPreferred => "not_preferred",
            Reason::OtherTask(_) => "other_task",
            Reason::NoEndpoint => "no_endpoint",
            Reason::NotTranslatable(_) => "not_translatable",
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
            Reason::FieldNotAllowed(field) => {
                write!(formatter, "with '{}', its provider chooses what this key may not use", shown(field))
            }
            Reason::Inactive(_) => formatter.write_str("its provider is not configured here"),
            Reason::Unknown => formatter.write_str("no model has this name"),
            Reason::NotPreferred => {
                formatter.write_str("'provider' or x-gateway-force-provider excludes its provider")
            }
            Reason::OtherTask(task) => {
                write!(formatter, "it is {}, for {}", task.model(), task.endpoints())
            }
            Reason::NoEndpoint => formatter.write_str("its provider does not serve this endpoint"),
            Reason::NotTranslatable(error) => formatter.write_str(&error.message),
            Reason::OtherModel => {
                formatter.write_str("its results cannot be mixed with those of the first model")
            }
            Reason::TooExpensive => {
                formatter.write_str("its price is not known or above 'provider.max_price'")
            }
            Reason::WouldDrop(name) => write!(formatter, "its provider does not support '{name}'"),
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

/// A caller's text in a message: its beginning.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

/// A model that was skipped.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// `provider/model`, or the name that could not be resolved.
    pub model: String,
    /// The reason.
    pub reason: Reason,
}
