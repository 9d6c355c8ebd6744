//! `anomaly.watch`: looks at what the host itself knows, and keeps findings about what is not as it was.
//!
//! Of every lane: success rate, duration, queue wait, fuel and what people thought of the results; and the income, by currency. The figures
//! come from the store, a row for a quarter of an hour. Each series is scored by whatever plugin takes `anomaly.score`, in
//! its sandbox and under its limits; what it calls an episode becomes a finding when it matters and is not long over. A run reports the
//! whole set of what it found of lanes and the whole set of what it found of the income, so what it finds no more is resolved; where a
//! series could not be scored, nothing is.

mod beside;
mod income;
mod judge;
mod request;
mod scoring;
mod series;
mod silence;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::income::Money;
use self::judge::{Stream, Subject};
use self::request::Plan;
use self::scoring::{Asked, Kind, Request, Scored};
use self::series::{History, Metric, Sums};
use crate::clock::{SharedClock, UnixMs};
use crate::event::EventBus;
use crate::finding::{Change, FindingScope, Observation, Report};
use crate::store::{Reported, Store, StoreError};
use crate::task::{LaneKey, NativeCall, NativeFailure, NativeManifest, NativeTask, TaskType};

/// The task type.
pub const TASK_TYPE: &str = "anomaly.watch";
/// The task type of the plugin that scores.
pub const SCORE_TASK_TYPE: &str = "anomaly.score";

/// A series of a lane with fewer points that say something has no past to be compared with: the scorer judges nothing within a day before it
/// knows as many.
const POINTS_MIN: usize = 32;
/// The same for days of income.
const DAYS_MIN: usize = 24;
/// Series of one run; the rest are named as not looked at.
const SERIES_MAX: usize = 4_000;
/// Rows of figures of one run.
const ROWS_MAX: u32 = 1_000_000;
/// Series that the result names one by one among those that could not be scored.
const NAMED_MAX: usize = 20;
/// Half an hour: a host with thousands of lanes takes some minutes.
const WALL_MS: u64 = 1_800_000;

/// Why a series has no score.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// No plugin is loaded that scores.
    #[error("no loaded plugin takes tasks of type anomaly.score")]
    NoPlugin,
    /// It did not succeed.
    #[error("{0}")]
    Failed(String),
}

/// Scores a series in the sandbox, as a task of type `anomaly.score` with this payload would.
#[async_trait]
pub trait Scorer: Send + Sync + 'static {
    /// The result, as JSON text.
    async fn score(&self, payload: Box<str>, cancel: CancellationToken) -> Result<Box<str>, ScoreError>;
}

/// The task.
pub struct Watch {
    /// Where figures and findings are.
    pub store: Arc<dyn Store>,
    /// What scores.
    pub scorer: Arc<dyn Scorer>,
    /// Who hears of findings.
    pub events: EventBus,
    /// What time it is.
    pub clock: SharedClock,
}

#[derive(Serialize)]
struct Answer {
    from: String,
    to: String,
    bucket_minutes: u64,
    lanes: usize,
    /// Kinds of money: a currency of an account.
    currencies: usize,
    series: Counts,
    /// Whether everything there is was looked at. If not, nothing was resolved.
    complete: bool,
    /// The first of those that could not be scored, and why.
    not_scored: Vec<String>,
    findings: FindingCounts,
}

#[derive(Default, Serialize)]
struct Counts {
    scored: usize,
    /// With too few points to be compared with anything.
    too_short: usize,
    failed: usize,
}

#[derive(Default, Serialize)]
struct FindingCounts {
    new: usize,
    persisting: usize,
    resolved: usize,
    /// Another run has looked at a later moment already, or this one had reported before: nothing was changed.
    superseded: bool,
}

#[async_trait]
impl NativeTask for Watch {
    fn manifest(&self) -> NativeManifest {
        NativeManifest {
            name: "anomaly-watch",
            task_type: TASK_TYPE,
            description: "Looks at success rate, duration, queue wait, fuel and ratings of every lane and at the income, and keeps findings about what changed.",
            wall_ms: WALL_MS,
        }
    }

