//! What a simulation is made of: providers, what befalls them, calls, and the gateway's configuration. Draws nothing and
//! runs nothing: [`crate::day`] and the tests draw, [`crate::ours`] and the others run.

use std::fmt::Write as _;

use gatehouse_core::catalog::{Facts, Registry};
use gatehouse_core::config::Config;
use gatehouse_core::tier::Tier;
use serde_json::{Map, Value, json};

/// A model of a simulated provider.
#[derive(Clone, Debug)]
pub struct Model {
    /// The provider's id of it.
    pub id: String,
    /// How capable it is.
    pub tier: Tier,
    /// US dollars per million input tokens.
    pub input_usd: f64,
    /// US dollars per million output tokens.
    pub output_usd: f64,
    /// The longest input, in tokens.
    pub context: u32,
    /// Whether it can call tools.
    pub tools: bool,
    /// How long it usually takes to its first content, in milliseconds.
    pub first_ms: f64,
    /// How many tokens it writes in a second.
    pub tokens_per_second: f64,
    /// Requests a day that the gateway is configured to know of.
    pub known_per_day: Option<u32>,
}

/// How a provider counts the requests of a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// In minutes that begin with a request; at the end of each everything is there again.
    Fixed,
    /// In a bucket that fills up evenly.
    Bucket,
}

/// A simulated provider. Limits are those of each model with each key.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// Its models.
    pub models: Vec<Model>,
    /// How many keys the gateway has for it.
    pub keys: u8,
    /// Requests in a minute.
    pub per_minute: Option<u32>,
    /// Tokens in a minute, input and output.
    pub tokens_per_minute: Option<u32>,
    /// Requests in a day (UTC).
    pub per_day: Option<u32>,
    /// How it counts minutes.
    pub counting: Counting,
    /// Whether a 429 says when to come back.
    pub retry_after: bool,
    /// Whether answers tell what is left of the limits.
    pub headers: bool,
    /// The share of calls that fail on a good day.
    pub failing: f64,
    /// How much its latency varies (the sigma of a log-normal distribution).
    pub varying: f64,
    /// Whether it stops charging when a call is cancelled.
    pub cancel_stops_billing: Option<bool>,
}

/// What can befall a provider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// 500, at once.
    Errors,
    /// No status line.
    Hangs,
    /// A status line, and then nothing.
    Stalls,
    /// 200, and then an error in the place of content.
    EarlyErrors,
    /// Streams that are cut.
    Cuts,
    /// No connection.
    Unreachable,
    /// So many times slower.
    Slow(f64),
    /// One key is refused with 401.
    DeadKey(u8),
    /// The accounts of all keys are empty: 402.
    NoMoney,
    /// The models are gone: 404.
    Gone,
    /// It refuses what others take: 422.
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

/// Something that befalls a provider for some time.
#[derive(Clone, Copy, Debug)]
pub struct Incident {
    /// Which provider.
    pub provider: usize,
    /// When it begins, in milliseconds since 1970.
    pub from_ms: u64,
    /// When it is over.
    pub until_ms: u64,
    /// What it is.
    pub fault: Fault,
    /// Which share of calls it hits.
    pub share: f64,
}

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `auto`.
    Auto,
    /// A group of the configuration.
    Group(String),
    /// Models by address, the first as `model` and the others as `models`.
    Models(Vec<String>),
}

/// How a provider takes the call itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As it should be.
    Fine,
    /// The request is at fault.
    Refused,
    /// Its content is refused.
    ContentRefused,
    /// It is longer than it looks.
    TooLong,
}

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number.
    pub id: usize,
    /// When it comes, in milliseconds since 1970.
    pub at_ms: u64,
    /// To which of the isolates that are there.
    pub isolate: usize,
    /// What it asks for.
    pub wish: Wish,
    /// The session that it names.
    pub session: Option<u64>,
    /// Which instructions it begins with.
    pub prompt: u64,
    /// How long its messages are, in bytes.
    pub bytes: usize,
    /// How many tokens the answer has.
    pub output: u32,
    /// Whether it is streamed.
    pub stream: bool,
    /// `reasoning_effort`.
    pub effort: Option<Tier>,
    /// Whether it needs tools.
    pub tools: bool,
    /// How a provider takes it.
    pub fate: Fate,
}

