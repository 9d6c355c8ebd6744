//! The plugins that are loaded, and what the host runs itself: one immutable snapshot, swapped whole. A running task keeps the plugin it
//! started with.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::limits::{Limit, LimitSet, LimitSetting, Limits, RetryPercent, compose_at};
use crate::plugin::{Manifest, ModelPattern, Specificity};
use crate::runtime::{Compiled, Grants};
use crate::store::LimitScope;
use crate::task::{AiModel, LaneKey, NameError, NativeTask, TaskType};

/// What runs when a task is given to a plugin.
#[derive(Clone)]
pub enum Code {
    /// A component, in a sandbox.
    Component(Compiled),
    /// The host's own code.
    Native(Arc<dyn NativeTask>),
}

/// A plugin that can run.
pub struct Plugin {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its code.
    pub code: Code,
    /// SHA-256 of its artifact, in hexadecimal; empty for the host's own code, which has none.
    pub digest_hex: String,
    /// Size of its artifact.
    pub artifact_bytes: u64,
    /// What the operator granted it.
    pub grants: Arc<Grants>,
    /// Whether it came with the host rather than by upload.
    pub built_in: bool,
}

impl Plugin {
    /// What the host runs itself, in the shape of a plugin, so that routes, limits and receipts need to know only one.
    ///
    /// # Errors
    /// When its task type is not a valid name.
    pub fn native(task: Arc<dyn NativeTask>) -> Result<Self, NameError> {
        let own = task.manifest();
        let manifest = Manifest {
            name: own.name.to_owned(),
            version: host_version(),
            description: own.description.to_owned(),
            task_types: vec![TaskType::new(own.task_type)?],
            ai_models: vec![ModelPattern::Any],
            capabilities: Vec::new(),
            settings: Vec::new(),
            limits: LimitSet::default().with(Limit::WallMs, own.wall_ms),
            payload_schema: None,
            metadata: BTreeMap::new(),
        };
        let grants = Arc::default();
        Ok(Self { manifest, code: Code::Native(task), digest_hex: String::new(), artifact_bytes: 0, grants, built_in: true })
    }

    /// Whether the host runs it itself.
    #[must_use]
    pub fn is_native(&self) -> bool {
        matches!(self.code, Code::Native(_))
    }
}

fn host_version() -> semver::Version {
    semver::Version::parse(env!("CARGO_PKG_VERSION")).unwrap_or(semver::Version::new(0, 0, 0))
}

/// Two plugins want the same tasks equally much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "plugins {first} and {second} both take tasks of type {task_type} for models {pattern:?}; change ai_models of one of them or remove it"
)]
pub struct RouteTie {
    /// One of them.
    pub first: String,
    /// The other.
    pub second: String,
    /// For this type.
    pub task_type: TaskType,
    /// By this pattern.
    pub pattern: String,
}

/// One consistent set of plugins and limit settings.
#[derive(Default)]
pub struct Snapshot {
    plugins: BTreeMap<String, Arc<Plugin>>,
    routes: BTreeMap<TaskType, Vec<(ModelPattern, Arc<Plugin>)>>,
    limits: BTreeMap<LimitScope, LimitSetting>,
}

impl Snapshot {
    fn new(plugins: BTreeMap<String, Arc<Plugin>>, limits: BTreeMap<LimitScope, LimitSetting>) -> Result<Self, RouteTie> {
        let mut routes: BTreeMap<TaskType, Vec<(ModelPattern, Arc<Plugin>)>> = BTreeMap::new();
        for plugin in plugins.values() {
            for task_type in &plugin.manifest.task_types {
                let taken = routes.entry(task_type.clone()).or_default();
                for pattern in &plugin.manifest.ai_models {
                    // What the host runs itself is nobody else's, not even for a single model.
                    let clash = |other: &ModelPattern, holder: &Plugin| other == pattern || holder.is_native() || plugin.is_native();
                    if let Some((_, first)) =
                        taken.iter().find(|(other, holder)| holder.manifest.name != plugin.manifest.name && clash(other, holder))
                    {
                        return Err(RouteTie {
                            first: first.manifest.name.clone(),
                            second: plugin.manifest.name.clone(),
                            task_type: task_type.clone(),
                            pattern: pattern.to_string(),
                        });
                    }
                    taken.push((pattern.clone(), Arc::clone(plugin)));
                }
            }
        }
        Ok(Self { plugins, routes, limits })
    }

    /// The plugin for a lane: the closest pattern wins.
    #[must_use]
    pub fn route(&self, lane: &LaneKey) -> Option<&Arc<Plugin>> {
        self.route_parts(&lane.task_type, lane.ai_model.as_ref())
    }

