//! The `simulate` program: runs days under every way of routing, prints what was measured, and draws one of them.
//! Or counts what calls cost. Exits with 1 where Gatehouse answers a smaller share of calls than another way of routing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use gatehouse_simulation::costs::paper::{self, Sweep};
use gatehouse_simulation::costs::prices;
use gatehouse_simulation::scenario::World;
use gatehouse_simulation::tally::Tally;
use gatehouse_simulation::{Policy, chart, day, table};
use serde_json::Value;

const USAGE: &str = "usage: simulate [--seed S] [--seeds N] [--calls N] [--svg PATH]
  --seed S    the day to simulate, and to draw: any number (default 1)
  --seeds N   N days, from that one on: mean and worst instead of one day
  --calls N   about so many calls (default 40000)
  --svg PATH  where to draw the first day
or: simulate [--seed S] --costs FOLDER | --check-costs FOLDER | --costs-page FOLDER
  --costs FOLDER        what calls cost: written into costs.json, costs.svg and costs.html of a folder with prices.json
  --check-costs FOLDER  whether these say what the simulation gives
  --costs-page FOLDER   the table and the picture again, from the counts of costs.json
";

struct Options {
    seed: u64,
    seeds: u64,
    calls: u32,
    svg: Option<String>,
    costs: Option<String>,
    mode: Mode,
}

/// What is done about costs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Write,
    Check,
    Page,
}

fn options() -> Result<Option<Options>, String> {
    let mut options =
        Options { seed: 1, seeds: 1, calls: day::CALLS, svg: None, costs: None, mode: Mode::Write };
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
            "--svg" => options.svg = Some(value),
            "--costs" | "--check-costs" | "--costs-page" => {
                options.mode = match word.as_str() {
                    "--costs" => Mode::Write,
                    "--check-costs" => Mode::Check,
                    _ => Mode::Page,
                };
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
        Ok(Some(Options { seed, costs: Some(folder), mode, .. })) => {
            costs(seed, Path::new(&folder), mode).map(|text| (text, true))
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

/// Counts what calls cost, and writes it down, or checks what is written.
fn costs(seed: u64, folder: &Path, mode: Mode) -> Result<String, String> {
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
        return Ok("costs.json, costs.html and costs.svg are what the simulation gives\n".to_owned());
    }
    write("costs.json", &format!("{:#}\n", sweep.to_json(&items, &measured)))?;
    write("costs.svg", &picture)?;
    write("costs.html", &new_page)?;
    Ok(sweep.to_text(&items, paper::cpu_us(&measured)))
}

/// What is to be printed, and whether Gatehouse answered no smaller share than any other.
fn run(options: &Options) -> Result<(String, bool), String> {
    let mut days: Vec<(u64, Vec<Tally>)> = Vec::new();
    for seed in options.seed..options.seed.saturating_add(options.seeds) {
        let world = World::new(day::day(seed, options.calls))?;
        let tallies: Vec<Tally> = Policy::ALL.iter().map(|policy| policy.run(&world)).collect();
        if let (Some(path), true) = (&options.svg, days.is_empty()) {
            let drawn = chart::draw(&world, &tallies);
            std::fs::write(path, drawn).map_err(|error| format!("{path} cannot be written: {error}"))?;
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
