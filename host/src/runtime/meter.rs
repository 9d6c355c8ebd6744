//! Counts what a guest asks of the host, and ends the run where a limit is reached.

use crate::limits::{Limit, Limits};
use crate::task::Outcome;

/// Fuel for one call into the host, about the work of crossing the boundary.
const FUEL_PER_CALL: u64 = 500;

/// Fuel for each byte that crosses the boundary: it is copied and, for text, checked.
const FUEL_PER_BYTE: u64 = 1;

/// Why the host ended a run. Travels as the error of the host function that found it, so that it unwinds the guest.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(super) struct Stop {
    /// What the attempt is recorded as.
    pub(super) outcome: Outcome,
    /// For the plugin's author.
    pub(super) message: String,
}

impl Stop {
    /// Ends the run with an outcome.
    pub(super) fn error(outcome: Outcome, message: impl Into<String>) -> wasmtime::Error {
        wasmtime::Error::from(Self { outcome, message: message.into() })
    }

    /// Ends the run because a limit on what it asks of the host was reached.
    pub(super) fn host_limit(limit: Limit, limits: &Limits, what: &str) -> wasmtime::Error {
        Self::error(Outcome::HostLimit, format!("{what}: {limit} allows {}", limits.get(limit)))
    }

    /// Ends the run because its fuel is used up.
    pub(super) fn out_of_fuel(limits: &Limits) -> wasmtime::Error {
        Self::error(Outcome::OutOfFuel, out_of_fuel_message(limits))
    }
}

/// The sentence for a run that used up its fuel, in its own code or in host calls.
pub(super) fn out_of_fuel_message(limits: &Limits) -> String {
    format!("all fuel was used: fuel allows {}; do less in one task or ask for more", limits.get(Limit::Fuel))
}

/// Where control is, as far as the host can tell: what an error means depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In guest code, or in a host function that it called.
    Guest,
    /// Coming back from a host function, with this much fuel.
    Crossing {
        /// Units left.
        fuel: u64,
    },
    /// After the guest's last return: its answer is being read.
    Returned,
}

/// The counters of one run.
#[derive(Debug)]
pub(super) struct Meter {
    /// The limits of the run.
    pub(super) limits: Limits,
    /// Calls into the host so far.
    pub(super) host_calls: u64,
    /// Bytes of the payload and of what was read from inputs.
    pub(super) input_bytes: u64,
    /// Bytes of what was written to outputs.
    pub(super) output_bytes: u64,
    /// Where control is.
    pub(super) place: Place,
    /// Fuel that host functions cost and that has not been taken from the store yet.
    fuel_debt: u64,
}

impl Meter {
    pub(super) fn new(limits: Limits, payload_bytes: u64) -> Self {
        Self { limits, host_calls: 0, input_bytes: payload_bytes, output_bytes: 0, place: Place::Guest, fuel_debt: 0 }
    }

    /// Counts one call and charges for it. A call over the limit is ended by [`Meter::check`], which runs when the call returns.
    pub(super) fn count_call(&mut self) {
        self.host_calls = self.host_calls.saturating_add(1);
        self.fuel_debt = self.fuel_debt.saturating_add(FUEL_PER_CALL);
    }

    /// Charges for bytes that cross the boundary.
    pub(super) fn charge_bytes(&mut self, bytes: usize) {
        self.fuel_debt = self.fuel_debt.saturating_add(to_u64(bytes).saturating_mul(FUEL_PER_BYTE));
    }

    /// Begins one call of a host function: counts it, charges for it and for `bytes` of arguments, and refuses it over the limit.
    ///
    /// # Errors
    /// [`Stop`] when `host_calls` is reached.
    pub(super) fn call(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.count_call();
        self.charge_bytes(bytes);
        self.check()
    }

    /// Whether there were too many calls.
    ///
    /// # Errors
    /// [`Stop`] when there were.
    pub(super) fn check(&self) -> wasmtime::Result<()> {
        if self.host_calls > self.limits.get(Limit::HostCalls) {
            return Err(Stop::host_limit(Limit::HostCalls, &self.limits, "too many calls into the host"));
        }
        Ok(())
    }

    /// Counts bytes read from inputs.
    ///
    /// # Errors
    /// [`Stop`] when `input_bytes` is reached.
    pub(super) fn take_input(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.charge_bytes(bytes);
        self.input_bytes = self.input_bytes.saturating_add(to_u64(bytes));
        if self.input_bytes > self.limits.get(Limit::InputBytes) {
            return Err(Stop::host_limit(Limit::InputBytes, &self.limits, "more input was read than is allowed, the payload included"));
        }
        Ok(())
    }

    /// Counts bytes written to outputs, or the bytes of the result.
    ///
    /// # Errors
    /// [`Stop`] when `output_bytes` is reached.
    pub(super) fn put_output(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.output_bytes = self.output_bytes.saturating_add(to_u64(bytes));
        let allowed = self.limits.get(Limit::OutputBytes);
        if self.output_bytes > allowed {
            return Err(Stop::error(Outcome::OutputTooLarge, output_too_large_message(self.output_bytes, allowed)));
        }
        Ok(())
    }

    /// The fuel to take from the store now.
    pub(super) fn settle(&mut self) -> u64 {
        std::mem::take(&mut self.fuel_debt)
    }
}

/// The sentence for a run that wrote too much.
pub(super) fn output_too_large_message(bytes: u64, allowed: u64) -> String {
    format!("result and outputs have {bytes} bytes together and output_bytes allows {allowed}; write less or ask for more")
}

/// A size as the limits count.
pub(super) fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The beginning of `text`, at most `max_bytes` of it, cut between characters.
pub(super) fn shorten(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LimitSet;

    fn meter(limit: Limit, value: u64) -> Meter {
        Meter::new(Limits::defaults().overridden_by(&LimitSet::default().with(limit, value)), 0)
    }

    #[test]
    fn the_call_after_the_last_allowed_one_is_refused_by_name() {
        let mut meter = meter(Limit::HostCalls, 2);
        assert!(meter.call(0).and_then(|()| meter.call(0)).is_ok());
        let stop = meter.call(0).expect_err("third").downcast::<Stop>().expect("a stop");
        assert_eq!(stop.outcome, Outcome::HostLimit);
        assert_eq!(stop.message, "too many calls into the host: host_calls allows 2");
    }

    #[test]
    fn calls_and_bytes_cost_fuel_once() {
        let mut meter = meter(Limit::Fuel, 1);
        meter.call(10).expect("first");
        assert_eq!((meter.settle(), meter.settle()), (510, 0));
    }

    #[test]
    fn output_over_the_limit_has_an_outcome_of_its_own() {
        let mut meter = meter(Limit::OutputBytes, 3);
        meter.put_output(3).expect("just fits");
        let stop = meter.put_output(1).expect_err("over").downcast::<Stop>().expect("a stop");
        assert_eq!(stop.outcome, Outcome::OutputTooLarge);
        assert!(stop.message.contains("output_bytes allows 3"), "{}", stop.message);
    }

    #[test]
    fn shortening_never_splits_a_character() {
        assert_eq!(shorten("aäb", 2), "a");
        assert_eq!(shorten("ab", 9), "ab");
    }
}
