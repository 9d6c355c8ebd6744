//! `[plugins.NAME]`: what the operator grants a plugin.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plugin::{Origin, is_public};
use crate::task::TypeGrant;

/// What the operator grants a plugin.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginGrants {
    /// Names and values for `settings.get`; values may be secrets.
    pub settings: BTreeMap<String, String>,
    /// Directories.
    pub directories: Vec<DirectorySetting>,
    /// Where it may send requests.
    pub http: Vec<HttpOriginSetting>,
    /// Which tasks it may submit; `*` stands for all.
    pub child_task_types: Vec<TypeGrant>,
}

impl std::fmt::Debug for PluginGrants {
    /// Shows the names of settings, never their values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginGrants")
            .field("settings", &self.settings.keys())
            .field("directories", &self.directories)
            .field("http", &self.http)
            .field("child_task_types", &self.child_task_types)
            .finish()
    }
}

/// An origin that a plugin may send requests to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpOriginSetting {
    /// Scheme, host and port.
    pub origin: Origin,
    /// Whether the host may have addresses that are not of the open internet.
    #[serde(default)]
    pub private_addresses: bool,
}

/// A directory that a plugin may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectorySetting {
    /// On the host.
    pub host_path: PathBuf,
    /// In the guest.
    pub guest_path: String,
    /// Whether it may be changed.
    pub writable: bool,
}

impl PluginGrants {
    /// What is wrong with the grants of the plugin `name`, in words for the operator.
    pub(super) fn wrong(&self, name: &str) -> Option<String> {
        let unreachable = |http: &&HttpOriginSetting| !http.private_addresses && http.origin.address().is_some_and(|at| !is_public(at));
        let http = self.http.iter().find(unreachable)?;
        Some(format!(
            "plugins.{name}.http: {} is not an address of the open internet; add private_addresses = true to that entry if it is meant",
            http.origin
        ))
    }
}
