//! What one isolate knows of all lanes.

use super::shared::{Report, Update};
use super::stats::{self, LaneStats, Outage, Recent, Today, Totals};
use super::{LaneId, Lanes};
use crate::catalog::{LimitHeader, OTHER};
use crate::health::failure::{Breakdown, Class, Failure};
use crate::health::quota::{self, Reading};

/// After this many milliseconds what the others know is asked for again, behind an answer.
pub const REFRESH_MS: u64 = 1_000;
/// After this many milliseconds it is asked for before a call is sent: so that what one isolate has found out, every other
/// knows two seconds later.
pub const STALE_MS: u64 = 1_900;
/// A report that has not come back after this many milliseconds is taken for lost.
const LOST_MS: u64 = 10_000;
/// How long one call may try a lane that is just coming back, before another may, in milliseconds: as long as a provider
/// that hangs usually keeps it.
const PROBE_MS: u64 = 60_000;
/// How often the limit headers of successful responses are read, in milliseconds.
const READ_LIMITS_EVERY_MS: u64 = 100;
/// From so many failures in a row on, a lane that comes back is tried by one call at a time.
const PROBE_STREAK: u32 = 3;

/// Whether a lane can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It can.
    Available,
    /// It is in cooldown.
    CoolingDown {
        /// Until when, in milliseconds since 1970.
        until_ms: u64,
        /// Why, in a word.
        why: &'static str,
        /// Whether the provider itself named the time: then it is not asked before, whatever else is left.
        stated: bool,
    },
}

/// A lane that comes back after several failures, and that one call is trying.
#[derive(Debug)]
struct Probe {
    provider: String,
    model: String,
    key: u8,
    until_ms: u64,
}

impl Probe {
    fn is_of(&self, id: LaneId<'_>) -> bool {
        (self.provider.as_str(), self.model.as_str(), self.key) == (id.provider, id.model, id.key)
    }
}

/// One report among those of an isolate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    number: u64,
    sent_ms: u64,
}

/// What one isolate knows: what it was told by the others, and what it has seen since.
#[derive(Debug, Default)]
pub struct HealthView {
    lanes: Lanes,
    unsent: Lanes,
    /// What a report that is under way carries, which one it is, and since when.
    sending: Option<(Lanes, Token, u64)>,
    /// Reports made so far.
    reports: u64,
    /// When the others were last heard of: when the report that was answered was sent.
    refreshed_ms: Option<u64>,
    /// Which state of the object the view has.
    seen: Option<(u64, u64)>,
    /// Whether something happened that the others should know at once.
    urgent: bool,
    /// Lanes that are being tried.
    probes: Vec<Probe>,
    /// When the limit headers of a response were last read, in milliseconds since 1970.
    limits_read_ms: u64,
}

impl HealthView {
    /// Everything that is known.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// What is known of a lane.
    pub fn lane(&self, id: LaneId<'_>) -> Option<&LaneStats> {
        self.lanes.get(id)
    }

    /// Whether a lane can be asked now. `per_day` is the limit that the catalogue knows.
    pub fn availability(&self, id: LaneId<'_>, per_day: Option<u32>, now_ms: u64) -> Availability {
        let lane = self.lane(id);
        let on = |lane: Option<&LaneStats>| {
            lane.and_then(|lane| lane.outage).filter(|outage| outage.until_ms > now_ms)
        };
        let (of_key, of_lane) = (on(self.lane(id.of_key())), on(lane));
        let outage =
            [of_key, of_lane].into_iter().flatten().max_by_key(|outage| (outage.stated, outage.until_ms));
        if let Some(outage) = outage {
            return Availability::CoolingDown {
                until_ms: outage.until_ms,
                why: outage.cause.as_str(),
                stated: outage.stated,
            };
        }
        let Some(lane) = lane else { return Availability::Available };
        if let Some(until_ms) = lane.spent_until_ms(now_ms) {
            return Availability::CoolingDown { until_ms, why: "limit_used_up", stated: true };
        }
        if per_day.is_some_and(|limit| lane.used_today(now_ms) >= limit) {
            let until_ms = stats::day_end_ms(now_ms);
            return Availability::CoolingDown { until_ms, why: "daily_limit_used_up", stated: false };
        }
        match self.probes.iter().find(|probe| probe.is_of(id) && probe.until_ms > now_ms) {
            Some(Probe { until_ms, .. }) => {
                Availability::CoolingDown { until_ms: *until_ms, why: "being_tried", stated: false }
            }
            None => Availability::Available,
        }
    }

