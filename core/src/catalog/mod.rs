//! The tables of providers and models.
//!
//! [`PROVIDERS`] and [`facts`] are built in. A [`Registry`] is what one deployment has: the built-in providers with the
//! operator's secrets and base URLs, the operator's own providers, and the models that can be listed.

mod choices;
mod models;
mod providers;
mod registry;

pub use choices::{Choice, Choices};
pub use models::{ChatTools, Efforts, Facts, MODELS_AS_OF, Price, Steps, ToolUse, facts, of_provider};
pub use providers::{
    Kept, LimitHeader, PROVIDERS, Provider, Quirk, Resource, StreamUsage, Window, api_key_variable,
    base_url_variable,
};
pub use registry::{
    AI_BINDING, Architecture, Capabilities, Endpoint, Entry, ListedModel, ModelObject, OTHER, Pricing,
    PricingStep, ProviderKey, Reachability, Registry, WORKERS_AI,
};
