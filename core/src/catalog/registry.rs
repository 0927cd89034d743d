//! The registry: the providers of one deployment, with their secrets and addresses, and the data of their models.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::choices::{self, Choices};
use super::models::{self, Facts, MODELS_AS_OF, Price, ToolUse};
use super::providers::{
    Kept, LimitHeader, PROVIDERS, Provider, Quirk, StreamUsage, address, api_key_variable, base_url_variable,
    usual_path,
};
use crate::config::{Auth, BaseUrl, Config, CustomProvider, ModelSettings};
use crate::key::Secret;
use crate::key::provider_key::{FIRST_PLACE, OpenKey};
use crate::money::usd;
use crate::operation::{Format, OPERATIONS, Operation, Task};
use crate::time::to_date;
use crate::unit::{Unit, UnitPrice};

/// The binding of Workers AI.
pub const AI_BINDING: &str = "AI";
/// The provider that needs no key if the Worker has the binding `AI`.
pub const WORKERS_AI: &str = "workers_ai";
/// The format of the models that the binding reaches.
const BINDING_FORMAT: Format = Format::ChatCompletions;
/// The name under which all unlisted models of a provider are counted.
pub const OTHER: &str = "other";
/// The maximum number of keys of one provider in Worker secrets.
const MAX_KEYS: usize = FIRST_PLACE as usize;

/// A provider in this deployment.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the columns are independent of each other")]
pub struct Entry {
    /// The name of the provider.
    pub name: String,
    /// When its streams report usage.
    pub stream_usage: StreamUsage,
    /// The request fields that it does not accept as they are.
    pub quirks: Cow<'static, [Quirk]>,
    /// The headers that state its remaining limits.
    pub limit_headers: &'static [LimitHeader],
    /// It stops charging when a call is cancelled; `None` is unknown.
    pub cancel_stops_billing: Option<bool>,
    /// `true` if it charges for requests that it rejects.
    pub charges_rejections: bool,
    /// It accepts the fields `models` and `provider` itself.
    pub own_routing: bool,
    /// The choices beyond the model that it leaves to a request.
    pub choices: Choices,
    /// Its streams are known to end without `[DONE]`.
    pub ends_without_done: bool,
    /// As in [`Provider::is_openai`].
    pub is_openai: bool,
    /// As in [`Provider::keeps`].
    pub keeps: &'static [Kept],
    /// The way to call it, or the reason why it cannot be called.
    pub reachability: Reachability,
    /// The operator's settings of its models, by id.
    settings: BTreeMap<String, ModelSettings>,
}

/// The way to call a provider.
#[derive(Debug)]
pub enum Reachability {
    /// Reachable over HTTP.
    Active {
        /// The formats that it serves.
        endpoints: Vec<Endpoint>,
        /// Its keys: at least one, unless it needs none.
        keys: Vec<ProviderKey>,
    },
    /// Reachable through the binding `AI`.
    Binding,
    /// Not reachable; the reason names the variable to set.
    Inactive(String),
}

/// A key of a provider.
#[derive(Clone, Debug)]
pub struct ProviderKey {
    /// Its index: lanes are named by it. Keys of Worker secrets come first, in their order; a stored key keeps its own.
    pub place: u8,
    /// Its share of the calls, relative to the other keys; 1 for the keys of Worker secrets.
    pub weight: u16,
    /// The key.
    pub secret: Secret,
}

/// The way to call a provider in one format.
#[derive(Debug)]
pub struct Endpoint {
    /// The format.
    pub format: Format,
    /// The address.
    pub url: String,
    /// The header of the key, and its form.
    pub auth: Auth,
}

impl Entry {
    /// Returns true if it can be called.
    pub fn is_active(&self) -> bool {
        !matches!(self.reachability, Reachability::Inactive(_))
    }

    /// The way to call it in a format; `None` if the provider does not serve it over HTTP.
    pub fn endpoint(&self, format: Format) -> Option<&Endpoint> {
        match &self.reachability {
            Reachability::Active { endpoints, .. } => {
                endpoints.iter().find(|endpoint| endpoint.format == format)
            }
            Reachability::Binding | Reachability::Inactive(_) => None,
        }
    }

    /// Returns true if it serves a format.
    pub fn serves(&self, format: Format) -> bool {
        match self.reachability {
            Reachability::Binding => format == BINDING_FORMAT,
            Reachability::Active { .. } | Reachability::Inactive(_) => self.endpoint(format).is_some(),
        }
    }

    /// The format in which a call in this format is sent to it: the same if it serves that; otherwise, for a
    /// conversation, another one, into which the call is translated. `None` if there is none.
    pub fn format_for(&self, format: Format) -> Option<Format> {
        if self.serves(format) {
            return Some(format);
        }
        let formats = Format::CONVERSATIONS;
        formats.into_iter().find(|other| formats.contains(&format) && self.serves(*other))
    }

