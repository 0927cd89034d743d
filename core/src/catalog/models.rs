//! The models of the built-in providers, compiled from `core/data/models.jsonl` by `core/build.rs`.
//!
//! The table is a constant of the program: it costs no time at start-up and no memory of its own. Its rows are packed
//! (see [`Row`]) and unpacked on demand as [`Facts`]. What a call costs is computed in `ledger::price`.

use std::cmp::Ordering;

use crate::config::ModelSettings;
use crate::conversation::Effort;
use crate::money::MicroUsd;
use crate::operation::{Format, Task};
use crate::tier::Tier;
use crate::unit::{Unit, UnitPrice, Units};

/// The known facts about a model. `None` means unknown: not zero, not false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The maximum input, in tokens.
    pub context: Option<u32>,
    /// The maximum output, in tokens.
    pub max_output: Option<u32>,
    /// The price of a call whose input is not longer than the first of `steps`.
    pub price: Price,
    /// The other prices of a call with a longer input. See [`Facts::price_at`].
    pub steps: Steps,
    /// Support for tools.
    pub tools: Option<bool>,
    /// Support for a tool choice that makes the model call a tool.
    pub tool_choice: Option<bool>,
    /// Support for several tool calls in one response.
    pub parallel_tools: Option<bool>,
    /// Support for JSON mode, without a schema.
    pub json_mode: Option<bool>,
    /// Support for JSON schemas.
    pub json_schema: Option<bool>,
    /// Support for image input.
    pub vision: Option<bool>,
    /// Support for PDF documents.
    pub pdf: Option<bool>,
    /// `true` if the model reasons before it responds.
    pub reasoning: Option<bool>,
    /// Support for a prompt cache.
    pub prompt_cache: Option<bool>,
    /// Support for a system prompt.
    pub system_messages: Option<bool>,
    /// Support for system messages after the first turn of a Messages request.
    pub system_turns: Option<bool>,
    /// Support for a last message of the assistant, which the response continues.
    pub prefill: Option<bool>,
    /// Support for reasoning as much as the model sees fit.
    pub adaptive_thinking: Option<bool>,
    /// `true` if reasoning cannot be turned off.
    pub thinking_always_on: Option<bool>,
    /// Support for `temperature`, `top_p` and `top_k`. A model that does not support them rejects a request with them.
    pub sampling_params: Option<bool>,
    /// Support for the efforts that not every reasoning model has. See [`Facts::accepts_effort`].
    pub efforts: Efforts,
    /// The rated capability, if any. See [`Facts::effective_tier`].
    pub tier: Option<Tier>,
    /// The preference over other models, in per cent.
    pub priority: Option<u8>,
    /// The number of calls per day that the provider's free tier allows.
    pub requests_per_day: Option<u32>,
    /// `true` if `auto` does not choose the model, because it is not made for conversation or may not exist.
    pub not_automatic: bool,
    /// `true` if the model is not listed: it has ended, or its name is that of a deployment.
    pub hidden: bool,
    /// The only format in which the provider serves the model; `None` if it serves it in all of its formats.
    pub only_format: Option<Format>,
    /// The calls with tools that the model accepts in Chat Completions.
    pub chat_tools: ChatTools,
    /// The task.
    pub task: Option<Task>,
    /// The day on which the provider ends the model, in days since 1970.
    pub ends: Option<u16>,
    /// The id of the model that the provider recommends instead.
    pub successor: Option<&'static str>,
}

/// Support for efforts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Efforts {
    /// `none`: no reasoning.
    pub none: Option<bool>,
    /// `minimal`
    pub minimal: Option<bool>,
    /// `xhigh`
    pub xhigh: Option<bool>,
    /// `max`
    pub max: Option<bool>,
}

/// The calls with tools that a model accepts in Chat Completions. OpenAI's models from GPT-5.4 on reject the others with
/// "Function tools with `reasoning_effort` are not supported"; through Responses they accept them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChatTools {
    /// All.
    #[default]
    Any,
    /// Those that ask for no effort, or for the effort `none`.
    WithoutEffort,
    /// Those that ask for the effort `none`: without an effort, the model reasons.
    WithoutReasoning,
}

