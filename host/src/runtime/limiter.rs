//! Sums the memories and tables of an instance, so that many small ones cost as much as one large one.

use wasmtime::ResourceLimiter;

use super::meter::{Stop, to_u64};
use crate::limits::{Limit, Limits};
use crate::task::Outcome;

/// What a table element occupies on the host.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// What the instance holds and may hold.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    bytes_max: u64,
    elements_max: u64,
    bytes: u64,
    elements: u64,
    peak_bytes: u64,
    /// Bytes and elements of the growth that was allowed last, to be taken back if it fails after all.
    last: (u64, u64),
}

impl MemoryLimiter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            bytes_max: limits.get(Limit::MemoryBytes),
            elements_max: limits.get(Limit::TableElements),
            bytes: 0,
            elements: 0,
            peak_bytes: 0,
            last: (0, 0),
        }
    }

    /// Most bytes held at once.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// Counts a growth, or refuses it by ending the run: a guest that goes on after a failed allocation mostly crashes a
    /// moment later with a message that hides the cause.
    fn grow(&mut self, bytes: u64, elements: u64) -> wasmtime::Result<bool> {
        let (all_bytes, all_elements) = (self.bytes.saturating_add(bytes), self.elements.saturating_add(elements));
        if all_elements > self.elements_max {
            let message = format!("asked for {all_elements} table elements in all; table_elements allows {}", self.elements_max);
            return Err(Stop::error(Outcome::OutOfMemory, message));
        }
        if all_bytes > self.bytes_max {
            let message =
                format!("asked for {all_bytes} bytes in all memories and tables together; memory_bytes allows {}", self.bytes_max);
            return Err(Stop::error(Outcome::OutOfMemory, message));
        }
        (self.bytes, self.elements, self.last) = (all_bytes, all_elements, (bytes, elements));
        self.peak_bytes = self.peak_bytes.max(all_bytes);
        Ok(true)
    }

    fn take_back(&mut self) {
        let (bytes, elements) = std::mem::take(&mut self.last);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.elements = self.elements.saturating_sub(elements);
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(to_u64(desired.saturating_sub(current)), 0)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = to_u64(desired.saturating_sub(current));
        self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES), elements)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LimitSet;

    fn limiter(bytes: u64, elements: u64) -> MemoryLimiter {
        let set = LimitSet::default().with(Limit::MemoryBytes, bytes).with(Limit::TableElements, elements);
        MemoryLimiter::new(&Limits::defaults().overridden_by(&set))
    }

    fn refusal(result: wasmtime::Result<bool>) -> String {
        let stop = result.expect_err("refused").downcast::<Stop>().expect("a stop");
        assert_eq!(stop.outcome, Outcome::OutOfMemory);
        stop.message
    }

    #[test]
    fn memories_and_tables_share_one_sum() {
        let mut limiter = limiter(200_000, 1_000);
        assert!(limiter.memory_growing(0, 65_536, None).is_ok());
        assert!(limiter.memory_growing(0, 131_072, None).is_ok());
        assert!(limiter.table_growing(0, 100, None).is_ok());
        let said = refusal(limiter.table_growing(100, 600, None));
        assert_eq!(said, "asked for 201408 bytes in all memories and tables together; memory_bytes allows 200000");
        assert_eq!(limiter.peak_bytes(), 196_608 + 800);
    }

    #[test]
    fn table_elements_have_their_own_limit() {
        let mut limiter = limiter(1 << 30, 1_000);
        assert!(limiter.table_growing(0, 1_000, None).is_ok());
        assert_eq!(refusal(limiter.table_growing(0, 1, None)), "asked for 1001 table elements in all; table_elements allows 1000");
    }

    #[test]
    fn a_growth_that_failed_is_not_held_against_the_guest() {
        let mut limiter = limiter(131_072, 10);
        assert!(limiter.memory_growing(0, 131_072, Some(65_536)).is_ok());
        limiter.memory_grow_failed(wasmtime::Error::msg("its own maximum")).expect("noted");
        assert!(limiter.memory_growing(0, 131_072, None).is_ok());
    }
}
