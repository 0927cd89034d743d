//! The registry: the providers of one deployment, with their secrets and addresses, and the data of their models.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::choices::{self, Choices};
use super::models::{self, Facts, MODELS_AS_OF};
use super::providers::{
    LimitHeader, PROVIDERS, Provider, Quirk, StreamUsage, api_key_variable, base_url_variable, usual_path,
};
use crate::config::{Auth, BaseUrl, Config, CustomProvider, ModelSettings};
use crate::key::Secret;
use crate::money::usd;
use crate::operation::{Format, Task};

/// The binding of Workers AI.
pub const AI_BINDING: &str = "AI";
/// The provider that needs no key if the Worker has the binding `AI`.
pub const WORKERS_AI: &str = "workers_ai";
/// The format of the models that the binding reaches.
const BINDING_FORMAT: Format = Format::ChatCompletions;
/// The name under which all unlisted models of a provider are counted.
pub const OTHER: &str = "other";
/// The maximum number of keys of one provider.
const MAX_KEYS: usize = 16;

/// A provider in this deployment.
#[derive(Debug)]
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
        /// The addresses of the formats that it serves.
        urls: Vec<(Format, String)>,
        /// The header of the key, and its form.
        auth: Auth,
        /// Its keys: at least one, unless it needs none.
        keys: Vec<Secret>,
    },
    /// Reachable through the binding `AI`.
    Binding,
    /// Not reachable; the reason names the variable to set.
    Inactive(String),
}

impl Entry {
    /// Returns true if it can be called.
    pub fn is_active(&self) -> bool {
        !matches!(self.reachability, Reachability::Inactive(_))
    }

    /// The address for requests of a format; `None` if the provider does not serve it over HTTP.
    pub fn url(&self, format: Format) -> Option<&str> {
        match &self.reachability {
            Reachability::Active { urls, .. } => {
                urls.iter().find(|(known, _)| *known == format).map(|(_, url)| url.as_str())
            }
            Reachability::Binding | Reachability::Inactive(_) => None,
        }
    }

    /// Returns true if it serves a format.
    pub fn serves(&self, format: Format) -> bool {
        match self.reachability {
            Reachability::Binding => format == BINDING_FORMAT,
            Reachability::Active { .. } | Reachability::Inactive(_) => self.url(format).is_some(),
        }
    }

    /// Its keys; empty if it needs none.
    pub fn keys(&self) -> &[Secret] {
        match &self.reachability {
            Reachability::Active { keys, .. } => keys,
            Reachability::Binding | Reachability::Inactive(_) => &[],
        }
    }

    /// The indexes of its keys; one if it has none.
    pub fn key_places(&self) -> impl Iterator<Item = u8> + use<> {
        0..u8::try_from(self.keys().len().max(1)).unwrap_or(u8::MAX)
    }

    /// The data of a model; `None` if it is not listed.
    pub fn facts(&self, id: &str) -> Option<Facts> {
        let known = models::facts(&self.name, id);
        match self.settings.get(id) {
            None => known,
            Some(settings) => Some(known.or_else(|| like(settings)).unwrap_or_default().with(settings)),
        }
    }

    /// Its models, by id, without those that the operator hides.
    pub fn models(&self) -> impl Iterator<Item = (&str, Facts)> {
        let listed = models::of_provider(&self.name).map(|(id, facts): (&str, Facts)| (id, facts));
        let listed = listed.filter(|(id, _)| !self.settings.contains_key(*id));
        let set = self.settings.iter().filter(|(_, settings)| !settings.hidden);
        listed.chain(set.map(|(id, _)| (id.as_str(), self.facts(id).unwrap_or_default())))
    }

    /// Returns true if it lists a model of this id.
    pub fn lists(&self, id: &str) -> bool {
        self.settings
            .get(id)
            .map_or_else(|| models::facts(&self.name, id).is_some(), |settings| !settings.hidden)
    }
}

