//! The `simulate` program: simulates days under every routing policy, prints the measurements, and draws the first day.
//! Or counts the costs of calls.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, value_parser};
use gatehouse_simulation::costs::paper::{self, Sweep};
use gatehouse_simulation::costs::prices;
use gatehouse_simulation::scenario::World;
use gatehouse_simulation::tally::Tally;
use gatehouse_simulation::{Policy, chart, day, table};
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
    /// Draw the first day into this file
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    /// Count the costs; write costs.json, costs.svg and costs.html of a folder that contains prices.json
    #[arg(long, value_name = "FOLDER", group = "mode")]
    costs: Option<PathBuf>,
    /// Check that these files match the simulation
    #[arg(long, value_name = "FOLDER", group = "mode")]
    check_costs: Option<PathBuf>,
    /// Write the table and the picture from the counts in costs.json
    #[arg(long, value_name = "FOLDER", group = "mode")]
    costs_page: Option<PathBuf>,
}

/// The use of the counted costs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    Check,
    Page,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options {
        Options { costs: Some(folder), .. } => costs(options.seed, folder, Mode::Write),
        Options { check_costs: Some(folder), .. } => costs(options.seed, folder, Mode::Check),
        Options { costs_page: Some(folder), .. } => costs(options.seed, folder, Mode::Page),
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

/// Counts the costs of calls, and writes them or checks the files. Returns the text to print, and true.
fn costs(seed: u64, folder: &Path, mode: Mode) -> Result<(String, bool), String> {
    let path = |name: &str| folder.join(name);
    let read = |name: &str| {
        std::fs::read_to_string(path(name)).map_err(|error| format!("{name} cannot be read: {error}"))
    };
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).map_err(|error| format!("{name} cannot be written: {error}"))
    };
    let items = prices::list(&read("prices.json")?)?;
    let kept = read("costs.json").unwrap_or_else(|_| "{}".to_owned());
    let kept: Value = serde_json::from_str(&kept).map_err(|error| format!("costs.json: {error}"))?;
    let measured = kept.get("measured").cloned().unwrap_or_default();
    let page = read("costs.html")?;
    let sweep = match mode {
        Mode::Page => Sweep::from_json(&kept).ok_or("costs.json is not what this program writes")?,
        Mode::Write | Mode::Check => Sweep::new(seed),
    };
    let (new_page, picture) =
        (sweep.into_page(&page, &items, &measured)?, sweep.draw(&items, paper::cpu_us(&measured)));
    if mode == Mode::Check {
        sweep.check(&items, &kept)?;
        if !paper::is_same_page(&page, &new_page) {
            return Err("the table of costs.html is not what the simulation gives".to_owned());
        }
        if read("costs.svg")? != picture {
            return Err("costs.svg is not what the simulation gives".to_owned());
        }
        return Ok(("costs.json, costs.html and costs.svg are what the simulation gives\n".to_owned(), true));
    }
    write("costs.json", &format!("{:#}\n", sweep.to_json(&items, &measured)))?;
    write("costs.svg", &picture)?;
    write("costs.html", &new_page)?;
    Ok((sweep.to_text(&items, paper::cpu_us(&measured)), true))
}

/// Simulates days. Returns the text to print, and true if no other policy answered a larger share of calls than Gatehouse.
fn run(options: &Options) -> Result<(String, bool), String> {
    let mut days: Vec<(u64, Vec<Tally>)> = Vec::new();
    for seed in options.seed..options.seed.saturating_add(options.seeds) {
        let world = World::new(day::day(seed, options.calls))?;
        let tallies: Vec<Tally> = Policy::ALL.iter().map(|policy| policy.run(&world)).collect();
        if let (Some(path), true) = (&options.svg, days.is_empty()) {
            let drawn = chart::draw(&world, &tallies);
            std::fs::write(path, drawn)
                .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
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
    let _ = writeln!(text, "\nThe same again: scripts/simulate --seed {}{seeds}{calls}", options.seed);
    if !is_best {
        text.push_str("Gatehouse answered a smaller share of calls than another way of routing.\n");
    }
    Ok((text, is_best))
}
