//! `GET /v1/models` and `GET /v1/models/{id}`: the model names for calls, one list in two shapes. Clients that send
//! `anthropic-version` get Anthropic's, in pages; all others get OpenAI's, Codex with its own list beside it.

use std::borrow::Cow;
use std::rc::Rc;

use gatehouse_core::catalog::{MODELS_AS_OF, ModelObject};
use gatehouse_core::config::AUTO;
use gatehouse_core::error::{Code, Error};
use gatehouse_core::key::IssuedKey;
use gatehouse_core::operation::Task;
use gatehouse_core::route::candidates;
use gatehouse_core::time::to_rfc3339;
use gatehouse_core::url;
use serde::Serialize;

use crate::authentication;
use crate::isolate::Isolate;
use crate::platform::response::Response;
use crate::request_context::RequestContext;

/// The response of `GET /v1/models`.
#[derive(Serialize)]
struct ModelList<'a> {
    object: &'static str,
    data: Vec<Listed<'a>>,
    /// Codex's own catalogue, which it requires here. It is empty: each entry would have to bring instructions, with which
    /// Codex replaces its own. With an empty one it uses those, and its own facts about each model.
    #[serde(skip_serializing_if = "Option::is_none")]
    models: Option<[(); 0]>,
}

/// The query parameter by which Codex asks.
const CODEX_VERSION: &str = "client_version";

/// A page of models in Anthropic's shape.
#[derive(Serialize)]
struct Page<'a> {
    data: Vec<AnthropicModel<'a>>,
    has_more: bool,
    first_id: Option<&'a str>,
    last_id: Option<&'a str>,
}

/// A model in Anthropic's shape. `None` (`null` in JSON) is unknown.
#[derive(Serialize)]
struct AnthropicModel<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: String,
    max_input_tokens: Option<u32>,
    max_tokens: Option<u32>,
    lifecycle: &'static str,
}

/// The number of models in a page of Anthropic's shape, and the most that a client can ask for.
const PAGE: usize = 20;
const MAX_PAGE: u32 = 1_000;

/// A model name for calls.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed<'a> {
    /// A model, or an alias of one.
    Model(ModelObject<'a>),
    /// An alias of a model that its provider does not list.
    UnlistedAlias { object: &'static str, created: u64, owned_by: &'a str, id: &'a str, alias_of: &'a str },
    /// A group of models, as `provider/model`.
    Group { id: &'a str, object: &'static str, created: u64, owned_by: &'static str, group_of: &'a [String] },
    /// `auto`: any model.
    Auto { id: &'static str, object: &'static str, created: u64, owned_by: &'static str },
}

const OBJECT: &str = "model";
/// The owner of groups and of `auto`.
const GATEWAY: &str = "gatehouse";

impl Listed<'_> {
    /// The name for calls.
    fn id(&self) -> &str {
        match self {
            Listed::Model(model) => &model.id,
            Listed::UnlistedAlias { id, .. } | Listed::Group { id, .. } | Listed::Auto { id, .. } => id,
        }
    }

    /// The same in Anthropic's shape.
    fn to_anthropic(&self) -> AnthropicModel<'_> {
        let (max_input_tokens, max_tokens) = match self {
            Listed::Model(model) => (model.context_length, model.max_output_tokens),
            Listed::UnlistedAlias { .. } | Listed::Group { .. } | Listed::Auto { .. } => (None, None),
        };
        AnthropicModel {
            kind: OBJECT,
            id: self.id(),
            display_name: self.id(),
            created_at: to_rfc3339(MODELS_AS_OF * 1000),
            max_input_tokens,
            max_tokens,
            lifecycle: "active",
        }
    }

    /// The task of a listed model.
    fn task(&self) -> Option<Task> {
        match self {
            Listed::Model(model) => model.task,
            Listed::UnlistedAlias { .. } | Listed::Group { .. } | Listed::Auto { .. } => None,
        }
    }

    /// Returns true if a key may use it: by its name, or, for a group, by the name of one of its models.
    fn is_allowed(&self, isolate: &Isolate, key: &IssuedKey) -> bool {
        let allows =
            |id: &str, canonical: &str| key.check_model(&isolate.settings.config, id, canonical).is_ok();
        match self {
            Listed::Model(model) => allows(&model.id, model.alias_of.unwrap_or(&model.id)),
            Listed::UnlistedAlias { id, alias_of, .. } => allows(id, alias_of),
            Listed::Group { id, group_of, .. } => group_of.iter().any(|canonical| allows(id, canonical)),
            Listed::Auto { id, .. } => {
                let mut models = isolate.settings.registry.models();
                models.any(|(_, model)| allows(id, &format!("{}/{}", model.provider, model.id)))
            }
        }
    }
}

/// All models of the active providers, the aliases, the groups, and `auto`. For an issued key, only those that it may
/// use; with `?task=`, only those for a task.
pub async fn list(context: &RequestContext<'_>, isolate: &Rc<Isolate>) -> Result<Response, Error> {
    let task = context.query_choice("task", &Task::ALL.map(|task| (task.name(), task)))?;
    // Clients offer what is listed for chat: what cannot chat is listed only for its own task.
    let is_for_task = |listed: &Listed<'_>| match task {
        None => listed.task().is_none_or(|task| task == Task::Chat),
        Some(task) => listed.task() == Some(task),
    };
    let key = authentication::known_key(context, isolate).await?;
    let is_allowed = |listed: &Listed<'_>| key.as_deref().is_none_or(|key| listed.is_allowed(isolate, key));
    let data: Vec<_> = all(isolate).filter(is_for_task).filter(is_allowed).collect();
    let response = if context.is_of_anthropic() {
        Response::json(200, &page(context, &data)?)
    } else {
        let models = context.query(CODEX_VERSION).map(|_| []);
        Response::json(200, &ModelList { object: "list", data, models })
    };
    Ok(response.with("vary", "authorization, x-api-key, anthropic-version"))
}

