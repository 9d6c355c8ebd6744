//! Findings: what a check found wrong, kept from one run of the check to the next. Pure.
//!
//! A check reports the whole set of what it found under a scope. What is in the set for the first time is new, what was there before
//! persists, and what is in it no longer is resolved: nobody has to say so. A finding is known by what it is about, so the same thing
//! found twice is one finding, whichever run, task or host found it.

mod settle;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

pub use settle::{Change, settle};
pub use taskwarden_money::Currency;

use crate::clock::UnixMs;
use crate::task::{NameError, TaskId, TaskType};

/// One report names at most this many findings.
pub const OBSERVATIONS_MAX: usize = 10_000;
/// A finding has at most this many keys.
pub const KEYS_MAX: usize = 16;
/// A key's name or value has at most so many characters.
pub const KEY_CHARS_MAX: usize = 300;
/// An explanation is cut after so many characters.
pub const EXPLANATION_CHARS_MAX: usize = 1_000;
/// What a finding carries for programs has at most so many bytes, or is left out.
pub const DETAIL_BYTES_MAX: usize = 8 << 10;

/// What kind of thing was found, such as `watch.success_rate`: 1 to 128 of `A-Z a-z 0-9 . _ - :`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingKind(Box<str>);

impl FindingKind {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is not one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match TaskType::new(text) {
            Ok(_) => Ok(Self(text.into())),
            Err(error) => Err(NameError(error.0.replace("a task type", "a kind of finding"))),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FindingKind {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// What one check looks at: the set that its next report replaces. 1 to 255 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingScope(Box<str>);

impl FindingScope {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is not one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let fine = !text.is_empty() && text.chars().count() <= 255 && !text.chars().any(char::is_control);
        let short: String = text.chars().take(40).collect();
        if fine {
            Ok(Self(text.into()))
        } else {
            Err(NameError(format!("{short:?} is no scope: 1 to 255 characters, no control characters")))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FindingScope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// What a finding is known by: a digest of its scope, kind and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingId([u8; 16]);

impl FindingId {
    /// The identity of what a scope finds of a kind about something.
    #[must_use]
    pub fn of(scope: &FindingScope, kind: &FindingKind, keys: &BTreeMap<String, String>) -> Self {
        let mut hasher = Sha256::new();
        let mut part = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        };
        part(scope.as_str());
        part(kind.as_str());
        for (name, value) in keys {
            part(name);
            part(value);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(id)
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for FindingId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut id = [0; 16];
        let short: String = text.chars().take(40).collect();
        hex::decode_to_slice(text, &mut id)
            .map_err(|_| NameError(format!("{short:?} is not the id of a finding (32 hexadecimal digits)")))?;
        Ok(Self(id))
    }
}

impl Serialize for FindingId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a finding is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    /// The last report that speaks of it was the first, or the first since it was resolved.
    New,
    /// More than one report in a row found it.
    Persisting,
    /// A complete report did not find it any more.
    Resolved,
}

impl FindingState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::New, Self::Persisting, Self::Resolved];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Persisting => "persisting",
            Self::Resolved => "resolved",
        }
    }

    /// Whether it still holds.
    #[must_use]
    pub fn is_open(self) -> bool {
        self != Self::Resolved
    }
}

impl FromStr for FindingState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|state| state.name() == text);
        known.ok_or_else(|| {
            format!("{:?} is no state of a finding; there are new, persisting and resolved", text.chars().take(40).collect::<String>())
        })
    }
}

/// An amount in the smallest unit of its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrossValue {
    /// How much, never negative: a finding of minus a thousand is as large as one of a thousand.
    pub minor: u64,
    /// Of what.
    pub currency: Currency,
}

/// One thing that a run of a check found.
#[derive(Debug, Clone)]
pub struct Observation {
    /// What kind of thing.
    pub kind: FindingKind,
    /// What it is about: the same keys are the same finding.
    pub keys: BTreeMap<String, String>,
    /// How bad, 0 to 100.
    pub severity: u8,
    /// How much money is in question, where it is about money.
    pub gross: Option<GrossValue>,
    /// One sentence for people.
    pub explanation: String,
    /// JSON for programs.
    pub detail: Option<Box<RawValue>>,
}

/// What one run of a check found, all of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// The set that this replaces.
    pub scope: FindingScope,
    /// The task that found it. The same task reports once, however often it is told.
    pub source: TaskId,
    /// When it looked; a report about an earlier moment than the last one changes nothing.
    pub at: UnixMs,
    /// Whether this is everything there is. What is missing from half a set is not resolved.
    pub complete: bool,
    /// At most [`OBSERVATIONS_MAX`].
    pub found: Vec<Observation>,
}

/// Something that was found, with its life so far.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What it is known by.
    pub id: FindingId,
    /// Which check found it.
    pub scope: FindingScope,
    /// What kind of thing.
    pub kind: FindingKind,
    /// What it is about.
    pub keys: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: FindingState,
    /// How bad it was when last found, 0 to 100.
    pub severity: u8,
    /// How much money was in question then.
    pub gross: Option<GrossValue>,
    /// One sentence for people, of then.
    pub explanation: String,
    /// JSON for programs, of then.
    pub detail: Option<Box<RawValue>>,
    /// The task that found it last, or found it gone.
    pub source: TaskId,
    /// When it was found first.
    pub first_seen: UnixMs,
    /// When it was found first since it was last resolved.
    pub opened: UnixMs,
    /// When it was found last.
    pub last_seen: UnixMs,
    /// When it was found gone.
    pub resolved: Option<UnixMs>,
    /// How many reports found it.
    pub times_seen: u32,
    /// How often it came back.
    pub times_reopened: u32,
    /// Somebody has seen it and said so.
    pub acknowledged: Option<Acknowledgement>,
}

/// That somebody has seen a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// When.
    pub at: UnixMs,
    /// What they had to say.
    pub note: String,
}
