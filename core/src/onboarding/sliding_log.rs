//! A limit on the hits in a span of time, as a log of the hits of the last span. The limit holds over any span of that
//! length. A log has one number for each hit, so limits have to be small.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::config::MAX_PER_CLIENT;

/// A request to count a hit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Take {
    /// The maximum number of hits in a span.
    pub limit: u32,
    /// The span, in milliseconds.
    pub span_ms: u64,
    /// The name of a hit that may be repeated: the same name counts once.
    pub name: Option<String>,
}

/// The result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The hit was counted.
    Allowed,
    /// A hit of this name was counted before.
    Repeated,
    /// The hit was not counted; the next one is possible after this many milliseconds, at least 1.
    Refused(u64),
}

/// The hits of the last span, oldest first.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct SlidingLog {
    hits: VecDeque<(u64, Option<String>)>,
    /// The span of the last request.
    span_ms: u64,
}

impl SlidingLog {
    /// Counts a hit, if the limit allows it.
    pub fn take(&mut self, now_ms: u64, take: &Take) -> Verdict {
        self.span_ms = take.span_ms;
        while self.hits.front().is_some_and(|(at_ms, _)| at_ms.saturating_add(take.span_ms) <= now_ms) {
            self.hits.pop_front();
        }
        if take.name.is_some() && self.hits.iter().any(|(_, name)| *name == take.name) {
            return Verdict::Repeated;
        }
        let limit = take.limit.min(MAX_PER_CLIENT) as usize;
        if self.hits.len() < limit {
            // If the clock was set back, the hit must still not come before the others.
            let at_ms = self.hits.back().map_or(now_ms, |(last, _)| now_ms.max(*last));
            self.hits.push_back((at_ms, take.name.clone()));
            return Verdict::Allowed;
        }
        // A hit becomes possible when fewer than the limit remain in the span.
        let leaving = self.hits.get(self.hits.len() - limit).or(self.hits.back());
        let room_ms = leaving.map_or(now_ms, |(at_ms, _)| *at_ms).saturating_add(take.span_ms);
        Verdict::Refused(room_ms.saturating_sub(now_ms).max(1))
    }

    /// Removes the last hit of a name, if the counted action did not take place.
    pub fn give_back(&mut self, name: &str) {
        if let Some(place) = self.hits.iter().rposition(|(_, known)| known.as_deref() == Some(name)) {
            self.hits.remove(place);
        }
    }

    /// When the last hit leaves its span, in milliseconds since 1970; `None` if there is no hit.
    pub fn empty_at_ms(&self) -> Option<u64> {
        self.hits.back().map(|(at_ms, _)| at_ms.saturating_add(self.span_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(limit: u32, span_ms: u64) -> Take {
        Take { limit, span_ms, name: None }
    }

    #[test]
    fn a_sixth_hit_is_possible_when_the_first_leaves_the_span() {
        let mut log = SlidingLog::default();
        let rule = take(5, 1000);
        for now in [0, 100, 200, 300, 400] {
            assert_eq!(log.take(now, &rule), Verdict::Allowed);
        }
        assert_eq!(log.take(400, &rule), Verdict::Refused(600));
        assert_eq!(log.take(999, &rule), Verdict::Refused(1));
        assert_eq!(log.take(1000, &rule), Verdict::Allowed);
        assert_eq!(log.take(1000, &rule), Verdict::Refused(100));
    }

    #[test]
    fn a_name_counts_once_until_it_is_removed() {
        let mut log = SlidingLog::default();
        let named = Take { name: Some("a".into()), ..take(1, 1000) };
        assert_eq!(log.take(0, &named), Verdict::Allowed);
        assert_eq!(log.take(1, &named), Verdict::Repeated);
        assert_eq!(log.take(2, &take(1, 1000)), Verdict::Refused(998));
        log.give_back("a");
        assert_eq!(log.take(3, &take(1, 1000)), Verdict::Allowed);
        assert_eq!(log.take(1003, &named), Verdict::Allowed);
    }

    #[test]
    fn returns_the_time_at_which_the_log_is_empty() {
        let mut log = SlidingLog::default();
        assert_eq!(log.empty_at_ms(), None);
        log.take(5, &take(2, 1000));
        log.take(7, &take(2, 1000));
        assert_eq!(log.empty_at_ms(), Some(1007));
    }

    #[test]
    fn a_limit_of_zero_accepts_no_hit() {
        assert!(matches!(SlidingLog::default().take(5, &take(0, 1000)), Verdict::Refused(_)));
    }

    proptest! {
        /// For any times, and after changes of the limit, no span has more hits than the limit of its last request.
        #[test]
        fn no_span_has_more_than_its_limit(
            steps in proptest::collection::vec((0u64..200, 1u32..6), 1..200),
        ) {
            let span_ms = 1000;
            let (mut log, mut now, mut allowed) = (SlidingLog::default(), 0, Vec::new());
            for (step, limit) in steps {
                now += step;
                match log.take(now, &take(limit, span_ms)) {
                    Verdict::Allowed => {
                        allowed.push(now);
                        let in_span = allowed.iter().filter(|at| **at + span_ms > now).count();
                        prop_assert!(in_span <= limit as usize);
                    }
                    Verdict::Refused(wait) => {
                        let mut later = SlidingLog { hits: log.hits.clone(), span_ms };
                        prop_assert_eq!(later.take(now + wait, &take(limit, span_ms)), Verdict::Allowed);
                        if wait > 1 {
                            let mut early = SlidingLog { hits: log.hits.clone(), span_ms };
                            prop_assert!(matches!(early.take(now + wait - 1, &take(limit, span_ms)), Verdict::Refused(_)));
                        }
                    }
                    Verdict::Repeated => prop_assert!(false),
                }
            }
        }
    }
}