/// The parts of a call that decide whether Chat Completions accepts its tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolUse {
    /// `true` if the call offers tools.
    pub has_tools: bool,
    /// `true` if the call asks for an effort, `false` if it asks for the effort `none`.
    pub reasons: Option<bool>,
}

impl ChatTools {
    /// Returns `true` if Chat Completions rejects such a call.
    pub fn reject(self, ToolUse { has_tools, reasons }: ToolUse) -> bool {
        has_tools
            && match self {
                ChatTools::Any => false,
                ChatTools::WithoutEffort => reasons == Some(true),
                ChatTools::WithoutReasoning => reasons != Some(false),
            }
    }
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

    /// The price of a call with this many input tokens, cached or not: all of its tokens cost what the last step below
    /// that number says.
    pub fn price_at(&self, prompt_tokens: u64) -> Price {
        match self.steps.reached(prompt_tokens).last() {
            None => self.price,
            Some((base, step)) => self.price.stepped(base, step),
        }
    }

    /// The highest price of each kind of token in a call with at most this many input tokens.
    pub fn highest_price(&self, most_prompt_tokens: u64) -> Price {
        let steps = self.steps.reached(most_prompt_tokens);
        steps.fold(self.price, |highest, (base, step)| highest.max(self.price.stepped(base, step)))
    }

    /// Returns `true` if a reasoning effort is accepted, as far as is known. Models that accept any effort accept the
    /// efforts from `low` to `high`.
    pub fn accepts_effort(&self, effort: Effort) -> Option<bool> {
        let Efforts { none, minimal, xhigh, max } = self.efforts;
        if self.reasoning == Some(false) {
            return Some(false);
        }
        match effort {
            Effort::Minimal => minimal,
            Effort::XHigh => xhigh,
            Effort::Max => max,
            Effort::Low | Effort::Medium | Effort::High => {
                let accepts_any = [none, minimal, xhigh, max].contains(&Some(true));
                (accepts_any || self.adaptive_thinking == Some(true)).then_some(true)
            }
        }
    }

    /// The nearest effort that the model is known to accept, or that all models with efforts accept.
    pub fn nearest_effort(&self, wanted: Effort) -> Effort {
        let nearest: &[Effort] = match wanted {
            Effort::Minimal => &[Effort::Minimal, Effort::Low],
            Effort::Low | Effort::Medium | Effort::High => &[],
            Effort::XHigh => &[Effort::XHigh, Effort::High],
            Effort::Max => &[Effort::Max, Effort::XHigh, Effort::High],
        };
        let (last, first) = nearest.split_last().unwrap_or((&wanted, &[]));
        *first.iter().find(|effort| self.accepts_effort(**effort) == Some(true)).unwrap_or(last)
    }

    /// Returns `true` if a budget of reasoning tokens is accepted, as far as is known. Anthropic's models that reject
    /// sampling parameters also reject `thinking.type` `enabled`:
    /// <https://docs.claude.com/en/docs/build-with-claude/adaptive-thinking>.
    pub fn accepts_thinking_budget(&self) -> Option<bool> {
        match (self.reasoning, self.adaptive_thinking, self.sampling_params) {
            (Some(false), ..) | (_, Some(true), Some(false)) => Some(false),
            (Some(true), ..) => Some(true),
            (None, ..) => None,
        }
    }