    /// [`Entry::format_for`] for a model of these facts.
    ///
    /// A model that is served in one format only gets the call in that format. OpenAI's reasoning models get calls with
    /// tools as Responses if Chat Completions rejects them, or if they are translated anyway.
    pub fn format_with(&self, format: Format, facts: &Facts, tools: ToolUse) -> Option<Format> {
        if let Some(only) = facts.only_format
            && Format::CONVERSATIONS.contains(&format)
        {
            return self.serves(only).then_some(only);
        }
        let usual = self.format_for(format)?;
        let prefers_responses = if usual == format {
            format == Format::ChatCompletions && facts.chat_tools.reject(tools)
        } else {
            tools.has_tools && self.is_openai && facts.reasoning == Some(true)
        };
        Some(if prefers_responses && self.serves(Format::Responses) { Format::Responses } else { usual })
    }

    /// [`Entry::format_with`] for one of its models.
    pub fn format_for_model(&self, format: Format, model: &str, tools: ToolUse) -> Option<Format> {
        // The formats of a provider without Responses do not depend on the model.
        if !self.serves(Format::Responses) {
            return self.format_for(format);
        }
        self.format_with(format, &self.facts(model).unwrap_or_default(), tools)
    }

    /// The endpoint of a format, and the path below it at which prompts of the format are counted; `None` if the provider
    /// counts none.
    pub fn counter(&self, format: Format) -> Option<(&Endpoint, &'static str)> {
        let path = match format {
            Format::Messages => "count_tokens",
            Format::Responses if self.keeps.contains(&Kept::InputTokens) => "input_tokens",
            _ => return None,
        };
        Some((self.endpoint(format)?, path))
    }

    /// Its keys, by place; empty if it needs none.
    pub fn keys(&self) -> &[ProviderKey] {
        match &self.reachability {
            Reachability::Active { keys, .. } => keys,
            Reachability::Binding | Reachability::Inactive(_) => &[],
        }
    }

    /// The key in a place.
    pub fn key(&self, place: u8) -> Option<&ProviderKey> {
        self.keys().iter().find(|key| key.place == place)
    }

    /// The secret in a place.
    pub fn secret(&self, place: u8) -> Option<&Secret> {
        self.key(place).map(|key| &key.secret)
    }

    /// The places of its keys; one if it has none.
    pub fn key_places(&self) -> impl Iterator<Item = u8> + '_ {
        let keys = self.keys();
        let none = keys.is_empty().then_some(0);
        none.into_iter().chain(keys.iter().map(|key| key.place))
    }

    /// The data of a model; `None` if it is not listed.
    pub fn facts(&self, id: &str) -> Option<Facts> {
        let known = models::facts(&self.name, id);
        match self.settings.get(id) {
            None => known,
            Some(settings) => Some(known.or_else(|| like(settings)).unwrap_or_default().with(settings)),
        }
    }

    /// The data of a model for images of one of some kinds: the price of the first of them that has a row of its own,
    /// `hd/1024-x-1792/dall-e-3`.
    pub fn facts_of_image(&self, id: &str, kinds: &[String]) -> Option<Facts> {
        let facts = self.facts(id);
        let settings = self.settings.get(id);
        let own = kinds.iter().find_map(|kind| self.facts(&format!("{kind}/{id}")));
        let of_kind = own.or_else(|| {
            let (provider, id) = settings?.like.as_deref()?.split_once('/')?;
            kinds.iter().find_map(|kind| models::facts(provider, &format!("{kind}/{id}")))
        });
        let Some(price) = of_kind.and_then(|facts| facts.price.units.get(Unit::Image)) else { return facts };
        let mut facts = facts.unwrap_or_default();
        facts.price.units = facts.price.units.with(Unit::Image, Some(price));
        Some(facts)
    }

    /// Its models, by id, without those that the operator or the catalogue hides.
    pub fn models(&self) -> impl Iterator<Item = (&str, Facts)> {
        let listed = models::of_provider(&self.name).map(|(id, facts): (&str, Facts)| (id, facts));
        let listed = listed.filter(|(id, facts)| {
            !facts.hidden && self.can_serve(facts.task) && !self.settings.contains_key(*id)
        });
        let set = self.settings.iter().filter(|(_, settings)| !settings.hidden);
        listed.chain(set.map(|(id, _)| (id.as_str(), self.facts(id).unwrap_or_default())))
    }

    /// Returns true if it lists a model of this id.
    pub fn lists(&self, id: &str) -> bool {
        match self.settings.get(id) {
            None => {
                models::facts(&self.name, id).is_some_and(|facts| !facts.hidden && self.can_serve(facts.task))
            }
            Some(settings) => !settings.hidden,
        }
    }

    /// Returns `true` unless it is known that the gateway cannot call it for a task: some providers serve some of their
    /// models only in formats of their own. All of them serve chat or embeddings.
    fn can_serve(&self, task: Option<Task>) -> bool {
        match task {
            None | Some(Task::Chat | Task::Embed) => true,
            Some(task) => {
                let has_format =
                    |operation: &&Operation| operation.task == task && self.serves(operation.format);
                !self.is_active() || OPERATIONS.iter().any(has_format)
            }
        }
    }
}