    /// A call is sent. Of a lane that comes back after several failures, one call at a time finds out whether it is well.
    pub fn begin(&mut self, id: LaneId<'_>, now_ms: u64) {
        let streak = self.lane(id).and_then(|lane| lane.outage).map_or(0, |outage| outage.streak);
        if streak >= PROBE_STREAK {
            self.probes.retain(|probe| probe.until_ms > now_ms && !probe.is_of(id));
            self.probes.push(Probe {
                provider: id.provider.to_owned(),
                model: id.model.to_owned(),
                key: id.key,
                until_ms: now_ms + PROBE_MS,
            });
        }
    }

    /// A call that was sent at `sent_ms` was answered, or its stream has begun.
    pub fn answered(&mut self, id: LaneId<'_>, sent_ms: u64, now_ms: u64) {
        let mut lane = LaneStats {
            totals: Totals { attempts: 1, ..Totals::default() },
            recent: Recent::of(now_ms, true, Some(now_ms.saturating_sub(sent_ms))),
            today: Today { day: stats::day_of(now_ms), used: 1 },
            ..LaneStats::default()
        };
        self.probes.retain(|probe| !probe.is_of(id));
        // An outage that was found after this call was sent is news that it does not know of, whichever isolate found it.
        let over = |lane: Option<&LaneStats>| {
            let outage = lane?.outage.filter(|outage| outage.streak > 0 && outage.since_ms < sent_ms)?;
            Some(Outage { until_ms: 0, since_ms: sent_ms, streak: 0, ..outage })
        };
        lane.outage = over(self.lane(id));
        let key = over(self.lane(id.of_key()));
        self.urgent |= lane.outage.is_some() || key.is_some();
        self.add(id, &lane, key);
    }

    /// A call was let go, because another one was faster. It says how slow the lane is at least, and nothing else.
    pub fn hedge_lost(&mut self, id: LaneId<'_>, sent_ms: u64, now_ms: u64) {
        let lane = LaneStats {
            totals: Totals { attempts: 1, ..Totals::default() },
            recent: Recent::of(now_ms, true, Some(now_ms.saturating_sub(sent_ms))),
            ..LaneStats::default()
        };
        self.add(id, &lane, None);
    }

    /// A call failed, or a stream that had begun broke (`begun`: it has been counted). `chance` is any number: outages
    /// differ by up to a fifth, so that not everybody comes back at once.
    pub fn failed(&mut self, id: LaneId<'_>, failure: &Failure, begun: bool, now_ms: u64, chance: u64) {
        let class = failure.class;
        if !begun {
            self.probes.retain(|probe| !probe.is_of(id));
        }
        let Some(breakdown) = class.breakdown() else { return };
        let mut totals = Totals { attempts: u64::from(!begun), ..Totals::default() };
        match breakdown {
            Breakdown::SafetyRefusal => totals.safety_refusal = 1,
            Breakdown::UsageRetriable => totals.usage_retriable = 1,
            Breakdown::InputNonretriable => totals.input_nonretriable = 1,
            Breakdown::ProviderFatal => totals.provider_fatal = 1,
        }
        let fault = class.is_fault();
        totals.throttles = u64::from(class == Class::Throttled);
        // Only models that are listed can be gone: of others, callers invent any number.
        let counts = fault && !(class == Class::ModelGone && id.model == OTHER);
        let mut lane =
            LaneStats { totals, recent: Recent::of(now_ms, !counts, None), ..LaneStats::default() };
        let mut key = None;
        if counts {
            let at = if class.is_of_key() { id.of_key() } else { id };
            let known = self.lane(at).and_then(|lane| lane.outage);
            let outage = outage(known, failure, now_ms, chance);
            lane.totals.outages = 1;
            if class.is_of_key() {
                key = Some(outage);
            } else {
                lane.outage = Some(outage);
            }
            self.urgent = true;
        }
        self.add(id, &lane, key);
    }

