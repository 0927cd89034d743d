//! Which providers and models exist: tables, not code.
//!
//! [`PROVIDERS`] and [`MODELS`] are what Gatehouse knows; a [`Registry`] is what one deployment has: the same providers
//! with the operator's secrets and addresses, the operator's own providers, and the models that can be listed.

mod models;
mod providers;
mod registry;

pub use models::{MODELS, MODELS_AS_OF, Model, Price};
pub use providers::{PROVIDERS, Provider, StreamUsage, api_key_variable, base_url_variable};
pub use registry::{Access, Entry, ListedModel, Registry};
