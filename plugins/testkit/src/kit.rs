//! A plugin in the real runtime.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use taskwarden::clock::{Clock, UnixMs, VirtualClock};
use taskwarden::limits::{Limit, LimitSet, Limits, compose};
use taskwarden::outgoing::Outgoing;
use taskwarden::plugin::{Manifest, unpack};
use taskwarden::runtime::ports::{MemoryInputs, Ports, ProgressPort, UnroutedTasks};
use taskwarden::runtime::{Compiled, DirectoryGrant, Grants, HttpGrant, Job, Runtime, RuntimeConfig};

use crate::run::{Progress, TestRun};
use crate::task::{TestTask, wrong};

/// Largest payload of a child, as a host has it by default.
const CHILD_PAYLOAD_BYTES_MAX: u64 = 1 << 20;

/// A compiled plugin, what it is granted, and under which limits it runs.
pub struct Kit {
    runtime: Arc<Runtime>,
    plugin: Compiled,
    manifest: Option<Manifest>,
    limits: LimitSet,
    grants: Grants,
    clock: Arc<VirtualClock>,
}

impl Kit {
    /// Loads a plugin with the manifest inside it, if it carries one.
    ///
    /// # Panics
    /// With the host's own words, when the file cannot be read or the host refuses it.
    #[must_use]
    pub fn load(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let bytes = std::fs::read(path).unwrap_or_else(|e| wrong(&format!("cannot read {}: {e}; build the plugin first", path.display())));
        Self::from_bytes(&bytes)
    }

    /// Loads a plugin from memory.
    ///
    /// # Panics
    /// With the host's own words, when the host refuses it.
    #[must_use]
    pub fn from_bytes(artifact: &[u8]) -> Self {
        let manifest = unpack(artifact).unwrap_or_else(|e| wrong(&e));
        Self::build(artifact, manifest)
    }

    /// Loads a plugin with a manifest that is not inside it, as TOML text.
    ///
    /// # Panics
    /// When the manifest is wrong or the host refuses the plugin.
    #[must_use]
    pub fn with_manifest(artifact: &[u8], manifest_toml: &str) -> Self {
        let manifest = Manifest::parse(manifest_toml).unwrap_or_else(|e| wrong(&e));
        Self::build(artifact, Some(manifest))
    }

    fn build(artifact: &[u8], manifest: Option<Manifest>) -> Self {
        let clock = VirtualClock::starting_at(UnixMs(1_767_225_600_000));
        let config = RuntimeConfig { concurrent_runs: 1, ..RuntimeConfig::default() };
        let runtime = Runtime::new(config, Arc::clone(&clock) as Arc<dyn Clock>).unwrap_or_else(|e| wrong(&e));
        let plugin = runtime.compile(artifact, manifest.as_ref(), Limit::ArtifactBytes.default_value()).unwrap_or_else(|e| wrong(&e));
        Self { runtime: Arc::new(runtime), plugin, manifest, limits: LimitSet::default(), grants: Grants::default(), clock }
    }

    /// Sets a limit in place of the default or the manifest's.
    #[must_use]
    pub fn limit(mut self, limit: Limit, value: u64) -> Self {
        self.limits = self.limits.with(limit, value);
        self
    }

    /// Grants a setting.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.grants.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Grants a directory.
    #[must_use]
    pub fn directory(mut self, host_path: impl Into<PathBuf>, guest_path: &str, writable: bool) -> Self {
        self.grants.directories.push(DirectoryGrant { host_path: host_path.into(), guest_path: guest_path.to_owned(), writable });
        self
    }

    /// Grants requests to an origin, such as `http://127.0.0.1:8080`, whatever its address: the test says where its own server is.
    ///
    /// # Panics
    /// When it is not an origin.
    #[must_use]
    pub fn http_origin(mut self, origin: &str) -> Self {
        let origin = origin.parse().unwrap_or_else(|e| wrong(&e));
        self.grants.http.push(HttpGrant { origin, private_addresses: true });
        self
    }

    /// Lets the plugin submit tasks of a type, or of all with `*`. [`TestRun::children`] has them; they are not run.
    ///
    /// # Panics
    /// When it is not a task type.
    #[must_use]
    pub fn child_task_type(mut self, task_type: &str) -> Self {
        self.grants.child_task_types.push(task_type.parse().unwrap_or_else(|e| wrong(&e)));
        self
    }

    /// The clock that the plugin and its deadline see. It stands still unless the test moves it.
    #[must_use]
    pub fn clock(&self) -> &Arc<VirtualClock> {
        &self.clock
    }

    /// The limits that a run is given: the defaults, the manifest's, and those set here.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let asked = self.manifest.as_ref().map(|manifest| manifest.limits.clone()).unwrap_or_default();
        compose(&Limits::defaults(), &Limits::ceilings(), [&asked], &LimitSet::default()).overridden_by(&self.limits)
    }

    /// Makes one attempt. The call returns when it has ended; for the next attempt pass `task.retry()`.
    ///
    /// # Panics
    /// When the plugin's manifest does not name the task's type: no host would give it this task.
    #[must_use]
    pub fn run(&self, task: TestTask) -> TestRun {
        if let Some(manifest) = self.manifest.as_ref().filter(|manifest| !manifest.task_types.contains(&task.task_type)) {
            wrong(&format!("{} does not take tasks of type {}; see task_types in its manifest", manifest.name, task.task_type));
        }
        let progress = Arc::new(Progress::default());
        let limits = self.limits();
        let job = Job {
            id: task.id,
            task_type: task.task_type.clone(),
            ai_model: task.ai_model.clone(),
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            payload: task.payload.clone(),
            idempotency_key: None,
            limits,
            grants: Arc::new(self.grants.clone()),
            ports: Ports {
                inputs: Arc::new(MemoryInputs::from(task.inputs.clone())),
                journal: task.journal.clone(),
                progress: Arc::clone(&progress) as Arc<dyn ProgressPort>,
                tasks: Arc::new(UnroutedTasks {
                    parent: task.id,
                    granted: self.grants.child_task_types.clone(),
                    payload_bytes_max: CHILD_PAYLOAD_BYTES_MAX,
                    clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
                }),
                http: Outgoing::default().of("testkit"),
            },
            cancel: task.cancel.clone(),
        };
        let (runtime, plugin) = (Arc::clone(&self.runtime), self.plugin.clone());
        // A thread of its own: guest code occupies whatever polls it, and the caller may be inside a runtime of its own.
        let ended = std::thread::spawn(move || reactor().block_on(runtime.run(&plugin, job))).join();
        let report = ended.unwrap_or_else(|_| wrong(&"the run ended without a report; this is a mistake in the host"));
        TestRun::new(report, limits, hex::encode(self.plugin.digest()), &progress, task)
    }
}

/// One small reactor for all tests of a process.
fn reactor() -> &'static tokio::runtime::Runtime {
    static REACTOR: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    REACTOR.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap_or_else(|e| wrong(&e)))
}
