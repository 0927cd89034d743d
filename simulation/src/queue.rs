//! The event queue: events in the order of their times, and those of the same time in the order in which they were added.

use std::collections::BTreeMap;

/// Events to come, by time and number.
#[derive(Debug)]
pub struct Queue<E> {
    events: BTreeMap<(u64, u64), E>,
    added: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { events: BTreeMap::new(), added: 0 }
    }
}

impl<E> Queue<E> {
    /// Adds an event for a time, in milliseconds since 1970.
    pub fn at(&mut self, at_ms: u64, event: E) {
        self.added += 1;
        self.events.insert((at_ms, self.added), event);
    }

    /// Removes the next event; returns it with its time, in milliseconds since 1970.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        self.events.pop_first().map(|((at_ms, _), event)| (at_ms, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_in_which_they_were_added() {
        let mut queue = Queue::default();
        for (at_ms, event) in [(2, 'c'), (1, 'a'), (2, 'd'), (1, 'b')] {
            queue.at(at_ms, event);
        }
        let events: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(events, "abcd");
    }
}