/// The facts of the model that the settings name. When that model ends says nothing about this one, nor do the formats in
/// which its provider serves it.
fn like(settings: &ModelSettings) -> Option<Facts> {
    let (provider, id) = settings.like.as_deref()?.split_once('/')?;
    let Facts { only_format, chat_tools, .. } = Facts::default();
    Some(Facts { ends: None, successor: None, only_format, chat_tools, ..models::facts(provider, id)? })
}

/// All providers of this deployment.
#[derive(Debug)]
pub struct Registry {
    entries: Vec<Entry>,
}

/// A model in `GET /v1/models`.
#[derive(Clone, Copy, Debug)]
pub struct ListedModel<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The provider's id of the model.
    pub id: &'a str,
    /// The data of the model.
    pub facts: Facts,
}

impl Registry {
    /// Joins the built-in table, the configuration, and the variables and secrets that `variable` looks up.
    /// `has_binding` is true if the Worker has the binding `AI` and may use it.
    pub fn new(config: &Config, has_binding: bool, variable: impl Fn(&str) -> Option<String>) -> Registry {
        Registry::with_keys(config, has_binding, variable, &[])
    }

    /// The same with the keys of the database.
    pub fn with_keys(
        config: &Config,
        has_binding: bool,
        variable: impl Fn(&str) -> Option<String>,
        stored: &[OpenKey],
    ) -> Registry {
        let variable = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        let mut entries: Vec<Entry> = PROVIDERS
            .iter()
            .map(|provider| Entry {
                name: provider.name.to_owned(),
                stream_usage: provider.stream_usage,
                quirks: Cow::Borrowed(provider.quirks),
                limit_headers: provider.limit_headers,
                cancel_stops_billing: provider.cancel_stops_billing,
                charges_rejections: provider.charges_rejections,
                own_routing: provider.own_routing,
                choices: provider.choices,
                ends_without_done: provider.ends_without_done,
                is_openai: provider.is_openai,
                keeps: provider.keeps,
                reachability: match built_in_reachability(provider, &variable, stored) {
                    Reachability::Inactive(_) if has_binding && provider.name == WORKERS_AI => {
                        Reachability::Binding
                    }
                    access => access,
                },
                settings: settings(config, provider.name, &[]),
            })
            .collect();
        for (name, provider) in &config.providers {
            let entry = Entry {
                name: name.clone(),
                stream_usage: StreamUsage::OnRequest,
                quirks: Cow::Owned(quirks(provider)),
                limit_headers: super::providers::OPENAI_LIMITS,
                cancel_stops_billing: provider.cancel_stops_billing,
                charges_rejections: false,
                own_routing: false,
                choices: choices::ANY,
                ends_without_done: provider.ends_without_done,
                is_openai: false,
                keeps: &[],
                reachability: reachability(
                    name,
                    Ok(provider.base_url.clone()),
                    &provider.formats.iter().map(|format| (*format, usual_path(*format))).collect::<Vec<_>>(),
                    |_| provider.auth.clone(),
                    &[],
                    &variable,
                    stored,
                ),
                settings: settings(config, name, &provider.models),
            };
            let place = entries.partition_point(|known| known.name < *name);
            entries.insert(place, entry);
        }
        Registry { entries }
    }

    /// All providers, active or not, by name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the providers themselves.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Entry> {
        let index = self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
        self.entries.get(index)
    }

    /// The models of all active providers.
    pub fn models(&self) -> impl Iterator<Item = (&Entry, ListedModel<'_>)> {
        self.entries.iter().filter(|entry| entry.is_active()).flat_map(|entry| {
            entry.models().map(move |(id, facts)| (entry, ListedModel { provider: &entry.name, id, facts }))
        })
    }
}

/// The settings of a provider's models: an empty entry for each model that the configuration lists, and the settings of
/// single models.
fn settings(config: &Config, provider: &str, listed: &[String]) -> BTreeMap<String, ModelSettings> {
    let listed = listed.iter().map(|id| (id.clone(), ModelSettings::default()));
    let set = config.models.iter().filter_map(|(address, settings)| match address.split_once('/') {
        Some((name, id)) if name == provider => Some((id.to_owned(), settings.clone())),
        _ => None,
    });
    listed.chain(set).collect()
}

