//! The attempt plan: the next lane, the time to try it, and the end of the attempts. A state machine without clock,
//! randomness or I/O: time and random numbers enter, [`Step`]s leave.
//!
//! ```text
//!            ┌──────────── failed(lane) ─────────────┐
//!            ▼                                       │
//!  next() ─▶ Send(lane) ──▶ the driver sends it ──▶ success: the plan is over
//!    │  └──▶ Wait(ms) ────▶ the driver waits, then next()
//!    └─────▶ GiveUp ──────▶ the error of the highest rank is returned
//! ```
//!
//! Rules:
//! - Lanes are tried in the order of the candidates; the keys of one candidate in the order of the affinity.
//! - Before each further attempt the plan reads the health view again, so that recent observations of other calls
//!   count.
//! - A lane in cooldown is tried only if no other lane is left. If its provider stated the end of the cooldown, the
//!   lane is not tried before that, except if it is the only lane: then the provider's own error is the best response.
//! - If a provider fails, rather than just throttling a key, the other keys of the same model come after other models.
//! - A lane that rejects the reasoning of earlier turns is tried again at once, without it, before any other lane.
//! - If all lanes have failed, the ones that allow a retry are retried, after a jittered wait that doubles, or after
//!   the wait that the provider stated.
//! - No wait is longer than `routing.max_wait_ms`, no step starts after the deadline, and there are at most
//!   `routing.max_attempts` attempts.

use crate::config::Config;
use crate::order::by_rank;

use super::affinity::Affinity;
use super::candidates::Candidate;
use crate::health::failure::{Class, Failure};
use crate::health::{Availability, HealthView};

/// A lane of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneIndex {
    /// The index of the candidate.
    pub candidate: usize,
    /// The index of the provider's key.
    pub key: u8,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the request to a lane.
    Send(LaneIndex),
    /// Wait for this many milliseconds, then call [`Plan::next`] again.
    Wait(u32),
    /// No lane is left to try. Holds the number of milliseconds until one may be available, if known.
    GiveUp(Option<u64>),
}

/// The limits of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum number of attempts.
    pub max_attempts: u32,
    /// The maximum number of retries of one lane.
    pub retries: u32,
    /// The wait before the first such retry, in milliseconds.
    pub backoff_ms: u64,
    /// The maximum wait, in milliseconds.
    pub max_wait_ms: u64,
    /// The deadline of the call, in milliseconds since 1970.
    pub deadline_ms: u64,
}

impl Limits {
    /// The limits in the configuration, for a call that started at `started_ms`.
    pub fn of(config: &Config, started_ms: u64) -> Limits {
        Limits {
            max_attempts: config.routing.max_attempts,
            retries: config.routing.retries,
            backoff_ms: config.routing.backoff_ms.into(),
            max_wait_ms: config.routing.max_wait_ms.into(),
            deadline_ms: started_ms.saturating_add(config.timeouts.total_ms.into()),
        }
    }
}

/// A cooldown as the plan sees it.
#[derive(Clone, Copy, Debug, Default)]
struct Cooldown {
    /// The end, in milliseconds since 1970; 0 for no cooldown.
    until_ms: u64,
    /// `true` if the provider stated the end: the lane is not tried before it.
    stated: bool,
    /// `true` if an operator decided it: the lane is not tried before its end, even if it is the only one.
    decided: bool,
}

/// One lane and its state.
#[derive(Clone, Debug)]
struct LaneState {
    lane: LaneIndex,
    /// The provider and the maximum input, to find the lanes that share a failure.
    provider: usize,
    context: Option<u32>,
    /// The cooldown in the health view.
    known_cooldown: Cooldown,
    /// The cooldown that this call has observed.
    own_cooldown: Cooldown,
    tries: u32,
    /// `true` if the lane will not be tried again.
    over: bool,
    in_flight: bool,
    /// `true` once the lane has rejected the reasoning of earlier turns: it gets the request without it.
    without_reasoning: bool,
}

