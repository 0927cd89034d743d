//! Compiles `data/models.jsonl` into the static table of `catalog::models`.
//!
//! Equal prices, and equal names of successors, are stored once: a row has their index.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Write as _};
use std::{env, error::Error, fs, path::Path};

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
struct Row {
    provider: String,
    id: String,
    task: Option<Task>,
    formats: Option<Vec<String>>,
    chat_tools: Option<ChatTools>,
    context: Option<u32>,
    max_output: Option<u32>,
    input_usd_per_mtok: Option<f64>,
    output_usd_per_mtok: Option<f64>,
    cached_input_usd_per_mtok: Option<f64>,
    cache_write_usd_per_mtok: Option<f64>,
    cache_write_1h_usd_per_mtok: Option<f64>,
    reasoning_output_usd_per_mtok: Option<f64>,
    audio_input_usd_per_mtok: Option<f64>,
    audio_output_usd_per_mtok: Option<f64>,
    image_input_usd_per_mtok: Option<f64>,
    image_output_usd_per_mtok: Option<f64>,
    usd_per_image: Option<f64>,
    usd_per_input_image: Option<f64>,
    usd_per_input_pixel: Option<f64>,
    usd_per_input_character: Option<f64>,
    usd_per_input_second: Option<f64>,
    usd_per_query: Option<f64>,
    above: Option<Vec<Above>>,
    tools: Option<bool>,
    tool_choice: Option<bool>,
    parallel_tools: Option<bool>,
    json_mode: Option<bool>,
    json_schema: Option<bool>,
    vision: Option<bool>,
    pdf: Option<bool>,
    reasoning: Option<bool>,
    prompt_cache: Option<bool>,
    system_messages: Option<bool>,
    system_turns: Option<bool>,
    prefill: Option<bool>,
    adaptive_thinking: Option<bool>,
    thinking_always_on: Option<bool>,
    sampling_params: Option<bool>,
    effort_none: Option<bool>,
    effort_minimal: Option<bool>,
    effort_xhigh: Option<bool>,
    effort_max: Option<bool>,
    tier: Option<Tier>,
    priority: Option<u8>,
    requests_per_day: Option<u32>,
    automatic: Option<bool>,
    hidden: Option<bool>,
    deprecation_date: Option<String>,
    successor: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

/// The fields that no code reads yet.
const LATER: &[&str] = &[
    "dimensions",
    "prompt_cache_min_tokens",
    "audio_input",
    "audio_output",
    "web_search",
    "cached_audio_input_usd_per_mtok",
    "cached_image_input_usd_per_mtok",
    "usd_per_output_pixel",
    "usd_per_output_second",
];

/// The prices of a call whose input is longer than `tokens`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Above {
    tokens: u32,
    input_usd_per_mtok: Option<f64>,
    output_usd_per_mtok: Option<f64>,
    cached_input_usd_per_mtok: Option<f64>,
    cache_write_usd_per_mtok: Option<f64>,
    cache_write_1h_usd_per_mtok: Option<f64>,
    #[serde(rename = "audio_input_usd_per_mtok")]
    _audio_input_usd_per_mtok: Option<IgnoredAny>,
}

/// The values of `operation::Task` in the file, and the tasks that have no endpoint yet.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Task {
    Chat,
    Embed,
    Complete,
    Image,
    Moderate,
    Rerank,
    Speech,
    Transcribe,
}

/// The values of `catalog::ChatTools` in the file.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChatTools {
    WithoutEffort,
    WithoutReasoning,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tier {
    Low,
    Medium,
    High,
}

fn main() {
    if let Err(error) = compile() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn compile() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=data/models.jsonl");
    let mut models = String::new();
    let mut tariffs = Distinct::default();
    let mut successors = Distinct::default();
    let mut last = (String::new(), String::new());
    // The provider whose rows are being written, and the ids of these rows.
    let mut open = None;
    let mut ids = String::new();
    for (line, text) in fs::read_to_string("data/models.jsonl")?.lines().enumerate() {
        let at = |error: &dyn Display| format!("models.jsonl line {}: {error}", line + 1);
        let row: Row = serde_json::from_str(text).map_err(|error| at(&error))?;
        if let Some(field) = row.others.keys().find(|field| !LATER.contains(&field.as_str())) {
            return Err(at(&format!("the field '{field}' is unknown")).into());
        }
        let name = (row.provider.clone(), row.id.clone());
        if name <= last {
            return Err(at(&"not sorted by provider and id").into());
        }
        last = name;
        let Some(task) = task(&row) else { continue };
        if open.as_ref() != Some(&row.provider) {
            if open.is_some() {
                writeln!(models, "], ids: {ids:?} }},")?;
            }
            writeln!(models, "Models {{ provider: {:?}, rows: &[", row.provider)?;
            open = Some(row.provider.clone());
            ids.clear();
        }
        ids.push_str(&row.id);
        let id_end = u16::try_from(ids.len()).map_err(|error| at(&error))?;
        let tariff = tariffs.index(tariff(&row).map_err(|error| at(&error))?)?;
        let successor = match row.successor.clone() {
            None => "NONE".to_owned(),
            Some(id) => successors.index(format!("{id:?}"))?.to_string(),
        };
        models.push_str(&packed(&row, task, id_end, tariff, &successor).map_err(|error| at(&error))?);
    }
    writeln!(models, "], ids: {ids:?} }},")?;
    let table = format!(
        "/// All known models: by provider, then by id.\n{ALLOW}static MODELS: &[Models] = &[\n{models}];\n\
         /// The distinct prices.\n{ALLOW}static TARIFFS: &[Tariff] = &[\n{}];\n\
         /// The distinct successors.\nstatic SUCCESSORS: &[&str] = &[\n{}];\n",
        tariffs.list, successors.list,
    );
    fs::write(Path::new(&env::var("OUT_DIR")?).join("models.rs"), table)?;
    Ok(())
}

