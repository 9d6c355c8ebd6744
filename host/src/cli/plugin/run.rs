//! `taskwarden plugin run`: one task without a server, in the same sandbox and under the same limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::WRONG_USAGE;
use super::shown::Shown;
use super::trial::{Trial, TrialArgs, drive};
use crate::runtime::Report;
use crate::runtime::ports::ProgressPort;
use crate::task::Outcome;

/// Arguments of `taskwarden plugin run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    trial: TrialArgs,
    /// Where to put what the plugin writes; made if it is not there
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Print this output of the plugin instead of the result
    #[arg(long, value_name = "NAME", conflicts_with = "json")]
    output: Option<String>,
    /// Where compiled code is kept, so that the next run of the same artifact starts at once; made if it is not there
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Print one JSON object: outcome, result, error, receipt, logs, outputs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let Some(trial) = Trial::prepare(args.trial, args.cache_dir)? else { return Ok(ExitCode::from(WRONG_USAGE)) };
    let bar = Bar::new(args.json);
    let (name, version, limits, digest) = (trial.name.clone(), trial.version.clone(), trial.limits, trial.plugin.digest());
    let without_grant = trial.without_grant();
    let report = match trial.misfit() {
        Some(refused) => refused,
        None => {
            let (cancel, progress) = (CancellationToken::new(), Arc::new(bar.clone()));
            drive(cancel.clone(), move || async move { trial.runtime.run(&trial.plugin, trial.job(progress, cancel)).await })?
        }
    };
    bar.0.finish_and_clear();

    let written = match (&args.output_dir, report.outcome) {
        (Some(folder), Outcome::Succeeded) => write_outputs(folder, &report)?,
        _ => BTreeMap::new(),
    };
    let shown = Shown::new(&report, limits, name, version, hex::encode(digest), written)?;
    if args.json {
        shown.print_json()?;
    } else {
        let wanted = args.output.as_deref().filter(|_| report.outcome == Outcome::Succeeded);
        shown.print(wanted.map(|name| output(name, &report)).transpose()?)?;
        if report.outcome != Outcome::Succeeded {
            for (capability, flag) in without_grant {
                eprintln!("note      the plugin asks for {}, and no {flag} was given", capability.name());
            }
        }
    }
    Ok(if report.outcome == Outcome::Succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the plugin wrote under a name.
fn output<'a>(name: &str, report: &'a Report) -> anyhow::Result<&'a [u8]> {
    let named = report.outputs.iter().find(|output| output.name == name);
    let names: Vec<&str> = report.outputs.iter().map(|output| output.name.as_str()).collect();
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    named.map(|output| output.bytes.as_ref()).with_context(|| format!("the plugin wrote no output {name:?}; it wrote {names}"))
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
