//! The payload of `anomaly.watch`, and what it means once it is checked.

use std::time::Duration;

use serde::Deserialize;

use crate::clock::UnixMs;
use crate::store::STATS_BUCKET;
use crate::zone::{Period, Step, Zone};

/// Points of one series at most: what the scorer is given, and what a finding can look back on.
const POINTS_MAX: u64 = 10_000;
/// Three years: with leap days, and a little more.
const INCOME_DAYS_MAX: u64 = 1_100;
const DAY: Duration = Duration::from_secs(86_400);

/// What may be said; everything has a default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Request {
    /// How much time one point of a series covers: a multiple of 15 that divides a day.
    bucket_minutes: u64,
    /// How far back series begin.
    history_days: u64,
    /// What ended longer ago than this is no longer reported. At least the time between two runs, or something falls in between.
    recent_hours: u64,
    /// Points with fewer attempts say nothing.
    min_attempts: u64,
    /// How far back days of income go.
    income_history_days: u64,
    /// What of the income ended longer ago than this is no longer reported.
    income_recent_days: u64,
    /// Whose days the days of income are: an IANA name.
    time_zone: String,
    /// Whether the income is real money or test data.
    livemode: bool,
    /// Where alerts begin, as in `anomaly.score`; its own default when left out.
    alert_score: Option<f64>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            bucket_minutes: 60,
            history_days: 28,
            recent_hours: 24,
            min_attempts: 20,
            income_history_days: 400,
            income_recent_days: 2,
            time_zone: "UTC".to_owned(),
            livemode: true,
            alert_score: None,
        }
    }
}

/// A request that was checked, at the time of its run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) span: Duration,
    /// The first moment that is looked at.
    pub(super) from: UnixMs,
    /// The first that is not: what has begun and not ended yet is left out.
    pub(super) to: UnixMs,
    /// What ended before this is no longer reported.
    pub(super) recent_from: UnixMs,
    pub(super) min_attempts: u64,
    pub(super) alert_score: Option<f64>,
    pub(super) income: IncomePlan,
}

/// How the income is looked at.
#[derive(Debug, Clone)]
pub(super) struct IncomePlan {
    pub(super) livemode: bool,
    pub(super) zone_name: String,
    /// Whole days, the last one over.
    pub(super) days: Vec<Period>,
    /// What ended before this is no longer reported.
    pub(super) recent_from: UnixMs,
}

impl IncomePlan {
    fn read(request: &Request, now: UnixMs) -> Result<Self, String> {
        let history = within("income_history_days", request.income_history_days, INCOME_DAYS_MAX)?;
        let recent = within("income_recent_days", request.income_recent_days, history)?;
        let wrong = |why: String| format!("time_zone is {:?}: {why}", request.time_zone.chars().take(40).collect::<String>());
        let zone: Zone = request.time_zone.parse().map_err(wrong)?;
        let mut days = Vec::new();
        let mut day = zone.period(Step::Day, now.0).map_err(wrong)?;
        let today = UnixMs(day.start_ms);
        for _ in 0..history {
            day = zone.period(Step::Day, day.start_ms - 1).map_err(wrong)?;
            days.push(day);
        }
        days.reverse();
        let recent_from = today.minus(DAY.saturating_mul(u32::try_from(recent).unwrap_or(u32::MAX)));
        Ok(Self { livemode: request.livemode, zone_name: request.time_zone.clone(), days, recent_from })
    }

    /// The set that a run of this plan reports.
    pub(super) fn scope(&self) -> String {
        format!("anomaly.watch:income:{}:{}", if self.livemode { "live" } else { "test" }, self.zone_name)
    }
}

fn within(name: &str, value: u64, max: u64) -> Result<u64, String> {
    if (1..=max).contains(&value) { Ok(value) } else { Err(format!("{name} is {value}: it must be from 1 to {max}")) }
}

