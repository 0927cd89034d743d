//! What happens next: events in the order of their times, and of equal times in the order in which they were planned.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Events to come.
#[derive(Debug)]
pub struct Queue<E> {
    events: BinaryHeap<Reverse<Planned<E>>>,
    planned: u64,
}

#[derive(Debug)]
struct Planned<E> {
    at_ms: u64,
    number: u64,
    event: E,
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { events: BinaryHeap::new(), planned: 0 }
    }
}

impl<E> Queue<E> {
    /// Plans an event for a time, in milliseconds since 1970.
    pub fn at(&mut self, at_ms: u64, event: E) {
        self.planned += 1;
        self.events.push(Reverse(Planned { at_ms, number: self.planned, event }));
    }

    /// The next event and its time, in milliseconds since 1970.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        self.events.pop().map(|Reverse(planned)| (planned.at_ms, planned.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_by_time_and_then_by_order() {
        let mut queue = Queue::default();
        for (at_ms, event) in [(2, 'c'), (1, 'a'), (2, 'd'), (1, 'b')] {
            queue.at(at_ms, event);
        }
        let events: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(events, "abcd");
    }
}
