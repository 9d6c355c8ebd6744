//! How an attempt ended, and what it cost.

use serde::{Deserialize, Serialize};

use crate::limits::{Limit, Limits};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The plugin returned a result.
    Succeeded,
    /// The plugin says that the task itself is wrong.
    Invalid,
    /// The plugin says that trying again will not help; also a result that is not JSON.
    Permanent,
    /// The plugin says that trying again may help.
    Transient,
    /// The guest crashed.
    Trap,
    /// The fuel limit was reached.
    OutOfFuel,
    /// The memory or table limit was reached.
    OutOfMemory,
    /// The output limit was reached.
    OutputTooLarge,
    /// Another limit on what the guest asks of the host was reached.
    HostLimit,
    /// The wall-time limit was reached.
    Deadline,
    /// The host that ran it died.
    Lost,
    /// Somebody cancelled it.
    Cancelled,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 12] = [
        Self::Succeeded,
        Self::Invalid,
        Self::Permanent,
        Self::Transient,
        Self::Trap,
        Self::OutOfFuel,
        Self::OutOfMemory,
        Self::OutputTooLarge,
        Self::HostLimit,
        Self::Deadline,
        Self::Lost,
        Self::Cancelled,
    ];

    /// The name in the API and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Invalid => "invalid",
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Trap => "trap",
            Self::OutOfFuel => "out_of_fuel",
            Self::OutOfMemory => "out_of_memory",
            Self::OutputTooLarge => "output_too_large",
            Self::HostLimit => "host_limit",
            Self::Deadline => "deadline",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }

    /// The limits at one of which an attempt ended that ended like this; none when it was no limit, or one that says nothing about the
    /// next attempt.
    #[must_use]
    pub fn limits(self) -> &'static [Limit] {
        match self {
            Self::OutOfFuel => &[Limit::Fuel],
            Self::OutOfMemory => &[Limit::MemoryBytes, Limit::TableElements],
            Self::OutputTooLarge => &[Limit::OutputBytes],
            Self::HostLimit => &[
                Limit::InputBytes,
                Limit::LogBytes,
                Limit::HostCalls,
                Limit::JournalBytes,
                Limit::HttpRequests,
                Limit::HttpBytes,
                Limit::ChildTasks,
            ],
            _ => &[],
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Outcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|o| o.name() == text).ok_or_else(|| format!("{text:?} is not an outcome"))
    }
}

/// What an attempt cost and under which limits it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Receipt {
    /// Fuel used by the guest and charged for its host calls.
    pub fuel_used: u64,
    /// Most bytes that all memories and tables held at once.
    pub memory_peak_bytes: u64,
    /// From being ready to run to the start of the attempt.
    pub queue_ms: u64,
    /// From the start of instantiation to the end of the call.
    pub run_ms: u64,
    /// Calls from the guest into the host.
    pub host_calls: u64,
    /// Bytes of the payload and of everything read from inputs.
    pub input_bytes: u64,
    /// Bytes of the result, of all outputs and of what was submitted.
    pub output_bytes: u64,
    /// Requests sent over HTTP; left out when there were none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub http_requests: u64,
    /// Bytes of those requests and their answers, heads included; left out when there were none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub http_bytes: u64,
    /// Tasks submitted; left out when there were none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub child_tasks: u64,
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's version.
    pub plugin_version: String,
    /// SHA-256 of the plugin's `.wasm`, in hexadecimal.
    pub plugin_digest: String,
    /// The host that ran it.
    pub host: String,
    /// The limits that were in force.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub limits: Limits,
}

/// Most attempts have none, and every one of them has a receipt on disk.
fn is_none(count: &u64) -> bool {
    *count == 0
}
