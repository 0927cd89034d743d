//! The models of the built-in providers, compiled from `core/data/models.jsonl` by `core/build.rs`.
//!
//! The table is a constant of the program: it costs no time at start-up and no memory of its own. Its rows are packed
//! (see [`Row`]) and unpacked on demand as [`Facts`].

use std::cmp::Ordering;

use crate::config::ModelSettings;
use crate::money::MicroUsd;
use crate::operation::Task;
use crate::tier::Tier;

/// The known facts about a model. `None` means unknown: not zero, not false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The maximum input, in tokens.
    pub context: Option<u32>,
    /// The maximum output, in tokens.
    pub max_output: Option<u32>,
    /// The price.
    pub price: Price,
    /// Support for tools.
    pub tools: Option<bool>,
    /// Support for JSON mode, without a schema.
    pub json_mode: Option<bool>,
    /// Support for JSON schemas.
    pub json_schema: Option<bool>,
    /// Support for image input.
    pub vision: Option<bool>,
    /// `true` if the model reasons before it responds.
    pub reasoning: Option<bool>,
    /// The rated capability, if any. See [`Facts::effective_tier`].
    pub tier: Option<Tier>,
    /// The preference over other models, in per cent.
    pub priority: Option<u8>,
    /// The number of calls per day that the provider's free tier allows.
    pub requests_per_day: Option<u32>,
    /// `true` if `auto` does not choose the model, because it is not made for conversation or may not exist.
    pub not_automatic: bool,
    /// The task.
    pub task: Option<Task>,
}

impl Facts {
    /// The capability. Without a rating, the price decides: below one US dollar per million output tokens is low, below
    /// six medium, otherwise high. Models without a price are high if they reason, otherwise medium.
    pub fn effective_tier(&self) -> Tier {
        match (self.tier, self.price.output) {
            (Some(tier), _) => tier,
            (None, Some(0..1_000_000)) => Tier::Low,
            (None, Some(1_000_000..6_000_000)) => Tier::Medium,
            (None, Some(_)) => Tier::High,
            (None, None) if self.reasoning == Some(true) => Tier::High,
            (None, None) => Tier::Medium,
        }
    }

    /// The facts, overridden by an operator's settings.
    #[must_use]
    pub fn with(self, settings: &ModelSettings) -> Facts {
        let usd = |given: Option<MicroUsd>, known| given.map(|MicroUsd(micro)| micro).or(known);
        Facts {
            context: settings.context.or(self.context),
            max_output: settings.max_output.or(self.max_output),
            price: Price {
                input: usd(settings.input_usd_per_mtok, self.price.input),
                output: usd(settings.output_usd_per_mtok, self.price.output),
                cached_input: usd(settings.cached_input_usd_per_mtok, self.price.cached_input),
                cache_write: usd(settings.cache_write_usd_per_mtok, self.price.cache_write),
            },
            tools: settings.tools.or(self.tools),
            json_mode: settings.json_mode.or(self.json_mode),
            json_schema: settings.json_schema.or(self.json_schema),
            vision: settings.vision.or(self.vision),
            reasoning: settings.reasoning.or(self.reasoning),
            tier: settings.tier.or(self.tier),
            priority: settings.priority.or(self.priority),
            requests_per_day: settings.requests_per_day.or(self.requests_per_day),
            not_automatic: self.not_automatic,
            task: settings.task.or(self.task),
        }
    }
}

/// Prices in micro-USD (millionths of a US dollar) per million tokens; `None` is unknown, never free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Input.
    pub input: Option<u64>,
    /// Output.
    pub output: Option<u64>,
    /// Input read from the provider's prompt cache.
    pub cached_input: Option<u64>,
    /// Input written to the provider's prompt cache.
    pub cache_write: Option<u64>,
}

/// The date of the table: 2026-11-01, in seconds since 1970. It is the `created` of listed models, since no provider
/// publishes that date for all of its models.
pub const MODELS_AS_OF: u64 = 1_793_491_200;

/// The facts about a built-in provider's model.
pub fn facts(provider: &str, id: &str) -> Option<Facts> {
    let models = models(provider)?;
    let mut range = 0..models.rows.len();
    while !range.is_empty() {
        let middle = range.start.midpoint(range.end);
        let (known, row) = models.get(middle)?;
        match known.cmp(id) {
            Ordering::Less => range.start = middle + 1,
            Ordering::Equal => return Some(row.facts()),
            Ordering::Greater => range.end = middle,
        }
    }
    None
}

