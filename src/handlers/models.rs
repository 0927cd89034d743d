//! `GET /v1/models` and `GET /v1/models/{id}`: what can be called here.

use gatehouse_core::error::{Code, Error};
use gatehouse_core::route;
use serde_json::{Value, json};
use worker::js_sys;

use crate::gateway::Gateway;
use crate::platform::reply::Reply;

/// All models of the active providers, and the aliases.
pub fn list(gateway: &Gateway) -> Reply {
    Reply::json(200, &json!({"object": "list", "data": all(gateway).collect::<Vec<_>>()}))
}

/// One of them, by its listed id or by any other name that a call could use. Ids may have slashes, encoded or not.
pub fn get(gateway: &Gateway, id: &str) -> Result<Reply, Error> {
    let decoded = js_sys::decode_uri_component(id).ok().and_then(|text| text.as_string());
    let id = decoded.unwrap_or_else(|| id.to_owned());
    let listed = |id: &str| all(gateway).find(|model| model.get("id").and_then(Value::as_str) == Some(id));
    let found = listed(&id).or_else(|| {
        let target = route::resolve(&gateway.registry, &gateway.config, &id).ok()?;
        listed(&format!("{}/{}", target.provider.name, target.model))
    });
    found.map(|model| Reply::json(200, &model)).ok_or_else(|| {
        let shown: String = id.chars().take(100).collect();
        Error::new(
            Code::ModelNotFound,
            format!("Model '{shown}' is not known here; GET /v1/models lists those that are"),
        )
        .with_param("model")
    })
}

fn all(gateway: &Gateway) -> impl Iterator<Item = Value> {
    let models = gateway.registry.models().map(|(_, model)| model.to_json());
    let aliases = gateway.config.aliases.iter().filter_map(|(alias, target)| {
        let mut model = gateway.registry.models().map(|(_, model)| model.to_json()).find(|model| {
            model.get("id").and_then(Value::as_str) == Some(target)
        });
        // An alias may lead to a model that is not listed; it is listed if its provider can be called.
        let provider = target.split_once('/').map(|(provider, _)| provider)?;
        if model.is_none() && gateway.registry.provider(provider)?.is_active() {
            model = Some(json!({"object": "model", "created": gatehouse_core::catalog::MODELS_AS_OF, "owned_by": provider}));
        }
        let mut model = model?;
        let members = model.as_object_mut()?;
        members.insert("id".to_owned(), alias.as_str().into());
        members.insert("alias_of".to_owned(), target.as_str().into());
        Some(model)
    });
    models.chain(aliases)
}
