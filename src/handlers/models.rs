//! `GET /v1/models` and `GET /v1/models/{id}`: what can be called here.

use gatehouse_core::catalog::MODELS_AS_OF;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::route;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::platform::reply::Reply;
use crate::platform::request;

/// All models of the active providers, and the aliases.
pub fn list(gateway: &Gateway) -> Reply {
    Reply::json(200, &json!({"object": "list", "data": all(gateway).collect::<Vec<_>>()}))
}

/// One of them, by its listed id or by any other name that a call could use. Ids may have slashes, encoded or not.
pub fn get(gateway: &Gateway, id: &str) -> Result<Reply, Error> {
    let id = request::percent_decode(id);
    let found = listed(gateway, &id).or_else(|| {
        let target = route::resolve(&gateway.registry, &gateway.config, &id).ok()?;
        listed(gateway, &format!("{}/{}", target.provider.name, target.model))
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
    let aliases =
        gateway.config.aliases.iter().filter_map(|(alias, target)| alias_json(gateway, alias, target));
    models.chain(aliases)
}

/// What the list has under an id.
fn listed(gateway: &Gateway, id: &str) -> Option<Value> {
    model_json(gateway, id).or_else(|| alias_json(gateway, id, gateway.config.aliases.get(id)?))
}

/// A listed model, by `provider/model`.
fn model_json(gateway: &Gateway, id: &str) -> Option<Value> {
    let address = id.split_once('/')?;
    let (_, model) = gateway.registry.models().find(|(_, model)| (model.provider, model.id) == address)?;
    Some(model.to_json())
}

/// An alias. One that leads to a model that is not listed is listed all the same if its provider can be called.
fn alias_json(gateway: &Gateway, alias: &str, target: &str) -> Option<Value> {
    let (provider, _) = target.split_once('/')?;
    let mut model = match model_json(gateway, target) {
        Some(model) => model,
        None if gateway.registry.provider(provider)?.is_active() => {
            json!({"object": "model", "created": MODELS_AS_OF, "owned_by": provider})
        }
        None => return None,
    };
    let members = model.as_object_mut()?;
    members.insert("id".to_owned(), alias.into());
    members.insert("alias_of".to_owned(), target.into());
    Some(model)
}