    /// Reads what the headers of a response say of the provider's limits. Every response says it; some of the successful
    /// ones are enough to know. `header` looks one up by its lower-case name.
    pub fn observe_limits(
        &mut self,
        id: LaneId<'_>,
        limits: &[LimitHeader],
        is_success: bool,
        header: impl Fn(&str) -> Option<String>,
        now_ms: u64,
    ) {
        let is_due = now_ms.saturating_sub(self.limits_read_ms) >= READ_LIMITS_EVERY_MS;
        if !limits.is_empty() && (!is_success || is_due) {
            self.limits_read_ms = now_ms;
            self.quota(id, quota::read(limits, header, now_ms));
        }
    }

    /// What an answer's headers said of what is left.
    pub fn quota(&mut self, id: LaneId<'_>, readings: Vec<Reading>) {
        self.urgent |= readings.iter().any(|reading| reading.remaining == Some(0));
        if !readings.is_empty() {
            self.add(id, &LaneStats { quota: readings, ..LaneStats::default() }, None);
        }
    }

    fn add(&mut self, id: LaneId<'_>, lane: &LaneStats, key: Option<Outage>) {
        let key = key.map(|outage| LaneStats { outage: Some(outage), ..LaneStats::default() });
        for lanes in [&mut self.lanes, &mut self.unsent] {
            lanes.add(id, lane);
            if let Some(key) = &key {
                lanes.add(id.of_key(), key);
            }
        }
    }

    /// Whether what is known of the others is so old that a call should wait for news.
    pub fn is_stale(&self, now_ms: u64) -> bool {
        self.refreshed_ms.is_none_or(|refreshed_ms| now_ms.saturating_sub(refreshed_ms) >= STALE_MS)
    }

    /// Whether it is time to report and to ask what the others have to say.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let old =
            self.refreshed_ms.is_none_or(|refreshed_ms| now_ms.saturating_sub(refreshed_ms) >= REFRESH_MS);
        !self.is_publishing(now_ms) && (self.urgent || old)
    }

    fn is_publishing(&self, now_ms: u64) -> bool {
        self.sending.as_ref().is_some_and(|(_, _, since_ms)| now_ms.saturating_sub(*since_ms) < LOST_MS)
    }

    /// Whether there is something that the others do not know yet.
    pub fn has_unpublished(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// What to tell the others now, and what to ask; [`HealthView::heard`] or [`HealthView::not_refreshed`] takes what came of it. While a
    /// report is under way another only asks: nobody waits for somebody else's answer.
    pub fn report(&mut self, now_ms: u64) -> (Report, Token) {
        let (mut report, token) = self.query(now_ms);
        if !self.is_publishing(now_ms) {
            // One that is not answered may have been counted all the same, and is told again: health is an estimate.
            report.lanes = std::mem::take(&mut self.unsent);
            self.sending = Some((report.lanes.clone(), token, now_ms));
            self.urgent = false;
        }
        (report, token)
    }

    /// What to ask the others when there is no time to lose: it carries nothing that could be counted twice should its answer
    /// come too late.
    pub fn query(&mut self, now_ms: u64) -> (Report, Token) {
        self.reports += 1;
        (Report { seen: self.seen, lanes: Lanes::default() }, Token { number: self.reports, sent_ms: now_ms })
    }

    /// A report was answered.
    pub fn refreshed(&mut self, answer: &Update, token: Token) {
        self.sending.take_if(|(_, sent, _)| *sent == token);
        // Another object than before knows nothing of what this isolate saw in the meantime.
        let is_other = self.seen.is_none_or(|(epoch, _)| epoch != answer.state.0);
        if is_other {
            self.lanes = Lanes::default();
        } else if self.seen.is_some_and(|(_, version)| version > answer.state.1) {
            // An answer that was overtaken by a later one.
            return;
        }
        self.lanes.replace(&answer.lanes);
        // What was seen since stands on top of what the object told.
        if is_other {
            self.lanes.absorb(&self.unsent);
        } else {
            self.lanes.absorb(&self.unsent.within(&answer.lanes));
        }
        // What a report carries that is still under way may be told already, or not: only what can be said twice.
        if let Some((lanes, ..)) = &self.sending {
            self.lanes.absorb(&lanes.standing());
        }
        self.seen = Some(answer.state);
        self.refreshed_ms = Some(self.refreshed_ms.unwrap_or(0).max(token.sent_ms));
    }

    /// A report was not answered: what it carried is told again. The view stands.
    pub fn not_refreshed(&mut self, token: Token) {
        if let Some((lanes, ..)) = self.sending.take_if(|(_, sent, _)| *sent == token) {
            self.unsent.absorb(&lanes);
        }
        // Not at once: an object that does not answer is not to hold up every call.
        self.refreshed_ms = Some(self.refreshed_ms.unwrap_or(0).max(token.sent_ms));
    }
}

