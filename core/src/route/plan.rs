//! The attempt plan: which lane is asked next, when, and when to give up. A state machine without clock, chance or I/O:
//! time and random numbers come in, [`Step`]s go out.
//!
//! ```text
//!            ┌──────────── failed(lane) ─────────────┐
//!            ▼                                       │
//!  next() ─▶ Send(lane) ──▶ the driver sends it ──▶ answered: the plan is over
//!    │  └──▶ Wait(ms) ────▶ the driver waits, then next()
//!    └─────▶ GiveUp ──────▶ the error of the highest rank is told
//! ```
//!
//! Rules:
//! - Lanes are asked in the order of the candidates; of one candidate's keys, in the order of the draw.
//! - A lane that is out is asked only when no other is left, and not before its time if its provider named that time: unless
//!   it is the only lane there is, since then its provider's answer is as good as ours.
//! - Where a provider fails (and does not just throttle a key), the other keys of the same model come after other models.
//! - When all have failed, those that may be asked again are, after a jittered wait that doubles, or after what the
//!   provider named.
//! - No wait is longer than `routing.max_wait_ms`, no step begins after the deadline, and there are at most
//!   `routing.max_attempts` attempts.

use crate::config::Config;
use crate::order::by_rank;

use super::candidates::Candidate;
use super::draw::Draw;
use super::failure::{Class, Failure};
use super::health::{Availability, Board};

/// A lane of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Which candidate.
    pub candidate: usize,
    /// Which of its provider's keys.
    pub key: u8,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the call to a lane.
    Send(Lane),
    /// Wait for so many milliseconds, and ask again.
    Wait(u32),
    /// Nothing is left to try. After so many milliseconds something may be, if that is known.
    GiveUp(Option<u64>),
}

/// The limits of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Upstream calls, the first included.
    pub max_attempts: u32,
    /// How often one lane is asked again.
    pub retries: u32,
    /// The wait before the first such retry, in milliseconds.
    pub backoff_ms: u64,
    /// The longest wait, in milliseconds.
    pub max_wait_ms: u64,
    /// When it all must be over, in milliseconds since 1970.
    pub deadline_ms: u64,
}

impl Limits {
    /// Those of the configuration, for a call that began at `began_ms`.
    pub fn of(config: &Config, began_ms: u64) -> Limits {
        Limits {
            max_attempts: config.routing.max_attempts,
            retries: config.routing.retries,
            backoff_ms: config.routing.backoff_ms.into(),
            max_wait_ms: config.routing.max_wait_ms.into(),
            deadline_ms: began_ms.saturating_add(config.timeouts.total_ms.into()),
        }
    }
}

/// One lane, and how it stands.
#[derive(Clone, Debug)]
struct State {
    lane: Lane,
    /// The provider and the longest input, to know which lanes share a failure.
    provider: usize,
    context: Option<u32>,
    /// When it can be asked; 0: now.
    ready_ms: u64,
    /// Whether it must not be asked before that.
    stated: bool,
    tries: u32,
    /// Whether it will not be asked (again).
    over: bool,
    in_flight: bool,
}

/// The plan of one call.
#[derive(Clone, Debug)]
pub struct Plan {
    limits: Limits,
    states: Vec<State>,
    attempts: u32,
}

