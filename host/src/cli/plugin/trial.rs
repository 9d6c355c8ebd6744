//! A plugin's file with a task for it, as the command line gives them: what `plugin run` tries once and `bench` many times.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::artifact::Artifact;
use super::disk::DiskInputs;
use crate::cli::arguments::{name_and_value, payload};
use crate::clock::SystemClock;
use crate::limits::{Limit, LimitSet, Limits, compose};
use crate::outgoing::Outgoing;
use crate::plugin::{Capability, Origin};
use crate::runtime::ports::{HttpPort, InputPort, MemoryJournal, Ports, ProgressPort, UnroutedTasks};
use crate::runtime::{Compiled, DirectoryGrant, Grants, HttpGrant, Job, Report, Runtime, RuntimeConfig, Usage};
use crate::task::{AiModel, Outcome, TaskId, TaskType, TypeGrant};

/// Largest payload of a child, as a host has it by default.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

/// The plugin, its task, and what it is granted.
#[derive(Debug, Args)]
pub(in crate::cli) struct TrialArgs {
    /// The plugin
    artifact: PathBuf,
    /// What kind of work it is
    #[arg(long, value_name = "TYPE")]
    task_type: TaskType,
    /// The AI model it is meant for
    #[arg(long, value_name = "MODEL")]
    ai_model: Option<AiModel>,
    /// The payload: JSON, or @FILE to read it from a file
    #[arg(long, value_name = "JSON|@FILE", default_value = "null")]
    payload: String,
    /// A file that the plugin reads under a name, streamed from disk; may be repeated
    #[arg(long = "input", value_name = "NAME=FILE", value_parser = file)]
    inputs: Vec<(String, PathBuf)>,
    /// A limit in place of the default or the manifest's, such as fuel=1000000; may be repeated
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit)]
    limits: Vec<(Limit, u64)>,
    /// A setting to grant; may be repeated
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = name_and_value)]
    settings: Vec<(String, String)>,
    /// A directory to grant, read-only unless it ends in :rw; may be repeated
    #[arg(long = "dir", value_name = "HOST::GUEST[:rw]", value_parser = directory)]
    directories: Vec<DirectoryGrant>,
    /// An origin to grant requests to, such as https://api.example.com; this machine's own only by name (http://localhost:8080) or
    /// address; may be repeated
    #[arg(long = "http", value_name = "ORIGIN")]
    http: Vec<Origin>,
    /// A task type that the plugin may submit, or '*' for all; children are not run; may be repeated
    #[arg(long = "child-type", value_name = "TYPE")]
    child_types: Vec<TypeGrant>,
    /// A manifest in place of the one inside the artifact
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// The same, looked over and compiled.
pub(in crate::cli) struct Trial {
    pub(in crate::cli) runtime: Runtime,
    pub(in crate::cli) plugin: Compiled,
    pub(in crate::cli) name: String,
    pub(in crate::cli) version: String,
    pub(in crate::cli) limits: Limits,
    /// How long it took to compile, or to find its compiled code.
    pub(in crate::cli) compile_time: Duration,
    artifact: Artifact,
    task_type: TaskType,
    ai_model: Option<AiModel>,
    payload: Bytes,
    grants: Arc<Grants>,
    inputs: Arc<dyn InputPort>,
    http: Arc<dyn HttpPort>,
}

impl Trial {
    /// Reads, checks and compiles; `None` when the arguments cannot be meant, which stderr has been told then.
    ///
    /// # Errors
    /// What is wrong with the plugin, or what a host would hold against the task.
    pub(in crate::cli) fn prepare(args: TrialArgs, cache_dir: Option<PathBuf>) -> anyhow::Result<Option<Self>> {
        let artifact = Artifact::read(&args.artifact, args.manifest.as_ref())?;
        let (payload, limits) = match (payload(&args.payload), limits(&artifact, &args.limits)) {
            (Ok(payload), Ok(limits)) => (payload, limits),
            (Err(wrong), _) | (_, Err(wrong)) => {
                eprintln!("taskwarden: {wrong:#}");
                return Ok(None);
            }
        };
        check_grants(&artifact, &args)?;
        let name = artifact.name(&args.artifact);
        let clock = SystemClock::shared();
        let runtime = Runtime::new(RuntimeConfig { concurrent_runs: 1, cache_dir, ..RuntimeConfig::default() }, Arc::clone(&clock))?;
        let began = clock.monotonic();
        let plugin = runtime
            .compile(&artifact.bytes, artifact.manifest.as_ref(), limits.get(Limit::ArtifactBytes))
            .with_context(|| format!("{} is refused", args.artifact.display()))?;
        let compile_time = clock.monotonic().saturating_sub(began);
        let version = artifact.manifest.as_ref().map_or_else(|| "0.0.0".to_owned(), |manifest| manifest.version.to_string());
        Ok(Some(Self {
            runtime,
            plugin,
            version,
            limits,
            compile_time,
            artifact,
            task_type: args.task_type,
            ai_model: args.ai_model,
            payload: Bytes::copy_from_slice(payload.get().as_bytes()),
            grants: Arc::new(Grants {
                settings: args.settings.into_iter().collect(),
                directories: args.directories,
                http: args.http.into_iter().map(http_grant).collect(),
                child_task_types: args.child_types,
            }),
            inputs: Arc::new(DiskInputs(args.inputs.into_iter().collect())),
            http: Outgoing::default().of(&name),
            name,
        }))
    }

