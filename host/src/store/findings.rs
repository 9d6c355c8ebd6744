//! Where findings are kept.

use async_trait::async_trait;

use super::Result;
use crate::clock::UnixMs;
use crate::finding::{Acknowledgement, Change, Finding, FindingId, FindingKind, FindingScope, FindingState, Report};

/// What became of a report.
#[derive(Debug, Clone)]
pub enum Reported {
    /// It was taken over: these findings are new, still there, or gone.
    Applied(Vec<Change>),
    /// The scope has a report of this task, or of a later moment; nothing was changed.
    Superseded,
}

/// Which findings to list. Newest first, by when they were first found.
#[derive(Debug, Clone, Default)]
pub struct FindingFilter {
    /// In this state.
    pub state: Option<FindingState>,
    /// Of this kind.
    pub kind: Option<FindingKind>,
    /// Of this scope.
    pub scope: Option<FindingScope>,
    /// Seen by somebody, or not.
    pub acknowledged: Option<bool>,
    /// Older than the one at this cursor.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// One page of a listing.
#[derive(Debug, Clone)]
pub struct FindingPage {
    /// The findings.
    pub findings: Vec<Finding>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<i64>,
}

/// Findings.
#[async_trait]
pub trait FindingStore: Send + Sync + 'static {
    /// Replaces what a scope found by what it finds now, in one transaction, as [`crate::finding::settle`] says.
    async fn report_findings(&self, report: Report) -> Result<Reported>;
    /// A page of findings.
    async fn findings(&self, filter: FindingFilter) -> Result<FindingPage>;
    /// One finding.
    async fn finding(&self, id: FindingId) -> Result<Option<Finding>>;
    /// Notes that somebody has seen a finding, or takes that back; the finding as it is now.
    async fn acknowledge_finding(&self, id: FindingId, acknowledged: Option<Acknowledgement>) -> Result<Option<Finding>>;
    /// Deletes findings resolved before `resolved_before`, at most `limit_findings`. Returns how many.
    async fn prune_findings(&self, resolved_before: UnixMs, limit_findings: u32) -> Result<u64>;
}