    /// The facts, overridden by an operator's settings. The steps of the price stay in proportion to an overridden
    /// price.
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
                cache_write_1h: usd(settings.cache_write_1h_usd_per_mtok, self.price.cache_write_1h),
                // A price of the output that replaces the known one is for all of it.
                reasoning_output: self
                    .price
                    .reasoning_output
                    .filter(|_| settings.output_usd_per_mtok.is_none()),
                units: settings
                    .usd_per_unit
                    .iter()
                    .fold(self.price.units, |units, (unit, UnitPrice(price))| {
                        units.with(*unit, Some(*price))
                    }),
            },
            tools: settings.tools.or(self.tools),
            json_mode: settings.json_mode.or(self.json_mode),
            json_schema: settings.json_schema.or(self.json_schema),
            vision: settings.vision.or(self.vision),
            reasoning: settings.reasoning.or(self.reasoning),
            adaptive_thinking: settings.adaptive_thinking.or(self.adaptive_thinking),
            sampling_params: settings.sampling_params.or(self.sampling_params),
            prefill: settings.prefill.or(self.prefill),
            tier: settings.tier.or(self.tier),
            priority: settings.priority.or(self.priority),
            requests_per_day: settings.requests_per_day.or(self.requests_per_day),
            task: settings.task.or(self.task),
            ..self
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
    /// Input written to the provider's prompt cache, for five minutes or as long as the provider chooses.
    pub cache_write: Option<u64>,
    /// Input written to the provider's prompt cache for an hour.
    pub cache_write_1h: Option<u64>,
    /// Reasoning, where it has another price than the rest of the output.
    pub reasoning_output: Option<u64>,
    /// Other units, in micro-USD per million of them.
    pub units: Units,
}

impl Price {
    fn to_array(self) -> [Option<u64>; KINDS] {
        let Price { input, output, cached_input, cache_write, cache_write_1h, reasoning_output, units: _ } =
            self;
        [input, output, cached_input, cache_write, cache_write_1h, reasoning_output]
    }

    fn from_array(prices: [Option<u64>; KINDS], units: Units) -> Price {
        let [input, output, cached_input, cache_write, cache_write_1h, reasoning_output] = prices;
        Price { input, output, cached_input, cache_write, cache_write_1h, reasoning_output, units }
    }

    /// The higher of two prices, for each kind of token.
    fn max(self, other: Price) -> Price {
        let mut prices = self.to_array();
        for (price, other) in prices.iter_mut().zip(other.to_array()) {
            *price = (*price).max(other);
        }
        Price::from_array(prices, self.units.max(other.units))
    }

    /// The price at a step of the table. A price that an operator has set stays in proportion to the table's; a price
    /// that the step does not name changes as the input does.
    fn stepped(self, base: &Rates, step: &Rates) -> Price {
        let [input, ..] = base.0;
        let [input_step, ..] = step.0;
        let mut prices = self.to_array();
        for ((price, base), step) in prices.iter_mut().zip(base.0).zip(step.0) {
            let (base, step) = if step == UNKNOWN { (input, input_step) } else { (base, step) };
            let is_known = base != UNKNOWN && step != UNKNOWN;
            *price =
                price.filter(|_| is_known).map(|price| scaled(price, base.into(), step.into())).or(*price);
        }
        Price::from_array(prices, self.units)
    }
}

/// A price in the proportion of two others, rounded up. Exact for the price that the proportion begins with.
fn scaled(price: u64, base: u64, step: u64) -> u64 {
    match base {
        _ if price == base => step,
        // Something free that costs something above a step.
        0 => price.max(step),
        _ => u64::try_from((u128::from(price) * u128::from(step)).div_ceil(base.into())).unwrap_or(u64::MAX),
    }
}

/// The steps of a model's price. Above a step, the price of the whole call is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps(Option<&'static Tariff>);

impl Steps {
    /// The numbers of input tokens above which another price begins, in ascending order.
    pub fn tokens(self) -> impl Iterator<Item = u32> {
        self.0.into_iter().flat_map(|tariff| tariff.steps).map(|step| step.above)
    }

    /// The steps that a call with this many input tokens has reached, each with the prices before the first step.
    fn reached(self, prompt_tokens: u64) -> impl Iterator<Item = (&'static Rates, &'static Rates)> {
        let tariff = self.0.into_iter();
        let steps = tariff.flat_map(|Tariff { base, steps, .. }| steps.iter().map(move |step| (base, step)));
        steps
            .take_while(move |(_, step)| prompt_tokens > step.above.into())
            .map(|(base, step)| (base, &step.rates))
    }
}