    /// One task, new each time.
    pub(in crate::cli) fn job(&self, progress: Arc<dyn ProgressPort>, cancel: CancellationToken) -> Job {
        let id = TaskId::new();
        Job {
            id,
            task_type: self.task_type.clone(),
            ai_model: self.ai_model.clone(),
            attempt: 1,
            max_attempts: 1,
            payload: self.payload.clone(),
            idempotency_key: None,
            limits: self.limits,
            grants: Arc::clone(&self.grants),
            ports: Ports {
                inputs: Arc::clone(&self.inputs),
                journal: Arc::new(MemoryJournal::default()),
                progress,
                tasks: Arc::new(UnroutedTasks {
                    parent: id,
                    granted: self.grants.child_task_types.clone(),
                    payload_bytes_max: PAYLOAD_BYTES_MAX,
                    clock: SystemClock::shared(),
                }),
                http: Arc::clone(&self.http),
            },
            cancel,
        }
    }

    /// What the plugin asks for and was not granted anything of: the capability, and the flag that would.
    pub(in crate::cli) fn without_grant(&self) -> Vec<(Capability, &'static str)> {
        let asked = self.artifact.manifest.as_ref().map(|manifest| manifest.capabilities.as_slice()).unwrap_or_default();
        [
            (Capability::Http, "--http ORIGIN", self.grants.http.is_empty()),
            (Capability::Tasks, "--child-type TYPE", self.grants.child_task_types.is_empty()),
        ]
        .into_iter()
        .filter(|(capability, _, nothing)| *nothing && asked.contains(capability))
        .map(|(capability, flag, _)| (capability, flag))
        .collect()
    }

    /// What a payload comes to that the manifest's schema does not allow: a host would not even have taken the task.
    pub(in crate::cli) fn misfit(&self) -> Option<Report> {
        let schema = self.artifact.manifest.as_ref()?.payload_schema.as_ref()?;
        let why = schema.check(&self.payload).err()?;
        let error = format!("{why}; a host refuses such a task when it is submitted, see payload_schema in plugin.toml");
        Some(Report {
            outcome: Outcome::Invalid,
            result: None,
            error: Some(error),
            retry_after: None,
            usage: Usage::default(),
            logs: Vec::new(),
            outputs: Vec::new(),
            children: Vec::new(),
        })
    }
}

/// Does something with guests on a thread of its own, since guest code occupies whatever polls it, and lets Ctrl-C cancel it.
///
/// # Errors
/// When a thread cannot be started, or the work panics.
pub(in crate::cli) fn drive<T: Send + 'static, F: Future<Output = T>>(
    cancel: CancellationToken,
    work: impl FnOnce() -> F + Send + 'static,
) -> anyhow::Result<T> {
    let reactor = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    reactor.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
    });
    let handle = reactor.handle().clone();
    let guest = std::thread::Builder::new().name("guest".to_owned()).spawn(move || handle.block_on(work()))?;
    let done = guest.join().map_err(|_| anyhow::anyhow!("the run ended without a report; this is a mistake in the host"))?;
    reactor.shutdown_background();
    Ok(done)
}

/// An address of a private network is granted to whoever spells it out; a name is not, since others decide where it leads.
fn http_grant(origin: Origin) -> HttpGrant {
    let private_addresses = origin.is_this_machine() || origin.address().is_some();
    HttpGrant { origin, private_addresses }
}

