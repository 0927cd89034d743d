//! The health of all lanes as one isolate knows it.

use super::shared::{Report, Update};
use super::stats::{self, Cooldown, LaneStats, LastError, Recent, Today, Totals};
use super::{LaneId, Lanes};
use crate::catalog::{LimitHeader, OTHER};
use crate::health::failure::{Breakdown, Class, Failure};
use crate::health::quota::{self, Reading};

/// The age in milliseconds from which the view is refreshed, after a response.
pub const REFRESH_MS: u64 = 1_000;
/// The age in milliseconds from which the view is refreshed before a call is sent, so that every isolate knows the
/// observations of all others two seconds later.
pub const STALE_MS: u64 = 1_900;
/// The time after which a report without a response counts as lost, in milliseconds.
const LOST_MS: u64 = 10_000;
/// The time for which one call may probe a lane after its cooldown before another call may, in milliseconds: about as
/// long as a provider that hangs keeps a call.
const PROBE_MS: u64 = 60_000;
/// The interval at which the limit headers of successful responses are read, in milliseconds.
const READ_LIMITS_EVERY_MS: u64 = 100;
/// The number of failures in a row from which a lane is probed by one call at a time after its cooldown.
const PROBE_STREAK: u32 = 3;

/// The state of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// The lane can be tried now.
    Available,
    /// The lane is in cooldown.
    CoolingDown {
        /// The end, in milliseconds since 1970.
        until_ms: u64,
        /// The reason, as the API names it.
        why: &'static str,
        /// `true` if the provider itself stated the end: then the lane is not tried before it, even if no other lane is
        /// left.
        stated: bool,
    },
}

/// A lane that one call is probing after several failures.
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

/// The identity of one report of an isolate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    number: u64,
    sent_ms: u64,
}

/// The view of one isolate: the updates from the other isolates, and its own observations since.
#[derive(Debug, Default)]
pub struct HealthView {
    lanes: Lanes,
    unsent: Lanes,
    /// The report under way: its observations, its token and the time at which it was sent.
    sending: Option<(Lanes, Token, u64)>,
    /// The number of reports so far.
    reports: u64,
    /// The time at which the last answered report was sent, in milliseconds since 1970.
    refreshed_ms: Option<u64>,
    /// The state of the object that the view has.
    seen: Option<(u64, u64)>,
    /// `true` if there are observations that the other isolates need at once.
    urgent: bool,
    /// Lanes that are being probed.
    probes: Vec<Probe>,
    /// The time at which limit headers of a response were last read, in milliseconds since 1970.
    limits_read_ms: u64,
}

impl HealthView {
    /// The statistics of all lanes.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The statistics of a lane.
    pub fn lane(&self, id: LaneId<'_>) -> Option<&LaneStats> {
        self.lanes.get(id)
    }