/// The prices of a model in the table.
#[derive(Debug, PartialEq, Eq)]
struct Tariff {
    base: Rates,
    /// In ascending order.
    steps: &'static [Step],
    /// The prices of other units, in micro-USD per million of them.
    units: &'static [(Unit, u64)],
}

/// A step of the table.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// The input tokens above which it applies.
    above: u32,
    rates: Rates,
}

/// The number of kinds of tokens with a price.
const KINDS: usize = 6;

/// Prices in micro-USD per million tokens, in the order of [`Price::to_array`]; [`UNKNOWN`] if not known.
#[derive(Debug, PartialEq, Eq)]
struct Rates([u32; KINDS]);

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

/// The models of a built-in provider, by id, hidden ones included.
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

/// A row of the table, in a quarter of the space of [`Facts`], because every copy of the Wasm has almost two thousand.
struct Row {
    /// See [`flags`].
    flags: u64,
    context: u32,
    max_output: u32,
    requests_per_day: u32,
    /// The end of its id in the concatenated ids.
    id_end: u16,
    /// The index of its prices.
    tariff: u16,
    /// The day on which the model ends, in days since 1970; 0 if not known.
    ends: u16,
    /// The index of its successor.
    successor: u16,
    priority: u8,
    task: Task,
}

/// The value for an unknown number; `core/build.rs` rejects it as a known number.
const UNKNOWN: u32 = u32::MAX;
/// The value for no index.
const NONE: u16 = u16::MAX;
/// The value for an unknown priority.
const UNRATED: u8 = u8::MAX;

/// The number of capabilities in [`flags`]; the tier follows them.
const CAPABILITIES: usize = 19;
const TIER_SHIFT: usize = 2 * CAPABILITIES;

/// Packs everything that is not a number: two bits for each capability and for the tier, where 0 is unknown, one bit
/// each for `not_automatic` and `hidden`, and two bits each for the only format and for [`ChatTools`].
const fn flags(
    capabilities: [Option<bool>; CAPABILITIES],
    tier: Option<Tier>,
    not_automatic: bool,
    hidden: bool,
    only_format: Option<Format>,
    chat_tools: ChatTools,
) -> u64 {
    let tier = match tier {
        None => 0,
        Some(Tier::Low) => 1,
        Some(Tier::Medium) => 2,
        Some(Tier::High) => 3,
    };
    let only_format = match only_format {
        Some(Format::ChatCompletions) => 1,
        Some(Format::Responses) => 2,
        // `core/build.rs` writes no other.
        _ => 0,
    };
    let rest = tier | (not_automatic as u64) << 2 | (hidden as u64) << 3;
    let mut flags = (rest | only_format << 4 | (chat_tools as u64) << 6) << TIER_SHIFT;
    let mut rest: &[Option<bool>] = &capabilities;
    while let [before @ .., capability] = rest {
        flags |= capability_bits(*capability) << (2 * before.len());
        rest = before;
    }
    flags
}

const fn capability_bits(capability: Option<bool>) -> u64 {
    match capability {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    }
}