impl LaneState {
    fn new(lane: LaneIndex) -> LaneState {
        LaneState {
            lane,
            provider: 0,
            context: None,
            known_cooldown: Cooldown::default(),
            own_cooldown: Cooldown::default(),
            tries: 0,
            over: false,
            in_flight: false,
            without_reasoning: false,
        }
    }

    /// The time from which the lane can be tried; 0 for now.
    fn ready_ms(&self) -> u64 {
        self.own_cooldown.until_ms.max(self.known_cooldown.until_ms)
    }

    /// The time before which the lane must not be tried, because its provider stated it; 0 for none.
    fn stated_ms(&self) -> u64 {
        let stated = [self.own_cooldown, self.known_cooldown].into_iter().filter(|cooldown| cooldown.stated);
        stated.map(|cooldown| cooldown.until_ms).max().unwrap_or(0)
    }
}

/// The cooldown of a lane in the health view.
fn cooldown_of(view: &HealthView, candidate: &Candidate<'_>, key: u8, now_ms: u64) -> Cooldown {
    match view.availability(candidate.lane(key), candidate.facts.requests_per_day, now_ms) {
        Availability::Available => Cooldown::default(),
        Availability::CoolingDown { until_ms, stated, why } => {
            Cooldown { until_ms, stated, decided: why == Class::Operator.as_str() }
        }
    }
}

/// The plan of one call.
#[derive(Clone, Debug)]
pub struct Plan {
    limits: Limits,
    states: Vec<LaneState>,
    attempts: u32,
}

/// The order of a provider's keys for a call: a key of twice the weight comes first twice as often.
fn keys_in_order(candidate: &Candidate<'_>, affinity: Affinity) -> Vec<u8> {
    let keys: Vec<u8> = candidate.provider.key_places().collect();
    if keys.len() == 1 {
        return keys;
    }
    let weight = |key| candidate.provider.key(key).map_or(1.0, |key| f64::from(key.weight));
    by_rank(keys, |key| [affinity.rank(&format!("{}#{key}", candidate.provider.name), weight(*key))])
}

impl Plan {
    /// A plan for candidates, with the cooldowns of their lanes.
    pub fn new(
        candidates: &[Candidate<'_>],
        view: &HealthView,
        affinity: Affinity,
        limits: Limits,
        now_ms: u64,
    ) -> Plan {
        let mut states = Vec::with_capacity(candidates.len());
        for (index, candidate) in candidates.iter().enumerate() {
            let same_provider = |other: &Candidate<'_>| std::ptr::eq(other.provider, candidate.provider);
            let provider = candidates.iter().position(same_provider).unwrap_or(index);
            for key in keys_in_order(candidate, affinity) {
                let lane = LaneIndex { candidate: index, key };
                let known_cooldown = cooldown_of(view, candidate, key, now_ms);
                states.push(LaneState {
                    provider,
                    context: candidate.facts.context,
                    known_cooldown,
                    ..LaneState::new(lane)
                });
            }
        }
        Plan { limits, states, attempts: 0 }
    }

    /// Removes the lanes for which `keeps` returns `false`. Returns `false` if none is left.
    pub fn keep(&mut self, keeps: impl Fn(LaneIndex) -> bool) -> bool {
        self.states.retain(|state| keeps(state.lane));
        !self.states.is_empty()
    }

    /// The number of attempts started.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns `true` if the next attempt on a lane leaves out the reasoning of earlier turns, which the lane has rejected.
    pub fn is_without_reasoning(&self, lane: LaneIndex) -> bool {
        self.states.iter().any(|state| state.lane == lane && state.without_reasoning)
    }

    /// The maximum duration of a step that starts now, in milliseconds.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.limits.deadline_ms.saturating_sub(now_ms)
    }

