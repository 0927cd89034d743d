//! What one deployment can reach: providers with their secrets and addresses, and the models that can be listed.

use serde_json::{Value, json};

use super::models::{MODELS, MODELS_AS_OF, Model};
use super::providers::{PROVIDERS, Provider, StreamUsage, api_key_variable, base_url_variable};
use crate::config::{Auth, BaseUrl, Config};
use crate::key::Secret;

/// A provider in this deployment.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// When its streams tell usage.
    pub stream_usage: StreamUsage,
    /// Whether and how it can be called.
    pub access: Access,
    /// Ids of the models that the operator listed for it.
    custom_models: Vec<String>,
}

/// Whether and how a provider can be called.
#[derive(Debug)]
pub enum Access {
    /// It can.
    Active {
        /// Where to send chat completions.
        chat_url: String,
        /// What goes into `Authorization: Bearer`, if anything.
        key: Option<Secret>,
    },
    /// It cannot, for a reason that names the variable to set.
    Inactive(String),
}

impl Entry {
    /// Whether it can be called.
    pub fn is_active(&self) -> bool {
        matches!(self.access, Access::Active { .. })
    }
}

/// All providers and models of this deployment.
#[derive(Debug)]
pub struct Registry {
    entries: Vec<Entry>,
}

/// A model as `GET /v1/models` shows it.
#[derive(Clone, Copy, Debug)]
pub struct ListedModel<'a> {
    /// Its provider.
    pub provider: &'a str,
    /// The provider's id of it.
    pub id: &'a str,
    /// What is known of it, if it is in the table.
    pub known: Option<&'static Model>,
}

