//! `cargo xtask bench`: what the host costs, as ratios to a stated reference measured in the same run.
//!
//! Figures of one part are comparable with each other and with nothing else: machines, disks and neighbours differ.

mod dispatch;
mod floor;
mod fuel;
mod host;
mod latency;
mod machine;
mod queue;
mod sandbox;
mod table;
mod throughput;
mod webhooks;

use std::path::PathBuf;

use anyhow::{Context, bail};

/// Most of what is allocated here is freed on another thread, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What every part needs.
struct Bench {
    /// Folder of the built guests.
    guests: PathBuf,
    /// A folder on the disk that is measured.
    scratch: tempfile::TempDir,
}

impl Bench {
    fn guest(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.guests.join(format!("{name}.wasm"));
        std::fs::read(&path).with_context(|| format!("cannot read {}; run this through `cargo xtask bench`", path.display()))
    }

    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.scratch.path().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

const PARTS: [&str; 11] =
    ["dispatch", "throughput", "queue", "latency", "flood", "fuel", "webhooks", "pg", "pg-host", "pg-latency", "pg-flat"];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(guests), Some(scratch)) = (arguments.next(), arguments.next()) else {
        bail!("usage: taskwarden-bench GUESTS_DIR SCRATCH_DIR [PART…]; `cargo xtask bench` fills them in");
    };
    let wanted: Vec<String> = arguments.collect();
    if let Some(unknown) = wanted.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part {unknown:?}; the parts are {}", PARTS.join(", "));
    }
    let bench = Bench { guests: guests.into(), scratch: tempfile::tempdir_in(scratch)? };
    let does = |part: &str| wanted.is_empty() || wanted.iter().any(|w| w == part);

    print!("{}", machine::describe(&bench)?);
    if does("dispatch") {
        dispatch::run(&bench)?;
    }
    if does("throughput") {
        throughput::run(&bench)?;
    }
    if does("queue") {
        queue::on_sqlite(&bench)?;
    }
    if does("latency") {
        latency::idle(&bench, latency::On::Sqlite)?;
    }
    if does("flood") {
        latency::flood(&bench, latency::On::Sqlite)?;
    }
    if does("fuel") {
        fuel::run(&bench)?;
    }
    if does("webhooks") {
        webhooks::run(&bench)?;
    }
    if does("pg") {
        queue::on_postgres()?;
    }
    if does("pg-host") {
        queue::host(&bench)?;
    }
    if does("pg-latency") {
        latency::idle(&bench, latency::On::Postgres)?;
        latency::flood(&bench, latency::On::Postgres)?;
    }
    // Only by name: it writes twenty million rows.
    if wanted.iter().any(|part| part == "pg-flat") {
        queue::flat()?;
    }
    Ok(())
}
