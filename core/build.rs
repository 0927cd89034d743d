//! Compiles `data/models.jsonl` into the static table of `catalog::models`.

use std::fmt::{Display, Write as _};
use std::{env, error::Error, fs, path::Path};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    provider: String,
    id: String,
    context: Option<u32>,
    max_output: Option<u32>,
    input_usd_per_mtok: Option<f64>,
    output_usd_per_mtok: Option<f64>,
    cached_input_usd_per_mtok: Option<f64>,
    cache_write_usd_per_mtok: Option<f64>,
    tools: Option<bool>,
    json_mode: Option<bool>,
    json_schema: Option<bool>,
    vision: Option<bool>,
    reasoning: Option<bool>,
    tier: Option<Tier>,
    priority: Option<u8>,
    requests_per_day: Option<u32>,
    automatic: Option<bool>,
    task: Option<Task>,
}

/// The values of `operation::Task` in the file.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Task {
    Chat,
    Embed,
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
    let mut table = String::from(
        "/// All known models: by provider, then by id.\n\
         #[allow(clippy::unreadable_literal, reason = \"generated\")]\n\
         static MODELS: &[Models] = &[\n",
    );
    let mut last = (String::new(), String::new());
    // The ids of the provider whose rows are being written.
    let mut ids = String::new();
    for (line, text) in fs::read_to_string("data/models.jsonl")?.lines().enumerate() {
        let at = |error: &dyn Display| format!("models.jsonl line {}: {error}", line + 1);
        let row: Row = serde_json::from_str(text).map_err(|error| at(&error))?;
        let name = (row.provider.clone(), row.id.clone());
        if name <= last {
            return Err(at(&"not sorted by provider and id").into());
        }
        if name.0 != last.0 {
            if line > 0 {
                writeln!(table, "], ids: {ids:?} }},")?;
            }
            writeln!(table, "Models {{ provider: {:?}, rows: &[", name.0)?;
            ids.clear();
        }
        ids.push_str(&row.id);
        let id_end = u16::try_from(ids.len()).map_err(|error| at(&error))?;
        table.push_str(&packed(&row, id_end).map_err(|error| at(&error))?);
        last = name;
    }
    writeln!(table, "], ids: {ids:?} }},\n];")?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("models.rs"), table)?;
    Ok(())
}

/// A row in the syntax of `catalog::models`.
fn packed(row: &Row, id_end: u16) -> Result<String, String> {
    if row.priority.is_some_and(|percent| percent > 100) {
        return Err("the priority must be at most 100".to_owned());
    }
    let tier = match row.tier {
        None => "None",
        Some(Tier::Low) => "Some(Tier::Low)",
        Some(Tier::Medium) => "Some(Tier::Medium)",
        Some(Tier::High) => "Some(Tier::High)",
    };
    let capabilities = [row.tools, row.json_mode, row.json_schema, row.vision, row.reasoning];
    let flags = format!("flags({capabilities:?}, {tier}, {})", row.automatic == Some(false));
    Ok(format!(
        "Row {{ id_end: {id_end}, context: {}, max_output: {}, input: {}, output: {}, cached_input: {}, cache_write: {}, \
         requests_per_day: {}, flags: {flags}, priority: {}, task: Task::{} }},\n",
        number(row.context)?,
        number(row.max_output)?,
        number(micro_usd(row.input_usd_per_mtok)?)?,
        number(micro_usd(row.output_usd_per_mtok)?)?,
        number(micro_usd(row.cached_input_usd_per_mtok)?)?,
        number(micro_usd(row.cache_write_usd_per_mtok)?)?,
        number(row.requests_per_day)?,
        row.priority.map_or_else(|| "UNRATED".to_owned(), |percent| percent.to_string()),
        match row.task {
            None | Some(Task::Chat) => "Chat",
            Some(Task::Embed) => "Embed",
        },
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