const ALLOW: &str = "#[allow(clippy::unreadable_literal, reason = \"generated\")]\n";

/// The task of a row in the syntax of `operation::Task`; `None` if the gateway has no endpoint for it yet.
fn task(row: &Row) -> Option<&'static str> {
    match row.task {
        // Served only in a format that the gateway does not speak.
        None | Some(Task::Chat) if row.formats.is_some() && only_format(row).is_none() => None,
        None | Some(Task::Chat) => Some("Chat"),
        Some(Task::Embed) => Some("Embed"),
        Some(Task::Complete) => Some("Complete"),
        Some(Task::Image) => Some("Image"),
        Some(Task::Moderate) => Some("Moderate"),
        Some(Task::Rerank) => Some("Rerank"),
        Some(Task::Speech) => Some("Speech"),
        // Served over WebSocket alone.
        Some(Task::Transcribe) if row.id.contains("realtime") => None,
        Some(Task::Transcribe) => Some("Transcribe"),
    }
}

/// The only format of a model in the syntax of `operation::Format`, if the gateway speaks it.
fn only_format(row: &Row) -> Option<&'static str> {
    match row.formats.as_deref()? {
        [format] if format == "chat_completions" => Some("ChatCompletions"),
        [format] if format == "responses" => Some("Responses"),
        _ => None,
    }
}

/// Distinct values in the order of their first appearance.
#[derive(Default)]
struct Distinct {
    indexes: HashMap<String, usize>,
    /// The values, each with a comma.
    list: String,
}

impl Distinct {
    /// The index of a value, which is added if it is new. `u16::MAX` is reserved.
    fn index(&mut self, value: String) -> Result<usize, Box<dyn Error>> {
        let next = self.indexes.len();
        if next >= usize::from(u16::MAX) {
            return Err("too many distinct values".into());
        }
        if let Some(index) = self.indexes.get(&value) {
            return Ok(*index);
        }
        writeln!(self.list, "{value},")?;
        self.indexes.insert(value, next);
        Ok(next)
    }
}

/// The prices of a row in the syntax of `catalog::models`.
fn tariff(row: &Row) -> Result<String, String> {
    let base = [
        row.input_usd_per_mtok,
        row.output_usd_per_mtok,
        row.cached_input_usd_per_mtok,
        row.cache_write_usd_per_mtok,
        row.cache_write_1h_usd_per_mtok,
        row.reasoning_output_usd_per_mtok,
    ];
    let mut steps = String::new();
    let mut last = 0;
    for step in row.above.iter().flatten() {
        let prices = [
            step.input_usd_per_mtok,
            step.output_usd_per_mtok,
            step.cached_input_usd_per_mtok,
            step.cache_write_usd_per_mtok,
            step.cache_write_1h_usd_per_mtok,
            None,
        ];
        if step.tokens <= last {
            return Err("the steps of 'above' are not sorted by tokens".to_owned());
        }
        if base.iter().zip(prices).any(|(base, price)| price.is_some() && base.is_none()) {
            return Err("a step of 'above' has a price that the model does not have below it".to_owned());
        }
        last = step.tokens;
        write!(steps, "Step {{ above: {}, rates: {} }}, ", step.tokens, rates(prices)?)
            .map_err(|error| error.to_string())?;
    }
    Ok(format!("Tariff {{ base: {}, steps: &[{steps}], units: &[{}] }}", rates(base)?, units(row)?))
}

/// The prices of a row's other units, in micro-USD per million of them. Chat is charged by its tokens alone.
fn units(row: &Row) -> Result<String, String> {
    if matches!(row.task, None | Some(Task::Chat)) {
        return Ok(String::new());
    }
    // Some rows have the price of a generated image as that of an image in the input.
    let is_by_image = matches!(row.task, Some(Task::Image)) && row.image_output_usd_per_mtok.is_none();
    // So it is with the price of a pixel, in rows of one size. Its six digits give that of an image in micro-USD.
    let of_pixels = row.usd_per_input_pixel.zip(pixels(&row.id));
    let of_pixels = of_pixels.map(|(usd, pixels)| (usd * pixels * 1e6).round() / 1e6);
    let image = row.usd_per_image.or(row.usd_per_input_image.or(of_pixels).filter(|_| is_by_image));
    let mut list = String::new();
    for (unit, usd, scale) in [
        ("Image", image, 1e12),
        ("Character", row.usd_per_input_character, 1e12),
        ("Second", row.usd_per_input_second, 1e12),
        ("Search", row.usd_per_query, 1e12),
        ("AudioInput", row.audio_input_usd_per_mtok, 1e6),
        ("AudioOutput", row.audio_output_usd_per_mtok, 1e6),
        ("ImageInput", row.image_input_usd_per_mtok, 1e6),
        ("ImageOutput", row.image_output_usd_per_mtok, 1e6),
    ] {
        let Some(usd) = usd else { continue };
        let micro = (usd * scale).round();
        if !(0.0..=4e15).contains(&micro) {
            return Err(format!("{usd} is not a price of a unit"));
        }
        write!(list, "(Unit::{unit}, {micro:.0}), ").map_err(|error| error.to_string())?;
    }
    Ok(list)
}