/// The models of a built-in provider, by id.
pub fn of_provider(provider: &str) -> impl Iterator<Item = (&'static str, Facts)> + use<> {
    let models = models(provider);
    models
        .into_iter()
        .flat_map(|models| (0..).map_while(|at| models.get(at)))
        .map(|(id, row)| (id, row.facts()))
}

fn models(provider: &str) -> Option<&'static Models> {
    MODELS.get(MODELS.binary_search_by(|models| models.provider.cmp(provider)).ok()?)
}

/// The models of a provider, sorted by id. Their ids are one text: once compressed, a reference to each id would be
/// twice as long as the id.
struct Models {
    provider: &'static str,
    /// The concatenated ids.
    ids: &'static str,
    rows: &'static [Row],
}

impl Models {
    /// The id and the row at an index.
    fn get(&self, at: usize) -> Option<(&'static str, &'static Row)> {
        let row = self.rows.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.rows.get(before)).map_or(0, |row| row.id_end);
        Some((self.ids.get(start.into()..row.id_end.into())?, row))
    }
}

/// A row of the table, in less than half the space of [`Facts`], because every copy of the Wasm has more than a
/// thousand. Prices are in micro-USD per million tokens, as in [`Price`].
struct Row {
    /// The end of its id in the concatenated ids.
    id_end: u16,
    context: u32,
    max_output: u32,
    input: u32,
    output: u32,
    cached_input: u32,
    cache_write: u32,
    requests_per_day: u32,
    flags: u16,
    priority: u8,
    task: Task,
}

/// The value for an unknown number; `core/build.rs` rejects it as a known number.
const UNKNOWN: u32 = u32::MAX;
/// The value for an unknown priority.
const UNRATED: u8 = u8::MAX;

/// Packs everything that is not a number: two bits for each capability and for the tier, where 0 is unknown, and one
/// bit for `not_automatic`.
const fn flags(capabilities: [Option<bool>; 5], tier: Option<Tier>, not_automatic: bool) -> u16 {
    let [tools, json_mode, json_schema, vision, reasoning] = capabilities;
    let tier = match tier {
        None => 0,
        Some(Tier::Low) => 1,
        Some(Tier::Medium) => 2,
        Some(Tier::High) => 3,
    };
    capability_bits(tools)
        | capability_bits(json_mode) << 2
        | capability_bits(json_schema) << 4
        | capability_bits(vision) << 6
        | capability_bits(reasoning) << 8
        | tier << 10
        | (not_automatic as u16) << 12
}

const fn capability_bits(capability: Option<bool>) -> u16 {
    match capability {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    }
}