fn quirks(provider: &CustomProvider) -> Vec<Quirk> {
    let dropped = provider.drop.iter().map(|name| Quirk::Drop(Cow::Owned(name.clone())));
    let renamed = provider
        .rename
        .iter()
        .map(|(old, new)| Quirk::Rename(Cow::Owned(old.clone()), Cow::Owned(new.clone())));
    dropped.chain(renamed).collect()
}

/// A built-in provider without a key is active if its address is configured: its default address is the local machine,
/// which a deployed gateway cannot reach.
fn built_in_reachability(
    provider: &Provider,
    variable: &impl Fn(&str) -> Option<String>,
    stored: &[OpenKey],
) -> Reachability {
    let address = base_url_variable(provider.name);
    if provider.auth == Auth::None && variable(&address).is_none() {
        return Reachability::Inactive(format!("{address} is not set"));
    }
    let default = match filled(provider.base_url, variable) {
        Ok(base_url) => BaseUrl::parse(&base_url),
        Err(missing) if variable(&address).is_none() => return Reachability::Inactive(missing),
        Err(_) => Err("has no default"),
    };
    let auth = |format| match (format, provider.messages_key_header) {
        (Format::Messages, Some(header)) => Auth::Header(Cow::Borrowed(header)),
        _ => provider.auth.clone(),
    };
    reachability(provider.name, default, provider.serves, auth, provider.key_variables, variable, stored)
}

/// An address whose placeholders are replaced by the variables that they name; the error names a missing variable. The
/// values are names of accounts, regions and the like, so they cannot lead to another host.
fn filled(base_url: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = base_url;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        let value = variable(name).ok_or_else(|| format!("{name} is not set"))?;
        let value = value.trim();
        if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(format!("{name} must be letters, digits and '-'"));
        }
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn reachability(
    name: &str,
    default: Result<BaseUrl, &'static str>,
    serves: &[(Format, &str)],
    auth: impl Fn(Format) -> Auth,
    key_variables: &[&str],
    variable: &impl Fn(&str) -> Option<String>,
    stored: &[OpenKey],
) -> Reachability {
    let base_url = match (default, variable(&base_url_variable(name))) {
        (default, None) => default,
        (default, Some(text)) => BaseUrl::parse(&text).map(|address| match &default {
            Ok(default) => address.with_path_of(default),
            Err(_) => address,
        }),
    };
    let base_url = match base_url {
        Ok(base_url) => base_url,
        Err(why) => return Reachability::Inactive(format!("{} {why}", base_url_variable(name))),
    };
    let secret =
        variable(&api_key_variable(name)).or_else(|| key_variables.iter().find_map(|name| variable(name)));
    // One secret can have several keys, separated by commas or white space, which no provider's keys contain.
    let of_secret = secret
        .iter()
        .flat_map(|text| text.split([',', ' ', '\n', '\r', '\t']))
        .filter_map(Secret::new)
        .take(MAX_KEYS)
        .zip(0..)
        .map(|(secret, place)| ProviderKey { place, weight: 1, secret });
    let of_provider = || stored.iter().filter(|key| key.stored.provider == name);
    let enabled =
        of_provider().filter(|key| key.stored.is_enabled()).filter_map(|OpenKey { stored, secret }| {
            let secret = secret.as_ref().ok()?.clone();
            Some(ProviderKey { place: stored.place, weight: stored.weight, secret })
        });
    let keys: Vec<ProviderKey> = of_secret.chain(enabled).collect();
    if keys.is_empty() && serves.iter().any(|(format, _)| auth(*format) != Auth::None) {
        let unset = format!("the secret {} is not set", api_key_variable(name));
        let unreadable = of_provider().find_map(|key| key.secret.as_ref().err());
        return Reachability::Inactive(match unreadable {
            Some(fault) => format!("{unset}, and its stored key cannot be read: {}", fault.as_str()),
            None if of_provider().next().is_some() => format!("{unset}, and its stored keys are disabled"),
            None => unset,
        });
    }
    let endpoint = |(format, path): &(Format, &str)| Endpoint {
        format: *format,
        url: address(base_url.as_str(), path),
        auth: match auth(*format) {
            Auth::None if !keys.is_empty() => Auth::Bearer,
            auth => auth,
        },
    };
    let endpoints = serves.iter().map(endpoint).collect();
    Reachability::Active { endpoints, keys }
}

