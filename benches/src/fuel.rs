//! What metering costs a guest that does nothing but compute.

use taskwarden::clock::{Clock as _, SystemClock};

use crate::sandbox::{Bare, Guarded};
use crate::{Bench, row, table};

const ROUNDS: usize = 7;
/// Some tenths of a second of integer work.
const WORK: &[u8] = b"100000000";

pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    let wasm = bench.guest("noop")?;
    let (bare, guarded) = (Bare::new(&wasm)?, Guarded::new(&wasm)?);
    let (mut bare_s, mut guarded_s, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let clock = SystemClock::new();
        let expected = bare.call(WORK)?;
        let one = clock.monotonic().as_secs_f64();
        let got = guarded.call(WORK)?;
        let other = clock.monotonic().as_secs_f64() - one;
        anyhow::ensure!(expected == got.as_bytes(), "the two guests computed different results");
        if round > 0 {
            bare_s.push(one);
            guarded_s.push(other);
            ratios.push(other / one);
        }
    }
    let rows = [
        row!["", "time", "ratio"],
        row!["without fuel and epochs", format!("{:.1} ms", table::median(bare_s) * 1e3), "1.00"],
        row!["with both", format!("{:.1} ms", table::median(guarded_s) * 1e3), format!("{:.2}", table::median(ratios))],
    ];
    table::print(&format!("(e) fuel and epochs on a tight integer loop of 10⁸ rounds, median of {ROUNDS}"), &rows);
    Ok(())
}