    /// The lanes in the order in which they will be tried if nothing changes, each with the time from which it can be
    /// tried.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneIndex, u64)> {
        let mut states: Vec<&LaneState> = self.states.iter().collect();
        states.sort_by_key(|state| (state.stated_ms() > 0, state.ready_ms()));
        states.into_iter().map(|state| (state.lane, state.ready_ms()))
    }

    /// Reads the health view again: other calls and other isolates may have new observations, since an attempt can take
    /// minutes.
    pub fn refresh(&mut self, candidates: &[Candidate<'_>], view: &HealthView, now_ms: u64) {
        for state in self.states.iter_mut().filter(|state| !state.over) {
            let Some(candidate) = candidates.get(state.lane.candidate) else { continue };
            let known = cooldown_of(view, candidate, state.lane.key, now_ms);
            // For a lane that has been tried, the plan has its own retry time, which only a time stated by the provider
            // overrides. Models that are not listed share a lane in the view: a failure of one of them does not count
            // for the next.
            let counts = state.tries == 0 && candidate.listed;
            state.known_cooldown = if counts || known.stated { known } else { Cooldown::default() };
        }
    }

    /// The next step. The attempt of a [`Step::Send`] counts as started.
    pub fn next(&mut self, now_ms: u64) -> Step {
        match self.choose(now_ms) {
            Ok((index, 0)) => self.begin(index),
            Ok((_, wait_ms)) => Step::Wait(u32::try_from(wait_ms).unwrap_or(u32::MAX)),
            Err(available_ms) => Step::GiveUp(available_ms),
        }
    }

    /// A second lane to try in parallel, if one is available for which `may` returns `true`.
    pub fn hedge(&mut self, now_ms: u64, may: impl Fn(LaneIndex) -> bool) -> Option<LaneIndex> {
        if self.attempts >= self.limits.max_attempts || now_ms >= self.limits.deadline_ms {
            return None;
        }
        let is_fresh = |state: &LaneState| {
            state.tries == 0 && !state.over && state.ready_ms() <= now_ms && may(state.lane)
        };
        let index = self.states.iter().position(is_fresh)?;
        match self.begin(index) {
            Step::Send(lane) => Some(lane),
            Step::Wait(_) | Step::GiveUp(_) => None,
        }
    }

    /// Returns `true` if a lane other than those in flight could be tried at once.
    pub fn has_another(&self, now_ms: u64) -> bool {
        let is_available = |state: &LaneState| {
            !state.over && !state.in_flight && state.tries == 0 && state.ready_ms() <= now_ms
        };
        self.attempts < self.limits.max_attempts && self.states.iter().any(is_available)
    }

    /// Ends the plan: no further lane is tried.
    pub fn end(&mut self) {
        for state in &mut self.states {
            state.over = true;
        }
    }

    /// Records that the attempt on a lane failed. `chance` is any number, for the jitter.
    pub fn failed(&mut self, lane: LaneIndex, failure: &Failure, now_ms: u64, chance: u64) {
        let Some(index) = self.states.iter().position(|state| state.lane == lane) else { return };
        let Some((provider, context)) = self.states.get(index).map(|state| (state.provider, state.context))
        else {
            return;
        };
        let class = failure.class;
        let limits = self.limits;
        if let Some(state) = self.states.get_mut(index) {
            state.in_flight = false;
            state.known_cooldown = Cooldown::default();
            if class == Class::ReasoningRejected && !std::mem::replace(&mut state.without_reasoning, true) {
                state.own_cooldown = Cooldown::default();
                return;
            }
            // A failure of another lane may have set `over` while this attempt was in flight.
            state.over |= !class.can_repeat() || state.tries > limits.retries;
            let doubled = limits.backoff_ms.saturating_mul(1 << state.tries.saturating_sub(1).min(10));
            // Between half and all of it, so that calls that failed together do not retry together.
            let jittered = doubled / 2 + doubled / 2 * (chance % 1000) / 1000;
            let until_ms = now_ms + failure.retry_after_ms.unwrap_or(jittered).max(1);
            state.own_cooldown =
                Cooldown { until_ms, stated: failure.retry_after_ms.is_some(), ..Cooldown::default() };
        }
        for state in &mut self.states {
            let same_key = state.provider == provider && state.lane.key == lane.key;
            let same_model = state.lane.candidate == lane.candidate;
            state.over |= match class {
                _ if !class.goes_on() => true,
                Class::QuotaSpent | Class::CredentialRejected => same_key,
                Class::ModelGone | Class::Unsupported => same_model,
                // Continue only with a model that accepts more input, or whose maximum is not known, if this one's is
                // known.
                Class::TooLong => {
                    same_model
                        || context.is_some_and(|context| state.context.is_none_or(|other| other <= context))
                }
                _ => false,
            };
            // Another key of the same model is likely to fail in the same way: other models come first, and after a
            // time limit, all of them.
            if same_model && state.tries == 0 {
                let until_ms = match class {
                    Class::ServerError | Class::Unreachable | Class::Broken => now_ms + class.cooldown_ms(1),
                    Class::TimedOut => limits.deadline_ms,
                    _ => 0,
                };
                state.own_cooldown.until_ms = state.own_cooldown.until_ms.max(until_ms);
            }
        }
    }

    /// The next lane and the wait before it; if none is left, the time until one may be available.
    fn choose(&self, now_ms: u64) -> Result<(usize, u64), Option<u64>> {
        if self.attempts >= self.limits.max_attempts || now_ms >= self.limits.deadline_ms {
            return Err(None);
        }
        let left = || self.states.iter().enumerate().filter(|(_, state)| !state.over && !state.in_flight);
        // The lane that is to get the request without reasoning. Its next failure gives it a cooldown.
        let is_next = |state: &LaneState| state.without_reasoning && state.own_cooldown.until_ms == 0;
        if let Some((index, _)) = left().find(|(_, state)| is_next(state)) {
            return Ok((index, 0));
        }
        // An available lane that has not been tried.
        if let Some((index, _)) = left().find(|(_, state)| state.tries == 0 && state.ready_ms() <= now_ms) {
            return Ok((index, 0));
        }
        // A lane whose cooldown is only an estimate: better than no response. If there is only one lane, a stated
        // cooldown does not matter either, unless an operator decided it: its provider decides.
        let is_alone = |state: &LaneState| self.states.len() == 1 && !state.known_cooldown.decided;
        let estimated =
            left().filter(|(_, state)| state.tries == 0 && (state.stated_ms() <= now_ms || is_alone(state)));
        if let Some((index, _)) = estimated.min_by_key(|(_, state)| state.ready_ms()) {
            return Ok((index, 0));
        }
        // A lane to wait for.
        let until_ms =
            |state: &LaneState| if state.tries == 0 { state.stated_ms() } else { state.ready_ms() };
        let Some((index, state)) = left().min_by_key(|(_, state)| until_ms(state)) else { return Err(None) };
        let wait_ms = until_ms(state).saturating_sub(now_ms);
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
    use crate::route::affinity::AffinitySource;

    const LIMITS: Limits =
        Limits { max_attempts: 4, retries: 1, backoff_ms: 100, max_wait_ms: 1000, deadline_ms: 10_000 };

    /// A plan of lanes, given the provider and the maximum input of each.
    fn plan(lanes: &[(usize, Option<u32>)]) -> Plan {
        let states = lanes.iter().enumerate().map(|(candidate, (provider, context))| LaneState {
            provider: *provider,
            context: *context,
            ..LaneState::new(LaneIndex { candidate, key: 0 })
        });
        Plan { limits: LIMITS, states: states.collect(), attempts: 0 }
    }

    /// The steps of a plan whose lanes fail in the given ways, one after the other; waits are taken.
    fn run(plan: &mut Plan, failures: &[(Class, Option<u64>)]) -> String {
        let mut now_ms = 0;
        let mut failures = failures.iter();
        let mut steps = Vec::new();
        loop {
            match plan.next(now_ms) {
                Step::Send(lane) => {
                    steps.push(lane.candidate.to_string());
                    let Some((class, retry_after_ms)) = failures.next() else { return steps.join(" ") };
                    plan.failed(
                        lane,
                        &Failure { class: *class, retry_after_ms: *retry_after_ms },
                        now_ms,
                        999,
                    );
                }
                Step::Wait(ms) => {
                    steps.push(format!("+{ms}"));
                    now_ms += u64::from(ms);
                }
                Step::GiveUp(available_ms) => {
                    steps.push(available_ms.map_or("end".to_owned(), |ms| format!("end+{ms}")));
                    return steps.join(" ");
                }
            }
        }
    }

    #[test]
    fn a_plan_can_be_left_with_some_of_its_lanes() {
        let mut plan = plan(&[(0, None), (1, None), (2, None)]);
        assert!(plan.keep(|lane| lane.candidate == 1));
        assert_eq!(plan.next(0), Step::Send(LaneIndex { candidate: 1, key: 0 }));
        plan.failed(
            LaneIndex { candidate: 1, key: 0 },
            &Failure { class: Class::ModelGone, retry_after_ms: None },
            0,
            0,
        );
        assert!(matches!(plan.next(0), Step::GiveUp(_)));
        assert!(!plan.keep(|_| false));
    }

    #[test]
    fn the_class_of_a_failure_decides_the_next_lane() {
        use Class::{
            Broken, ClientLeft, ContentRefused, CredentialRejected, Forbidden, ModelGone, QuotaSpent,
            Refused, ServerError, Throttled, TimedOut, TooLong, Unreachable, Unsupported,
        };
        let two_of_one_and_another = [(0, Some(8)), (0, Some(16)), (2, Some(8))];
        for (failures, steps) in [
            (&[][..], "0"),
            (&[(ServerError, None)], "0 1"),
            (&[(Throttled, Some(500))], "0 1"),
            (&[(Forbidden, None)], "0 1"),
            (&[(ModelGone, None)], "0 1"),
            (&[(CredentialRejected, None)], "0 2"),
            (&[(QuotaSpent, None)], "0 2"),
            (&[(TooLong, None)], "0 1"),
            (&[(TooLong, None), (TooLong, None)], "0 1 end"),
            (&[(Unsupported, None)], "0 1"),
            (&[(Refused, None)], "0 end"),
            (&[(ContentRefused, None)], "0 end"),
            (&[(ClientLeft, None)], "0 end"),
            (&[(TimedOut, None), (TimedOut, None), (TimedOut, None)], "0 1 2 end"),
            // When all have failed: the first lane that allows a retry, at its time.
            (&[(Unreachable, None), (Broken, None), (TimedOut, None)], "0 1 2 +99 0"),
            (&[(Throttled, Some(400)), (Throttled, Some(300)), (Throttled, Some(5000))], "0 1 2 +300 1"),
            (&[(Throttled, Some(4000)), (Throttled, Some(3000)), (Throttled, Some(5000))], "0 1 2 end+3000"),
            (
                &[(ServerError, None), (ServerError, None), (ServerError, None), (ServerError, None)],
                "0 1 2 +99 0 end",
            ),
        ] {
            assert_eq!(run(&mut plan(&two_of_one_and_another), failures), steps, "{failures:?}");
        }
    }

    #[test]
    fn a_lane_that_rejects_reasoning_is_tried_once_more_without_it() {
        use Class::{ReasoningRejected, Throttled};
        let lanes = [(0, None), (1, None)];
        // At once, before any other lane, and whatever delay the provider states.
        for (failures, steps) in [
            (&[(ReasoningRejected, None)][..], "0 0"),
            (&[(ReasoningRejected, Some(5_000))], "0 0"),
            (&[(ReasoningRejected, None), (ReasoningRejected, None)], "0 0 1"),
            (&[(ReasoningRejected, None), (Throttled, None)], "0 0 1"),
            (&[(Throttled, None), (ReasoningRejected, None)], "0 1 1"),
            (&[(ReasoningRejected, None), (ReasoningRejected, None), (ReasoningRejected, None)], "0 0 1 1"),
            (&[(ReasoningRejected, None); 4], "0 0 1 1 end"),
        ] {
            assert_eq!(run(&mut plan(&lanes), failures), steps, "{failures:?}");
        }
        let mut plan = plan(&lanes);
        let Step::Send(first) = plan.next(0) else { panic!("not sent") };
        assert!(!plan.is_without_reasoning(first));
        plan.failed(first, &Failure { class: ReasoningRejected, retry_after_ms: None }, 0, 0);
        assert_eq!(plan.next(0), Step::Send(first));
        assert!(plan.is_without_reasoning(first));
        assert!(!plan.is_without_reasoning(LaneIndex { candidate: 1, key: 0 }));
        plan.limits.max_attempts = 2;
        plan.failed(first, &Failure { class: Throttled, retry_after_ms: None }, 0, 0);
        assert_eq!(plan.next(0), Step::GiveUp(None), "the retry is an attempt");
    }

    #[test]
    fn an_error_that_ends_a_call_ends_it_for_a_hedge_too() {
        for class in [Class::Refused, Class::ContentRefused] {
            let mut plan = plan(&[(0, None), (1, None), (2, None)]);
            let Step::Send(first) = plan.next(0) else { panic!("not sent") };
            let second = plan.hedge(0, |_| true).unwrap();
            plan.failed(first, &Failure { class, retry_after_ms: None }, 100, 0);
            plan.failed(second, &Failure { class: Class::ServerError, retry_after_ms: None }, 200, 0);
            assert_eq!(plan.next(200), Step::GiveUp(None), "{class:?}");
        }
    }

    #[test]
    fn the_other_keys_of_a_model_that_fails_come_after_other_models() {
        let order = |class: Class| {
            let mut plan = plan(&[(0, None), (1, None), (2, None)]);
            // The first candidate has two keys.
            plan.states.insert(1, LaneState::new(LaneIndex { candidate: 0, key: 1 }));
            let mut order = Vec::new();
            for now_ms in [0, 2_500, 5_000, 7_500] {
                let Step::Send(lane) = plan.next(now_ms) else { panic!("not sent") };
                order.push(format!("{}#{}", lane.candidate, lane.key));
                plan.failed(lane, &Failure { class, retry_after_ms: None }, now_ms + 1_000, 0);
            }
            order.join(" ")
        };
        assert_eq!(order(Class::TimedOut), "0#0 1#0 2#0 0#1");
        // A server error may be bad luck: the cooldown is that of a first failure.
        assert_eq!(order(Class::ServerError), "0#0 1#0 0#1 2#0");
        assert_eq!(order(Class::Throttled), "0#0 0#1 1#0 2#0");
    }

    #[test]
    fn a_single_lane_is_retried_within_the_limits() {
        let one = [(0, None)];
        let failed = (Class::ServerError, None);
        assert_eq!(run(&mut plan(&one), &[failed]), "0 +99 0");
        assert_eq!(run(&mut plan(&one), &[failed, failed]), "0 +99 0 end");
        assert_eq!(run(&mut plan(&one), &[(Class::Throttled, Some(700))]), "0 +700 0");
        assert_eq!(run(&mut plan(&one), &[(Class::Throttled, Some(7000))]), "0 end+7000");
        let mut thrice = plan(&one);
        thrice.limits.retries = 3;
        assert_eq!(run(&mut thrice, &[failed, failed, failed]), "0 +99 0 +199 0 +399 0");
    }

    #[test]
    fn no_attempt_starts_after_the_deadline() {
        let mut plan = plan(&[(0, None), (1, None)]);
        plan.limits.deadline_ms = 50;
        let Step::Send(lane) = plan.next(0) else { panic!("not sent") };
        let failure = Failure { class: Class::ServerError, retry_after_ms: None };
        plan.failed(lane, &failure, 49, 0);
        assert_eq!(plan.left_ms(49), 1);
        assert_eq!(plan.clone().next(50), Step::GiveUp(None));
        let Step::Send(lane) = plan.next(49) else { panic!("not sent") };
        plan.failed(lane, &failure, 49, 0);
        assert!(matches!(plan.next(49), Step::GiveUp(Some(_))), "a wait would end after the deadline");
    }

    #[test]
    fn lanes_in_cooldown_are_the_last_resort_unless_the_provider_stated_the_end() {
        let cool_down = |index: usize, plan: &mut Plan, ready_ms, stated| {
            plan.states[index].known_cooldown = Cooldown { until_ms: ready_ms, stated, decided: false };
        };
        let mut plan = plan(&[(0, None), (1, None), (2, None)]);
        cool_down(0, &mut plan, 60_000, true);
        cool_down(1, &mut plan, 90_000, false);
        let timed_out = (Class::TimedOut, None);
        assert_eq!(run(&mut plan.clone(), &[timed_out, timed_out]), "2 1 end+60000");
        cool_down(0, &mut plan, 500, true);
        assert_eq!(run(&mut plan, &[timed_out, timed_out]), "2 1 +500 0");
        let mut only = super::tests::plan(&[(0, None)]);
        cool_down(0, &mut only, 60_000, true);
        let mut decided = only.clone();
        decided.states[0].known_cooldown.decided = true;
        assert_eq!(run(&mut only, &[]), "0", "the only lane is always tried");
        assert_eq!(run(&mut decided, &[]), "end+60000", "unless an operator has decided otherwise");
    }

    #[test]
    fn observations_made_during_an_attempt_count() {
        use crate::catalog::Registry;
        let provider = r#"{"base_url":"http://a.example","auth":"none","models":["m"]}"#;
        let config = format!(r#"{{"providers":{{"a":{provider},"b":{provider},"c":{provider}}}}}"#);
        let registry = Registry::new(&Config::read("{}", Some(&config)).unwrap(), false, |_| None);
        let candidates = ["a", "b", "c"].map(|name| Candidate::of(registry.provider(name).unwrap(), "m"));
        let mut view = HealthView::default();
        let mut plan =
            Plan::new(&candidates, &view, Affinity { seed: 0, source: AffinitySource::None }, LIMITS, 0);
        let Step::Send(first) = plan.next(0) else { panic!("not sent") };
        let throttled = Failure { class: Class::Throttled, retry_after_ms: Some(60_000) };
        view.failed(candidates[1].lane(0), &throttled, false, 50, 0);
        plan.failed(first, &Failure { class: Class::TimedOut, retry_after_ms: None }, 100, 0);
        plan.refresh(&candidates, &view, 100);
        assert_eq!(plan.next(100), Step::Send(LaneIndex { candidate: 2, key: 0 }));
    }

    #[test]
    fn a_hedge_is_an_available_lane_that_has_not_been_tried() {
        let mut plan = plan(&[(0, None), (1, None)]);
        assert!(plan.has_another(0));
        let Step::Send(first) = plan.next(0) else { panic!("not sent") };
        assert_eq!(plan.hedge(0, |_| false), None);
        let second = plan.hedge(0, |_| true).unwrap();
        assert_eq!((first.candidate, second.candidate, plan.attempts()), (0, 1, 2));
        assert_eq!(plan.hedge(0, |_| true), None);
        assert!(!plan.has_another(0));
    }

    #[test]
    fn the_order_of_keys_depends_on_the_session() {
        use crate::catalog::Registry;
        let config = Config::read(
            "{}",
            Some(r#"{"providers":{"acme":{"base_url":"http://a.example","models":["m"]}}}"#),
        );
        let registry = Registry::new(&config.unwrap(), false, |name| {
            (name == "ACME_API_KEY").then(|| "k1, k2\nk3".to_owned())
        });
        let candidate = Candidate::of(registry.provider("acme").unwrap(), "m");
        let keys = |seed| keys_in_order(&candidate, Affinity { seed, source: AffinitySource::Session });
        assert_eq!(keys(7), keys(7));
        assert!((0..20).any(|seed| keys(seed)[0] != keys(7)[0]));
        assert_eq!(keys(7).len(), 3);
    }
}
