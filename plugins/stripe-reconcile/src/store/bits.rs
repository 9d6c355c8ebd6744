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

    /// The positions below `len` whose bits are clear. Where nearly all are set, 64 at a time are passed over.
    pub(crate) fn clear(&self, len: u32) -> impl Iterator<Item = u32> {
        let mut next = 0u32;
        std::iter::from_fn(move || {
            while next < len {
                let clear = !self.0.get(next as usize / 64).copied().unwrap_or(0) >> (next % 64);
                if clear == 0 {
                    next = (next / 64 + 1).saturating_mul(64);
                    continue;
                }
                let at = next + clear.trailing_zeros();
                next = at.saturating_add(1);
                return Some(at).filter(|at| *at < len);
            }
            None
        })
    }

    /// The positions whose bits are set.
    pub(crate) fn ones(&self) -> impl Iterator<Item = u32> {
        (0u32..)
            .zip(&self.0)
            .filter(|(_, word)| **word != 0)
            .flat_map(|(at, word)| (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| at * 64 + bit))
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

    #[test]
    fn what_is_not_set_is_clear() {
        let mut bits = Bits::new(200);
        let set = [0, 1, 63, 64, 127, 128, 198];
        set.iter().for_each(|at| assert!(!bits.set(*at)));
        (65..127).for_each(|at| assert!(!bits.set(at)));
        assert_eq!(bits.ones().collect::<Vec<_>>(), (0..200).filter(|at| bits.has(*at)).collect::<Vec<_>>());
        for len in [0, 1, 2, 64, 65, 127, 128, 129, 198, 199, 200] {
            assert_eq!(bits.clear(len).collect::<Vec<_>>(), (0..len).filter(|at| !bits.has(*at)).collect::<Vec<_>>(), "{len}");
        }
    }
}