/// What a host would hold against this task: a type the plugin does not take, a setting or a capability it did not ask for.
fn check_grants(artifact: &Artifact, args: &TrialArgs) -> anyhow::Result<()> {
    let Some(manifest) = &artifact.manifest else { return Ok(()) };
    if !manifest.task_types.contains(&args.task_type) {
        let known: Vec<_> = manifest.task_types.iter().map(ToString::to_string).collect();
        bail!("{} does not take tasks of type {}; it takes {}", manifest.name, args.task_type, known.join(", "));
    }
    let granted = [(args.http.is_empty(), "--http", Capability::Http), (args.child_types.is_empty(), "--child-type", Capability::Tasks)];
    for (left_out, flag, capability) in granted {
        if !left_out && !manifest.capabilities.contains(&capability) {
            let (name, wanted) = (&manifest.name, capability.name());
            bail!("{name} does not ask for the capability {wanted}, so {flag} would grant nothing; add it to capabilities in plugin.toml");
        }
    }
    if let Some((name, _)) = args.settings.iter().find(|(name, _)| !manifest.settings.contains(name)) {
        bail!("{} does not ask for a setting {name}; add it to settings in plugin.toml", manifest.name);
    }
    Ok(())
}

/// The limits a host with default settings would give, with those of the command line in their place: whoever types them is the operator here.
fn limits(artifact: &Artifact, given: &[(Limit, u64)]) -> anyhow::Result<Limits> {
    let (defaults, ceilings) = (Limits::defaults(), Limits::ceilings());
    if let Some((limit, value)) = given.iter().find(|(limit, value)| *value > ceilings.get(*limit)) {
        bail!("--limit {limit}={value} is above the ceiling, which is {}", ceilings.get(*limit));
    }
    let asked = artifact.manifest.as_ref().map(|manifest| manifest.limits.clone()).unwrap_or_default();
    let given = LimitSet(given.iter().copied().collect());
    Ok(compose(&defaults, &ceilings, [&asked], &LimitSet::default()).overridden_by(&given))
}

fn file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = name_and_value(text).map_err(|_| format!("{text:?} is not NAME=FILE"))?;
    let path = PathBuf::from(&file);
    if path.is_dir() || !path.exists() { Err(format!("there is no file {file:?}")) } else { Ok((name, path)) }
}

fn limit(text: &str) -> Result<(Limit, u64), String> {
    let (name, value) = name_and_value(text)?;
    let number = value.replace('_', "").parse().map_err(|_| format!("{value:?} is not a whole number"))?;
    Ok((name.parse()?, number))
}

fn directory(text: &str) -> Result<DirectoryGrant, String> {
    let (text, writable) = text.strip_suffix(":rw").map_or((text, false), |rest| (rest, true));
    match text.split_once("::") {
        Some((host, guest)) if !host.is_empty() && !guest.is_empty() => {
            Ok(DirectoryGrant { host_path: PathBuf::from(host), guest_path: guest.to_owned(), writable })
        }
        _ => Err(format!("{text:?} is not HOST::GUEST or HOST::GUEST:rw, such as ./data::/data")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_or_refused_with_an_example() {
        assert_eq!(limit("fuel=1_000"), Ok((Limit::Fuel, 1000)));
        assert!(limit("feul=1").is_err_and(|e| e.contains("memory_bytes")));
        assert!(limit("fuel=lots").is_err_and(|e| e.contains("lots")));
        let granted = directory("/tmp/x::/data:rw").expect("good");
        assert_eq!((granted.guest_path.as_str(), granted.writable), ("/data", true));
        assert!(!directory("a::b").expect("good").writable);
        assert!(directory("/tmp/x").is_err_and(|e| e.contains("HOST::GUEST")));
    }

    #[test]
    fn the_command_line_may_raise_limits_up_to_the_ceiling_only() {
        let artifact = Artifact { bytes: Vec::new(), manifest: None, manifest_origin: String::new() };
        let raised = Limit::Fuel.default_value() + 1;
        assert_eq!(limits(&artifact, &[(Limit::Fuel, raised)]).expect("allowed").get(Limit::Fuel), raised);
        let refused = limits(&artifact, &[(Limit::Fuel, Limit::Fuel.default_ceiling() + 1)]).expect_err("too much");
        assert!(refused.to_string().contains("ceiling"));
    }
}