impl Row {
    fn facts(&self) -> Facts {
        let number = |value: u32| (value != UNKNOWN).then_some(value);
        let price = |value: u32| number(value).map(u64::from);
        let capability = |shift: u32| match self.flags >> shift & 3 {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        };
        Facts {
            context: number(self.context),
            max_output: number(self.max_output),
            price: Price {
                input: price(self.input),
                output: price(self.output),
                cached_input: price(self.cached_input),
                cache_write: price(self.cache_write),
            },
            tools: capability(0),
            json_mode: capability(2),
            json_schema: capability(4),
            vision: capability(6),
            reasoning: capability(8),
            tier: match self.flags >> 10 & 3 {
                1 => Some(Tier::Low),
                2 => Some(Tier::Medium),
                3 => Some(Tier::High),
                _ => None,
            },
            priority: (self.priority != UNRATED).then_some(self.priority),
            requests_per_day: number(self.requests_per_day),
            not_automatic: self.flags >> 12 & 1 == 1,
            task: Some(self.task),
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/models.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::PROVIDERS;

    #[test]
    fn the_table_is_sorted_and_names_only_known_providers() {
        assert!(MODELS.is_sorted_by(|a, b| a.provider < b.provider));
        for Models { provider: name, ids, rows } in MODELS {
            assert!(PROVIDERS.iter().any(|provider| provider.name == *name), "{name}");
            let found: Vec<_> = of_provider(name).map(|(id, _)| id).collect();
            assert!(!found.is_empty() && found.is_sorted_by(|a, b| a < b), "{name}");
            assert_eq!((found.len(), found.concat()), (rows.len(), (*ids).to_owned()), "{name}");
        }
    }

    #[test]
    fn every_model_is_found_by_its_id() {
        for provider in PROVIDERS {
            for (id, known) in of_provider(provider.name) {
                assert_eq!(facts(provider.name, id), Some(known), "{id}");
            }
        }
        assert_eq!(facts("openai", "gpt-4"), None);
        assert_eq!(facts("nobody", "gpt-4o"), None);
        assert_eq!(of_provider("nobody").count(), 0);
    }

    /// Packing loses nothing: the table equals the file.
    #[test]
    fn the_table_equals_the_file() {
        let file = include_str!("../../data/models.jsonl");
        let mut count = 0;
        for line in file.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let known = facts(row["provider"].as_str().unwrap(), row["id"].as_str().unwrap()).unwrap();
            let number = |field: &str| row[field].as_u64();
            let price =
                |field: &str| row[field].as_f64().map(|usd| format!("{:.0}", usd * 1e6).parse().unwrap());
            let capability = |field: &str| row[field].as_bool();
            let expected = Facts {
                context: number("context").map(|value| value.try_into().unwrap()),
                max_output: number("max_output").map(|value| value.try_into().unwrap()),
                price: Price {
                    input: price("input_usd_per_mtok"),
                    output: price("output_usd_per_mtok"),
                    cached_input: price("cached_input_usd_per_mtok"),
                    cache_write: price("cache_write_usd_per_mtok"),
                },
                tools: capability("tools"),
                json_mode: capability("json_mode"),
                json_schema: capability("json_schema"),
                vision: capability("vision"),
                reasoning: capability("reasoning"),
                tier: row.get("tier").map(|tier| serde_json::from_value(tier.clone()).unwrap()),
                priority: number("priority").map(|value| value.try_into().unwrap()),
                requests_per_day: number("requests_per_day").map(|value| value.try_into().unwrap()),
                not_automatic: capability("automatic") == Some(false),
                task: Some(
                    row.get("task").map_or(Task::Chat, |task| serde_json::from_value(task.clone()).unwrap()),
                ),
            };
            assert_eq!(known, expected, "{line}");
            count += 1;
        }
        assert_eq!(count, MODELS.iter().map(|models| models.rows.len()).sum::<usize>());
        assert!(count > 1000);
    }

    #[test]
    fn prices_are_exact_integers_and_unknown_ones_are_none() {
        assert_eq!(
            facts("openai", "gpt-4o-mini").unwrap().price,
            Price {
                input: Some(150_000),
                output: Some(600_000),
                cached_input: Some(75_000),
                cache_write: None
            }
        );
        assert_eq!(facts("github_models", "openai/gpt-4o-mini").unwrap().price, Price::default());
        assert_eq!(facts("zai", "glm-4.7-flash").unwrap().price.output, Some(0));
    }

    #[test]
    fn the_table_has_manual_ratings() {
        let known = facts("groq", "llama-3.3-70b-versatile").unwrap();
        assert_eq!((known.tier, known.priority), (Some(Tier::High), Some(91)));
        assert_eq!((known.requests_per_day, known.json_mode), (Some(300), Some(true)));
        assert_eq!((known.vision, known.json_schema, known.not_automatic), (Some(false), None, false));
        assert!(facts("groq", "openai/gpt-oss-safeguard-20b").unwrap().not_automatic);
    }

    #[test]
    fn the_tier_is_the_rating_or_follows_from_the_price() {
        let priced = |output: Option<u64>, reasoning: Option<bool>| {
            let price = Price { output, ..Price::default() };
            Facts { price, reasoning, ..Facts::default() }.effective_tier()
        };
        for (output, reasoning, tier) in [
            (Some(0), None, Tier::Low),
            (Some(999_999), Some(true), Tier::Low),
            (Some(1_000_000), None, Tier::Medium),
            (Some(5_999_999), None, Tier::Medium),
            (Some(6_000_000), None, Tier::High),
            (None, None, Tier::Medium),
            (None, Some(false), Tier::Medium),
            (None, Some(true), Tier::High),
        ] {
            assert_eq!(priced(output, reasoning), tier, "{output:?} {reasoning:?}");
        }
        let rated = Facts { tier: Some(Tier::Low), reasoning: Some(true), ..Facts::default() };
        assert_eq!(rated.effective_tier(), Tier::Low);
        assert!(Tier::Low < Tier::Medium && Tier::Medium < Tier::High);
    }

    #[test]
    fn a_tier_is_serialized_as_its_name() {
        for tier in [Tier::Low, Tier::Medium, Tier::High] {
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.as_str());
            assert_eq!(serde_json::from_value::<Tier>(tier.as_str().into()).unwrap(), tier);
        }
    }
}
