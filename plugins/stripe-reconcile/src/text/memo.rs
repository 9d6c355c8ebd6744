//! What the last cell of a column meant, for columns whose few words repeat from row to row.

use std::cell::Cell;

/// The last cell, and what it meant.
pub(crate) struct Memo<T>(Cell<Option<(Word, T)>>);

/// A short text as numbers: comparing them needs no call.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(usize, u64, u64);

impl Word {
    /// None when it is longer than 16 bytes.
    #[inline(always)]
    fn of(text: &[u8]) -> Option<Self> {
        let (first, last) = match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            // The two overlap, which together with the length still tells all texts apart.
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
        };
        (text.len() <= 16).then_some(Self(text.len(), first, last))
    }
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Cell::new(None))
    }
}

impl<T: Copy> Memo<T> {
    /// What `text` means: as it did in the row before, or by `find`.
    ///
    /// # Errors
    /// Those of `find`, which are not remembered.
    #[inline(always)]
    pub(crate) fn get<E>(&self, text: &[u8], find: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let Some(word) = Word::of(text) else { return find() };
        match self.0.get() {
            Some((known, value)) if known == word => Ok(value),
            _ => find().inspect(|value| self.0.set(Some((word, *value)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_means_the_same() {
        let texts: [&[u8]; 10] =
            [b"", b"\0", b"\0\0", b"usd", b"charge", b"succeeded", b"succeedeD", b"Succeeded", b"payment_refund", b"a_text_of_17_byte"];
        let memo = Memo::default();
        for (number, text) in texts.iter().enumerate().chain(texts.iter().enumerate()) {
            assert_eq!(memo.get(text, || Ok::<_, ()>(number)), Ok(number));
            let again = if text.len() <= 16 { number } else { 99 };
            assert_eq!(memo.get(text, || Ok::<_, ()>(99)), Ok(again));
        }
        assert_eq!(memo.get(b"bad", || Err(())), Err(()));
        assert_eq!(memo.get(b"bad", || Ok::<_, ()>(7)), Ok(7));
    }
}
