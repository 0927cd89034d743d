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
    json_schema: Option<bool>,
    vision: Option<bool>,
    reasoning: Option<bool>,
}

fn main() {
    if let Err(error) = compile() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn compile() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=data/models.jsonl");
    let mut table = String::from(
        "/// All known models, by provider and id.\n#[allow(clippy::unreadable_literal, reason = \"generated\")]\npub static MODELS: &[Model] = &[\n",
    );
    for (line, text) in fs::read_to_string("data/models.jsonl")?.lines().enumerate() {
        let row: Row =
            serde_json::from_str(text).map_err(|error| format!("models.jsonl line {}: {error}", line + 1))?;
        writeln!(
            table,
            "Model {{ provider: {:?}, id: {:?}, context: {}, max_output: {}, price: Price {{ input: {}, output: {}, \
             cached_input: {}, cache_write: {} }}, tools: {}, json_schema: {}, vision: {}, reasoning: {} }},",
            row.provider,
            row.id,
            option(row.context),
            option(row.max_output),
            option(micro_usd(row.input_usd_per_mtok)?),
            option(micro_usd(row.output_usd_per_mtok)?),
            option(micro_usd(row.cached_input_usd_per_mtok)?),
            option(micro_usd(row.cache_write_usd_per_mtok)?),
            option(row.tools),
            option(row.json_schema),
            option(row.vision),
            option(row.reasoning),
        )?;
    }
    table.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("models.rs"), table)?;
    Ok(())
}

fn option(value: Option<impl Display>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| format!("Some({value})"))
}

/// US dollars as whole millionths. A price with more digits than that fails the build instead of being rounded.
fn micro_usd(usd: Option<f64>) -> Result<Option<u64>, String> {
    let Some(usd) = usd else { return Ok(None) };
    let micro = (usd * 1e6).round();
    if usd < 0.0 || (micro / 1e6 - usd).abs() > 1e-9 {
        return Err(format!("{usd} is not a whole number of micro-USD"));
    }
    format!("{micro:.0}").parse().map(Some).map_err(|error| format!("{usd}: {error}"))
}
