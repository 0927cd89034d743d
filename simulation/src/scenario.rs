//! The input of a simulation: providers, their incidents, calls, and the gateway's configuration. [`crate::day`] and the
//! tests generate it, [`crate::ours`] and the other policies run it.

use std::fmt::Write as _;

use gatehouse_core::catalog::{Facts, Registry};
use gatehouse_core::config::Config;
use gatehouse_core::tier::Tier;
use serde_json::{Map, Value, json};

/// A model of a simulated provider.
#[derive(Clone, Debug)]
pub struct Model {
    /// The provider's model id.
    pub id: String,
    /// The capability tier.
    pub tier: Tier,
    /// US dollars per million input tokens.
    pub input_usd: f64,
    /// US dollars per million output tokens.
    pub output_usd: f64,
    /// The longest input, in tokens.
    pub context: u32,
    /// True if it can call tools.
    pub tools: bool,
    /// The usual time to the first content, in milliseconds.
    pub first_ms: f64,
    /// Output tokens per second.
    pub tokens_per_second: f64,
    /// The daily request limit in the configuration of the gateway.
    pub known_per_day: Option<u32>,
}

/// The method by which a provider limits requests per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Windows of one minute that start with a request; the limit resets at the end of each.
    Fixed,
    /// A token bucket that fills evenly.
    Bucket,
}

/// A simulated provider. Its limits apply to each model and key.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// Its models.
    pub models: Vec<Model>,
    /// The number of its keys that the gateway has.
    pub keys: u8,
    /// Requests per minute.
    pub per_minute: Option<u32>,
    /// Tokens per minute, input and output.
    pub tokens_per_minute: Option<u32>,
    /// Requests per day (UTC).
    pub per_day: Option<u32>,
    /// The method that limits requests per minute.
    pub counting: Counting,
    /// True if a 429 has a `retry-after` header.
    pub retry_after: bool,
    /// True if responses have headers with the remaining limits.
    pub headers: bool,
    /// The share of calls that fail without an incident.
    pub failing: f64,
    /// The variation of its latency (the sigma of a log-normal distribution).
    pub varying: f64,
    /// True if it stops charging when a call is cancelled.
    pub cancel_stops_billing: Option<bool>,
}

/// A kind of incident.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// 500, at once.
    Errors,
    /// No status line.
    Hangs,
    /// A status line, and then nothing.
    Stalls,
    /// 200, then an error instead of content.
    EarlyErrors,
    /// Streams that break off.
    Cuts,
    /// No connection.
    Unreachable,
    /// Slower by this factor.
    Slow(f64),
    /// One key is rejected with 401.
    DeadKey(u8),
    /// The accounts of all keys are empty: 402.
    NoMoney,
    /// The models are gone: 404.
    Gone,
    /// Rejects requests that other providers accept: 422.
    Refuses,
}

impl Fault {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Errors => "500s",
            Fault::Hangs => "hangs",
            Fault::Stalls => "200, then silence",
            Fault::EarlyErrors => "200, then an error",
            Fault::Cuts => "cut streams",
            Fault::Unreachable => "unreachable",
            Fault::Slow(_) => "slow",
            Fault::DeadKey(_) => "a dead key",
            Fault::NoMoney => "no money",
            Fault::Gone => "model gone",
            Fault::Refuses => "refuses",
        }
    }
}

/// A fault of a provider for some time.
#[derive(Clone, Copy, Debug)]
pub struct Incident {
    /// The index of the provider.
    pub provider: usize,
    /// Its start, in milliseconds since 1970.
    pub from_ms: u64,
    /// Its end, in milliseconds since 1970.
    pub until_ms: u64,
    /// The fault.
    pub fault: Fault,
    /// The share of calls that it hits.
    pub share: f64,
}

/// The model field of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `auto`.
    Auto,
    /// A group of the configuration.
    Group(String),
    /// Models by address, the first in `model` and the others in `models`.
    Models(Vec<String>),
}