impl Row {
    fn facts(&self) -> Facts {
        let number = |value: u32| (value != UNKNOWN).then_some(value);
        let mut shift = 0;
        let capabilities = [(); CAPABILITIES].map(|()| {
            let bits = self.flags >> shift & 3;
            shift += 2;
            match bits {
                1 => Some(false),
                2 => Some(true),
                _ => None,
            }
        });
        let [
            tools,
            tool_choice,
            parallel_tools,
            json_mode,
            json_schema,
            vision,
            pdf,
            reasoning,
            prompt_cache,
            system_messages,
            system_turns,
            prefill,
            adaptive_thinking,
            thinking_always_on,
            sampling_params,
            none,
            minimal,
            xhigh,
            max,
        ] = capabilities;
        let rest = self.flags >> TIER_SHIFT;
        let tariff = TARIFFS.get(usize::from(self.tariff));
        Facts {
            context: number(self.context),
            max_output: number(self.max_output),
            price: tariff
                .map(|tariff| {
                    let prices = tariff.base.0.map(|price| number(price).map(u64::from));
                    Price::from_array(prices, Units::of(tariff.units))
                })
                .unwrap_or_default(),
            steps: Steps(tariff.filter(|tariff| !tariff.steps.is_empty())),
            tools,
            tool_choice,
            parallel_tools,
            json_mode,
            json_schema,
            vision,
            pdf,
            reasoning,
            prompt_cache,
            system_messages,
            system_turns,
            prefill,
            adaptive_thinking,
            thinking_always_on,
            sampling_params,
            efforts: Efforts { none, minimal, xhigh, max },
            tier: match rest & 3 {
                1 => Some(Tier::Low),
                2 => Some(Tier::Medium),
                3 => Some(Tier::High),
                _ => None,
            },
            priority: (self.priority != UNRATED).then_some(self.priority),
            requests_per_day: number(self.requests_per_day),
            not_automatic: rest >> 2 & 1 == 1,
            hidden: rest >> 3 & 1 == 1,
            only_format: match rest >> 4 & 3 {
                1 => Some(Format::ChatCompletions),
                2 => Some(Format::Responses),
                _ => None,
            },
            chat_tools: match rest >> 6 & 3 {
                1 => ChatTools::WithoutEffort,
                2 => ChatTools::WithoutReasoning,
                _ => ChatTools::Any,
            },
            task: Some(self.task),
            ends: (self.ends != 0).then_some(self.ends),
            successor: SUCCESSORS.get(usize::from(self.successor)).copied(),
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/models.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::PROVIDERS;
    use crate::time::to_date;
    use proptest::prelude::*;
    use serde_json::Value;
    use std::collections::HashMap;

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
        assert_eq!(facts("openai", "gpt-4-"), None);
        assert_eq!(facts("nobody", "gpt-4o"), None);
        assert_eq!(of_provider("nobody").count(), 0);
    }

    /// The file has rows that no endpoint serves yet.
    fn is_served(row: &Value) -> bool {
        let is_spoken = only_format(row).is_some() || row.get("formats").is_none();
        let is_socket = row["task"] == "transcribe" && row["id"].as_str().unwrap().contains("realtime");
        is_spoken && !is_socket
    }

    fn only_format(row: &Value) -> Option<Format> {
        serde_json::from_value(row["formats"].get(0)?.clone()).ok()
    }

    fn micro(row: &Value, field: &str) -> Option<u64> {
        row[field].as_f64().map(|usd| format!("{:.0}", usd * 1e6).parse().unwrap())
    }

    fn price_of(row: &Value) -> Price {
        Price {
            input: micro(row, "input_usd_per_mtok"),
            output: micro(row, "output_usd_per_mtok"),
            cached_input: micro(row, "cached_input_usd_per_mtok"),
            cache_write: micro(row, "cache_write_usd_per_mtok"),
            cache_write_1h: micro(row, "cache_write_1h_usd_per_mtok"),
            reasoning_output: micro(row, "reasoning_output_usd_per_mtok"),
            units: units_of(row),
        }
    }

    fn units_of(row: &Value) -> Units {
        if row.get("task").is_none() {
            return Units::default();
        }
        let has_tokens = row.get("image_output_usd_per_mtok").is_some();
        let image = if row.get("usd_per_image").is_none() && row["task"] == "image" && !has_tokens {
            "usd_per_input_image"
        } else {
            "usd_per_image"
        };
        [
            (Unit::Image, image, 1e12),
            (Unit::Character, "usd_per_input_character", 1e12),
            (Unit::Second, "usd_per_input_second", 1e12),
            (Unit::Search, "usd_per_query", 1e12),
            (Unit::AudioInput, "audio_input_usd_per_mtok", 1e6),
            (Unit::AudioOutput, "audio_output_usd_per_mtok", 1e6),
            (Unit::ImageInput, "image_input_usd_per_mtok", 1e6),
            (Unit::ImageOutput, "image_output_usd_per_mtok", 1e6),
        ]
        .into_iter()
        .fold(Units::default(), |units, (unit, field, scale)| {
            let own = row[field].as_f64().map(|usd| format!("{:.0}", usd * scale).parse().unwrap());
            let price = own.or_else(|| pixels(row).filter(|_| unit == Unit::Image && !has_tokens));
            units.with(unit, price)
        })
    }

    /// The price of an image in a row with a price of its pixels, which has six digits: in whole micro-USD.
    fn pixels(row: &Value) -> Option<u64> {
        let usd = row["usd_per_input_pixel"].as_f64()?;
        let mut size = row["id"].as_str()?.split('/').find(|part| part.contains("-x-"))?.split("-x-");
        let [width, height] = [size.next()?, size.next()?].map(|side| side.parse::<f64>().unwrap());
        let micro: u64 = format!("{:.0}", usd * width * height * 1e6).parse().unwrap();
        Some(micro * 1_000_000)
    }

    /// Packing loses nothing: the table equals the file.
    #[test]
    fn the_table_equals_the_file() {
        let file = include_str!("../../data/models.jsonl");
        let mut count = 0;
        for line in file.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let known = facts(row["provider"].as_str().unwrap(), row["id"].as_str().unwrap());
            if !is_served(&row) {
                assert_eq!(known, None, "{line}");
                continue;
            }
            let known = known.unwrap();
            let number = |field: &str| row[field].as_u64();
            let capability = |field: &str| row[field].as_bool();
            let expected = Facts {
                context: number("context").map(|value| value.try_into().unwrap()),
                max_output: number("max_output").map(|value| value.try_into().unwrap()),
                price: price_of(&row),
                steps: known.steps,
                tools: capability("tools"),
                tool_choice: capability("tool_choice"),
                parallel_tools: capability("parallel_tools"),
                json_mode: capability("json_mode"),
                json_schema: capability("json_schema"),
                vision: capability("vision"),
                pdf: capability("pdf"),
                reasoning: capability("reasoning"),
                prompt_cache: capability("prompt_cache"),
                system_messages: capability("system_messages"),
                system_turns: capability("system_turns"),
                prefill: capability("prefill"),
                adaptive_thinking: capability("adaptive_thinking"),
                thinking_always_on: capability("thinking_always_on"),
                sampling_params: capability("sampling_params"),
                efforts: Efforts {
                    none: capability("effort_none"),
                    minimal: capability("effort_minimal"),
                    xhigh: capability("effort_xhigh"),
                    max: capability("effort_max"),
                },
                tier: row.get("tier").map(|tier| serde_json::from_value(tier.clone()).unwrap()),
                priority: number("priority").map(|value| value.try_into().unwrap()),
                requests_per_day: number("requests_per_day").map(|value| value.try_into().unwrap()),
                not_automatic: capability("automatic") == Some(false)
                    || row.get("task").is_some()
                    || only_format(&row) == Some(Format::Responses),
                hidden: capability("hidden") == Some(true),
                only_format: only_format(&row),
                chat_tools: match row["chat_tools"].as_str() {
                    Some("without_effort") => ChatTools::WithoutEffort,
                    Some("without_reasoning") => ChatTools::WithoutReasoning,
                    _ => ChatTools::Any,
                },
                task: Some(
                    row.get("task").map_or(Task::Chat, |task| serde_json::from_value(task.clone()).unwrap()),
                ),
                ends: known.ends,
                successor: row["successor"]
                    .as_str()
                    .map(|id| SUCCESSORS.iter().find(|known| **known == id))
                    .map(|id| *id.unwrap()),
            };
            assert_eq!(known, expected, "{line}");
            assert_eq!(known.ends.map(to_date).as_deref(), row["deprecation_date"].as_str(), "{line}");
            count += 1;
        }
        assert_eq!(count, MODELS.iter().map(|models| models.rows.len()).sum::<usize>());
        assert!(count > 1000);
    }