impl Plan {
    /// Reads a payload.
    ///
    /// # Errors
    /// Which field is wrong and what it may be.
    pub(super) fn read(payload: &str, now: UnixMs) -> Result<Self, String> {
        // As an object or null: serde would also read a struct from a list.
        let fields: Option<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_str(payload).map_err(|error| error.to_string())?;
        let request = fields.map(|fields| serde_json::from_value::<Request>(fields.into()));
        let request = request.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        let span = Duration::from_secs(request.bucket_minutes.saturating_mul(60));
        let (day_s, step_s) = (DAY.as_secs(), STATS_BUCKET.as_secs());
        if span.is_zero() || !span.as_secs().is_multiple_of(step_s) || !day_s.is_multiple_of(span.as_secs()) {
            return Err(format!(
                "bucket_minutes is {}: it must be a multiple of 15 that divides a day, such as 60",
                request.bucket_minutes
            ));
        }
        let history = DAY.saturating_mul(u32::try_from(within("history_days", request.history_days, 90)?).unwrap_or(u32::MAX));
        if history.as_secs() / span.as_secs() > POINTS_MAX {
            return Err(format!(
                "history_days and bucket_minutes give more than {POINTS_MAX} points; look back less far, or use larger buckets"
            ));
        }
        let recent = Duration::from_secs(within("recent_hours", request.recent_hours, request.history_days * 24)? * 3_600);
        let to = floor(now, span);
        Ok(Self {
            span,
            from: floor(to.minus(history), span),
            to,
            recent_from: to.minus(recent),
            min_attempts: within("min_attempts", request.min_attempts, 1_000_000)?,
            alert_score: request.alert_score,
            income: IncomePlan::read(&request, now)?,
        })
    }

    /// How much time one point covers, in milliseconds.
    pub(super) fn span_ms(&self) -> i64 {
        i64::try_from(self.span.as_millis()).unwrap_or(i64::MAX).max(1)
    }

    /// The set that a run of this plan reports. Other buckets see other things, so they do not replace each other's.
    pub(super) fn scope(&self) -> String {
        format!("anomaly.watch:tasks:{}m", self.span.as_secs() / 60)
    }
}

fn floor(at: UnixMs, span: Duration) -> UnixMs {
    let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX).max(1);
    UnixMs(at.0.div_euclid(span_ms) * span_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_ends_with_the_last_whole_bucket() {
        let now = UnixMs::parse_rfc3339("2026-11-25T10:59:59Z").expect("a time");
        let plan = Plan::read("null", now).expect("good");
        let shown = [plan.from, plan.to, plan.recent_from].map(UnixMs::to_rfc3339);
        assert_eq!(shown, ["2026-10-28T10:00:00.000Z", "2026-11-25T10:00:00.000Z", "2026-11-24T10:00:00.000Z"]);
        let plan = Plan::read(r#"{"bucket_minutes": 15, "history_days": 2, "recent_hours": 1}"#, now).expect("good");
        assert_eq!((plan.to.to_rfc3339().as_str(), plan.scope().as_str()), ("2026-11-25T10:45:00.000Z", "anomaly.watch:tasks:15m"));
    }

    #[test]
    fn days_of_income_are_whole_days_of_their_zone() {
        // Half past midnight in Berlin: the day before is over there, and not in UTC.
        let now = UnixMs::parse_rfc3339("2026-11-25T23:30:00Z").expect("a time");
        let plan = Plan::read(r#"{"time_zone": "Europe/Berlin", "income_history_days": 3}"#, now).expect("good").income;
        let shown: Vec<String> = plan.days.iter().map(|day| UnixMs(day.start_ms).to_rfc3339()).collect();
        assert_eq!(shown, ["2026-11-22T23:00:00.000Z", "2026-11-23T23:00:00.000Z", "2026-11-24T23:00:00.000Z"]);
        assert_eq!(
            (plan.recent_from.to_rfc3339().as_str(), plan.scope().as_str()),
            ("2026-11-23T23:00:00.000Z", "anomaly.watch:income:live:Europe/Berlin")
        );
    }

    #[test]
    fn mistakes_name_the_field() {
        for (payload, word) in [
            (r#"{"bucket_minutes": 10}"#, "bucket_minutes"),
            (r#"{"bucket_minutes": 0}"#, "bucket_minutes"),
            (r#"{"bucket_minutes": 105}"#, "bucket_minutes"),
            (r#"{"history_days": 91}"#, "history_days"),
            (r#"{"recent_hours": 0}"#, "recent_hours"),
            (r#"{"recent_hours": 25, "history_days": 1}"#, "recent_hours"),
            (r#"{"min_attempts": 0}"#, "min_attempts"),
            (r#"{"income_history_days": 1101}"#, "income_history_days"),
            (r#"{"income_recent_days": 0}"#, "income_recent_days"),
            (r#"{"time_zone": "Mars/Olympus"}"#, "time_zone"),
            (r#"{"bucket": 60}"#, "bucket"),
            ("[]", "sequence"),
        ] {
            let said = Plan::read(payload, UnixMs(0)).expect_err(payload);
            assert!(said.contains(word), "{payload}: {said}");
        }
    }
}
