//! What is kept of Stripe: events as they came, objects as they are known, what has to be fetched, and the income.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Result, Submitted};
use crate::clock::UnixMs;
use crate::stripe::income::{Basis, Cell, Sums};
use crate::stripe::ledger::Owner;
use crate::stripe::plan::Wanted;
use crate::stripe::transaction::{Key, Transaction};
use crate::task::NewTask;
use crate::zone::Period;

/// What was decided about an event when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It is ours and is processed.
    Accepted,
    /// Its type is not known: it is kept and counted.
    UnknownType,
    /// It is of the mode, live or test, that this endpoint is not for.
    OtherMode,
    /// It is of an account that this endpoint is not for.
    OtherAccount,
    /// Stripe signed it and it is no event that could be read.
    Unreadable,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Accepted, Self::UnknownType, Self::OtherMode, Self::OtherAccount, Self::Unreadable];

    /// As it is stored and counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::UnknownType => "unknown_type",
            Self::OtherMode => "other_mode",
            Self::OtherAccount => "other_account",
            Self::Unreadable => "unreadable",
        }
    }
}

impl std::str::FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|verdict| verdict.name() == text).ok_or_else(|| format!("{text:?} is no verdict on an event"))
    }
}

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeEvent {
    /// Stripe's id, by which it is told from others.
    pub id: String,
    /// What happened.
    pub event_type: String,
    /// Whose.
    pub owner: Owner,
    /// The version its object is rendered in.
    pub api_version: Option<String>,
    /// What was decided about it.
    pub verdict: Verdict,
    /// When Stripe made it.
    pub created_at: UnixMs,
    /// When it came.
    pub received_at: UnixMs,
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
    /// The body, byte for byte; empty when it was taken out at the end of its retention.
    pub body: Bytes,
}

/// What became of an event that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is new and on disk, with its task if one was given.
    New(Option<Submitted>),
    /// It was there; nothing was written.
    Known,
}

/// What a batch of sights changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Objects that are new or known better.
    pub changed: usize,
    /// Objects that have to be fetched because of it.
    pub wanted: usize,
}

/// Events and objects.
#[async_trait]
pub trait StripeStore: Send + Sync + 'static {
    /// Keeps an event and submits the task that processes it, in one transaction; an event whose id is known changes nothing. Durable before it
    /// returns.
    async fn record_stripe_event(&self, event: StripeEvent, task: Option<NewTask>, now: UnixMs) -> Result<Recorded>;

    /// Takes out the bodies of events that came before this, at most `limit_rows`, the oldest first; everything else of them stays. How many.
    async fn prune_stripe_bodies(&self, before: UnixMs, limit_rows: u32) -> Result<u64>;

    /// One event.
    async fn stripe_event(&self, id: &str) -> Result<Option<StripeEvent>>;

    /// Joins what was seen to what is known, with what that does to the income, in one transaction. `named` are objects that were spoken of and
    /// not shown. The order of calls, and calling again, make no difference.
    async fn apply_stripe(&self, seen: Vec<Transaction>, named: Vec<Key>, now: UnixMs) -> Result<Applied>;

    /// One object.
    async fn stripe_transaction(&self, key: &Key) -> Result<Option<Transaction>>;

    /// Objects of this owner that have to be fetched and are due, at most `limit`, the longest due first. Those of others may wait for ever: nobody
    /// has a key to them.
    async fn stripe_wanted(&self, owner: &Owner, now: UnixMs, limit: u32) -> Result<Vec<Wanted>>;

    /// Says that these need not be fetched any more (they are here, or Stripe does not have them), or not before `again_at`.
    async fn settle_stripe_wanted(&self, wanted: Vec<Wanted>, again_at: Option<UnixMs>) -> Result<()>;
}

/// Which income is asked for; `None` is all of it.
#[derive(Debug, Clone, Default)]
pub struct IncomeFilter {
    /// From what.
    pub basis: Option<Basis>,
    /// Lower case.
    pub currency: Option<String>,
    /// Real money or not.
    pub livemode: Option<bool>,
    /// Whose.
    pub account: Option<String>,
}

/// Sums of one period; `bucket_ms` of the cell is the period's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomeRow {
    /// About what.
    pub cell: Cell,
    /// The sums.
    pub sums: Sums,
    /// When the sums were added to, for what came after the period was closed.
    pub restated_at: Option<UnixMs>,
}

/// A sum that is not what the facts say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub cell: Cell,
    /// The running sum.
    pub running: Sums,
    /// The sum over all facts.
    pub recomputed: Sums,
}

/// What a recomputation found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncomeAudit {
    /// Facts that were read.
    pub facts: u64,
    /// Sums that were compared.
    pub cells: u64,
    /// Those that differ.
    pub differences: Vec<Difference>,
}

/// Reading the income, beside whoever writes it.
#[async_trait]
pub trait IncomeStore: Send + Sync + 'static {
    /// The sums of each period, by everything in a cell, in the order of cells.
    async fn income(&self, periods: &[Period], filter: &IncomeFilter) -> Result<Vec<IncomeRow>>;

    /// What was added to each period after it was closed, by the time that happened.
    async fn income_restated(&self, periods: &[Period], filter: &IncomeFilter) -> Result<Vec<IncomeRow>>;

    /// Computes all sums anew from the facts and compares, at one point in time.
    async fn audit_income(&self) -> Result<IncomeAudit>;
}
