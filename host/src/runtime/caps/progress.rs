//! `progress`: how far the task is, for people who wait.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use crate::runtime::bindings;
use crate::runtime::guest::Guest;
use crate::runtime::meter::{Meter, shorten};
use crate::runtime::ports::ProgressPort;

/// What is kept of a note.
const NOTE_BYTES_MAX: usize = 200;

/// What the guest's calls work on.
pub(in crate::runtime) struct ProgressHost<'a> {
    pub(in crate::runtime) port: &'a Arc<dyn ProgressPort>,
    pub(in crate::runtime) meter: &'a mut Meter,
}

impl bindings::progress::Host for ProgressHost<'_> {
    fn report(&mut self, fraction: f32, note: String) -> wasmtime::Result<()> {
        self.meter.call(note.len())?;
        if !fraction.is_nan() {
            self.port.report(fraction.clamp(0.0, 1.0), shorten(&note, NOTE_BYTES_MAX));
        }
        Ok(())
    }
}

struct HasProgress;

impl HasData for HasProgress {
    type Data<'a> = ProgressHost<'a>;
}

/// Links it.
///
/// # Errors
/// When it is linked already.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::progress::add_to_linker::<_, HasProgress>(linker, |guest| ProgressHost {
        port: &guest.ports.progress,
        meter: &mut guest.meter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use bindings::progress::Host as _;
    use parking_lot::Mutex;

    #[derive(Default)]
    struct Seen(Mutex<Vec<(f32, String)>>);

    impl ProgressPort for Seen {
        fn report(&self, fraction: f32, note: &str) {
            self.0.lock().push((fraction, note.to_owned()));
        }
    }

    #[test]
    fn fractions_are_clamped_and_what_is_not_a_number_is_passed_over() {
        let seen = Arc::new(Seen::default());
        let port: Arc<dyn ProgressPort> = seen.clone();
        let mut meter = Meter::new(Limits::defaults(), 0);
        let mut host = ProgressHost { port: &port, meter: &mut meter };
        for fraction in [f32::NAN, -1.0, 0.5, f32::INFINITY] {
            host.report(fraction, "ä".repeat(150)).expect("allowed");
        }
        let seen = seen.0.lock();
        assert_eq!(seen.iter().map(|(fraction, _)| *fraction).collect::<Vec<_>>(), [0.0, 0.5, 1.0]);
        assert!(seen.iter().all(|(_, note)| note.len() == NOTE_BYTES_MAX));
    }
}
