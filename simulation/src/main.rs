//! The `simulate` program: runs days under every way of routing, prints what was measured, and writes the first day as data.
//! Or counts what calls cost. Exits with 1 where Gatehouse answers a smaller share of calls than another way of routing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use gatehouse_simulation::costs::prices;
use gatehouse_simulation::costs::sweep::{self, Sweep};
use gatehouse_simulation::data::Day;
use gatehouse_simulation::scenario::World;
use gatehouse_simulation::tally::Tally;
use gatehouse_simulation::{Policy, day, table};
use serde_json::Value;

const USAGE: &str = "usage: simulate [--seed S] [--seeds N] [--calls N] [--json PATH]
  --seed S     the first day to simulate: any number (default 1)
  --seeds N    N days, from that one on: mean and worst instead of one day
  --calls N    about so many calls (default 40000)
  --json PATH  the file to write the first day to
or: simulate [--seed S] --costs FOLDER | --check-costs FOLDER
  --costs FOLDER        count what calls cost, and write costs.json of a folder that contains prices.json
  --check-costs FOLDER  check that costs.json matches the simulation
";

struct Options {
    seed: u64,
    seeds: u64,
    calls: u32,
    json: Option<String>,
    costs: Option<String>,
    check: bool,
}

fn options() -> Result<Option<Options>, String> {
    let mut options = Options { seed: 1, seeds: 1, calls: day::CALLS, json: None, costs: None, check: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "-h" | "--help") {
            return Ok(None);
        }
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{word} wants a number, not '{value}'"));
        match word.as_str() {
            "--seed" => options.seed = number()?,
            "--seeds" => options.seeds = number()?.max(1),
            "--calls" => {
                let calls = u32::try_from(number()?).ok().filter(|calls| (100..=1_000_000).contains(calls));
                options.calls = calls.ok_or("--calls wants a number from 100 to 1000000")?;
            }
            "--json" => options.json = Some(value),
            "--costs" | "--check-costs" => {
                options.check = word == "--check-costs";
                options.costs = Some(value);
            }
            _ => return Err(format!("there is no option '{word}'")),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    let said = match options() {
        Ok(None) => Ok((USAGE.to_owned(), true)),
        Ok(Some(Options { seed, costs: Some(folder), check, .. })) => {
            costs(seed, Path::new(&folder), check).map(|text| (text, true))
        }
        Ok(Some(options)) => run(&options),
        Err(error) => Err(format!("{error}\n{USAGE}")),
    };
    match said {
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

/// Counts what calls cost, and writes the counts or checks those of the file.
fn costs(seed: u64, folder: &Path, check: bool) -> Result<String, String> {
    let path = |name: &str| folder.join(name);
    let read = |name: &str| {
        std::fs::read_to_string(path(name)).map_err(|error| format!("{name} cannot be read: {error}"))
    };
    let items = prices::list(&read("prices.json")?)?;
    let kept = read("costs.json").unwrap_or_else(|_| "{}".to_owned());
    let kept: Value = serde_json::from_str(&kept).map_err(|error| format!("costs.json: {error}"))?;
    let measured = kept.get("measured").cloned().unwrap_or_default();
    let sweep = Sweep::new(seed);
    if check {
        sweep.check(&items, &kept)?;
        return Ok("costs.json matches the simulation\n".to_owned());
    }
    write(&path("costs.json"), &format!("{:#}\n", sweep.to_json(&items, &measured)))?;
    Ok(sweep.to_text(&items, sweep::cpu_us(&measured)))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// What is to be printed, and whether Gatehouse answered no smaller share than any other.
fn run(options: &Options) -> Result<(String, bool), String> {
    let mut days: Vec<(u64, Vec<Tally>)> = Vec::new();
    for seed in options.seed..options.seed.saturating_add(options.seeds) {
        let world = World::new(day::day(seed, options.calls))?;
        let tallies: Vec<Tally> = Policy::ALL.iter().map(|policy| policy.run(&world)).collect();
        if let (Some(path), true) = (&options.json, days.is_empty()) {
            let day = serde_json::to_string_pretty(&Day::new(&world, &tallies));
            write(Path::new(path), &(day.map_err(|error| error.to_string())? + "\n"))?;
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