/// The reaction of providers to a call itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Accepted.
    Fine,
    /// Rejected as invalid.
    Refused,
    /// Rejected by a content filter.
    ContentRefused,
    /// Too long for the model, although its size in bytes suggests otherwise.
    TooLong,
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its index in [`Scenario::calls`].
    pub id: usize,
    /// The time of its arrival, in milliseconds since 1970.
    pub at_ms: u64,
    /// The isolate that receives it, among those that run.
    pub isolate: usize,
    /// The requested model.
    pub wish: Wish,
    /// Its session id, if it has one.
    pub session: Option<u64>,
    /// The instructions at its beginning, as a number.
    pub prompt: u64,
    /// The length of its messages, in bytes.
    pub bytes: usize,
    /// The output tokens of a whole response.
    pub output: u32,
    /// True for a stream.
    pub stream: bool,
    /// `reasoning_effort`.
    pub effort: Option<Tier>,
    /// True if it needs tools.
    pub tools: bool,
    /// The reaction of providers to it.
    pub fate: Fate,
}

/// The shortest long prompt, in bytes, as in [`gatehouse_core::route::affinity`].
const LONG: usize = 4_200;

impl Call {
    /// The approximate number of its input tokens.
    pub fn input(&self) -> u32 {
        (self.bytes / 4) as u32
    }

    /// The part that an upstream could find in its prompt cache: the session, or a long prompt.
    pub fn cached_by(&self) -> Option<(bool, u64)> {
        match self.session {
            Some(session) => Some((true, session)),
            None => (self.bytes >= LONG).then_some((false, self.prompt)),
        }
    }

    /// The body of the request.
    pub fn body(&self) -> Vec<u8> {
        // No text here needs escaping in JSON.
        let text = format!("instructions {}: ", self.prompt);
        let text = text.repeat(self.bytes.saturating_sub(40).div_ceil(text.len()).max(1));
        let (model, models): (&str, &[String]) = match &self.wish {
            Wish::Auto => ("auto", &[]),
            Wish::Group(name) => (name, &[]),
            Wish::Models(models) => {
                models.split_first().map_or(("auto", &[]), |(model, models)| (model.as_str(), models))
            }
        };
        let mut body = format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}],"stream":{},"max_tokens":{}"#,
            self.stream, self.output
        );
        if !models.is_empty() {
            let _ = write!(body, r#","models":["{}"]"#, models.join(r#"",""#));
        }
        if let Some(effort) = self.effort {
            let _ = write!(body, r#","reasoning_effort":"{}""#, effort.as_str());
        }
        if self.tools {
            body.push_str(r#","tools":[{"type":"function","function":{"name":"f"}}]"#);
        }
        body.push('}');
        body.into_bytes()
    }
}

/// The network between isolates and the Durable Object that shares their health view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exchange {
    /// The shortest and the longest time of one way, in milliseconds.
    pub way_ms: (u64, u64),
    /// The share of reports that are lost.
    pub lost: f64,
    /// The share of responses that are lost or late.
    pub unanswered: f64,
}

/// The whole input of a simulation.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed of all random numbers.
    pub seed: u64,
    /// The providers, by name.
    pub providers: Vec<Provider>,
    /// Their incidents.
    pub incidents: Vec<Incident>,
    /// The calls, by time.
    pub calls: Vec<Call>,
    /// The number of isolates that run at a time.
    pub isolates: usize,
    /// The mean lifetime of an isolate, in milliseconds; `None`: unlimited.
    pub isolate_life_ms: Option<u64>,
    /// The restarts of the Durable Object, in milliseconds since 1970, ascending.
    pub restarts: Vec<u64>,
    /// The network between isolates and the object.
    pub exchange: Exchange,
    /// `routing`, `timeouts` and `groups` of the configuration.
    pub settings: Value,
}

/// One model with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The index of the provider in the scenario.
    pub provider: usize,
    /// The index of the model in its provider.
    pub model: usize,
    /// The index of the key.
    pub key: u8,
}

/// A scenario, with the gateway's configuration and providers that follow from it.
#[derive(Debug)]
pub struct World {
    /// The scenario.
    pub scenario: Scenario,
    /// The gateway's configuration.
    pub config: Config,
    /// Its providers.
    pub registry: Registry,
}

