//! The `simulate` program: simulates days under every routing policy, prints the measurements, and writes the first day as
//! data. Or counts the costs of calls.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, value_parser};
use gatehouse_simulation::costs::prices;
use gatehouse_simulation::costs::sweep::{self, Sweep};
use gatehouse_simulation::data::Day;
use gatehouse_simulation::scenario::World;
use gatehouse_simulation::tally::Tally;
use gatehouse_simulation::{Policy, day, table};
use serde_json::Value;

/// Simulate days of traffic under every routing policy, or count the costs of calls.
///
/// Exit status 1: Gatehouse answered a smaller share of calls than another policy; 2: any other error.
#[derive(Parser)]
#[command(name = "simulate")]
struct Options {
    /// The first day to simulate
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Number of days; for several, the mean and the worst are printed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    seeds: u64,
    /// Approximate number of calls in a day
    #[arg(long, value_name = "N", default_value_t = day::CALLS, value_parser = value_parser!(u32).range(100..=1_000_000))]
    calls: u32,
    /// Write the first day as data into this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Count the costs; write costs.json of a folder that contains prices.json
    #[arg(long, value_name = "FOLDER", group = "mode")]
    costs: Option<PathBuf>,
    /// Check that costs.json of a folder matches the simulation
    #[arg(long, value_name = "FOLDER", group = "mode")]
    check_costs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options {
        Options { costs: Some(folder), .. } => costs(options.seed, folder, false).map(|text| (text, true)),
        Options { check_costs: Some(folder), .. } => {
            costs(options.seed, folder, true).map(|text| (text, true))
        }
        _ => run(&options),
    };
    match result {
        Ok((text, is_best)) => {
            let written = std::io::stdout().write_all(text.as_bytes());
            if is_best && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::from(2)
        }
    }
}

/// Counts the costs of calls, and writes the counts or checks those of the file. Returns the text to print.
fn costs(seed: u64, folder: &Path, check: bool) -> Result<String, String> {
    let path = |name: &str| folder.join(name);
    let read = |name: &str| {
        std::fs::read_to_string(path(name)).map_err(|error| format!("{name} cannot be read: {error}"))
    };
    let items = prices::list(&read("prices.json")?)?;
    let stored = read("costs.json").unwrap_or_else(|_| "{}".to_owned());
    let stored: Value = serde_json::from_str(&stored).map_err(|error| format!("costs.json: {error}"))?;
    let measured = stored.get("measured").cloned().unwrap_or_default();
    let sweep = Sweep::new(seed);
    if check {
        sweep.check(&items, &stored)?;
        return Ok("costs.json matches the simulation\n".to_owned());
    }
    write(&path("costs.json"), &format!("{:#}\n", sweep.to_json(&items, &measured)))?;
    Ok(sweep.to_text(&items, sweep::cpu_us(&measured)))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// Simulates days. Returns the text to print, and true if no other policy answered a larger share of calls than Gatehouse.
fn run(options: &Options) -> Result<(String, bool), String> {
    let mut days: Vec<(u64, Vec<Tally>)> = Vec::new();
    for seed in options.seed..options.seed.saturating_add(options.seeds) {
        let world = World::new(day::day(seed, options.calls))?;
        let tallies: Vec<Tally> = Policy::ALL.iter().map(|policy| policy.run(&world)).collect();
        if let (Some(path), true) = (&options.json, days.is_empty()) {
            let day = serde_json::to_string_pretty(&Day::new(&world, &tallies));
            write(path, &(day.map_err(|error| error.to_string())? + "\n"))?;
        }
        days.push((seed, tallies));
    }
    let best = |tallies: &[Tally]| {
        tallies
            .split_first()
            .is_some_and(|(ours, others)| others.iter().all(|other| ours.share() >= other.share()))
    };
    let is_best = match days.as_slice() {
        [(_, tallies)] => best(tallies),
        _ => best(&table::sums(&days)),
    };
    let mut text = match days.as_slice() {
        [(seed, tallies)] => table::of_day(*seed, tallies),
        _ => table::of_days(&days),
    };
    let calls =
        if options.calls == day::CALLS { String::new() } else { format!(" --calls {}", options.calls) };
    let seeds = if options.seeds > 1 { format!(" --seeds {}", options.seeds) } else { String::new() };
    let _ = writeln!(text, "\nRepeat with: scripts/simulate --seed {}{seeds}{calls}", options.seed);
    if !is_best {
        text.push_str("Gatehouse answered a smaller share of calls than another routing policy.\n");
    }
    Ok((text, is_best))
}