    /// The decisions of people are in the table: otherwise `scripts/models` was not run.
    #[test]
    fn the_file_has_what_people_decided() {
        let rows: HashMap<_, Value> = include_str!("../../data/models.jsonl")
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|row| ((row["provider"].to_string(), row["id"].to_string()), row))
            .collect();
        for line in include_str!("../../data/own.jsonl").lines() {
            let own: Value = serde_json::from_str(line).unwrap();
            let row = &rows[&(own["provider"].to_string(), own["id"].to_string())];
            for (field, value) in own.as_object().unwrap() {
                assert_eq!(row.get(field).unwrap_or(&Value::Null), value, "{line}");
            }
        }
    }

    /// The prices of a call at each step equal the file's; a price that a step does not name follows the input.
    #[test]
    fn the_price_at_each_step_equals_the_file() {
        let mut count = 0;
        for line in include_str!("../../data/models.jsonl").lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let Some(steps) = row["above"].as_array().filter(|_| is_served(&row)) else { continue };
            let known = facts(row["provider"].as_str().unwrap(), row["id"].as_str().unwrap()).unwrap();
            let tokens: Vec<u64> = steps.iter().map(|step| step["tokens"].as_u64().unwrap()).collect();
            assert_eq!(known.steps.tokens().map(u64::from).collect::<Vec<_>>(), tokens);
            assert_eq!(known.price_at(tokens[0]), known.price, "{line}");
            for (index, step) in steps.iter().enumerate() {
                let expected = price_of(step);
                let end = tokens.get(index + 1).copied().unwrap_or(u64::MAX);
                for prompt in [tokens[index] + 1, end] {
                    let price = known.price_at(prompt);
                    for (price, expected) in price.to_array().into_iter().zip(expected.to_array()) {
                        assert!(expected.is_none() || price == expected, "{line} {price:?} {expected:?}");
                    }
                    let highest = known.highest_price(prompt).to_array();
                    let reached = [known.price.to_array(), price.to_array()];
                    assert!(reached.iter().all(|price| price.iter().zip(highest).all(|(a, b)| *a <= b)));
                }
                count += 1;
            }
        }
        assert!(count > 100);
    }

    /// The prices of a sample of rows equal those of the published table, where it is at hand.
    #[test]
    fn the_prices_equal_the_published_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models.jsonl");
        let Ok(file) = std::fs::read_to_string(path) else {
            eprintln!("skipped: {path} is missing");
            return;
        };
        let mut count = 0;
        // Rows all over the table, others in each step.
        for line in file.lines().skip(3).step_by(7) {
            let row: Value = serde_json::from_str(line).unwrap();
            let (provider, id) = (row["provider"].as_str().unwrap(), row["id"].as_str().unwrap());
            let is_own_name = PROVIDERS.iter().any(|known| known.name == provider);
            let Some(known) = facts(provider, id).filter(|_| is_own_name) else { continue };
            // An unpriced model may have prices of 0 there, and one price is corrected.
            let corrected = ["embed-multilingual-light-v3.0"];
            if known.price.input.or(known.price.output).is_none() || corrected.contains(&id) {
                continue;
            }
            let Price { reasoning_output, units, .. } = known.price;
            let published = Price { reasoning_output, units, ..price_of(&row) };
            assert_eq!(known.price, published, "{line}");
            count += 1;
        }
        assert!(count > 100, "{count}");
    }

    #[test]
    fn prices_are_exact_integers_and_unknown_ones_are_none() {
        assert_eq!(
            facts("openai", "gpt-4o-mini").unwrap().price,
            Price {
                input: Some(150_000),
                output: Some(600_000),
                cached_input: Some(75_000),
                ..Price::default()
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
    fn efforts_and_budgets_follow_from_the_facts() {
        use Effort::{High, Low, Max, Medium, Minimal, XHigh};
        let of = |provider, id| facts(provider, id).unwrap();
        let nearest = |facts: &Facts| Effort::ALL.map(|effort| facts.nearest_effort(effort));
        let sol = of("openai", "gpt-6-sol");
        assert_eq!(nearest(&sol), [Low, Low, Medium, High, XHigh, Max]);
        assert_eq!((sol.efforts.none, sol.accepts_effort(Minimal)), (Some(true), Some(false)));
        let five = of("openai", "gpt-5");
        assert_eq!(nearest(&five), [Minimal, Low, Medium, High, High, High]);
        assert_eq!((five.efforts.none, five.accepts_effort(Max)), (Some(false), None));
        let opus = of("anthropic", "claude-opus-4-6");
        assert_eq!(nearest(&opus), [Low, Low, Medium, High, High, Max]);
        let unknown = Facts::default();
        assert_eq!(nearest(&unknown), [Low, Low, Medium, High, High, High]);
        assert_eq!((unknown.accepts_effort(Low), unknown.accepts_thinking_budget()), (None, None));
        let plain = Facts { reasoning: Some(false), ..unknown };
        assert_eq!((plain.accepts_effort(Low), plain.accepts_thinking_budget()), (Some(false), Some(false)));
        for (id, budget, sampling, prefill) in [
            ("claude-haiku-4-5", Some(true), None, Some(true)),
            ("claude-opus-4-6", Some(true), None, Some(false)),
            ("claude-opus-4-7", Some(false), Some(false), Some(false)),
            ("claude-opus-5-5", Some(false), Some(false), Some(false)),
        ] {
            let known = of("anthropic", id);
            let facts = (known.accepts_thinking_budget(), known.sampling_params, known.prefill);
            assert_eq!(facts, (budget, sampling, prefill), "{id}");
        }
    }

    #[test]
    fn an_ended_model_is_hidden_and_has_a_successor() {
        let ended = facts("openai", "gpt-4").unwrap();
        assert_eq!((ended.hidden, ended.ends.map(to_date).as_deref()), (true, Some("2026-10-23")));
        let successor = ended.successor.unwrap();
        assert!(!facts("openai", successor).unwrap().hidden, "{successor}");
        let sonnet = facts("anthropic", "claude-sonnet-4-5").unwrap();
        assert_eq!((sonnet.hidden, sonnet.successor), (false, Some("claude-sonnet-5-5")));
        assert_eq!(sonnet.ends.map(to_date).as_deref(), Some("2026-11-30"));
    }

    fn any_price() -> impl Strategy<Value = Price> {
        proptest::array::uniform6(proptest::option::of(0u64..1 << 40))
            .prop_map(|prices| Price::from_array(prices, Units::NONE))
    }

    proptest! {
        /// Whatever an operator's prices are, no call with at most so many input tokens costs more than the highest price,
        /// and what is unknown stays unknown.
        #[test]
        fn the_highest_price_is_a_bound(price in any_price(), prompt in 0u64..2_000_000, less in 0u64..2_000_000) {
            for id in ["claude-haiku-5-5", "claude-opus-5-5"] {
                let facts = Facts { price, ..facts("anthropic", id).unwrap() };
                let highest = facts.highest_price(prompt).to_array();
                let reached = facts.price_at(prompt.min(less)).to_array();
                for ((highest, reached), price) in highest.iter().zip(reached).zip(price.to_array()) {
                    prop_assert!(reached <= *highest && highest.is_some() == price.is_some());
                }
            }
        }
    }

    #[test]
    fn a_tier_is_serialized_as_its_name() {
        for tier in [Tier::Low, Tier::Medium, Tier::High] {
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.as_str());
            assert_eq!(serde_json::from_value::<Tier>(tier.as_str().into()).unwrap(), tier);
        }
    }
}