impl World {
    /// Reads the configuration as the Worker does.
    ///
    /// # Errors
    /// The configuration is invalid.
    pub fn new(scenario: Scenario) -> Result<World, String> {
        let mut settings = scenario.settings.as_object().cloned().unwrap_or_default();
        let mut providers = Map::new();
        let mut models = Map::new();
        for Provider { name, models: listed, cancel_stops_billing, keys, .. } in &scenario.providers {
            let ids: Vec<&str> = listed.iter().map(|model| model.id.as_str()).collect();
            let auth = if *keys == 0 { "none" } else { "bearer" };
            let mut provider =
                json!({"base_url": format!("https://{name}.example/v1"), "auth": auth, "models": ids});
            if let (Some(provider), Some(stops)) = (provider.as_object_mut(), cancel_stops_billing) {
                provider.insert("cancel_stops_billing".into(), (*stops).into());
            }
            providers.insert(name.clone(), provider);
            for model in listed {
                let mut known = json!({
                    "tier": model.tier,
                    "input_usd_per_mtok": model.input_usd,
                    "output_usd_per_mtok": model.output_usd,
                    "context": model.context,
                    "tools": model.tools,
                });
                if let (Some(known), Some(limit)) = (known.as_object_mut(), model.known_per_day) {
                    known.insert("requests_per_day".into(), limit.into());
                }
                models.insert(format!("{name}/{}", model.id), known);
            }
        }
        settings.insert("providers".into(), Value::Object(providers));
        settings.insert("models".into(), Value::Object(models));
        let config = gatehouse_core::check::read("{}", Some(&Value::Object(settings).to_string()))
            .map_err(|error| error.to_string())?;
        let secrets: Vec<(String, String)> = scenario
            .providers
            .iter()
            .filter(|provider| provider.keys > 0)
            .map(|provider| {
                let keys: Vec<String> = (0..provider.keys).map(|key| format!("key-{key}")).collect();
                (format!("{}_API_KEY", provider.name.to_uppercase()), keys.join(","))
            })
            .collect();
        let registry = Registry::new(&config, false, |name| {
            secrets.iter().find(|(known, _)| known == name).map(|(_, keys)| keys.clone())
        });
        Ok(World { scenario, config, registry })
    }

    /// The provider of a spot.
    pub fn provider(&self, spot: Spot) -> Option<&Provider> {
        self.scenario.providers.get(spot.provider)
    }

    /// The model of a spot.
    pub fn model(&self, spot: Spot) -> Option<&Model> {
        self.provider(spot)?.models.get(spot.model)
    }

    /// The gateway's facts about a model.
    pub fn facts(&self, spot: Spot) -> Facts {
        let facts = || self.registry.provider(&self.provider(spot)?.name)?.facts(&self.model(spot)?.id);
        facts().unwrap_or_default()
    }

    /// The models that can read a call and have the tools that it needs, in the order in which the call names them.
    pub fn capable(&self, call: &Call) -> Vec<Spot> {
        let mut spots = self.named(call);
        spots.retain(|spot| {
            self.model(*spot).is_some_and(|model| {
                (!call.tools || model.tools)
                    && u64::from(call.input()) * 12 / 10 + 100 <= u64::from(model.context)
            })
        });
        spots
    }

    /// The models that a call names; `auto` names all.
    fn named(&self, call: &Call) -> Vec<Spot> {
        let of_addresses = |addresses: &[String]| -> Vec<Spot> {
            let spot = |address: &String| {
                let (provider, model) = address.split_once('/')?;
                self.spot(provider, model)
            };
            addresses.iter().filter_map(spot).collect()
        };
        match &call.wish {
            Wish::Auto => self
                .scenario
                .providers
                .iter()
                .enumerate()
                .flat_map(|(provider, of)| {
                    (0..of.models.len()).map(move |model| Spot { provider, model, key: 0 })
                })
                .collect(),
            Wish::Group(name) => {
                self.config.groups.get(name).map(|group| of_addresses(&group.models)).unwrap_or_default()
            }
            Wish::Models(models) => of_addresses(models),
        }
    }

    /// `provider/model`.
    pub fn address(&self, spot: Spot) -> String {
        let name = self.provider(spot).map_or("", |provider| provider.name.as_str());
        format!("{name}/{}", self.model(spot).map_or("", |model| model.id.as_str()))
    }

    /// The position of a model, with its first key.
    pub fn spot(&self, provider: &str, model: &str) -> Option<Spot> {
        let index = self.scenario.providers.iter().position(|known| known.name == provider)?;
        let model = self.scenario.providers.get(index)?.models.iter().position(|known| known.id == model)?;
        Some(Spot { provider: index, model, key: 0 })
    }

    /// The cost of a response, in micro-USD, if the share `written` of its output was generated.
    pub fn price(&self, spot: Spot, call: &Call, written: f64) -> f64 {
        let Some(model) = self.model(spot) else { return 0.0 };
        f64::from(call.input()) * model.input_usd + f64::from(call.output) * written * model.output_usd
    }
}