/// A model object of `GET /v1/models`: OpenAI's four fields, then the facts. `None` (`null` in JSON) is unknown.
#[derive(Clone, Debug, Serialize)]
pub struct ModelObject<'a> {
    /// The name for calls: `provider/model`, or an alias.
    pub id: Cow<'a, str>,
    /// `model`.
    pub object: &'static str,
    /// The date of the model table, in seconds since 1970.
    pub created: u64,
    /// The provider.
    pub owned_by: &'a str,
    /// The task of the model.
    pub task: Option<Task>,
    /// The maximum input, in tokens.
    pub context_length: Option<u32>,
    /// The maximum output, in tokens.
    pub max_output_tokens: Option<u32>,
    /// The kinds of content of its input and output.
    pub architecture: Option<Architecture>,
    /// Its capabilities; `None` if all are unknown.
    pub capabilities: Option<Capabilities>,
    /// Its prices; `None` if all of them are unknown.
    pub pricing: Option<Pricing>,
    /// The day on which the provider ends the model: `2026-11-30`. Only a model with a known end has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprecation_date: Option<String>,
    /// The model that the provider recommends instead, as `provider/model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// The target of an alias, as `provider/model`; only an alias has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_of: Option<&'a str>,
}

/// The kinds of content of a model's input and output: `text`, `image`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Architecture {
    /// The kinds of input.
    pub input_modalities: &'static [&'static str],
    /// The kinds of output.
    pub output_modalities: &'static [&'static str],
}

/// Capabilities of a model; `None` is unknown.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Capabilities {
    /// Tool calls.
    pub tools: Option<bool>,
    /// JSON output.
    pub json_mode: Option<bool>,
    /// Output that follows a JSON schema.
    pub json_schema: Option<bool>,
    /// Image input.
    pub vision: Option<bool>,
    /// Reasoning before the response.
    pub reasoning: Option<bool>,
}

/// Prices of a model in US dollars per million tokens, as decimal text so that no digit is lost to floating point.
#[derive(Clone, Debug, Serialize)]
pub struct Pricing {
    /// `USD per million tokens`.
    pub unit: &'static str,
    /// Input.
    pub input: Option<String>,
    /// Output.
    pub output: Option<String>,
    /// Input read from the provider's prompt cache.
    pub cached_input: Option<String>,
    /// Input written to the provider's prompt cache.
    pub cache_write: Option<String>,
    /// Input written to the provider's prompt cache for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<String>,
    /// The prices of calls with a longer input, in ascending order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<PricingStep>,
    /// US dollars for one of each other unit, by the names of [`crate::unit::Unit`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub per_unit: BTreeMap<&'static str, String>,
}

/// The prices of a whole call whose input is longer than `tokens`.
#[derive(Clone, Debug, Serialize)]
pub struct PricingStep {
    /// The input tokens, cached or not.
    pub tokens: u32,
    /// Input.
    pub input: Option<String>,
    /// Output.
    pub output: Option<String>,
    /// Input read from the provider's prompt cache.
    pub cached_input: Option<String>,
    /// Input written to the provider's prompt cache.
    pub cache_write: Option<String>,
    /// Input written to the provider's prompt cache for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<String>,
}

impl Pricing {
    fn of(facts: &Facts) -> Option<Pricing> {
        let Price { input, output, cached_input, cache_write, cache_write_1h, units, .. } = facts.price;
        let per_unit: BTreeMap<_, _> =
            units.iter().map(|(unit, price)| (unit.name(), UnitPrice(price).usd())).collect();
        let step = |tokens: u32| {
            let price = facts.price_at(u64::from(tokens) + 1);
            PricingStep {
                tokens,
                input: price.input.map(usd),
                output: price.output.map(usd),
                cached_input: price.cached_input.map(usd),
                cache_write: price.cache_write.map(usd),
                cache_write_1h: price.cache_write_1h.map(usd),
            }
        };
        (input.is_some() || output.is_some() || !per_unit.is_empty()).then(|| Pricing {
            unit: "USD per million tokens",
            input: input.map(usd),
            output: output.map(usd),
            cached_input: cached_input.map(usd),
            cache_write: cache_write.map(usd),
            cache_write_1h: cache_write_1h.map(usd),
            above: facts.steps.tokens().map(step).collect(),
            per_unit,
        })
    }
}

