//! From the way a run ended to its outcome and a sentence for the plugin's author.

use wasmtime::Trap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi::I32Exit;

use super::guest::{HANDLES_MAX, hostcall_bytes};
use super::meter::{Meter, Place, Stop, out_of_fuel_message, output_too_large_message, shorten};
use crate::limits::{Limit, Limits};
use crate::task::Outcome;

/// The sentence for a cancelled run.
pub(super) const CANCELLED: &str = "the task was cancelled while it ran";

/// What is kept of the guest's or the engine's own words.
pub(super) const WORDS_BYTES_MAX: usize = 4 << 10;

/// The sentence for a run whose time was over.
pub(super) fn deadline_message(limits: &Limits) -> String {
    format!("the task ran longer than wall_ms allows: {} ms, instantiation and host calls included", limits.get(Limit::WallMs))
}

/// What an error that unwound the guest means.
pub(super) fn of_error(error: &wasmtime::Error, meter: &Meter) -> (Outcome, String) {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return (stop.outcome, stop.message.clone());
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return of_trap(*trap, meter);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return (Outcome::HostLimit, handles_message(HANDLES_MAX));
    }
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return (Outcome::Trap, format!("the guest called exit({status}); a plugin returns its answer from execute instead"));
    }
    let words = error.root_cause().to_string();
    // The engine gives these two no type of their own; the hostile guests fail if its wording changes.
    if words.contains("fuel allocated for hostcalls has been exhausted") {
        return too_much_at_once(meter);
    }
    if words.contains("store handle limit exceeded") {
        return (Outcome::HostLimit, handles_message(HANDLES_MAX * 2));
    }
    (Outcome::Trap, format!("the guest broke the rules of its interface: {}", shorten(&words, WORDS_BYTES_MAX)))
}

fn of_trap(trap: Trap, meter: &Meter) -> (Outcome, String) {
    match trap {
        Trap::OutOfFuel => (Outcome::OutOfFuel, out_of_fuel_message(&meter.limits)),
        Trap::StackOverflow => (Outcome::Trap, "the guest's call stack overflowed: it recurses too deeply".to_owned()),
        Trap::UnreachableCodeReached => {
            (Outcome::Trap, "the guest crashed: it executed `unreachable`, which is what a panic or an abort compiles to".to_owned())
        }
        other => (Outcome::Trap, format!("the guest crashed: {}", other.to_string().trim_start_matches("wasm trap: "))),
    }
}

/// More was handed over in one piece than any limit allows: as an argument, or as the result.
fn too_much_at_once(meter: &Meter) -> (Outcome, String) {
    let max = hostcall_bytes(&meter.limits);
    match meter.place {
        Place::Guest | Place::Crossing { .. } => {
            (Outcome::HostLimit, format!("one call into the host carried more than {max} bytes of arguments; hand over smaller pieces"))
        }
        Place::Returned => {
            (Outcome::OutputTooLarge, output_too_large_message(max, meter.limits.get(Limit::OutputBytes)).replace("have", "have more than"))
        }
    }
}

fn handles_message(max: usize) -> String {
    format!("the guest holds {max} resource handles, which is the limit; drop readers and writers when done with them")
}