    /// The state of a lane. `per_day` is the limit in the catalogue.
    pub fn availability(&self, id: LaneId<'_>, per_day: Option<u32>, now_ms: u64) -> Availability {
        let lane = self.lane(id);
        let on = |lane: Option<&LaneStats>| {
            lane.and_then(|lane| lane.cooldown).filter(|cooldown| cooldown.until_ms > now_ms)
        };
        let (of_key, of_lane) = (on(self.lane(id.of_key())), on(lane));
        let cooldown = [of_key, of_lane]
            .into_iter()
            .flatten()
            .max_by_key(|cooldown| (cooldown.stated, cooldown.until_ms));
        if let Some(cooldown) = cooldown {
            return Availability::CoolingDown {
                until_ms: cooldown.until_ms,
                why: cooldown.cause.as_str(),
                stated: cooldown.stated,
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

    /// Records that a call is sent. After several failures of a lane, one call at a time probes it.
    pub fn begin(&mut self, id: LaneId<'_>, now_ms: u64) {
        let streak = self.lane(id).and_then(|lane| lane.cooldown).map_or(0, |cooldown| cooldown.streak);
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

    /// Records a success: the call sent at `sent_ms` got a response, or its stream has started.
    pub fn answered(&mut self, id: LaneId<'_>, sent_ms: u64, now_ms: u64) {
        let mut lane = LaneStats {
            totals: Totals { attempts: 1, ..Totals::default() },
            recent: Recent::of(now_ms, true, Some(now_ms.saturating_sub(sent_ms))),
            today: Today { day: stats::day_of(now_ms), used: 1 },
            ..LaneStats::default()
        };
        self.probes.retain(|probe| !probe.is_of(id));
        // A cooldown that was observed after this call was sent is not ended by it, whichever isolate observed it.
        let over = |lane: Option<&LaneStats>| {
            let cooldown =
                lane?.cooldown.filter(|cooldown| cooldown.streak > 0 && cooldown.since_ms < sent_ms)?;
            Some(Cooldown { until_ms: 0, since_ms: sent_ms, streak: 0, ..cooldown })
        };
        lane.cooldown = over(self.lane(id));
        let key = over(self.lane(id.of_key()));
        self.urgent |= lane.cooldown.is_some() || key.is_some();
        self.add(id, &lane, key);
    }

    /// Records that a call was cancelled because another one was faster. It is a lower bound of the lane's latency.
    pub fn hedge_lost(&mut self, id: LaneId<'_>, sent_ms: u64, now_ms: u64) {
        let lane = LaneStats {
            totals: Totals { attempts: 1, ..Totals::default() },
            recent: Recent::of(now_ms, true, Some(now_ms.saturating_sub(sent_ms))),
            ..LaneStats::default()
        };
        self.add(id, &lane, None);
    }

    /// Records that a call failed, or that a stream broke (`started`: the attempt has been counted). `chance` is any
    /// number: cooldowns vary by up to a fifth, so that the isolates do not return all at once.
    pub fn failed(&mut self, id: LaneId<'_>, failure: &Failure, started: bool, now_ms: u64, chance: u64) {
        let class = failure.class;
        if !started {
            self.probes.retain(|probe| !probe.is_of(id));
        }
        let Some(breakdown) = class.breakdown() else { return };
        let mut totals = Totals { attempts: u64::from(!started), ..Totals::default() };
        match breakdown {
            Breakdown::SafetyRefusal => totals.safety_refusal = 1,
            Breakdown::UsageRetriable => totals.usage_retriable = 1,
            Breakdown::InputNonretriable => totals.input_nonretriable = 1,
            Breakdown::ProviderFatal => totals.provider_fatal = 1,
        }
        let fault = class.is_fault();
        totals.throttles = u64::from(class == Class::Throttled);
        // Only listed models can be gone: callers can invent any number of others.
        let counts = fault && !(class == Class::ModelGone && id.model == OTHER);
        let mut lane =
            LaneStats { totals, recent: Recent::of(now_ms, !counts, None), ..LaneStats::default() };
        let mut key = None;
        if counts {
            let at = if class.is_of_key() { id.of_key() } else { id };
            let known = self.lane(at).and_then(|lane| lane.cooldown);
            let cooldown = cooldown(known, failure, now_ms, chance);
            lane.totals.cooldowns = 1;
            if class.is_of_key() {
                key = Some(cooldown);
            } else {
                lane.cooldown = Some(cooldown);
            }
            self.urgent = true;
        }
        self.add(id, &lane, key);
    }

    /// Keeps the last failure of a lane, for operators.
    pub fn keep_error(&mut self, id: LaneId<'_>, error: LastError) {
        self.add(id, &LaneStats { last_error: Some(Box::new(error)), ..LaneStats::default() }, None);
    }

    /// Puts a lane, or a key (with an empty model), into cooldown until a time, or ends its cooldown with `None`, because
    /// an operator says so. No success ends such a cooldown early.
    pub fn set_cooldown(&mut self, id: LaneId<'_>, until_ms: Option<u64>, now_ms: u64) {
        let cooldown = Cooldown {
            until_ms: until_ms.unwrap_or(0),
            since_ms: now_ms,
            streak: 0,
            cause: Class::Operator,
            stated: until_ms.is_some(),
        };
        self.probes.retain(|probe| !probe.is_of(id));
        self.add(id, &LaneStats { cooldown: Some(cooldown), ..LaneStats::default() }, None);
        self.urgent = true;
    }

    /// Reads the provider's limits from the headers of a response. Of successful responses, only some are read, which
    /// is enough. `header` finds a header by its lower-case name.
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
            self.add_readings(id, quota::read(limits, header, now_ms));
        }
    }

    /// Adds readings of limit headers.
    fn add_readings(&mut self, id: LaneId<'_>, readings: Vec<Reading>) {
        self.urgent |= readings.iter().any(|reading| reading.remaining == Some(0));
        if !readings.is_empty() {
            self.add(id, &LaneStats { quota: readings, ..LaneStats::default() }, None);
        }
    }

    fn add(&mut self, id: LaneId<'_>, lane: &LaneStats, key: Option<Cooldown>) {
        let key = key.map(|cooldown| LaneStats { cooldown: Some(cooldown), ..LaneStats::default() });
        for lanes in [&mut self.lanes, &mut self.unsent] {
            lanes.add(id, lane);
            if let Some(key) = &key {
                lanes.add(id.of_key(), key);
            }
        }
    }

    /// Returns `true` if the view is so old that a call has to wait for an update.
    pub fn is_stale(&self, now_ms: u64) -> bool {
        self.refreshed_ms.is_none_or(|refreshed_ms| now_ms.saturating_sub(refreshed_ms) >= STALE_MS)
    }

    /// Returns `true` if it is time to publish and refresh.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let old =
            self.refreshed_ms.is_none_or(|refreshed_ms| now_ms.saturating_sub(refreshed_ms) >= REFRESH_MS);
        !self.is_publishing(now_ms) && (self.urgent || old)
    }

    fn is_publishing(&self, now_ms: u64) -> bool {
        self.sending.as_ref().is_some_and(|(_, _, since_ms)| now_ms.saturating_sub(*since_ms) < LOST_MS)
    }

    /// Returns `true` if there are observations that have not been published.
    pub fn has_unpublished(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Builds a report that publishes observations and requests an update. Pass the result to [`HealthView::refreshed`]
    /// or [`HealthView::not_refreshed`]. While another report is under way, the report only requests an update, so that
    /// no call waits for the report of another.
    pub fn publish_report(&mut self, now_ms: u64) -> (Report, Token) {
        let (mut report, token) = self.refresh_request(now_ms);
        if !self.is_publishing(now_ms) {
            // A report without a response may have been counted, and is sent again: health is an estimate.
            report.lanes = std::mem::take(&mut self.unsent);
            self.sending = Some((report.lanes.clone(), token, now_ms));
            self.urgent = false;
        }
        (report, token)
    }

    /// Builds a report that only requests an update, for a call that waits for it: it has no observations that would be
    /// counted twice if the response came too late.
    pub fn refresh_request(&mut self, now_ms: u64) -> (Report, Token) {
        self.reports += 1;
        (Report { seen: self.seen, lanes: Lanes::default() }, Token { number: self.reports, sent_ms: now_ms })
    }

    /// Applies the update that a report returned.
    pub fn refreshed(&mut self, update: &Update, token: Token) {
        self.sending.take_if(|(_, sent, _)| *sent == token);
        // A new object does not have the earlier observations of this isolate.
        let is_other = self.seen.is_none_or(|(epoch, _)| epoch != update.state.0);
        if is_other {
            self.lanes = Lanes::default();
        } else if self.seen.is_some_and(|(_, version)| version > update.state.1) {
            // A later update has overtaken this one.
            return;
        }
        self.lanes.replace(&update.lanes);
        // Observations that are not published yet are added to the update.
        if is_other {
            self.lanes.absorb(&self.unsent);
        } else {
            self.lanes.absorb(&self.unsent.within(&update.lanes));
        }
        // The update may or may not include the report under way: only the part without counts can be applied twice.
        if let Some((lanes, ..)) = &self.sending {
            self.lanes.absorb(&lanes.without_counts());
        }
        self.seen = Some(update.state);
        self.refreshed_ms = Some(self.refreshed_ms.unwrap_or(0).max(token.sent_ms));
    }

    /// Keeps the view after a report without a response; its observations are sent again with the next report.
    pub fn not_refreshed(&mut self, token: Token) {
        if let Some((lanes, ..)) = self.sending.take_if(|(_, sent, _)| *sent == token) {
            self.unsent.absorb(&lanes);
        }
        // The next refresh waits: an object that does not respond must not delay every call.
        self.refreshed_ms = Some(self.refreshed_ms.unwrap_or(0).max(token.sent_ms));
    }
}

fn cooldown(known: Option<Cooldown>, failure: &Failure, now_ms: u64, chance: u64) -> Cooldown {
    // Failures of calls that ran at the same time count as one failure.
    let streak = match known {
        Some(cooldown) if cooldown.until_ms > now_ms => cooldown.streak.max(1),
        Some(cooldown) => cooldown.streak.saturating_add(1),
        None => 1,
    };
    let estimate_ms = failure.class.cooldown_ms(streak);
    let estimate_ms = estimate_ms + estimate_ms * (chance % 1000) / 5000;
    let until_ms = now_ms + failure.retry_after_ms.unwrap_or(estimate_ms);
    let stated = failure.retry_after_ms.is_some();
    Cooldown { until_ms, since_ms: now_ms, streak, cause: failure.class, stated }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::health::Shared;
    use proptest::prelude::*;

    const A: LaneId<'_> = LaneId { provider: "acme", model: "a", key: 0 };
    const B: LaneId<'_> = LaneId { provider: "acme", model: "b", key: 0 };
    const A1: LaneId<'_> = LaneId { key: 1, ..A };

    fn failure(class: Class, retry_after_ms: Option<u64>) -> Failure {
        Failure { class, retry_after_ms }
    }

    fn is_available(view: &HealthView, id: LaneId<'_>, now_ms: u64) -> bool {
        view.availability(id, None, now_ms) == Availability::Available
    }

    fn exchange(view: &mut HealthView, shared: &mut Shared, now_ms: u64) {
        let (report, token) = view.publish_report(now_ms);
        let report: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        let update = serde_json::to_string(&shared.take(&report)).unwrap();
        view.refreshed(&serde_json::from_str(&update).unwrap(), token);
    }

    #[test]
    fn a_throttled_lane_is_in_cooldown_until_the_stated_time() {
        let mut view = HealthView::default();
        view.failed(A, &failure(Class::Throttled, Some(3000)), false, 1000, 0);
        assert_eq!(
            view.availability(A, None, 3999),
            Availability::CoolingDown { until_ms: 4000, why: "throttled", stated: true }
        );
        assert!(
            is_available(&view, A, 4000) && is_available(&view, B, 1000) && is_available(&view, A1, 1000)
        );
        assert!(view.is_due(1000), "the other isolates need this at once");
    }

    #[test]
    fn a_rejected_key_cools_down_for_all_models_until_a_success() {
        let mut view = HealthView::default();
        view.failed(A, &failure(Class::CredentialRejected, None), false, 1000, 0);
        assert!(
            !is_available(&view, A, 1000) && !is_available(&view, B, 1000) && is_available(&view, A1, 1000)
        );
        view.answered(B, 999, 1500);
        assert!(!is_available(&view, A, 1500), "a call that was sent earlier proves nothing");
        view.answered(B, 1001, 1600);
        assert!(is_available(&view, A, 1600));
    }

    #[test]
    fn what_an_operator_decides_about_a_lane_holds_until_its_end() {
        let mut view = HealthView::default();
        view.set_cooldown(A, Some(60_000), 1000);
        view.failed(A, &failure(Class::ServerError, None), false, 1100, 0);
        view.failed(A, &failure(Class::Throttled, Some(10)), false, 1200, 0);
        view.answered(A, 1050, 1300);
        assert_eq!(
            view.availability(A, None, 59_999),
            Availability::CoolingDown { until_ms: 60_000, why: "operator", stated: true }
        );
        assert!(is_available(&view, A, 60_000) && is_available(&view, B, 1000));
        view.set_cooldown(A, None, 2000);
        assert!(is_available(&view, A, 2000), "the operator resumes it");
        view.set_cooldown(A.of_key(), Some(60_000), 3000);
        assert!(!is_available(&view, A, 3000) && !is_available(&view, B, 3000), "a key with all its models");
        view.failed(B, &failure(Class::ServerError, None), false, 70_000, 0);
        view.set_cooldown(B, None, 70_001);
        assert!(is_available(&view, B, 70_002), "a cooldown after a failure can be ended too");
    }

    #[test]
    fn a_success_in_an_isolate_that_does_not_know_of_a_decision_does_not_end_it() {
        let (mut one, mut other, mut shared) =
            (HealthView::default(), HealthView::default(), Shared::new(1, Lanes::default()));
        other.failed(A, &failure(Class::ServerError, None), false, 1000, 0);
        exchange(&mut other, &mut shared, 1000);
        one.set_cooldown(A, Some(60_000), 5000);
        exchange(&mut one, &mut shared, 5000);
        other.answered(A, 5100, 5200);
        exchange(&mut other, &mut shared, 5300);
        exchange(&mut one, &mut shared, 5400);
        assert!(!is_available(&one, A, 6000) && !is_available(&other, A, 6000));
    }

    #[test]
    fn the_last_error_reaches_the_other_isolates() {
        let (mut one, mut other, mut shared) =
            (HealthView::default(), HealthView::default(), Shared::new(1, Lanes::default()));
        let error = |status, at_ms| {
            let error = Error::upstream(status, "t".into(), Some("c".into()), "m".into());
            LastError::of(&error, &"é".repeat(400), at_ms)
        };
        assert_eq!(error(400, 5), None, "a caller's mistake is not kept");
        one.keep_error(A, error(500, 10).unwrap());
        one.keep_error(A, error(503, 20).unwrap());
        exchange(&mut one, &mut shared, 1000);
        other.keep_error(A, error(500, 15).unwrap());
        exchange(&mut other, &mut shared, 1000);
        for view in [&one, &other] {
            let last = view.lane(A).and_then(|lane| lane.last_error.as_deref()).unwrap();
            assert_eq!((last.status, last.at_ms, last.code.as_deref()), (503, 20, Some("c")));
            assert_eq!(last.message.chars().count(), LastError::MAX_MESSAGE);
        }
    }

    #[test]
    fn cooldowns_grow_with_failures_in_a_row_but_not_with_concurrent_failures() {
        let mut view = HealthView::default();
        let mut now_ms = 1000;
        for expected_ms in [2000, 4000, 8000, 16_000] {
            for _ in 0..5 {
                view.failed(A, &failure(Class::ServerError, None), false, now_ms, 0);
            }
            let Availability::CoolingDown { until_ms, stated: false, .. } =
                view.availability(A, None, now_ms)
            else {
                panic!("available");
            };
            assert_eq!(until_ms - now_ms, expected_ms);
            now_ms = until_ms;
        }
        view.begin(A, now_ms);
        assert!(!is_available(&view, A, now_ms), "one call probes the lane");
        view.answered(A, now_ms, now_ms + 10);
        assert!(is_available(&view, A, now_ms + 10));
        view.failed(A, &failure(Class::ServerError, None), false, now_ms + 20, 0);
        assert!(is_available(&view, A, now_ms + 2020), "the streak was reset");
    }

    #[test]
    fn callers_cannot_put_a_lane_into_cooldown() {
        let mut view = HealthView::default();
        let other = LaneId { model: OTHER, ..A };
        for class in [Class::Refused, Class::TooLong, Class::ContentRefused, Class::ClientLeft] {
            view.failed(A, &failure(class, None), false, 1000, 0);
        }
        view.failed(other, &failure(Class::ModelGone, None), false, 1000, 0);
        assert!(is_available(&view, A, 1000) && is_available(&view, other, 1000));
        assert!(view.lane(A).unwrap().success(1000) > 0.9);
        view.failed(A, &failure(Class::ModelGone, None), false, 1000, 0);
        assert!(!is_available(&view, A, 1000));
    }

    #[test]
    fn a_daily_limit_lasts_until_midnight() {
        let mut view = HealthView::default();
        view.answered(A, 0, 1000);
        assert!(is_available(&view, A, 1000));
        assert!(matches!(
            view.availability(A, Some(1), 1000),
            Availability::CoolingDown { until_ms: 86_400_000, stated: false, .. }
        ));
    }

    #[test]
    fn isolates_share_observations_through_the_object() {
        let mut shared = Shared::new(7, Lanes::default());
        let (mut one, mut two) = (HealthView::default(), HealthView::default());
        exchange(&mut two, &mut shared, 0);
        one.failed(A, &failure(Class::Throttled, Some(60_000)), false, 1000, 0);
        exchange(&mut one, &mut shared, 1000);
        assert!(is_available(&two, A, 1900) && two.is_stale(1900));
        two.answered(A1, 100, 1950);
        exchange(&mut two, &mut shared, 2000);
        assert!(!is_available(&two, A, 2000));
        assert_eq!(two.lane(A).unwrap().totals.throttles, 1);
        exchange(&mut one, &mut shared, 3000);
        assert_eq!(one.lane(A1).unwrap().totals.attempts, 1);
        assert_eq!(one.lane(A).unwrap().totals.attempts, 1, "its own report is not counted twice");
    }

    #[test]
    fn an_estimate_does_not_replace_the_time_that_the_provider_stated() {
        let until = |view: &HealthView| match view.availability(A, None, 1600) {
            Availability::CoolingDown { until_ms, stated, .. } => (until_ms, stated),
            Availability::Available => panic!("available"),
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
        // The provider's last statement counts, although another isolate estimated later.
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
        // A longer estimate does not replace it either.
        let mut view = HealthView::default();
        view.failed(A, &failure(Class::Throttled, Some(1_000)), false, 1000, 0);
        view.failed(A, &failure(Class::ServerError, None), false, 1500, 0);
        assert_eq!(until(&view), (2000, true));
    }

    #[test]
    fn a_success_does_not_end_a_cooldown_that_started_after_the_call_was_sent() {
        let mut shared = Shared::new(7, Lanes::default());
        let (mut one, mut two) = (HealthView::default(), HealthView::default());
        one.failed(A, &failure(Class::Throttled, Some(100)), false, 1000, 0);
        for view in [&mut one, &mut two] {
            exchange(view, &mut shared, 1000);
        }
        // Both try the lane after its cooldown; one is throttled again, then the other succeeds.
        one.failed(A, &failure(Class::Throttled, Some(60_000)), false, 2100, 0);
        two.answered(A, 2000, 2200);
        for view in [&mut one, &mut two] {
            exchange(view, &mut shared, 2200);
        }
        exchange(&mut one, &mut shared, 2200);
        assert!(!is_available(&one, A, 2200) && !is_available(&two, A, 2200));
    }

    #[test]
    fn one_call_at_a_time_probes_a_lane_that_hangs() {
        let mut view = HealthView::default();
        let mut now_ms = 1000;
        for _ in 0..3 {
            view.failed(A, &failure(Class::TimedOut, None), false, now_ms, 0);
            now_ms += 60_000;
        }
        view.begin(A, now_ms);
        assert!(!is_available(&view, A, now_ms + 59_999), "it is being probed");
        view.failed(A, &failure(Class::Refused, None), false, now_ms + 10, 0);
        assert!(is_available(&view, A, now_ms + 10), "it responds, though the request is invalid");
    }

    #[test]
    fn observations_are_kept_while_their_report_is_under_way() {
        let mut shared = Shared::new(7, Lanes::default());
        let (mut one, mut two) = (HealthView::default(), HealthView::default());
        exchange(&mut one, &mut shared, 0);
        one.failed(A, &failure(Class::Throttled, Some(60_000)), false, 1000, 0);
        let (report, token) = one.publish_report(1000);
        // The other isolate has an observation of the same lane, and a refresh request overtakes the report.
        two.answered(A, 500, 1000);
        exchange(&mut two, &mut shared, 1000);
        exchange(&mut one, &mut shared, 1001);
        assert!(!is_available(&one, A, 1001));
        one.refreshed(&shared.take(&report), token);
        assert!(!is_available(&one, A, 1002));
        assert_eq!(one.lane(A).unwrap().totals.attempts, 2);
    }

    #[test]
    fn a_report_without_a_response_is_sent_again() {
        let mut shared = Shared::new(7, Lanes::default());
        let mut view = HealthView::default();
        view.answered(A, 0, 10);
        let (_, token) = view.publish_report(10);
        assert!(!view.is_due(10), "one report at a time");
        assert!(view.publish_report(10).0.lanes.is_empty(), "another one only requests an update");
        view.not_refreshed(token);
        view.answered(A, 0, 20);
        exchange(&mut view, &mut shared, 2000);
        assert_eq!(view.lane(A).unwrap().totals.attempts, 2);
        // A new object is empty: the view follows it, and keeps the observations that are not published yet.
        let mut shared = Shared::new(8, Lanes::default());
        view.answered(B, 0, 30);
        exchange(&mut view, &mut shared, 4000);
        assert_eq!(view.lane(A), None);
        assert_eq!(view.lane(B).unwrap().totals.attempts, 1);
    }

    #[test]
    fn an_object_keeps_its_state_across_a_restart() {
        let mut shared = Shared::new(7, Lanes::default());
        let mut view = HealthView::default();
        view.failed(A, &failure(Class::Throttled, Some(60_000)), false, 1000, 0);
        exchange(&mut view, &mut shared, 1000);
        let kept = serde_json::from_str(&serde_json::to_string(shared.lanes()).unwrap()).unwrap();
        let mut fresh = HealthView::default();
        exchange(&mut fresh, &mut Shared::new(8, kept), 2000);
        assert!(!is_available(&fresh, A, 2000));
    }

    proptest! {
        /// However the reports of several isolates interleave, get lost or are repeated: in the end all isolates have
        /// the same view, which counts each call once.
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
                    _ => { let (_, token) = view.publish_report(now_ms); view.not_refreshed(token); }
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