fn outage(known: Option<Outage>, failure: &Failure, now_ms: u64, chance: u64) -> Outage {
    // Failures of calls that were under way together are one failure.
    let streak = match known {
        Some(outage) if outage.until_ms > now_ms => outage.streak.max(1),
        Some(outage) => outage.streak.saturating_add(1),
        None => 1,
    };
    let guess_ms = failure.class.outage_ms(streak);
    let guess_ms = guess_ms + guess_ms * (chance % 1000) / 5000;
    let until_ms = now_ms + failure.retry_after_ms.unwrap_or(guess_ms);
    let stated = failure.retry_after_ms.is_some();
    Outage { until_ms, since_ms: now_ms, streak, cause: failure.class, stated }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Shared;
    use proptest::prelude::*;

    const A: LaneId<'_> = LaneId { provider: "acme", model: "a", key: 0 };
    const B: LaneId<'_> = LaneId { provider: "acme", model: "b", key: 0 };
    const A1: LaneId<'_> = LaneId { key: 1, ..A };

    fn failure(class: Class, retry_after_ms: Option<u64>) -> Failure {
        Failure { class, retry_after_ms }
    }

    fn is_open(view: &HealthView, id: LaneId<'_>, now_ms: u64) -> bool {
        view.availability(id, None, now_ms) == Availability::Available
    }

    fn exchange(view: &mut HealthView, shared: &mut Shared, now_ms: u64) {
        let (report, token) = view.report(now_ms);
        let report: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        let answer = serde_json::to_string(&shared.take(&report)).unwrap();
        view.refreshed(&serde_json::from_str(&answer).unwrap(), token);
    }

    #[test]
    fn a_throttled_lane_is_out_until_its_time_is_over() {
        let mut view = HealthView::default();
        view.failed(A, &failure(Class::Throttled, Some(3000)), false, 1000, 0);
        assert_eq!(
            view.availability(A, None, 3999),
            Availability::CoolingDown { until_ms: 4000, why: "throttled", stated: true }
        );
        assert!(is_open(&view, A, 4000) && is_open(&view, B, 1000) && is_open(&view, A1, 1000));
        assert!(view.is_due(1000), "the others should know at once");
    }

    #[test]
    fn a_bad_key_is_out_for_all_models_and_a_good_answer_brings_it_back() {
        let mut view = HealthView::default();
        view.failed(A, &failure(Class::CredentialRejected, None), false, 1000, 0);
        assert!(!is_open(&view, A, 1000) && !is_open(&view, B, 1000) && is_open(&view, A1, 1000));
        view.answered(B, 999, 1500);
        assert!(!is_open(&view, A, 1500), "a call that was sent before proves nothing");
        view.answered(B, 1001, 1600);
        assert!(is_open(&view, A, 1600));
    }

    #[test]
    fn outages_grow_with_failures_in_a_row_and_not_with_failures_at_once() {
        let mut view = HealthView::default();
        let mut now_ms = 1000;
        for expected_ms in [2000, 4000, 8000, 16_000] {
            for _ in 0..5 {
                view.failed(A, &failure(Class::ServerError, None), false, now_ms, 0);
            }
            let Availability::CoolingDown { until_ms, stated: false, .. } =
                view.availability(A, None, now_ms)
            else {
                panic!("open");
            };
            assert_eq!(until_ms - now_ms, expected_ms);
            now_ms = until_ms;
        }
        view.begin(A, now_ms);
        assert!(!is_open(&view, A, now_ms), "one call finds out");
        view.answered(A, now_ms, now_ms + 10);
        assert!(is_open(&view, A, now_ms + 10));
        view.failed(A, &failure(Class::ServerError, None), false, now_ms + 20, 0);
        assert!(is_open(&view, A, now_ms + 2020), "the count began anew");
    }

    #[test]
    fn a_caller_can_make_no_lane_look_ill() {
        let mut view = HealthView::default();
        let other = LaneId { model: OTHER, ..A };
        for class in [Class::Refused, Class::TooLong, Class::ContentRefused, Class::ClientLeft] {
            view.failed(A, &failure(class, None), false, 1000, 0);
        }
        view.failed(other, &failure(Class::ModelGone, None), false, 1000, 0);
        assert!(is_open(&view, A, 1000) && is_open(&view, other, 1000));
        assert!(view.lane(A).unwrap().success(1000) > 0.9);
        view.failed(A, &failure(Class::ModelGone, None), false, 1000, 0);
        assert!(!is_open(&view, A, 1000));
    }

    #[test]
    fn a_daily_limit_is_kept_until_midnight() {
        let mut view = HealthView::default();
        view.answered(A, 0, 1000);
        assert!(is_open(&view, A, 1000));
        assert!(matches!(
            view.availability(A, Some(1), 1000),
            Availability::CoolingDown { until_ms: 86_400_000, stated: false, .. }
        ));
    }

    #[test]
    fn isolates_tell_each_other_by_way_of_the_object() {
        let mut shared = Shared::new(7, Lanes::default());
        let (mut one, mut two) = (HealthView::default(), HealthView::default());
        exchange(&mut two, &mut shared, 0);
        one.failed(A, &failure(Class::Throttled, Some(60_000)), false, 1000, 0);
        exchange(&mut one, &mut shared, 1000);
        assert!(is_open(&two, A, 1900) && two.is_stale(1900));
        two.answered(A1, 100, 1950);
        exchange(&mut two, &mut shared, 2000);
        assert!(!is_open(&two, A, 2000));
        assert_eq!(two.lane(A).unwrap().totals.throttles, 1);
        exchange(&mut one, &mut shared, 3000);
        assert_eq!(one.lane(A1).unwrap().totals.attempts, 1);
        assert_eq!(one.lane(A).unwrap().totals.attempts, 1, "its own report is not counted twice");
    }

    #[test]
    fn a_guess_does_not_displace_what_the_provider_said() {
        let until = |view: &HealthView| match view.availability(A, None, 1600) {
            Availability::CoolingDown { until_ms, stated, .. } => (until_ms, stated),
            Availability::Available => panic!("open"),
        };
        let mut shared = Shared::new(7, Lanes::default());
        let (mut one, mut two) = (HealthView::default(), HealthView::default());
        one.failed(A, &failure(Class::Throttled, Some(60_000)), false, 1000, 0);
        two.failed(A, &failure(Class::TimedOut, None), false, 1500, 0);
        for view in [&mut one, &mut two] {
            exchange(view, &mut shared, 1500);
        }
        exchange(&mut one, &mut shared, 1500);
        assert_eq!((until(&one), until(&two)), ((61_000, true), (61_000, true)));
        // What the provider said last counts, though a guess came after it elsewhere.
        let mut view = HealthView::default();
        view.failed(A, &failure(Class::Throttled, Some(1_000)), false, 1200, 0);
        view.failed(A, &failure(Class::TimedOut, None), false, 1500, 0);
        let mut shared = Shared::new(8, Lanes::default());
        for (retry_after_ms, at_ms) in [(5_000, 1100), (60_000, 1400)] {
            let mut other = HealthView::default();
            other.failed(A, &failure(Class::Throttled, Some(retry_after_ms)), false, at_ms, 0);
            exchange(&mut other, &mut shared, 1500);
        }
        exchange(&mut view, &mut shared, 1500);
        assert_eq!(until(&view), (61_400, true));
        // Nor is a longer guess more than a guess.
        let mut view = HealthView::default();
        view.failed(A, &failure(Class::Throttled, Some(1_000)), false, 1000, 0);
        view.failed(A, &failure(Class::ServerError, None), false, 1500, 0);
        assert_eq!(until(&view), (2000, true));
    }

    #[test]
    fn a_good_answer_proves_nothing_of_what_was_found_after_it_was_asked_for() {
        let mut shared = Shared::new(7, Lanes::default());
        let (mut one, mut two) = (HealthView::default(), HealthView::default());
        one.failed(A, &failure(Class::Throttled, Some(100)), false, 1000, 0);
        for view in [&mut one, &mut two] {
            exchange(view, &mut shared, 1000);
        }
        // Both ask once its time is over; one is throttled again, and then the other is answered.
        one.failed(A, &failure(Class::Throttled, Some(60_000)), false, 2100, 0);
        two.answered(A, 2000, 2200);
        for view in [&mut one, &mut two] {
            exchange(view, &mut shared, 2200);
        }
        exchange(&mut one, &mut shared, 2200);
        assert!(!is_open(&one, A, 2200) && !is_open(&two, A, 2200));
    }

    #[test]
    fn one_call_tries_a_lane_that_hangs() {
        let mut view = HealthView::default();
        let mut now_ms = 1000;
        for _ in 0..3 {
            view.failed(A, &failure(Class::TimedOut, None), false, now_ms, 0);
            now_ms += 60_000;
        }
        view.begin(A, now_ms);
        assert!(!is_open(&view, A, now_ms + 59_999), "it is being tried");
        view.failed(A, &failure(Class::Refused, None), false, now_ms + 10, 0);
        assert!(is_open(&view, A, now_ms + 10), "it answers, though the request was at fault");
    }

    #[test]
    fn what_a_report_carries_is_not_forgotten_while_it_is_under_way() {
        let mut shared = Shared::new(7, Lanes::default());
        let (mut one, mut two) = (HealthView::default(), HealthView::default());
        exchange(&mut one, &mut shared, 0);
        one.failed(A, &failure(Class::Throttled, Some(60_000)), false, 1000, 0);
        let (report, token) = one.report(1000);
        // Another has something to say of the same lane, and a question overtakes the report.
        two.answered(A, 500, 1000);
        exchange(&mut two, &mut shared, 1000);
        exchange(&mut one, &mut shared, 1001);
        assert!(!is_open(&one, A, 1001));
        one.refreshed(&shared.take(&report), token);
        assert!(!is_open(&one, A, 1002));
        assert_eq!(one.lane(A).unwrap().totals.attempts, 2);
    }

    #[test]
    fn a_report_that_is_not_answered_is_told_again() {
        let mut shared = Shared::new(7, Lanes::default());
        let mut view = HealthView::default();
        view.answered(A, 0, 10);
        let (_, token) = view.report(10);
        assert!(!view.is_due(10), "one at a time");
        assert!(view.report(10).0.lanes.is_empty(), "another only asks");
        view.not_refreshed(token);
        view.answered(A, 0, 20);
        exchange(&mut view, &mut shared, 2000);
        assert_eq!(view.lane(A).unwrap().totals.attempts, 2);
        // Another object begins with nothing: the view follows it, and what it was not told yet stands.
        let mut shared = Shared::new(8, Lanes::default());
        view.answered(B, 0, 30);
        exchange(&mut view, &mut shared, 4000);
        assert_eq!(view.lane(A), None);
        assert_eq!(view.lane(B).unwrap().totals.attempts, 1);
    }

    #[test]
    fn an_object_keeps_its_state_over_a_restart() {
        let mut shared = Shared::new(7, Lanes::default());
        let mut view = HealthView::default();
        view.failed(A, &failure(Class::Throttled, Some(60_000)), false, 1000, 0);
        exchange(&mut view, &mut shared, 1000);
        let kept = serde_json::from_str(&serde_json::to_string(shared.lanes()).unwrap()).unwrap();
        let mut fresh = HealthView::default();
        exchange(&mut fresh, &mut Shared::new(8, kept), 2000);
        assert!(!is_open(&fresh, A, 2000));
    }

    proptest! {
        /// However reports of several isolates interleave, get lost or are sent again: once all is quiet every isolate has
        /// the same view, and it counts each call once.
        #[test]
        fn all_isolates_end_with_one_view(steps in proptest::collection::vec((0usize..3, 0u8..5), 1..80)) {
            let mut shared = Shared::new(1, Lanes::default());
            let mut views = [HealthView::default(), HealthView::default(), HealthView::default()];
            let mut calls = 0;
            let mut now_ms = 0;
            for (isolate, action) in steps {
                now_ms += 100;
                let view = &mut views[isolate];
                match action {
                    0 | 1 => { view.answered(A, now_ms - 50, now_ms); calls += 1; }
                    2 => { view.failed(A, &failure(Class::ServerError, None), false, now_ms, 0); calls += 1; }
                    3 => exchange(view, &mut shared, now_ms),
                    _ => { let (_, token) = view.report(now_ms); view.not_refreshed(token); }
                }
            }
            for round in 0..2 {
                for view in &mut views {
                    exchange(view, &mut shared, now_ms + 10_000 * (round + 1));
                }
            }
            for view in &views {
                prop_assert_eq!(view.lane(A).map_or(0, |lane| lane.totals.attempts), calls);
                prop_assert_eq!(view.lane(A), views[0].lane(A));
            }
        }
    }
}
