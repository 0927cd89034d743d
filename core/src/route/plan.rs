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
//! - Before each further attempt the plan looks at the health view again: what others have found out in the meantime counts.
//! - A lane in cooldown is asked only when no other is left, and not before its time if its provider named that time: unless
//!   it is the only lane there is, since then its provider's answer is as good as ours.
//! - Where a provider fails (and does not just throttle a key), the other keys of the same model come after other models.
//! - When all have failed, those that may be asked again are, after a jittered wait that doubles, or after what the
//!   provider named.
//! - No wait is longer than `routing.max_wait_ms`, no step begins after the deadline, and there are at most
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
    /// Which candidate.
    pub candidate: usize,
    /// Which of its provider's keys.
    pub key: u8,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the call to a lane.
    Send(LaneIndex),
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

/// A cooldown.
#[derive(Clone, Copy, Debug, Default)]
struct Cooldown {
    /// In milliseconds since 1970; 0: it need not be.
    until_ms: u64,
    /// Whether it must not be asked before.
    stated: bool,
}

/// One lane, and how it stands.
#[derive(Clone, Debug)]
struct LaneState {
    lane: LaneIndex,
    /// The provider and the longest input, to know which lanes share a failure.
    provider: usize,
    context: Option<u32>,
    /// What the board says of it.
    known_cooldown: Cooldown,
    /// What this call has found out about it.
    own_cooldown: Cooldown,
    tries: u32,
    /// Whether it will not be asked (again).
    over: bool,
    in_flight: bool,
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
        }
    }

    /// When it can be asked; 0: now.
    fn ready_ms(&self) -> u64 {
        self.own_cooldown.until_ms.max(self.known_cooldown.until_ms)
    }

    /// Before when it must not be asked, since its provider has named that time; 0: none has.
    fn stated_ms(&self) -> u64 {
        let stated = [self.own_cooldown, self.known_cooldown].into_iter().filter(|cooldown| cooldown.stated);
        stated.map(|cooldown| cooldown.until_ms).max().unwrap_or(0)
    }
}

/// How a lane stands on the board.
fn cooldown_of(view: &HealthView, candidate: &Candidate<'_>, key: u8, now_ms: u64) -> Cooldown {
    match view.availability(candidate.lane(key), candidate.facts.requests_per_day, now_ms) {
        Availability::Available => Cooldown::default(),
        Availability::CoolingDown { until_ms, stated, .. } => Cooldown { until_ms, stated },
    }
}

/// The plan of one call.
#[derive(Clone, Debug)]
pub struct Plan {
    limits: Limits,
    states: Vec<LaneState>,
    attempts: u32,
}

/// The order of a provider's keys for a call.
fn keys_in_order(candidate: &Candidate<'_>, affinity: Affinity) -> Vec<u8> {
    let keys: Vec<u8> = candidate.provider.key_places().collect();
    if keys.len() == 1 {
        return keys;
    }
    by_rank(keys, |key| [affinity.rank(&format!("{}#{key}", candidate.provider.name), 1.0)])
}

impl Plan {
    /// The plan for candidates, by how their lanes are doing.
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

