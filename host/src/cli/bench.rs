//! `taskwarden bench`: how fast this machine runs a plugin's task, one after the other on one core, each in a fresh sandbox.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::plugin::{Trial, TrialArgs, WRONG_USAGE, drive};
use crate::clock::SystemClock;
use crate::runtime::ports::ProgressPort;
use crate::runtime::{Report, Usage};
use crate::task::Outcome;

/// Runs whose time is kept; beyond them a longer measurement tells nothing new.
const RUNS_MAX: usize = 1_000_000;

/// Arguments of `taskwarden bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    trial: TrialArgs,
    /// For how many seconds to run it, 1 to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was measured. Times of a run are from the task being handed to the sandbox to its report; the database has no part in it.
#[derive(Debug, Serialize)]
struct Measured {
    plugin: String,
    plugin_version: String,
    /// To machine code, from the artifact; a host does this once and keeps it.
    compile_ms: u64,
    runs: usize,
    seconds: f64,
    runs_per_second: f64,
    run_us_p50: u64,
    run_us_p99: u64,
    run_us_max: u64,
    /// Smallest and largest of any run: equal where the plugin does the same each time.
    fuel_min: u64,
    fuel_max: u64,
    memory_peak_bytes: u64,
}

/// How the runs went.
#[derive(Debug, Default)]
struct Tally {
    times: Vec<Duration>,
    first: Option<Usage>,
    fuel: (u64, u64),
    memory_peak_bytes: u64,
    /// The first report of a run that did not succeed; it ends the measurement.
    failed: Option<Report>,
    elapsed: Duration,
}

pub(super) fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    // No cache: the time to compile is one of the answers.
    let Some(trial) = Trial::prepare(args.trial, None)? else { return Ok(ExitCode::from(WRONG_USAGE)) };
    let (plugin, plugin_version, compile_time) = (trial.name.clone(), trial.version.clone(), trial.compile_time);
    let tally = match trial.misfit() {
        Some(refused) => Tally { failed: Some(refused), ..Tally::default() },
        None => {
            let cancel = CancellationToken::new();
            let time = Duration::from_secs(args.seconds);
            drive(cancel.clone(), move || async move { measure(&trial, time, cancel).await })?
        }
    };
    if let Some(report) = tally.failed {
        let why = report.error.unwrap_or_default();
        eprintln!("taskwarden: run {} ended as {}: {why}; try it with plugin run first", tally.times.len() + 1, report.outcome);
        return Ok(ExitCode::FAILURE);
    }
    let measured = measured(plugin, plugin_version, compile_time, tally);
    if args.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        print(&measured);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs until the time is over, at least once. The first run is not counted: it touches the plugin's pages for the first time.
async fn measure(trial: &Trial, time: Duration, cancel: CancellationToken) -> Tally {
    let clock = SystemClock::shared();
    let silent: Arc<dyn ProgressPort> = Arc::new(Silent);
    let mut tally = Tally { fuel: (u64::MAX, 0), ..Tally::default() };
    let began = clock.monotonic();
    let mut counted_from = began;
    loop {
        let before = clock.monotonic();
        let report = trial.runtime.run(&trial.plugin, trial.job(Arc::clone(&silent), cancel.clone())).await;
        let now = clock.monotonic();
        if report.outcome != Outcome::Succeeded {
            tally.failed = Some(report);
            return tally;
        }
        let usage = report.usage;
        tally.fuel = (tally.fuel.0.min(usage.fuel), tally.fuel.1.max(usage.fuel));
        tally.memory_peak_bytes = tally.memory_peak_bytes.max(usage.memory_peak_bytes);
        if tally.first.replace(usage).is_none() && now.saturating_sub(began) < time {
            counted_from = now;
            continue;
        }
        tally.times.push(now.saturating_sub(before));
        tally.elapsed = now.saturating_sub(counted_from);
        if now.saturating_sub(began) >= time || tally.times.len() >= RUNS_MAX {
            return tally;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates for people to read")]
fn measured(plugin: String, plugin_version: String, compile_time: Duration, mut tally: Tally) -> Measured {
    tally.times.sort_unstable();
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let at = |permille: usize| micros(percentile(&tally.times, permille));
    let (runs, seconds) = (tally.times.len(), tally.elapsed.as_secs_f64());
    Measured {
        plugin,
        plugin_version,
        compile_ms: u64::try_from(compile_time.as_millis()).unwrap_or(u64::MAX),
        runs,
        seconds,
        runs_per_second: runs as f64 / seconds.max(f64::MIN_POSITIVE),
        run_us_p50: at(500),
        run_us_p99: at(990),
        run_us_max: at(1_000),
        fuel_min: tally.fuel.0,
        fuel_max: tally.fuel.1,
        memory_peak_bytes: tally.memory_peak_bytes,
    }
}

/// The smallest of the sorted times that so many of a thousand do not exceed.
fn percentile(sorted: &[Duration], permille: usize) -> Duration {
    let rank = (sorted.len() * permille).div_ceil(1_000).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

fn print(measured: &Measured) {
    let Measured { plugin, plugin_version, runs, seconds, .. } = measured;
    println!("{plugin} {plugin_version}, one core, a fresh sandbox for each of {runs} runs in {seconds:.2} s");
    println!("rate      {:.0} runs/s", measured.runs_per_second);
    println!("run       p50 {} µs, p99 {} µs, max {} µs", measured.run_us_p50, measured.run_us_p99, measured.run_us_max);
    let fuel = match (measured.fuel_min, measured.fuel_max) {
        (least, most) if least == most => most.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    println!("fuel      {fuel}");
    println!("memory    {} bytes at most", measured.memory_peak_bytes);
    println!("compile   {} ms", measured.compile_ms);
}

/// Nobody watches.
struct Silent;

impl ProgressPort for Silent {
    fn report(&self, _fraction: f32, _note: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        let micros = [0, 500, 990, 1_000].map(|permille| percentile(&times, permille).as_micros());
        assert_eq!(micros, [1, 100, 198, 200]);
        assert_eq!(percentile(&[], 500), Duration::ZERO);
    }
}
