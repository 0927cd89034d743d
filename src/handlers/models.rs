//! `GET /v1/models` and `GET /v1/models/{id}`: what can be called here.

use std::rc::Rc;

use gatehouse_core::catalog::MODELS_AS_OF;
use gatehouse_core::config::{AUTO, Group};
use gatehouse_core::error::{Code, Error};
use gatehouse_core::json;
use gatehouse_core::key::IssuedKey;
use gatehouse_core::operation::Task;
use gatehouse_core::url;
use serde_json::Value;

use crate::authentication;
use crate::isolate::Isolate;
use crate::platform::response::Response;
use crate::request_context::RequestContext;

/// All models of the active providers, the aliases, the groups, and `auto`. With an issued key: those that it may use; with
/// `?task=`: those for a task.
pub async fn list(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let task = context.query_choice("task", &Task::ALL.map(|task| (task.name(), task)))?;
    let has_task = |model: &Value| task.is_none_or(|task| model["task"] == task.name());
    let key = authentication::known_key(context, isolate).await;
    let may_use = |model: &Value| key.as_deref().is_none_or(|key| may_use(isolate, key, model));
    let models: Vec<Value> = all(isolate).filter(has_task).filter(may_use).collect();
    let list = json!({"object": "list", "data": models});
    Ok(Response::json(200, &list).with("vary", "authorization, x-api-key"))
}

/// Whether a key may use what is listed: by its name, or, of a group, any of its models.
fn may_use(isolate: &Isolate, key: &IssuedKey, model: &Value) -> bool {
    let id = model["id"].as_str().unwrap_or_default();
    let allows = |canonical: &str| key.check_model(&isolate.settings.config, id, canonical).is_ok();
    match (model["alias_of"].as_str(), isolate.settings.config.groups.get(id)) {
        (Some(target), _) => allows(target),
        (None, Some(group)) => group.models.iter().any(|canonical| allows(canonical)),
        (None, None) if id == AUTO => isolate
            .settings
            .registry
            .models()
            .any(|(_, model)| allows(&format!("{}/{}", model.provider, model.id))),
        (None, None) => allows(id),
    }
}

/// One of them, by its listed id or by any other name that a call could use. Ids may have slashes, encoded or not.
pub fn get(isolate: &Isolate, id: &str) -> Result<Response, Error> {
    let id = url::percent_decode(id);
    let found = listed(isolate, &id).or_else(|| {
        // A bare id that one provider alone has.
        let mut having = isolate.settings.registry.models().filter(|(_, model)| model.id == id);
        let (_, model) = having.next()?;
        having.next().is_none().then(|| model.to_json())
    });
    found.map(|model| Response::json(200, &model)).ok_or_else(|| {
        let shown: String = id.chars().take(100).collect();
        Error::new(
            Code::ModelNotFound,
            format!("Model '{shown}' is unknown; GET /v1/models lists the known models"),
        )
        .with_param("model")
    })
}

fn all(isolate: &Isolate) -> impl Iterator<Item = Value> {
    let models = isolate.settings.registry.models().map(|(_, model)| model.to_json());
    let aliases = isolate
        .settings
        .config
        .aliases
        .iter()
        .filter_map(|(alias, target)| alias_json(isolate, alias, target));
    let groups = isolate.settings.config.groups.iter().map(|(name, group)| group_json(name, group));
    models.chain(aliases).chain(groups).chain(auto_json(isolate))
}

/// What the list has under an id.
fn listed(isolate: &Isolate, id: &str) -> Option<Value> {
    model_json(isolate, id)
        .or_else(|| alias_json(isolate, id, isolate.settings.config.aliases.get(id)?))
        .or_else(|| Some(group_json(id, isolate.settings.config.groups.get(id)?)))
        .or_else(|| auto_json(isolate).filter(|_| id == AUTO))
}

/// A group.
fn group_json(name: &str, group: &Group) -> Value {
    json!({"id": name, "object": "model", "created": MODELS_AS_OF, "owned_by": "gatehouse", "group_of": group.models})
}

/// `auto`, unless an alias of the operator's has that name, or there is nothing to choose from.
fn auto_json(isolate: &Isolate) -> Option<Value> {
    isolate.settings.registry.models().next()?;
    let taken = isolate.settings.config.aliases.contains_key(AUTO);
    (!taken).then(|| json!({"id": AUTO, "object": "model", "created": MODELS_AS_OF, "owned_by": "gatehouse"}))
}

/// A listed model, by `provider/model`.
fn model_json(isolate: &Isolate, id: &str) -> Option<Value> {
    let address = id.split_once('/')?;
    let (_, model) =
        isolate.settings.registry.models().find(|(_, model)| (model.provider, model.id) == address)?;
    Some(model.to_json())
}

/// An alias. One that leads to a model that is not listed is listed all the same if its provider can be called.
fn alias_json(isolate: &Isolate, alias: &str, target: &str) -> Option<Value> {
    let (provider, _) = target.split_once('/')?;
    let mut model = match model_json(isolate, target) {
        Some(model) => model,
        None if isolate.settings.registry.provider(provider)?.is_active() => {
            json!({"object": "model", "created": MODELS_AS_OF, "owned_by": provider})
        }
        None => return None,
    };
    let members = model.as_object_mut()?;
    members.insert("id".to_owned(), alias.into());
    members.insert("alias_of".to_owned(), target.into());
    Some(model)
}