    /// How many attempts have begun.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the step that begins now may take, in milliseconds.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.limits.deadline_ms.saturating_sub(now_ms)
    }

    /// The lanes, in the order in which they will be asked if nothing changes, and when each can be.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneIndex, u64)> {
        let mut states: Vec<&LaneState> = self.states.iter().collect();
        states.sort_by_key(|state| (state.stated_ms() > 0, state.ready_ms()));
        states.into_iter().map(|state| (state.lane, state.ready_ms()))
    }

    /// Takes what has been found out since the plan was made, by other calls and other isolates: an attempt may have taken
    /// minutes.
    pub fn look_again(&mut self, candidates: &[Candidate<'_>], view: &HealthView, now_ms: u64) {
        for state in self.states.iter_mut().filter(|state| !state.over) {
            let Some(candidate) = candidates.get(state.lane.candidate) else { continue };
            let known = cooldown_of(view, candidate, state.lane.key, now_ms);
            // Of a lane that has been asked, the plan knows by itself when to come back, unless its provider says otherwise.
            // Models that are not listed share a lane on the board: what this call met at one of them is not said of the next.
            let is_news = state.tries == 0 && candidate.listed;
            state.known_cooldown = if is_news || known.stated { known } else { Cooldown::default() };
        }
    }

    /// What to do next. The lane of a [`Step::Send`] counts as begun.
    pub fn next(&mut self, now_ms: u64) -> Step {
        match self.look(now_ms) {
            Ok((index, 0)) => self.begin(index),
            Ok((_, wait_ms)) => Step::Wait(u32::try_from(wait_ms).unwrap_or(u32::MAX)),
            Err(again_ms) => Step::GiveUp(again_ms),
        }
    }

    /// A second lane to ask besides the one that is being asked, if one is open that `may` be hedged with.
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

    /// Whether a lane other than those in flight could still be asked at once.
    pub fn has_another(&self, now_ms: u64) -> bool {
        let is_open = |state: &LaneState| {
            !state.over && !state.in_flight && state.tries == 0 && state.ready_ms() <= now_ms
        };
        self.attempts < self.limits.max_attempts && self.states.iter().any(is_open)
    }

    /// The attempt on a lane failed. `chance` is any number, for the jitter.
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
            // What another attempt has found out about it while this one was under way stands.
            state.over |= !class.can_repeat() || state.tries > limits.retries;
            let doubled = limits.backoff_ms.saturating_mul(1 << state.tries.saturating_sub(1).min(10));
            // Between half and the whole of it, so that calls that failed together do not come back together.
            let jittered = doubled / 2 + doubled / 2 * (chance % 1000) / 1000;
            let until_ms = now_ms + failure.retry_after_ms.unwrap_or(jittered).max(1);
            state.own_cooldown = Cooldown { until_ms, stated: failure.retry_after_ms.is_some() };
            state.known_cooldown = Cooldown::default();
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
                        || context.is_some_and(|context| state.context.is_none_or(|other| other <= context))
                }
                _ => false,
            };
            // Another key of the same model would meet the same fate: first the other models, and of one that hangs, all.
            if same_model && state.tries == 0 {
                let until_ms = match class {
                    Class::ServerError | Class::Unreachable | Class::Broken => now_ms + class.outage_ms(1),
                    Class::TimedOut => limits.deadline_ms,
                    _ => 0,
                };
                state.own_cooldown.until_ms = state.own_cooldown.until_ms.max(until_ms);
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
        if let Some((index, _)) = left().find(|(_, state)| state.tries == 0 && state.ready_ms() <= now_ms) {
            return Ok((index, 0));
        }
        // One that had better be left alone, by our own guess: better than no answer. Where there is but one lane, its
        // provider is the judge of that.
        let guessed = left()
            .filter(|(_, state)| state.tries == 0 && (state.stated_ms() <= now_ms || self.states.len() == 1));
        if let Some((index, _)) = guessed.min_by_key(|(_, state)| state.ready_ms()) {
            return Ok((index, 0));
        }
        // One to wait for.
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

    /// A plan of lanes: the provider of each, and its longest input.
    fn plan(lanes: &[(usize, Option<u32>)]) -> Plan {
        let states = lanes.iter().enumerate().map(|(candidate, (provider, context))| LaneState {
            provider: *provider,
            context: *context,
            ..LaneState::new(LaneIndex { candidate, key: 0 })
        });
        Plan { limits: LIMITS, states: states.collect(), attempts: 0 }
    }

    /// What a plan does when the lanes fail in these ways, one after the other; waits are taken.
    fn run(plan: &mut Plan, failures: &[(Class, Option<u64>)]) -> String {
        let mut now_ms = 0;
        let mut failures = failures.iter();
        let mut told = Vec::new();
        loop {
            match plan.next(now_ms) {
                Step::Send(lane) => {
                    told.push(lane.candidate.to_string());
                    let Some((class, retry_after_ms)) = failures.next() else { return told.join(" ") };
                    plan.failed(
                        lane,
                        &Failure { class: *class, retry_after_ms: *retry_after_ms },
                        now_ms,
                        999,
                    );
                }
                Step::Wait(ms) => {
                    told.push(format!("+{ms}"));
                    now_ms += u64::from(ms);
                }
                Step::GiveUp(again_ms) => {
                    told.push(again_ms.map_or("end".to_owned(), |ms| format!("end+{ms}")));
                    return told.join(" ");
                }
            }
        }
    }

    #[test]
    fn each_failure_leads_where_it_should() {
        use Class::{
            Broken, ClientLeft, ContentRefused, CredentialRejected, Forbidden, ModelGone, QuotaSpent,
            Refused, ServerError, Throttled, TimedOut, TooLong, Unreachable,
        };
        let two_of_one_and_another = [(0, Some(8)), (0, Some(16)), (2, Some(8))];
        for (failures, told) in [
            (&[][..], "0"),
            (&[(ServerError, None)], "0 1"),
            (&[(Throttled, Some(500))], "0 1"),
            (&[(Forbidden, None)], "0 1"),
            (&[(ModelGone, None)], "0 1"),
            (&[(CredentialRejected, None)], "0 2"),
            (&[(QuotaSpent, None)], "0 2"),
            (&[(TooLong, None)], "0 1"),
            (&[(TooLong, None), (TooLong, None)], "0 1 end"),
            (&[(Refused, None)], "0 end"),
            (&[(ContentRefused, None)], "0 end"),
            (&[(ClientLeft, None)], "0 end"),
            (&[(TimedOut, None), (TimedOut, None), (TimedOut, None)], "0 1 2 end"),
            // After all, the first that may be asked again, when its time has come.
            (&[(Unreachable, None), (Broken, None), (TimedOut, None)], "0 1 2 +99 0"),
            (&[(Throttled, Some(400)), (Throttled, Some(300)), (Throttled, Some(5000))], "0 1 2 +300 1"),
            (&[(Throttled, Some(4000)), (Throttled, Some(3000)), (Throttled, Some(5000))], "0 1 2 end+3000"),
            (
                &[(ServerError, None), (ServerError, None), (ServerError, None), (ServerError, None)],
                "0 1 2 +99 0 end",
            ),
        ] {
            assert_eq!(run(&mut plan(&two_of_one_and_another), failures), told, "{failures:?}");
        }
    }

    #[test]
    fn what_ends_a_call_ends_it_for_a_hedge_too() {
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
        let asked = |class: Class| {
            let mut plan = plan(&[(0, None), (1, None), (2, None)]);
            // Two keys of the first.
            plan.states.insert(1, LaneState::new(LaneIndex { candidate: 0, key: 1 }));
            let mut told = Vec::new();
            for now_ms in [0, 2_500, 5_000, 7_500] {
                let Step::Send(lane) = plan.next(now_ms) else { panic!("not sent") };
                told.push(format!("{}#{}", lane.candidate, lane.key));
                plan.failed(lane, &Failure { class, retry_after_ms: None }, now_ms + 1_000, 0);
            }
            told.join(" ")
        };
        assert_eq!(asked(Class::TimedOut), "0#0 1#0 2#0 0#1");
        // It may have been bad luck: it rests for as long as a first failure lets it.
        assert_eq!(asked(Class::ServerError), "0#0 1#0 0#1 2#0");
        assert_eq!(asked(Class::Throttled), "0#0 0#1 1#0 2#0");
    }

    #[test]
    fn one_lane_is_tried_again_within_its_limits() {
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
    fn nothing_begins_after_the_deadline() {
        let mut plan = plan(&[(0, None), (1, None)]);
        plan.limits.deadline_ms = 50;
        let Step::Send(lane) = plan.next(0) else { panic!("not sent") };
        let failure = Failure { class: Class::ServerError, retry_after_ms: None };
        plan.failed(lane, &failure, 49, 0);
        assert_eq!(plan.left_ms(49), 1);
        assert_eq!(plan.clone().next(50), Step::GiveUp(None));
        let Step::Send(lane) = plan.next(49) else { panic!("not sent") };
        plan.failed(lane, &failure, 49, 0);
        assert!(matches!(plan.next(49), Step::GiveUp(Some(_))), "a wait would end after it");
    }

    #[test]
    fn lanes_that_rest_are_the_last_resort_unless_their_time_is_stated() {
        let resting = |index: usize, plan: &mut Plan, ready_ms, stated| {
            plan.states[index].known_cooldown = Cooldown { until_ms: ready_ms, stated };
        };
        let mut plan = plan(&[(0, None), (1, None), (2, None)]);
        resting(0, &mut plan, 60_000, true);
        resting(1, &mut plan, 90_000, false);
        let timed_out = (Class::TimedOut, None);
        assert_eq!(run(&mut plan.clone(), &[timed_out, timed_out]), "2 1 end+60000");
        resting(0, &mut plan, 500, true);
        assert_eq!(run(&mut plan, &[timed_out, timed_out]), "2 1 +500 0");
        let mut only = super::tests::plan(&[(0, None)]);
        resting(0, &mut only, 60_000, true);
        assert_eq!(run(&mut only, &[]), "0", "its provider is the judge");
    }

    #[test]
    fn what_was_found_out_in_the_meantime_counts() {
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
        plan.look_again(&candidates, &view, 100);
        assert_eq!(plan.next(100), Step::Send(LaneIndex { candidate: 2, key: 0 }));
    }

    #[test]
    fn a_second_lane_is_asked_besides_the_first() {
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
    fn keys_are_drawn_for_each_session() {
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