    async fn execute(&self, call: NativeCall) -> Result<Box<str>, NativeFailure> {
        let plan = Plan::read(&call.payload, self.clock.now()).map_err(NativeFailure::Invalid)?;
        let page = self.store.task_stats(plan.from, plan.to, plan.span, ROWS_MAX).await.map_err(later)?;
        let (ratings, more_ratings) = self.store.rating_stats(plan.from, plan.to, plan.span, ROWS_MAX).await.map_err(later)?;
        let lanes = series::histories(page.rows, ratings);
        let mut run = Run {
            watch: self,
            plan: &plan,
            cancel: call.cancel.clone(),
            counts: Counts::default(),
            left: SERIES_MAX,
            cut_off: page.cut_off || more_ratings,
            not_scored: Vec::new(),
        };
        let mut found = Vec::new();
        for (lane, history) in &lanes {
            run.lane(lane, history, &mut found).await?;
        }
        let mut complete = run.complete();
        let mut findings = FindingCounts::default();
        self.report(&call, &plan.scope(), plan.to, complete, found, &mut findings).await?;
        let moneys = income::read(&*self.store, &plan).await?;
        let mut found = Vec::new();
        run.cut_off = false;
        let failed_before = std::mem::take(&mut run.counts.failed);
        for money in &moneys {
            run.money(money, &mut found).await?;
        }
        let income_complete = run.complete();
        self.report(&call, &plan.income.scope(), plan.to, income_complete, found, &mut findings).await?;
        complete &= income_complete;
        let Run { mut counts, not_scored, .. } = run;
        counts.failed += failed_before;
        let answer = Answer {
            from: plan.from.to_rfc3339(),
            to: plan.to.to_rfc3339(),
            bucket_minutes: plan.span.as_secs() / 60,
            lanes: lanes.len(),
            currencies: moneys.len(),
            series: counts,
            complete,
            not_scored,
            findings,
        };
        serde_json::to_string(&answer).map(String::into_boxed_str).map_err(|error| NativeFailure::Permanent(error.to_string()))
    }
}

/// One run over all lanes.
struct Run<'a> {
    watch: &'a Watch,
    plan: &'a Plan,
    cancel: CancellationToken,
    counts: Counts,
    /// Series that may still be scored.
    left: usize,
    cut_off: bool,
    not_scored: Vec<String>,
}

