//! What everything around a guest costs when the guest does nothing.

use std::time::Duration;

use taskwarden::clock::{Clock as _, SystemClock};

use crate::sandbox::{Bare, Guarded};
use crate::{Bench, row, table};

const ROUNDS: usize = 9;
const CALLS: u32 = 4_000;

pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    let wasm = bench.guest("noop")?;
    let (bare, guarded) = (Bare::new(&wasm)?, Guarded::new(&wasm)?);
    let (mut bare_us, mut guarded_us, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that whatever else the machine does meets both alike. The first round only warms up.
    for round in 0..=ROUNDS {
        let one = time(|| bare.call(b"{}").map(drop))?;
        let other = time(|| guarded.call(b"{}").map(drop))?;
        if round > 0 {
            bare_us.push(one.as_secs_f64() * 1e6);
            guarded_us.push(other.as_secs_f64() * 1e6);
            ratios.push(other.as_secs_f64() / one.as_secs_f64());
        }
    }
    let rows = [
        row!["", "µs per call", "ratio"],
        row!["wasmtime alone: pooled instance + call", format!("{:.1}", table::median(bare_us)), "1.00"],
        row![
            "the runtime: + fuel, epochs, limiter, capabilities, deadline",
            format!("{:.1}", table::median(guarded_us)),
            format!("{:.2}", table::median(ratios))
        ],
    ];
    table::print(&format!("(a) dispatch of a no-op, one thread, median of {ROUNDS} rounds of {CALLS} (aim: ratio at most 1.5)"), &rows);
    Ok(())
}

fn time(mut call: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let clock = SystemClock::new();
    for _ in 0..CALLS {
        call()?;
    }
    Ok(clock.monotonic() / CALLS)
}
