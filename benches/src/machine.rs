//! What the figures were measured on.

use std::fs::File;
use std::io::Write as _;

use taskwarden::clock::{Clock as _, SystemClock};

use crate::Bench;

pub(crate) fn describe(bench: &Bench) -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map_or("unknown", |(_, name)| name.trim());
    let sync = fdatasync_per_second(bench)?;
    Ok(format!(
        "machine    {cores} cores, {model}\n\
         disk       {sync:.0} fdatasync/s of 4 KiB appends in the scratch folder\n\
         versions   taskwarden {}, wasmtime 48, SQLite {}, {}\n",
        env!("CARGO_PKG_VERSION"),
        rusqlite::version(),
        if cfg!(debug_assertions) { "DEV BUILD: figures mean nothing" } else { "release build" },
    ))
}

fn fdatasync_per_second(bench: &Bench) -> anyhow::Result<f64> {
    let mut file = File::create(bench.scratch.path().join("fdatasync"))?;
    let clock = SystemClock::new();
    let mut writes = 0_u32;
    while clock.monotonic().as_secs_f64() < 1.0 {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        writes += 1;
    }
    Ok(f64::from(writes) / clock.monotonic().as_secs_f64())
}
