//! The day that the documentation draws, `site/data/routing.json`, matches the simulation.

#![allow(clippy::unwrap_used, reason = "a test, with a file of this repository")]

use gatehouse_simulation::data::Day;
use gatehouse_simulation::scenario::World;
use gatehouse_simulation::{Policy, day};
use serde_json::Value;

#[test]
fn the_file_matches_the_simulation_of_its_seed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../site/data/routing.json");
    let stored: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let world = World::new(day::day(stored["seed"].as_u64().unwrap(), day::CALLS)).unwrap();
    let tallies: Vec<_> = Policy::ALL.iter().map(|policy| policy.run(&world)).collect();
    let new = serde_json::to_value(Day::new(&world, &tallies)).unwrap();
    assert!(new == stored, "run scripts/simulate");
}