/// Prompts from here on are long, as [`gatehouse_core::route::affinity`] has it, in bytes.
const LONG: usize = 4_200;

impl Call {
    /// How many tokens it has to read, roughly.
    pub fn input(&self) -> u32 {
        (self.bytes / 4) as u32
    }

    /// What an upstream could find in its cache: the session, or a long prompt.
    pub fn cached_by(&self) -> Option<(bool, u64)> {
        match self.session {
            Some(session) => Some((true, session)),
            None => (self.bytes >= LONG).then_some((false, self.prompt)),
        }
    }

    /// The request's body.
    pub fn body(&self) -> Vec<u8> {
        // No text here has a character that JSON would escape.
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

/// How the exchange between isolates and their object goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exchange {
    /// The shortest and the longest way there, and back, in milliseconds.
    pub way_ms: (u64, u64),
    /// The share of reports that do not arrive.
    pub lost: f64,
    /// The share of answers that do not arrive, or too late.
    pub unanswered: f64,
}

/// Everything that a simulation needs.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What everything is drawn from.
    pub seed: u64,
    /// The providers, by name.
    pub providers: Vec<Provider>,
    /// What befalls them.
    pub incidents: Vec<Incident>,
    /// The calls, by time.
    pub calls: Vec<Call>,
    /// How many isolates run at a time.
    pub isolates: usize,
    /// How long an isolate lives on average, in milliseconds; `None`: for ever.
    pub isolate_life_ms: Option<u64>,
    /// When the object that isolates tell is restarted, in milliseconds since 1970, by time.
    pub restarts: Vec<u64>,
    /// How reports are exchanged.
    pub exchange: Exchange,
    /// `routing`, `timeouts` and `groups` of the configuration.
    pub settings: Value,
}

/// One model with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The place of the provider in the scenario.
    pub provider: usize,
    /// The place of the model in its provider.
    pub model: usize,
    /// The place of the key.
    pub key: u8,
}

/// A scenario with what follows from it.
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
    /// Reads the configuration as the Worker does; the error says what is wrong with it.
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

    /// A provider.
    pub fn provider(&self, spot: Spot) -> Option<&Provider> {
        self.scenario.providers.get(spot.provider)
    }

    /// A model.
    pub fn model(&self, spot: Spot) -> Option<&Model> {
        self.provider(spot)?.models.get(spot.model)
    }

    /// What the gateway knows of a model.
    pub fn facts(&self, spot: Spot) -> Facts {
        let facts = || self.registry.provider(&self.provider(spot)?.name)?.facts(&self.model(spot)?.id);
        facts().unwrap_or_default()
    }

    /// `provider/model`.
    pub fn address(&self, spot: Spot) -> String {
        let name = self.provider(spot).map_or("", |provider| provider.name.as_str());
        format!("{name}/{}", self.model(spot).map_or("", |model| model.id.as_str()))
    }

    /// The place of a model, with its first key.
    pub fn spot(&self, provider: &str, model: &str) -> Option<Spot> {
        let index = self.scenario.providers.iter().position(|known| known.name == provider)?;
        let model = self.scenario.providers.get(index)?.models.iter().position(|known| known.id == model)?;
        Some(Spot { provider: index, model, key: 0 })
    }

    /// What an answer to a call costs, in micro-USD, if so much of it was written.
    pub fn price(&self, spot: Spot, call: &Call, written: f64) -> f64 {
        let Some(model) = self.model(spot) else { return 0.0 };
        f64::from(call.input()) * model.input_usd + f64::from(call.output) * written * model.output_usd
    }
}