/// The pixels of an image of a row with one size, `hd/1024-x-1792/dall-e-3`.
fn pixels(id: &str) -> Option<f64> {
    let mut sizes = id.split('/').filter_map(|part| part.split_once("-x-"));
    let (width, height) = sizes.next()?;
    Some(width.parse::<f64>().ok()? * height.parse::<f64>().ok()?)
}

fn rates(prices: [Option<f64>; 6]) -> Result<String, String> {
    let mut numbers = Vec::new();
    for price in prices {
        numbers.push(number(micro_usd(price)?)?);
    }
    Ok(format!("Rates([{}])", numbers.join(", ")))
}

/// A row in the syntax of `catalog::models`.
fn packed(row: &Row, task: &str, id_end: u16, tariff: usize, successor: &str) -> Result<String, String> {
    if row.priority.is_some_and(|percent| percent > 100) {
        return Err("the priority must be at most 100".to_owned());
    }
    let tier = match row.tier {
        None => "None",
        Some(Tier::Low) => "Some(Tier::Low)",
        Some(Tier::Medium) => "Some(Tier::Medium)",
        Some(Tier::High) => "Some(Tier::High)",
    };
    let capabilities = [
        row.tools,
        row.tool_choice,
        row.parallel_tools,
        row.json_mode,
        row.json_schema,
        row.vision,
        row.pdf,
        row.reasoning,
        row.prompt_cache,
        row.system_messages,
        row.system_turns,
        row.prefill,
        row.adaptive_thinking,
        row.thinking_always_on,
        row.sampling_params,
        row.effort_none,
        row.effort_minimal,
        row.effort_xhigh,
        row.effort_max,
    ];
    let hidden = row.hidden == Some(true);
    let only = only_format(row);
    // A model for another task has to be named, and so has one that most calls would have to be translated for.
    let not_automatic = row.automatic == Some(false) || task != "Chat" || only == Some("Responses");
    let only = only.map_or_else(|| "None".to_owned(), |format| format!("Some(Format::{format})"));
    let chat_tools = match row.chat_tools {
        None => "Any",
        Some(ChatTools::WithoutEffort) => "WithoutEffort",
        Some(ChatTools::WithoutReasoning) => "WithoutReasoning",
    };
    Ok(format!(
        "Row {{ flags: flags({capabilities:?}, {tier}, {not_automatic}, {hidden}, {only}, ChatTools::{chat_tools}), \
         context: {}, max_output: {}, \
         requests_per_day: {}, id_end: {id_end}, tariff: {tariff}, ends: {}, successor: {successor}, priority: {}, \
         task: Task::{task} }},\n",
        number(row.context)?,
        number(row.max_output)?,
        number(row.requests_per_day)?,
        row.deprecation_date.as_deref().map_or(Ok(0), day)?,
        row.priority.map_or_else(|| "UNRATED".to_owned(), |percent| percent.to_string()),
    ))
}

fn number(value: Option<u32>) -> Result<String, String> {
    match value {
        None => Ok("UNKNOWN".to_owned()),
        Some(u32::MAX) => Err(format!("{} is reserved for unknown values", u32::MAX)),
        Some(value) => Ok(value.to_string()),
    }
}

/// US dollars as whole millionths. A price that is too large or has more decimals fails the build instead of being
/// rounded.
fn micro_usd(usd: Option<f64>) -> Result<Option<u32>, String> {
    let Some(usd) = usd else { return Ok(None) };
    let micro = (usd * 1e6).round();
    if usd < 0.0 || (micro / 1e6 - usd).abs() > 1e-9 {
        return Err(format!("{usd} is not a whole number of micro-USD"));
    }
    format!("{micro:.0}").parse().map(Some).map_err(|error| format!("{usd}: {error}"))
}

/// A date, `2026-11-30`, as days since 1970.
fn day(date: &str) -> Result<u16, String> {
    let wrong = || format!("'{date}' is not a date after 1970");
    let parts: Vec<u32> = date.split('-').filter_map(|part| part.parse().ok()).collect();
    let [year @ 1971..=2148, month @ 1..=12, day @ 1..=31] = parts[..] else { return Err(wrong()) };
    // The year begins in March, so that a leap day is its last day.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // From 0000-03-01 to 1970-01-01.
    u16::try_from(days - 719_468).map_err(|_| wrong())
}