impl Registry {
    /// Joins the built-in table, the configuration and the variables and secrets that `variable` looks up.
    pub fn new(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Registry {
        let built_in = PROVIDERS.iter().map(|provider| Entry {
            name: provider.name.to_owned(),
            stream_usage: provider.stream_usage,
            access: built_in_access(provider, &variable),
            custom_models: Vec::new(),
        });
        let custom = config.providers.iter().map(|(name, provider)| Entry {
            name: name.clone(),
            stream_usage: StreamUsage::OnRequest,
            access: access(name, Ok(provider.base_url.clone()), provider.auth, &variable),
            custom_models: provider.models.clone(),
        });
        Registry { entries: built_in.chain(custom).collect() }
    }

    /// All providers, active or not.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Whether a provider is known to have a model of this id.
    pub fn lists(&self, provider: &Entry, id: &str) -> bool {
        MODELS.binary_search_by(|model| (model.provider, model.id).cmp(&(provider.name.as_str(), id))).is_ok()
            || provider.custom_models.iter().any(|known| known == id)
    }

    /// The models of all active providers.
    pub fn models(&self) -> impl Iterator<Item = (&Entry, ListedModel<'_>)> {
        self.entries.iter().filter(|entry| entry.is_active()).flat_map(|entry| {
            let known = MODELS.iter().filter(|model| model.provider == entry.name).map(|model| ListedModel {
                provider: model.provider,
                id: model.id,
                known: Some(model),
            });
            let custom =
                entry.custom_models.iter().map(|id| ListedModel { provider: &entry.name, id, known: None });
            known.chain(custom).map(move |model| (entry, model))
        })
    }
}

/// A built-in provider that needs no key is there when its address is given: its usual one is this very machine, which
/// the gateway cannot reach once it is deployed.
fn built_in_access(provider: &Provider, variable: &impl Fn(&str) -> Option<String>) -> Access {
    let address = base_url_variable(provider.name);
    if provider.auth == Auth::None && variable(&address).is_none_or(|text| text.trim().is_empty()) {
        return Access::Inactive(format!("{address} is not set"));
    }
    access(provider.name, BaseUrl::parse(provider.base_url), provider.auth, variable)
}

fn access(
    name: &str,
    default: Result<BaseUrl, &'static str>,
    auth: Auth,
    variable: &impl Fn(&str) -> Option<String>,
) -> Access {
    let address = match (default, variable(&base_url_variable(name)).filter(|text| !text.trim().is_empty())) {
        (default, None) => default,
        (default, Some(text)) => BaseUrl::parse(&text).map(|address| match &default {
            Ok(default) => address.with_path_of(default),
            Err(_) => address,
        }),
    };
    let base_url = match address {
        Ok(address) => address,
        Err(why) => return Access::Inactive(format!("{} {why}", base_url_variable(name))),
    };
    let key = variable(&api_key_variable(name)).as_deref().and_then(Secret::new);
    if auth == Auth::Bearer && key.is_none() {
        return Access::Inactive(format!("the secret {} is not set", api_key_variable(name)));
    }
    Access::Active { chat_url: format!("{}/chat/completions", base_url.as_str()), key }
}

impl ListedModel<'_> {
    /// The object of `GET /v1/models`: OpenAI's four members, then what else is known. Prices are US dollars per million
    /// tokens, as decimal text so that nothing is lost to floating point.
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "id": format!("{}/{}", self.provider, self.id),
            "object": "model",
            "created": MODELS_AS_OF,
            "owned_by": self.provider,
            "context_length": self.known.and_then(|model| model.context),
            "max_output_tokens": self.known.and_then(|model| model.max_output),
            "architecture": null,
            "capabilities": null,
            "pricing": null,
        });
        let (Some(model), Some(members)) = (self.known, object.as_object_mut()) else { return object };
        if let Some(vision) = model.vision {
            let input: &[&str] = if vision { &["text", "image"] } else { &["text"] };
            members.insert(
                "architecture".to_owned(),
                json!({"input_modalities": input, "output_modalities": ["text"]}),
            );
        }
        members.insert(
            "capabilities".to_owned(),
            json!({
                "tools": model.tools,
                "json_schema": model.json_schema,
                "vision": model.vision,
                "reasoning": model.reasoning,
            }),
        );
        let price = model.price;
        if price.input.is_some() || price.output.is_some() {
            members.insert(
                "pricing".to_owned(),
                json!({
                    "unit": "USD per million tokens",
                    "input": price.input.map(decimal_usd),
                    "output": price.output.map(decimal_usd),
                    "cached_input": price.cached_input.map(decimal_usd),
                    "cache_write": price.cache_write.map(decimal_usd),
                }),
            );
        }
        object
    }
}

/// Micro-USD as decimal US dollars: 150000 → "0.15".
fn decimal_usd(micro: u64) -> String {
    let (whole, fraction) = (micro / 1_000_000, micro % 1_000_000);
    let text = format!("{whole}.{fraction:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn registry(config: &str, variables: &[(&str, &str)]) -> Registry {
        let variables: HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config::read("{}", Some(config)).unwrap();
        Registry::new(&config, |name| variables.get(name).cloned())
    }

    #[test]
    fn a_provider_is_active_when_it_has_its_secret_or_its_address_where_it_needs_none() {
        let ollama = registry("{}", &[]);
        let Access::Inactive(why) = &ollama.provider("ollama").unwrap().access else { panic!("active") };
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
        let Access::Inactive(why) = &registry.provider("xai").unwrap().access else { panic!("active") };
        assert_eq!(why, "the secret XAI_API_KEY is not set");
    }

    #[test]
    fn addresses_are_overridden_and_bad_ones_make_it_inactive() {
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
        let url = |name: &str| match &registry.provider(name).unwrap().access {
            Access::Active { chat_url, .. } => chat_url.clone(),
            Access::Inactive(why) => why.clone(),
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
        let find = |id: &str| registry.models().find(|(_, model)| model.id == id).unwrap().1.to_json();
        assert_eq!(find("gpt-4o-mini")["pricing"]["input"], "0.15");
        assert_eq!(find("gpt-4o-mini")["id"], "openai/gpt-4o-mini");
        assert!(find("m")["pricing"].is_null());
        assert!(find("m")["context_length"].is_null());
    }
}
