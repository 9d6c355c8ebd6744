//! `taskwarden plugin run`: one task without a server, in the same sandbox and under the same limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::WRONG_USAGE;
use super::artifact::Artifact;
use super::disk::DiskInputs;
use super::shown::Shown;
use crate::cli::arguments::{name_and_value, payload};
use crate::clock::SystemClock;
use crate::limits::{Limit, LimitSet, Limits, compose};
use crate::outgoing::Outgoing;
use crate::plugin::Origin;
use crate::runtime::ports::{MemoryJournal, Ports, ProgressPort, UnroutedTasks};
use crate::runtime::{DirectoryGrant, Grants, HttpGrant, Job, Report, Runtime, RuntimeConfig, Usage};
use crate::task::{AiModel, Outcome, TaskId, TaskType, TypeGrant};

/// Largest payload of a child, as a host has it by default.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

/// Arguments of `taskwarden plugin run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
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
    /// Where to put what the plugin writes; made if it is not there
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
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
    /// A task type that the plugin may submit, or '*' for all; children are shown and not run; may be repeated
    #[arg(long = "child-type", value_name = "TYPE")]
    child_types: Vec<TypeGrant>,
    /// A manifest in place of the one inside the artifact
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Where compiled code is kept, so that the next run of the same artifact starts at once; made if it is not there
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Print one JSON object: outcome, result, error, receipt, logs, outputs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let artifact = Artifact::read(&args.artifact, args.manifest.as_ref())?;
    let (payload, limits) = match (payload(&args.payload), limits(&artifact, &args.limits)) {
        (Ok(payload), Ok(limits)) => (payload, limits),
        (Err(wrong), _) | (_, Err(wrong)) => {
            eprintln!("taskwarden: {wrong:#}");
            return Ok(ExitCode::from(WRONG_USAGE));
        }
    };
    check_grants(&artifact, &args)?;
    let plugin_name = artifact.name(&args.artifact);
    let config = RuntimeConfig { concurrent_runs: 1, cache_dir: args.cache_dir, ..RuntimeConfig::default() };
    let runtime = Runtime::new(config, SystemClock::shared())?;
    let artifact_bytes_max = limits.get(Limit::ArtifactBytes);
    let plugin = runtime
        .compile(&artifact.bytes, artifact.manifest.as_ref(), artifact_bytes_max)
        .with_context(|| format!("{} is refused", args.artifact.display()))?;

    let bar = Bar::new(args.json);
    let id = TaskId::new();
    let job = Job {
        id,
        task_type: args.task_type,
        ai_model: args.ai_model,
        attempt: 1,
        max_attempts: 1,
        payload: Bytes::copy_from_slice(payload.get().as_bytes()),
        idempotency_key: None,
        limits,
        grants: Arc::new(Grants {
            settings: args.settings.into_iter().collect(),
            directories: args.directories,
            http: args.http.into_iter().map(http_grant).collect(),
            child_task_types: args.child_types.clone(),
        }),
        ports: Ports {
            inputs: Arc::new(DiskInputs(args.inputs.into_iter().collect())),
            journal: Arc::new(MemoryJournal::default()),
            progress: Arc::new(bar.clone()),
            tasks: Arc::new(UnroutedTasks {
                parent: id,
                granted: args.child_types,
                payload_bytes_max: PAYLOAD_BYTES_MAX,
                clock: SystemClock::shared(),
            }),
            http: Outgoing::default().of(&plugin_name),
        },
        cancel: CancellationToken::new(),
    };
    let digest = plugin.digest();
    let report = match misfit(&artifact, &job) {
        Some(refused) => refused,
        None => drive(runtime, plugin, job)?,
    };
    bar.0.finish_and_clear();

    let written = match (&args.output_dir, report.outcome) {
        (Some(folder), Outcome::Succeeded) => write_outputs(folder, &report)?,
        _ => BTreeMap::new(),
    };
    let version = artifact.manifest.as_ref().map_or_else(|| "0.0.0".to_owned(), |manifest| manifest.version.to_string());
    let shown = Shown::new(&report, limits, plugin_name, version, hex::encode(digest), written)?;
    if args.json {
        shown.print_json()?
    } else {
        shown.print()
    }
    Ok(if report.outcome == Outcome::Succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An address of a private network is granted to whoever spells it out; a name is not, since others decide where it leads.
fn http_grant(origin: Origin) -> HttpGrant {
    let private_addresses = origin.is_this_machine() || origin.address().is_some();
    HttpGrant { origin, private_addresses }
}

/// What a payload comes to that the manifest's schema does not allow: a host would not even have taken the task.
fn misfit(artifact: &Artifact, job: &Job) -> Option<Report> {
    let schema = artifact.manifest.as_ref()?.payload_schema.as_ref()?;
    let why = schema.check(&job.payload).err()?;
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

/// Runs the job on a thread of its own, since guest code occupies whatever polls it, and lets Ctrl-C cancel it.
fn drive(runtime: Runtime, plugin: crate::runtime::Compiled, job: Job) -> anyhow::Result<Report> {
    let reactor = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let cancel = job.cancel.clone();
    reactor.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
    });
    let handle = reactor.handle().clone();
    let guest = std::thread::Builder::new().name("guest".to_owned()).spawn(move || handle.block_on(runtime.run(&plugin, job)))?;
    let report = guest.join().map_err(|_| anyhow::anyhow!("the run ended without a report; this is a mistake in the host"))?;
    reactor.shutdown_background();
    Ok(report)
}

fn write_outputs(folder: &Path, report: &Report) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = BTreeMap::new();
    for output in &report.outputs {
        // The runtime lets no separator into a name, but two names that it does let in mean folders.
        if output.name.chars().all(|c| c == '.') {
            bail!("the output {:?} cannot be a file's name", output.name);
        }
        let path = folder.join(&output.name);
        std::fs::write(&path, &output.bytes).with_context(|| format!("cannot write {}", path.display()))?;
        written.insert(output.name.clone(), path);
    }
    Ok(written)
}

/// What a host would hold against this task: a type the plugin does not take, a setting it did not ask for.
fn check_grants(artifact: &Artifact, args: &RunArgs) -> anyhow::Result<()> {
    let Some(manifest) = &artifact.manifest else { return Ok(()) };
    if !manifest.task_types.contains(&args.task_type) {
        let known: Vec<_> = manifest.task_types.iter().map(ToString::to_string).collect();
        bail!("{} does not take tasks of type {}; it takes {}", manifest.name, args.task_type, known.join(", "));
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

/// A bar on stderr, if that is a terminal.
#[derive(Clone)]
struct Bar(ProgressBar);

impl Bar {
    const STEPS: u64 = 1000;

    fn new(hidden: bool) -> Self {
        let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(Self::STEPS) };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} % {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }
}

impl ProgressPort for Bar {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the runtime keeps fractions within 0 to 1")]
    fn report(&self, fraction: f32, note: &str) {
        self.0.set_position((fraction * Self::STEPS as f32) as u64);
        self.0.set_message(note.to_owned());
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