    /// The same, from type and model.
    #[must_use]
    pub fn route_parts(&self, task_type: &TaskType, model: Option<&AiModel>) -> Option<&Arc<Plugin>> {
        let fit = |(pattern, plugin)| -> Option<(Specificity, &Arc<Plugin>)> {
            let pattern: &ModelPattern = pattern;
            Some((pattern.matches(model)?, plugin))
        };
        self.routes
            .get(task_type)?
            .iter()
            .map(|(pattern, plugin)| (pattern, plugin))
            .filter_map(fit)
            .max_by_key(|(fit, _)| *fit)
            .map(|(_, plugin)| plugin)
    }

    /// Every plugin, by name.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.plugins.values()
    }

    /// One plugin.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.plugins.get(name)
    }

    /// What operators have set, by scope.
    #[must_use]
    pub fn limit_settings(&self) -> &BTreeMap<LimitScope, LimitSetting> {
        &self.limits
    }

    /// The effective limits of a task of `lane` run by `plugin`, under `ceilings` and with what the submission asked for.
    #[must_use]
    pub fn effective_limits(&self, ceilings: &Limits, lane: &LaneKey, plugin: &Plugin, submission: &LimitSet) -> Limits {
        self.limits_at(None, ceilings, lane, plugin, submission)
    }

    /// The same for the one retry with larger limits; nothing where the operator allows none.
    #[must_use]
    pub fn retry_limits(&self, ceilings: &Limits, lane: &LaneKey, plugin: &Plugin, submission: &LimitSet) -> Option<Limits> {
        let percent = self.limits.get(&LimitScope::TaskType(lane.task_type.clone()))?.retry_percent?;
        Some(self.limits_at(Some(percent), ceilings, lane, plugin, submission))
    }

    fn limits_at(
        &self,
        percent: Option<RetryPercent>,
        ceilings: &Limits,
        lane: &LaneKey,
        plugin: &Plugin,
        submission: &LimitSet,
    ) -> Limits {
        let silent = LimitSet::default();
        let said = |scope: LimitScope| self.limits.get(&scope).map_or(&silent, |setting| &setting.limits);
        let host = said(LimitScope::Host);
        let ceilings = Limits::from_fn(|limit| ceilings.get(limit).min(host.get(limit).unwrap_or(u64::MAX)));
        let by_model = lane.ai_model.as_ref().map_or(&silent, |model| said(LimitScope::AiModel(model.clone())));
        let by_type = said(LimitScope::TaskType(lane.task_type.clone()));
        let by_plugin = said(LimitScope::Plugin(plugin.manifest.name.clone()));
        compose_at(percent, &Limits::defaults(), &ceilings, [host, by_type, by_model, by_plugin, &plugin.manifest.limits], submission)
    }
}

/// Holds the current snapshot.
#[derive(Default)]
pub struct Registry {
    current: RwLock<Arc<Snapshot>>,
    /// Serialises changes, so that none is built on a snapshot that another has just replaced.
    changing: Mutex<()>,
}

impl Registry {
    /// The plugins as they are now; stays as it is for whoever holds it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read())
    }

    /// Adds a plugin, or replaces the one of the same name.
    ///
    /// # Errors
    /// When it would tie with another plugin; nothing changes then.
    pub fn insert(&self, plugin: Plugin) -> Result<(), RouteTie> {
        self.change(|plugins, _| {
            plugins.insert(plugin.manifest.name.clone(), Arc::new(plugin));
        })
    }

    /// Puts back what `before` had under a name, or nothing.
    ///
    /// # Errors
    /// When that would tie with a plugin added since.
    pub fn restore(&self, name: &str, before: &Snapshot) -> Result<(), RouteTie> {
        self.change(|plugins, _| match before.plugin(name) {
            Some(plugin) => {
                plugins.insert(name.to_owned(), Arc::clone(plugin));
            }
            None => {
                plugins.remove(name);
            }
        })
    }

    /// Removes a plugin; whether it was there.
    ///
    /// # Errors
    /// Never in practice: fewer plugins cannot tie.
    pub fn remove(&self, name: &str) -> Result<bool, RouteTie> {
        let mut was_there = false;
        self.change(|plugins, _| was_there = plugins.remove(name).is_some())?;
        Ok(was_there)
    }

    /// Replaces what one scope says of limits; in force from the next dispatch.
    ///
    /// # Errors
    /// Never in practice: limits cannot tie.
    pub fn set_limits(&self, scope: LimitScope, limits: LimitSetting) -> Result<(), RouteTie> {
        self.change(|_, settings| {
            if limits.is_empty() {
                settings.remove(&scope);
            } else {
                settings.insert(scope, limits);
            }
        })
    }

    fn change(
        &self,
        edit: impl FnOnce(&mut BTreeMap<String, Arc<Plugin>>, &mut BTreeMap<LimitScope, LimitSetting>),
    ) -> Result<(), RouteTie> {
        let _one_at_a_time = self.changing.lock();
        let now = self.snapshot();
        let (mut plugins, mut limits) = (now.plugins.clone(), now.limits.clone());
        edit(&mut plugins, &mut limits);
        let changed = Arc::new(Snapshot::new(plugins, limits)?);
        *self.current.write() = changed;
        Ok(())
    }
}