fn like(settings: &ModelSettings) -> Option<Facts> {
    let (provider, id) = settings.like.as_deref()?.split_once('/')?;
    models::facts(provider, id)
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
                reachability: match built_in_reachability(provider, &variable) {
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
                reachability: reachability(
                    name,
                    Ok(provider.base_url.clone()),
                    &provider.formats.iter().map(|format| (*format, usual_path(*format))).collect::<Vec<_>>(),
                    &provider.auth,
                    &[],
                    &variable,
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
fn built_in_reachability(provider: &Provider, variable: &impl Fn(&str) -> Option<String>) -> Reachability {
    let address = base_url_variable(provider.name);
    if provider.auth == Auth::None && variable(&address).is_none() {
        return Reachability::Inactive(format!("{address} is not set"));
    }
    let default = match filled(provider.base_url, variable) {
        Ok(base_url) => BaseUrl::parse(&base_url),
        Err(missing) if variable(&address).is_none() => return Reachability::Inactive(missing),
        Err(_) => Err("has no default"),
    };
    reachability(provider.name, default, provider.serves, &provider.auth, provider.key_variables, variable)
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
    auth: &Auth,
    key_variables: &[&str],
    variable: &impl Fn(&str) -> Option<String>,
) -> Reachability {
    let address = match (default, variable(&base_url_variable(name))) {
        (default, None) => default,
        (default, Some(text)) => BaseUrl::parse(&text).map(|address| match &default {
            Ok(default) => address.with_path_of(default),
            Err(_) => address,
        }),
    };
    let base_url = match address {
        Ok(address) => address,
        Err(why) => return Reachability::Inactive(format!("{} {why}", base_url_variable(name))),
    };
    let secret =
        variable(&api_key_variable(name)).or_else(|| key_variables.iter().find_map(|name| variable(name)));
    // One secret can have several keys, separated by commas or white space, which no provider's keys contain.
    let keys: Vec<Secret> = secret
        .iter()
        .flat_map(|text| text.split([',', ' ', '\n', '\r', '\t']))
        .filter_map(Secret::new)
        .take(MAX_KEYS)
        .collect();
    let auth = match auth {
        Auth::None if !keys.is_empty() => Auth::Bearer,
        auth if *auth != Auth::None && keys.is_empty() => {
            return Reachability::Inactive(format!("the secret {} is not set", api_key_variable(name)));
        }
        auth => auth.clone(),
    };
    let urls =
        serves.iter().map(|(format, path)| (*format, format!("{}{path}", base_url.as_str()))).collect();
    Reachability::Active { urls, auth, keys }
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
    /// Its prices; `None` if the prices of input and output are unknown.
    pub pricing: Option<Pricing>,
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
}

impl<'a> ListedModel<'a> {
    /// The model object of `GET /v1/models`.
    pub fn to_object(&self) -> ModelObject<'a> {
        let Facts { context, max_output, price, tools, json_mode, json_schema, vision, reasoning, .. } =
            self.facts;
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
        let pricing = (price.input.is_some() || price.output.is_some()).then(|| Pricing {
            unit: "USD per million tokens",
            input: price.input.map(usd),
            output: price.output.map(usd),
            cached_input: price.cached_input.map(usd),
            cache_write: price.cache_write.map(usd),
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
            pricing,
            alias_of: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
                _ => entry.url(Format::ChatCompletions).unwrap().to_owned(),
            }
        };
        assert_eq!(url("openai"), "http://127.0.0.1:1/v9/chat/completions");
        assert_eq!(url("groq"), "http://127.0.0.1:1/openai/v1/chat/completions");
        assert_eq!(url("xai"), "XAI_BASE_URL must begin with https:// or http://");
        assert_eq!(url("my-llm"), "http://a.example/x/chat/completions");
        assert!(registry.models().any(|(_, model)| (model.provider, model.id) == ("my-llm", "m")));
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