impl<'a> ListedModel<'a> {
    /// The model object of `GET /v1/models`.
    pub fn to_object(&self) -> ModelObject<'a> {
        let Facts { context, max_output, tools, json_mode, json_schema, vision, reasoning, .. } = self.facts;
        let architecture = vision.map(|vision| Architecture {
            input_modalities: if vision { &["text", "image"] } else { &["text"] },
            output_modalities: &["text"],
        });
        let is_known = [tools, json_mode, json_schema, vision, reasoning].iter().any(Option::is_some);
        let capabilities = is_known.then(|| Capabilities {
            tools,
            json_mode: json_mode.or(json_schema.filter(|can| *can)),
            json_schema,
            vision,
            reasoning,
        });
        ModelObject {
            id: Cow::Owned(format!("{}/{}", self.provider, self.id)),
            object: "model",
            created: MODELS_AS_OF,
            owned_by: self.provider,
            task: self.facts.task,
            context_length: context,
            max_output_tokens: max_output,
            architecture,
            capabilities,
            pricing: Pricing::of(&self.facts),
            deprecation_date: self.facts.ends.map(to_date),
            successor: self.facts.successor.map(|id| format!("{}/{id}", self.provider)),
            alias_of: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::master::Fault;
    use crate::key::provider_key::StoredKey;
    use std::collections::HashMap;

    fn registry(config: &str, variables: &[(&str, &str)]) -> Registry {
        let variables: HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config::read("{}", Some(config)).unwrap();
        Registry::new(&config, false, |name| variables.get(name).cloned())
    }

    #[test]
    fn a_provider_is_active_with_its_secret_or_if_it_needs_none_with_its_address() {
        let ollama = registry("{}", &[]);
        let Reachability::Inactive(why) = &ollama.provider("ollama").unwrap().reachability else {
            panic!("active")
        };
        assert_eq!(why, "OLLAMA_BASE_URL is not set");
        let registry = registry(
            "{}",
            &[("GROQ_API_KEY", "gsk"), ("XAI_API_KEY", " "), ("OLLAMA_BASE_URL", "http://127.0.0.1:11434")],
        );
        let active: Vec<_> = registry
            .entries()
            .iter()
            .filter(|entry| entry.is_active())
            .map(|entry| entry.name.as_str())
            .collect();
        assert_eq!(active, ["groq", "ollama"]);
        let Reachability::Inactive(why) = &registry.provider("xai").unwrap().reachability else {
            panic!("active")
        };
        assert_eq!(why, "the secret XAI_API_KEY is not set");
    }

    #[test]
    fn stored_keys_come_after_those_of_secrets_and_activate_a_provider() {
        let key = |provider: &str, place: u8, enabled: u8, secret: Result<&str, Fault>| {
            let row = serde_json::json!({"id": format!("pkey_{place}"), "provider": provider, "label": "a",
                "mask": "…", "weight": 3, "enabled": enabled, "place": place, "sealed": "", "sealed_with": "",
                "created_ms": 0, "changed_ms": 0, "changed_by": "ops"});
            let stored = StoredKey::from_row(&row).unwrap();
            OpenKey { stored, secret: secret.map(|text| Secret::new(text).unwrap()) }
        };
        let stored = [
            key("groq", 16, 1, Ok("stored")),
            key("groq", 17, 0, Ok("disabled")),
            key("groq", 18, 1, Err(Fault::Other)),
            key("mistral", 16, 1, Ok("only")),
            key("xai", 16, 1, Err(Fault::Missing)),
            key("zai", 16, 0, Ok("disabled")),
        ];
        let variable = |name: &str| (name == "GROQ_API_KEY").then(|| "one,two".to_owned());
        let registry = Registry::with_keys(&Config::default(), false, variable, &stored);
        let groq = registry.provider("groq").unwrap();
        assert_eq!(groq.key_places().collect::<Vec<_>>(), [0, 1, 16]);
        assert_eq!(groq.secret(16).unwrap().expose(), "stored");
        assert_eq!(groq.keys().iter().map(|key| key.weight).collect::<Vec<_>>(), [1, 1, 3]);
        assert!(groq.secret(17).is_none() && groq.secret(18).is_none());
        assert!(registry.provider("mistral").unwrap().is_active());
        let why = |name: &str| match &registry.provider(name).unwrap().reachability {
            Reachability::Inactive(why) => why.clone(),
            _ => panic!("active"),
        };
        assert!(
            why("xai").contains("its stored key cannot be read: the secret GATEWAY_MASTER_KEY is not set")
        );
        assert!(why("zai").ends_with("its stored keys are disabled"));
    }

    #[test]
    fn addresses_can_be_overridden_and_an_invalid_one_makes_a_provider_inactive() {
        let registry = registry(
            r#"{"providers":{"my-llm":{"base_url":"http://a.example/x","auth":"none","models":["m"]}}}"#,
            &[
                ("OPENAI_API_KEY", "sk"),
                ("OPENAI_BASE_URL", "http://127.0.0.1:1/v9/"),
                ("GROQ_API_KEY", "gsk"),
                ("GROQ_BASE_URL", "http://127.0.0.1:1"),
                ("XAI_API_KEY", "x"),
                ("XAI_BASE_URL", "file:///etc/passwd"),
                ("MY_LLM_API_KEY", "k"),
            ],
        );
        let url = |name: &str| {
            let entry = registry.provider(name).unwrap();
            match &entry.reachability {
                Reachability::Inactive(why) => why.clone(),
                _ => entry.endpoint(Format::ChatCompletions).unwrap().url.clone(),
            }
        };
        assert_eq!(url("openai"), "http://127.0.0.1:1/v9/chat/completions");
        assert_eq!(url("groq"), "http://127.0.0.1:1/openai/v1/chat/completions");
        assert_eq!(url("xai"), "XAI_BASE_URL must begin with https:// or http://");
        assert_eq!(url("my-llm"), "http://a.example/x/chat/completions");
        assert!(registry.models().any(|(_, model)| (model.provider, model.id) == ("my-llm", "m")));
    }

    #[test]
    fn each_format_has_its_address_and_its_header_for_the_key() {
        let registry = registry(
            r#"{"providers":{"chat":{"base_url":"http://a.example/x"},
            "both":{"base_url":"http://a.example/x","formats":["messages","chat_completions"],"auth":"x-key"}}}"#,
            &[
                ("ANTHROPIC_API_KEY", "k"),
                ("DEEPSEEK_API_KEY", "k"),
                ("ZAI_API_KEY", "k"),
                ("CHAT_API_KEY", "k"),
                ("BOTH_API_KEY", "k"),
                ("JINA_API_KEY", "k"),
            ],
        );
        let x_api_key = Auth::Header(Cow::Borrowed("x-api-key"));
        for (name, format, url, auth) in [
            ("anthropic", Format::Messages, "https://api.anthropic.com/v1/messages", &x_api_key),
            (
                "anthropic",
                Format::ChatCompletions,
                "https://api.anthropic.com/v1/chat/completions",
                &Auth::Bearer,
            ),
            ("deepseek", Format::Messages, "https://api.deepseek.com/anthropic/v1/messages", &x_api_key),
            ("zai", Format::Messages, "https://api.z.ai/api/anthropic/v1/messages", &Auth::Bearer),
            ("both", Format::Messages, "http://a.example/x/messages", &Auth::Header(Cow::Borrowed("x-key"))),
        ] {
            let endpoint = registry.provider(name).unwrap().endpoint(format).unwrap();
            assert_eq!((endpoint.url.as_str(), &endpoint.auth), (url, auth), "{name}");
        }
        let format_for = |name: &str, format| registry.provider(name).unwrap().format_for(format);
        assert_eq!(format_for("both", Format::Messages), Some(Format::Messages));
        assert_eq!(format_for("chat", Format::Messages), Some(Format::ChatCompletions));
        assert_eq!(format_for("chat", Format::Embeddings), None);
        assert_eq!(format_for("jina", Format::Messages), None);
    }

    #[test]
    fn the_format_of_a_call_depends_on_its_model_and_its_tools() {
        let registry = registry(
            r#"{"providers":{"proxy":{"base_url":"http://a.example/x"}},"models":{"proxy/p":{"like":"openai/gpt-5.4-pro"}}}"#,
            &[
                ("OPENAI_API_KEY", "k"),
                ("PERPLEXITY_API_KEY", "k"),
                ("XAI_API_KEY", "k"),
                ("PROXY_API_KEY", "k"),
            ],
        );
        let (chat, messages, responses) = (Format::ChatCompletions, Format::Messages, Format::Responses);
        let none = ToolUse::default();
        let tools = ToolUse { has_tools: true, reasons: None };
        let [effort, no_effort] = [true, false].map(|reasons| ToolUse { reasons: Some(reasons), ..tools });
        for (name, model, format, tool_use, expected) in [
            ("openai", "gpt-5.4-pro", chat, none, Some(responses)),
            ("openai", "gpt-5.4-pro", messages, none, Some(responses)),
            ("openai", "gpt-5.4-pro", responses, none, Some(responses)),
            ("openai", "gpt-5.4-pro", Format::Compaction, none, Some(Format::Compaction)),
            ("openai", "gpt-5.4", chat, none, Some(chat)),
            ("openai", "gpt-5.4", chat, tools, Some(chat)),
            ("openai", "gpt-5.4", chat, effort, Some(responses)),
            ("openai", "gpt-5.4", chat, no_effort, Some(chat)),
            ("openai", "gpt-6-sol", chat, none, Some(chat)),
            ("openai", "gpt-6-sol", chat, tools, Some(responses)),
            ("openai", "gpt-6-sol", chat, no_effort, Some(chat)),
            ("openai", "gpt-5", chat, effort, Some(chat)),
            ("openai", "gpt-5", messages, none, Some(chat)),
            ("openai", "gpt-5", messages, tools, Some(responses)),
            ("openai", "gpt-4.1", messages, tools, Some(chat)),
            ("openai", "unheard-of", chat, effort, Some(chat)),
            ("xai", "grok-4.20-multi-agent", chat, none, Some(responses)),
            ("perplexity", "sonar", responses, none, Some(chat)),
            ("perplexity", "anthropic/claude-opus-5", messages, none, Some(responses)),
            ("proxy", "p", chat, none, Some(chat)),
            ("xai", "grok-4.5", Format::Embeddings, none, None),
        ] {
            let entry = registry.provider(name).unwrap();
            let found = entry.format_for_model(format, model, tool_use);
            assert_eq!(found, expected, "{name} {model} {format:?} {tool_use:?}");
            let facts = entry.facts(model).unwrap_or_default();
            assert_eq!(entry.format_with(format, &facts, tool_use), expected, "{name} {model}");
        }
    }

    /// A model that is listed can be called.
    #[test]
    fn every_listed_model_is_served_in_some_format() {
        let registry = Registry::new(&Config::read("{}", None).unwrap(), true, |name| {
            (!name.ends_with("_BASE_URL")).then(|| "k".to_owned())
        });
        for (entry, model) in registry.models() {
            let task = model.facts.task.unwrap_or(Task::Chat);
            let mut formats = OPERATIONS
                .iter()
                .filter(|operation| operation.task == task)
                .map(|operation| operation.format);
            let is_served =
                formats.any(|format| entry.format_with(format, &model.facts, ToolUse::default()).is_some());
            assert!(is_served, "{}/{}", model.provider, model.id);
        }
    }

    #[test]
    fn lists_the_end_of_a_model_its_successor_and_the_prices_of_long_inputs() {
        let registry = registry("{}", &[("OPENAI_API_KEY", "sk"), ("ANTHROPIC_API_KEY", "sk")]);
        let find = |id: &str| registry.models().find(|(_, model)| model.id == id).unwrap().1.to_object();
        let sonnet = find("claude-sonnet-4-5");
        assert_eq!(sonnet.deprecation_date.as_deref(), Some("2026-11-30"));
        assert_eq!(sonnet.successor.as_deref(), Some("anthropic/claude-sonnet-5-5"));
        let pricing = sonnet.pricing.unwrap();
        assert_eq!(
            (pricing.cache_write.as_deref(), pricing.cache_write_1h.as_deref()),
            (Some("3.75"), Some("6"))
        );
        assert!(pricing.above.is_empty());
        let sol = serde_json::to_value(find("gpt-6-sol")).unwrap();
        assert_eq!(
            sol["pricing"]["above"],
            serde_json::json!([{"tokens": 272_000, "input": "4", "output": "15", "cached_input": "0.4", "cache_write": "5"}])
        );
        assert!(sol.get("deprecation_date").is_none() && sol.get("successor").is_none());
    }

    /// Neither a listing nor a bare name finds a hidden model, but its facts apply to its address.
    #[test]
    fn hidden_models_are_known_but_not_listed() {
        let registry = registry(
            r#"{"models":{"azure/gpt-5-mini":{},"azure/mine":{"like":"openai/gpt-4o"},
                "azure/eu":{"like":"azure/eu/gpt-5-mini","output_usd_per_mtok":1}}}"#,
            &[("AZURE_API_KEY", "k"), ("AZURE_RESOURCE", "r"), ("OPENAI_API_KEY", "sk")],
        );
        let openai = registry.provider("openai").unwrap();
        let ended = openai.facts("gpt-4").unwrap();
        assert_eq!((ended.price.input, ended.hidden), (Some(30_000_000), true));
        assert!(!openai.lists("gpt-4") && openai.models().all(|(id, _)| id != "gpt-4"));
        let azure = registry.provider("azure").unwrap();
        let listed: Vec<_> = azure.models().map(|(id, _)| id).collect();
        assert_eq!(listed, ["eu", "gpt-5-mini", "mine"]);
        assert!(azure.lists("gpt-5-mini") && !azure.lists("gpt-5") && azure.facts("gpt-5").is_some());
        assert_eq!(azure.facts("gpt-5-mini").unwrap().price.input, Some(250_000));
        let eu = azure.facts("eu").unwrap().price;
        assert_eq!((eu.input, eu.output), (Some(275_000), Some(1_000_000)));
        // OpenAI's end of a model says nothing about a deployment.
        let mine = azure.facts("mine").unwrap();
        assert_eq!((mine.price.input, mine.ends, mine.successor), (Some(2_500_000), None, None));
    }

    #[test]
    fn lists_prices_as_exact_decimals_and_unknown_as_null() {
        let registry = registry(
            r#"{"providers":{"acme":{"base_url":"http://a.example","auth":"none","models":["m"]}}}"#,
            &[("OPENAI_API_KEY", "sk")],
        );
        let find = |id: &str| registry.models().find(|(_, model)| model.id == id).unwrap().1.to_object();
        let mini = find("gpt-4o-mini");
        assert_eq!(mini.pricing.unwrap().input.as_deref(), Some("0.15"));
        assert_eq!(mini.id, "openai/gpt-4o-mini");
        assert_eq!(
            serde_json::to_string(&find("m")).unwrap(),
            r#"{"id":"acme/m","object":"model","created":1793491200,"owned_by":"acme","task":null,"context_length":null,"max_output_tokens":null,"architecture":null,"capabilities":null,"pricing":null}"#
        );
    }
}
