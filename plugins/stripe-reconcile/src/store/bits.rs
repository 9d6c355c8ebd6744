//! A set of positions, one bit each.

/// Bits that are all clear at first.
#[derive(Default, Clone)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn new(len: u32) -> Self {
        Self(vec![0; (len as usize).div_ceil(64)])
    }

    pub(crate) fn has(&self, at: u32) -> bool {
        self.0.get(at as usize / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// Sets a bit and says whether it was set before.
    pub(crate) fn set(&mut self, at: u32) -> bool {
        let Some(word) = self.0.get_mut(at as usize / 64) else { return false };
        let before = *word & (1 << (at % 64)) != 0;
        *word |= 1 << (at % 64);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_set_once() {
        let mut bits = Bits::new(65);
        assert!(!bits.set(64) && bits.set(64) && bits.has(64) && !bits.has(63) && !bits.has(1000));
    }
}