impl Run<'_> {
    async fn lane(&mut self, lane: &LaneKey, history: &History, found: &mut Vec<Observation>) -> Result<(), NativeFailure> {
        let whole = Subject { lane, version: None };
        for stream in Stream::ALL {
            let busy = history.all.iter().filter(|(_, sums)| stream.came(sums)).map(|(at, _)| *at);
            if let Some(silence) = silence::silence(busy, self.plan.to, self.plan.span_ms()) {
                found.push(judge::silent(&whole, stream, &silence).map_err(invalid_name)?);
            }
        }
        for metric in Metric::ALL {
            let seen = self.series(metric, &whole, &history.all, history).await?;
            let lane_speaks = seen.is_some();
            found.extend(seen);
            // One version of several may be ill without the lane showing it; when the lane shows it, once is enough.
            let versions = history.versions(self.plan.recent_from, self.plan.to);
            if lane_speaks || versions.len() < 2 {
                continue;
            }
            for version in versions {
                let Some(buckets) = history.by_version.get(version) else { continue };
                let seen = self.series(metric, &Subject { lane, version: Some(version) }, buckets, history).await?;
                if seen.is_none() && metric.kind() == Kind::Ratio {
                    found.extend(beside::observation(metric, lane, version, history, self.plan).map_err(invalid_name)?);
                }
                found.extend(seen);
            }
        }
        Ok(())
    }

    async fn series(
        &mut self,
        metric: Metric,
        subject: &Subject<'_>,
        buckets: &BTreeMap<UnixMs, Sums>,
        history: &History,
    ) -> Result<Option<Observation>, NativeFailure> {
        let asked = series::series(metric, buckets, self.plan);
        let name = || format!("{} of {}", metric.name(), subject.lane);
        let Some(scored) = self.scored(&asked, POINTS_MIN, name).await? else { return Ok(None) };
        judge::observation(metric, subject, buckets, history, &scored.without(metric.grain()), self.plan).map_err(invalid_name)
    }

    async fn money(&mut self, money: &Money, found: &mut Vec<Observation>) -> Result<(), NativeFailure> {
        if let Some(silence) = silence::silence(money.busy.iter().copied(), self.plan.to, self.plan.span_ms()) {
            found.push(money.stopped(&silence).map_err(invalid_name)?);
        }
        if let Some(scored) = self.scored(&money.asked(), DAYS_MIN, || money.shown()).await? {
            found.extend(money.observation(&scored, &self.plan.income).map_err(invalid_name)?);
        }
        Ok(())
    }

    /// A series with its scores; nothing for one that is too short, that there is no room for, or that could not be scored.
    async fn scored(&mut self, asked: &Asked, points_min: usize, name: impl Fn() -> String) -> Result<Option<Scored>, NativeFailure> {
        if asked.points.iter().filter(|point| point.1.is_some()).count() < points_min {
            self.counts.too_short += 1;
            return Ok(None);
        }
        if self.left == 0 {
            self.cut_off = true;
            return Ok(None);
        }
        self.left -= 1;
        match self.score(asked).await {
            Ok(scored) => {
                self.counts.scored += 1;
                Ok(Some(scored))
            }
            // Without a scorer there is nothing to wait for in the next series either.
            Err(ScoreError::NoPlugin) => Err(NativeFailure::Permanent(ScoreError::NoPlugin.to_string())),
            Err(ScoreError::Failed(why)) => {
                self.counts.failed += 1;
                if self.not_scored.len() < NAMED_MAX {
                    self.not_scored.push(format!("{}: {why}", name()));
                }
                Ok(None)
            }
        }
    }

    async fn score(&self, asked: &Asked) -> Result<Scored, ScoreError> {
        let failed = |error: serde_json::Error| ScoreError::Failed(error.to_string());
        let payload = serde_json::to_string(&Request::new(asked, self.plan.alert_score)).map_err(failed)?;
        let answer = self.watch.scorer.score(payload.into(), self.cancel.clone()).await?;
        serde_json::from_str(&answer).map_err(failed)
    }

    /// Whether everything so far was looked at.
    fn complete(&self) -> bool {
        self.counts.failed == 0 && !self.cut_off
    }
}

impl Watch {
    /// Reports what was found under a scope, and adds up what became of it.
    async fn report(
        &self,
        call: &NativeCall,
        scope: &str,
        at: UnixMs,
        complete: bool,
        found: Vec<Observation>,
        counts: &mut FindingCounts,
    ) -> Result<(), NativeFailure> {
        let scope = FindingScope::new(scope).map_err(invalid_name)?;
        match self.store.report_findings(Report { scope, source: call.id, at, complete, found }).await.map_err(later)? {
            Reported::Superseded => counts.superseded = true,
            Reported::Applied(changes) => {
                for change in &changes {
                    match change {
                        Change::Opened(_) => counts.new += 1,
                        Change::Persists(_) => counts.persisting += 1,
                        Change::Resolved(_) => counts.resolved += 1,
                    }
                }
                self.events.publish_findings(self.clock.now(), call.id, &call.lane.task_type, call.lane.ai_model.as_ref(), &changes);
            }
        }
        Ok(())
    }
}

fn invalid_name(error: crate::task::NameError) -> NativeFailure {
    NativeFailure::Permanent(error.0)
}

fn later(error: StoreError) -> NativeFailure {
    NativeFailure::Transient { reason: format!("the store could not be asked: {error}"), retry_after: None }
}

/// The lane that series are scored in.
///
/// # Errors
/// Never in practice: it is a valid name.
pub fn score_lane() -> Result<LaneKey, crate::task::NameError> {
    Ok(LaneKey { task_type: TaskType::new(SCORE_TASK_TYPE)?, ai_model: None })
}
