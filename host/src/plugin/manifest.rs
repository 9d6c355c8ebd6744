//! `plugin.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ModelPattern, PayloadSchema};
use crate::limits::{Limit, LimitSet};
use crate::task::TaskType;

/// A host capability that a plugin may be granted, by the name of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Write to the task's log.
    Log,
    /// Report progress.
    Progress,
    /// Read the task's inputs.
    Inputs,
    /// Write outputs.
    Outputs,
    /// Keep what must survive a retry.
    Journal,
    /// Read the settings that the operator granted by name.
    Settings,
    /// Submit further tasks, of the types that the operator granted.
    Tasks,
    /// Send HTTP requests to the origins that the operator granted.
    Http,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Capability; 8] =
        [Self::Log, Self::Progress, Self::Inputs, Self::Outputs, Self::Journal, Self::Settings, Self::Tasks, Self::Http];

    /// The name in the manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Progress => "progress",
            Self::Inputs => "inputs",
            Self::Outputs => "outputs",
            Self::Journal => "journal",
            Self::Settings => "settings",
            Self::Tasks => "tasks",
            Self::Http => "http",
        }
    }

    /// The one that an import needs, with the version of the interface it asks for.
    #[must_use]
    pub fn of_import(import: &str) -> Option<(Self, &str)> {
        let (interface, version) = import.split_once('@').unwrap_or((import, ""));
        let own = |name| Self::ALL.into_iter().find(|capability| *capability != Self::Http && capability.name() == name);
        let found = match interface.strip_prefix("taskwarden:plugin/") {
            Some(name) => own(name),
            None => ["wasi:http/types", "wasi:http/outgoing-handler"].contains(&interface).then_some(Self::Http),
        };
        found.map(|capability| (capability, version))
    }
}

/// What a plugin says of itself and asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// 1 to 64 of `a-z 0-9 -`; the plugin's identity on a host.
    pub name: String,
    /// Semantic version.
    pub version: semver::Version,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The task types it takes; at least one.
    pub task_types: Vec<TaskType>,
    /// The models it takes; all by default.
    #[serde(default = "any_model")]
    pub ai_models: Vec<ModelPattern>,
    /// The host interfaces it wants to import beyond the types.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// Names of settings it wants to read; the operator grants values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<String>,
    /// Limits it asks for.
    #[serde(default, skip_serializing_if = "LimitSet::is_empty")]
    pub limits: LimitSet,
    /// JSON Schema of the payload, checked when a task is submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_schema: Option<PayloadSchema>,
    /// For the author's own notes; ignored by the host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

fn any_model() -> Vec<ModelPattern> {
    vec![ModelPattern::Any]
}

/// Why a manifest was refused, in words for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin.toml: {0}")]
pub struct ManifestError(pub String);

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(toml_text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(toml_text).map_err(|e| ManifestError(e.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The TOML text that [`Manifest::parse`] reads back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), ManifestError> {
        let name_ok = !self.name.is_empty()
            && self.name.len() <= 64
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !name_ok {
            return Err(ManifestError(format!("name {:?}: use 1 to 64 lower-case letters, digits and '-'", self.name)));
        }
        if self.task_types.is_empty() {
            return Err(ManifestError("task_types is empty: a plugin that takes no task can never run".to_owned()));
        }
        if self.ai_models.is_empty() {
            return Err(ManifestError("ai_models is empty: leave it out to take every model".to_owned()));
        }
        if let Some(zero) = self.limits.0.iter().find(|(_, value)| **value == 0) {
            return Err(ManifestError(format!("limits.{} is 0: no task could run", zero.0)));
        }
        if self.limits.get(Limit::ArtifactBytes).is_some() {
            return Err(ManifestError("limits.artifact_bytes: a plugin cannot choose how large it may be; the operator does".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "echo"
        version = "1.2.3"
        task_types = ["echo", "self_improvement"]
        ai_models = ["claude-*", "*"]
        capabilities = ["log", "progress"]
        payload_schema = { type = "object", required = ["n"] }
        [limits]
        fuel = 1000
    "#;

    #[test]
    fn reads_back_what_it_writes() {
        let manifest = Manifest::parse(GOOD).expect("good");
        assert_eq!(Manifest::parse(&manifest.to_toml()).as_ref(), Ok(&manifest));
    }

    #[test]
    fn an_import_belongs_to_a_capability_in_any_version() {
        assert_eq!(Capability::of_import("taskwarden:plugin/log@0.1.3"), Some((Capability::Log, "0.1.3")));
        assert_eq!(Capability::of_import("wasi:http/outgoing-handler@0.2.6"), Some((Capability::Http, "0.2.6")));
        for none in
            ["taskwarden:plugin/logs@0.1.0", "taskwarden:plugin/http@0.1.0", "wasi:cli/log@0.2.0", "wasi:http/incoming-handler@0.2.0"]
        {
            assert_eq!(Capability::of_import(none), None, "{none}");
        }
    }

    #[test]
    fn refusals_name_the_key() {
        for (bad, word) in [
            (GOOD.replace("fuel", "feul"), "feul"),
            (GOOD.replace("[limits]", "color = 1\n[limits]"), "color"),
            (GOOD.replace("\"log\"", "\"root\""), "root"),
            (GOOD.replace("\"object\"", "3"), "payload_schema is not"),
            (GOOD.replace("= \"echo\"", "= \"Echo !\""), "Echo !"),
            (GOOD.replace("1000", "0"), "limits.fuel"),
            (GOOD.replace("\"echo\", \"self_improvement\"", ""), "task_types"),
        ] {
            let refusal = Manifest::parse(&bad).expect_err(word).to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
    }
}