/// The part of the list that `limit`, `after_id` and `before_id` select.
fn page<'a>(context: &RequestContext<'_>, all: &'a [Listed<'a>]) -> Result<Page<'a>, Error> {
    let limit = context.query_number("limit", MAX_PAGE)?.map_or(PAGE, |limit| limit as usize);
    let place = |name: &'static str| {
        let Some(id) = context.query(name) else { return Ok(None) };
        let found = all.iter().position(|listed| listed.id() == id);
        found.map(Some).ok_or_else(|| {
            let message = format!("'{name}' must be the id of a listed model");
            Error::new(Code::InvalidValue, message).with_param(name)
        })
    };
    let start = place("after_id")?.map_or(0, |place| place + 1);
    let (found, has_more) = if let Some(end) = place("before_id")? {
        // The last ones before it.
        let begin = end.saturating_sub(limit).max(start);
        (all.get(begin..end), begin > start)
    } else {
        let end = all.len().min(start + limit);
        (all.get(start..end), end < all.len())
    };
    let data: Vec<_> = found.unwrap_or_default().iter().map(Listed::to_anthropic).collect();
    let (first_id, last_id) = (data.first().map(|model| model.id), data.last().map(|model| model.id));
    Ok(Page { data, has_more, first_id, last_id })
}

/// One of them, by its listed id or by another name for calls. Ids may have slashes, encoded or not.
pub fn get(context: &RequestContext<'_>, isolate: &Isolate, id: &str) -> Result<Response, Error> {
    let id = url::percent_decode(id);
    let found = by_id(isolate, &id).or_else(|| {
        // A bare id that only one provider has.
        let mut having = isolate.settings.registry.models().filter(|(_, model)| model.id == id);
        let (_, model) = having.next()?;
        having.next().is_none().then(|| Listed::Model(model.to_object()))
    });
    let listed = found.ok_or_else(|| {
        candidates::unknown_model(&isolate.settings.config, &isolate.settings.registry, None, &id)
    })?;
    let response = if context.is_of_anthropic() {
        Response::json(200, &listed.to_anthropic())
    } else {
        Response::json(200, &listed)
    };
    Ok(response.with("vary", "anthropic-version"))
}

fn all(isolate: &Isolate) -> impl Iterator<Item = Listed<'_>> {
    let config = &isolate.settings.config;
    let models = isolate.settings.registry.models().map(|(_, model)| Listed::Model(model.to_object()));
    let aliases = config.aliases.iter().filter_map(|(alias, target)| self::alias(isolate, alias, target));
    let groups = config.groups.iter().map(|(name, listed)| group(name, &listed.models));
    models.chain(aliases).chain(groups).chain(auto(isolate))
}

/// The entry of an id in the list.
fn by_id<'a>(isolate: &'a Isolate, id: &'a str) -> Option<Listed<'a>> {
    let config = &isolate.settings.config;
    model(isolate, id)
        .map(Listed::Model)
        .or_else(|| alias(isolate, id, config.aliases.get(id)?))
        .or_else(|| Some(group(id, &config.groups.get(id)?.models)))
        .or_else(|| auto(isolate).filter(|_| id == AUTO))
}

fn group<'a>(id: &'a str, models: &'a [String]) -> Listed<'a> {
    Listed::Group { id, object: OBJECT, created: MODELS_AS_OF, owned_by: GATEWAY, group_of: models }
}

/// `auto`, unless an alias has that name, or there is no model to choose from.
fn auto(isolate: &Isolate) -> Option<Listed<'_>> {
    isolate.settings.registry.models().next()?;
    let taken = isolate.settings.config.aliases.contains_key(AUTO);
    (!taken).then_some(Listed::Auto { id: AUTO, object: OBJECT, created: MODELS_AS_OF, owned_by: GATEWAY })
}

/// A listed model, by `provider/model`.
fn model<'a>(isolate: &'a Isolate, id: &str) -> Option<ModelObject<'a>> {
    let address = id.split_once('/')?;
    let (_, model) =
        isolate.settings.registry.models().find(|(_, model)| (model.provider, model.id) == address)?;
    Some(model.to_object())
}

/// An alias. An alias of an unlisted model is listed too, if its provider can be called.
fn alias<'a>(isolate: &'a Isolate, alias: &'a str, target: &'a str) -> Option<Listed<'a>> {
    let (provider, _) = target.split_once('/')?;
    if let Some(model) = model(isolate, target) {
        return Some(Listed::Model(ModelObject {
            id: Cow::Borrowed(alias),
            alias_of: Some(target),
            ..model
        }));
    }
    isolate.settings.registry.provider(provider)?.is_active().then_some(Listed::UnlistedAlias {
        object: OBJECT,
        created: MODELS_AS_OF,
        owned_by: provider,
        id: alias,
        alias_of: target,
    })
}
