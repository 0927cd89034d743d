//! Round robin: the next model in turn, and the one after it if that fails. Learns nothing.

use gatehouse_core::error::Error;
use gatehouse_core::health::failure::Failure;

use crate::baseline::{self, Router};
use crate::rng::Rng;
use crate::scenario::{Call, Spot, World};
use crate::tally::Tally;

/// Runs a world.
pub fn run(world: &World) -> Tally {
    baseline::run(world, &mut InTurn { turn: 0 })
}

struct InTurn {
    turn: usize,
}

impl Router for InTurn {
    fn order(&mut self, world: &World, call: &Call, _: u64) -> Vec<Spot> {
        let mut spots = world.capable(call);
        if !spots.is_empty() {
            let first = self.turn % spots.len();
            spots.rotate_left(first);
            self.turn += 1;
        }
        spots
    }

    fn settled(&mut self, _: Spot, _: u64, _: Result<(), &Error>, _: u64) {}

    fn goes_on(&self, error: &Error) -> bool {
        Failure::of(error, None).class.goes_on()
    }

    fn wait_ms(&self, _: &mut Rng) -> u64 {
        0
    }
}