/// The order of a provider's keys for a call.
fn keys_in_order(candidate: &Candidate<'_>, draw: Draw) -> Vec<u8> {
    let count = u8::try_from(candidate.provider.keys().len().max(1)).unwrap_or(u8::MAX);
    let keys: Vec<u8> = (0..count).collect();
    if count == 1 {
        return keys;
    }
    by_rank(keys, |key| [draw.place(&format!("{}#{key}", candidate.provider.name), 1.0)])
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 ms")]
fn millis(ms: u64) -> f64 {
    ms as f64
}

/// Whether any lane of a candidate can be asked now.
pub fn is_open(board: &Board, candidate: &Candidate<'_>, now_ms: u64) -> bool {
    let count = u8::try_from(candidate.provider.keys().len().max(1)).unwrap_or(u8::MAX);
    let per_day = candidate.facts.requests_per_day;
    (0..count).any(|key| board.availability(candidate.lane(key), per_day, now_ms) == Availability::Open)
}

impl Plan {
    /// The plan for candidates, by how their lanes are doing.
    pub fn new(candidates: &[Candidate<'_>], board: &Board, draw: Draw, limits: Limits, now_ms: u64) -> Plan {
        let mut states = Vec::with_capacity(candidates.len());
        for (index, candidate) in candidates.iter().enumerate() {
            let same_provider = |other: &Candidate<'_>| std::ptr::eq(other.provider, candidate.provider);
            let provider = candidates.iter().position(same_provider).unwrap_or(index);
            for key in keys_in_order(candidate, draw) {
                let availability =
                    board.availability(candidate.lane(key), candidate.facts.requests_per_day, now_ms);
                let (ready_ms, stated) = match availability {
                    Availability::Open => (0, false),
                    Availability::Out { until_ms, stated, .. } => (until_ms, stated),
                };
                states.push(State {
                    lane: Lane { candidate: index, key },
                    provider,
                    context: candidate.facts.context,
                    ready_ms,
                    stated,
                    tries: 0,
                    over: false,
                    in_flight: false,
                });
            }
        }
        Plan { limits, states, attempts: 0 }
    }

    /// How many attempts have begun.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the step that begins now may take, in milliseconds.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.limits.deadline_ms.saturating_sub(now_ms)
    }

    /// The lanes, in the order in which they will be asked if nothing changes, and when each can be.
    pub fn lanes(&self) -> impl Iterator<Item = (Lane, u64)> {
        let rank = |state: &&State| [f64::from(u8::from(state.stated)), millis(state.ready_ms)];
        by_rank(self.states.iter().collect(), rank).into_iter().map(|state| (state.lane, state.ready_ms))
    }

    /// What to do next. The lane of a [`Step::Send`] counts as begun.
    pub fn next(&mut self, now_ms: u64) -> Step {
        match self.look(now_ms) {
            Ok((index, wait_ms)) if wait_ms == 0 => self.begin(index),
            Ok((_, wait_ms)) => Step::Wait(u32::try_from(wait_ms).unwrap_or(u32::MAX)),
            Err(again_ms) => Step::GiveUp(again_ms),
        }
    }

    /// A second lane to ask besides the one that is being asked, if one is open that `may` be hedged with.
    pub fn hedge(&mut self, now_ms: u64, may: impl Fn(Lane) -> bool) -> Option<Lane> {
        if self.attempts >= self.limits.max_attempts || now_ms >= self.limits.deadline_ms {
            return None;
        }
        let is_fresh =
            |state: &State| state.tries == 0 && !state.over && state.ready_ms <= now_ms && may(state.lane);
        let index = self.states.iter().position(is_fresh)?;
        match self.begin(index) {
            Step::Send(lane) => Some(lane),
            Step::Wait(_) | Step::GiveUp(_) => None,
        }
    }

    /// Whether a lane other than those in flight could still be asked at once.
    pub fn has_another(&self, now_ms: u64) -> bool {
        let is_open =
            |state: &State| !state.over && !state.in_flight && state.tries == 0 && state.ready_ms <= now_ms;
        self.attempts < self.limits.max_attempts && self.states.iter().any(is_open)
    }

    /// The attempt on a lane failed. `chance` is any number, for the jitter.
    pub fn failed(&mut self, lane: Lane, failure: &Failure, now_ms: u64, chance: u32) {
        let Some(index) = self.states.iter().position(|state| state.lane == lane) else { return };
        let Some((provider, context)) = self.states.get(index).map(|state| (state.provider, state.context))
        else {
            return;
        };
        let class = failure.class;
        let limits = self.limits;
        if let Some(state) = self.states.get_mut(index) {
            state.in_flight = false;
            // What another attempt has found out about it while this one was under way stands.
            state.over |= !class.can_repeat() || state.tries > limits.retries;
            let doubled = limits.backoff_ms.saturating_mul(1 << state.tries.saturating_sub(1).min(10));
            // Between half and the whole of it, so that calls that failed together do not come back together.
            let jittered = doubled / 2 + doubled / 2 * u64::from(chance % 1000) / 1000;
            state.stated = failure.retry_after_ms.is_some();
            state.ready_ms = now_ms + failure.retry_after_ms.unwrap_or(jittered).max(1);
        }
        for state in &mut self.states {
            let same_key = state.provider == provider && state.lane.key == lane.key;
            let same_model = state.lane.candidate == lane.candidate;
            state.over |= match class {
                _ if !class.goes_on() => true,
                Class::QuotaSpent | Class::CredentialRejected => same_key,
                Class::ModelGone => same_model,
                // Only a model that is known to read more, where it is known how much this one reads.
                Class::TooLong => {
                    same_model
                        || context.is_some_and(|context| state.context.is_some_and(|other| other <= context))
                }
                _ => false,
            };
            // Another key of the same model would meet the same fate: first the other models, and of one that hangs, all.
            if same_model && state.tries == 0 && !state.stated {
                let rest_ms = match class {
                    Class::ServerError | Class::Unreachable | Class::Broken => now_ms + class.outage_ms(1),
                    Class::TimedOut => limits.deadline_ms,
                    _ => 0,
                };
                state.ready_ms = state.ready_ms.max(rest_ms);
            }
        }
    }

    /// The lane to ask next and how long to wait for it; or, if none is left, when one may be.
    fn look(&self, now_ms: u64) -> Result<(usize, u64), Option<u64>> {
        if self.attempts >= self.limits.max_attempts || now_ms >= self.limits.deadline_ms {
            return Err(None);
        }
        let left = || self.states.iter().enumerate().filter(|(_, state)| !state.over && !state.in_flight);
        // One that is open and has not been asked.
        if let Some((index, _)) = left().find(|(_, state)| state.tries == 0 && state.ready_ms <= now_ms) {
            return Ok((index, 0));
        }
        // One that had better be left alone, by our own guess: better than no answer. Where there is but one lane, its
        // provider is the judge of that.
        let guessed =
            left().filter(|(_, state)| state.tries == 0 && (!state.stated || self.states.len() == 1));
        if let Some((index, _)) = guessed.min_by_key(|(_, state)| state.ready_ms) {
            return Ok((index, 0));
        }
        // One to wait for.
        let Some((index, state)) = left().min_by_key(|(_, state)| state.ready_ms) else { return Err(None) };
        let wait_ms = state.ready_ms.saturating_sub(now_ms);
        if wait_ms > self.limits.max_wait_ms || now_ms + wait_ms >= self.limits.deadline_ms {
            return Err(Some(wait_ms));
        }
        Ok((index, wait_ms))
    }

    fn begin(&mut self, index: usize) -> Step {
        let Some(state) = self.states.get_mut(index) else { return Step::GiveUp(None) };
        state.tries += 1;
        state.in_flight = true;
        self.attempts += 1;
        Step::Send(state.lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Registry;
    use crate::protocol::chat_request::ChatRequest;
    use crate::route::candidates::{self, Asked};
    use crate::route::draw::Stickiness;

    const DRAW: Draw = Draw { seed: 1, by: Stickiness::None };

    /// A plan for the models `a/m`, `b/m` and `c/m`, of which `a` has two keys, with six attempts.
    fn plan(board: &Board, now_ms: u64) -> Plan {
        let provider = r#"{"base_url":"https://a.example","models":["m"]}"#;
        let config = format!(
            r#"{{"providers":{{"a":{provider},"b":{provider},"c":{provider}}},"routing":{{"max_attempts":6}},
               "groups":{{"all":{{"models":["a/m","b/m","c/m"]}}}}}}"#
        );
        let config = Config::read("{}", Some(&config)).unwrap();
        let registry = Registry::new(&config, false, |name| match name {
            "A_API_KEY" => Some("one,two".to_owned()),
            "B_API_KEY" | "C_API_KEY" => Some("one".to_owned()),
            _ => None,
        });
        let request = ChatRequest::read(br#"{"model":"all","messages":[]}"#).unwrap();
        let asked = Asked {
            request: &request,
            force_model: None,
            force_provider: None,
            key: None,
            config: &config,
            registry: &registry,
            board,
            draw: DRAW,
            now_ms,
        };
        let selection = candidates::select(&asked).unwrap();
        Plan::new(&selection.candidates, board, DRAW, Limits::of(&config, now_ms), now_ms)
    }

    fn failed(plan: &mut Plan, lane: Lane, class: Class, now_ms: u64) {
        plan.failed(lane, &Failure { class, retry_after_ms: None }, now_ms, 0);
    }

    fn sent(step: Step) -> Lane {
        let Step::Send(lane) = step else { panic!("{step:?}") };
        lane
    }

    #[test]
    fn what_ends_a_call_ends_it_for_a_hedge_too() {
        for class in [Class::Refused, Class::ContentRefused] {
            let mut plan = plan(&Board::default(), 1000);
            let first = sent(plan.next(1000));
            let second = plan.hedge(1000, |lane| lane.candidate != first.candidate).unwrap();
            failed(&mut plan, first, class, 1100);
            failed(&mut plan, second, Class::ServerError, 1200);
            assert_eq!(plan.next(1200), Step::GiveUp(None), "{class:?}");
        }
    }

    #[test]
    fn a_model_that_hangs_is_not_asked_with_its_other_key_while_there_are_others() {
        let mut plan = plan(&Board::default(), 1000);
        let asked: Vec<Lane> = (1..=4)
            .map(|attempt| {
                let now_ms = attempt * 60_000;
                let lane = sent(plan.next(now_ms));
                failed(&mut plan, lane, Class::TimedOut, now_ms + 50_000);
                lane
            })
            .collect();
        assert_eq!(asked.iter().map(|lane| lane.candidate).collect::<Vec<_>>(), [0, 1, 2, 0]);
        assert_ne!(asked[0].key, asked[3].key);
    }

    #[test]
    fn a_throttled_key_is_followed_by_the_other_key() {
        let mut plan = plan(&Board::default(), 1000);
        let first = sent(plan.next(1000));
        failed(&mut plan, first, Class::Throttled, 1100);
        let second = sent(plan.next(1100));
        assert_eq!((first.candidate, second.candidate), (0, 0));
        assert_ne!(first.key, second.key);
    }
}
