//! Ids, each kept once. Two rows have the same id when they have the same number for it, so joins compare and index numbers.

use super::Pages;

/// The number of an id. Numbers are dense, so that tables can be indexed by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Name(pub(crate) u32);

impl Name {
    /// No id.
    pub(crate) const NONE: Name = Name(0);

    pub(crate) fn is_some(self) -> bool {
        self != Self::NONE
    }

    /// This one, or the other when this one is none.
    pub(crate) fn or(self, other: Name) -> Name {
        if self.is_some() { self } else { other }
    }
}

/// Why a text cannot be an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameError {
    NotUtf8,
    TooLong,
    TooMany,
}

impl NameError {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NotUtf8 => "is not UTF-8",
            Self::TooLong => "is longer than 255 bytes",
            Self::TooMany => "is one id too many for 32 bits",
        }
    }
}

/// Texts are laid down in pages of this size, each with its length before it.
const TEXT_PAGE_BYTES: usize = 1 << 18;
const LENGTH_MAX: usize = 255;

/// Every id seen, found by its text.
pub(crate) struct Names {
    texts: Vec<Vec<u8>>,
    /// Where each name's text begins: page and place in it.
    places: Pages<u32>,
    /// Open addressing: the upper half of a slot is the hash, the lower the name; zero is free, since no name that is looked up is 0.
    slots: Vec<u64>,
    used: usize,
    /// Some name has a byte that a CSV cell cannot have without quotes. Hardly ever, and then nobody has to look at each again.
    needs_quotes: bool,
}

/// Whether a text needs quotes to be one cell of a CSV file.
pub(crate) fn needs_quotes(text: &[u8]) -> bool {
    // Letters and digits are beyond all of these. Eight at a time: a byte that is not borrows from its high bit.
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        word.wrapping_sub(ONES * u64::from(b'-')) & !word & (ONES << 7) != 0
    };
    let special = |bytes: &[u8]| bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    let (words, rest) = text.as_chunks::<8>();
    words.iter().any(|word| low(word) && special(word)) || special(rest)
}

impl Names {
    /// Room for about so many names without growing.
    pub(crate) fn with_room(names: usize) -> Self {
        let mut new = Self { texts: Vec::new(), places: Pages::default(), slots: vec![0; slots_for(names)], used: 0, needs_quotes: false };
        new.lay_down(b"");
        new
    }

    /// Whether any of them needs quotes in a CSV file.
    pub(crate) fn any_needs_quotes(&self) -> bool {
        self.needs_quotes
    }

    /// Gives back the room of the table that finds a name by its text: there will be no more texts.
    pub(crate) fn close(&mut self) {
        self.slots = Vec::new();
    }

    /// How many numbers are given out, the one for "none" included.
    pub(crate) fn count(&self) -> u32 {
        self.places.len()
    }

    /// The name of a text, new or old; the empty text is none.
    pub(crate) fn add(&mut self, text: &[u8]) -> Result<Name, NameError> {
        self.add_at(text, Lookup::of(text))
    }

    /// The same where [`Names::look_ahead`] has been.
    pub(crate) fn add_at(&mut self, text: &[u8], lookup: Lookup) -> Result<Name, NameError> {
        if text.is_empty() {
            return Ok(Name::NONE);
        }
        if self.slots.is_empty() {
            return Err(NameError::TooMany);
        }
        if self.used * 8 >= self.slots.len() * 7 {
            self.grow();
        }
        let hash = lookup.hash;
        let mask = self.slots.len() - 1;
        // Names are never taken out, so what was passed over then is passed over now; growing alone moves them.
        let mut at = if lookup.slots == self.slots.len() as u32 { lookup.at } else { hash } as usize & mask;
        loop {
            let slot = self.slots.get(at).copied().unwrap_or(0);
            if slot == 0 {
                // What is there already was looked at when it came.
                if text.len() > LENGTH_MAX {
                    return Err(NameError::TooLong);
                }
                if !text.is_ascii() && std::str::from_utf8(text).is_err() {
                    return Err(NameError::NotUtf8);
                }
                let name = self.lay_down(text).ok_or(NameError::TooMany)?;
                if let Some(slot) = self.slots.get_mut(at) {
                    *slot = u64::from(hash) << 32 | u64::from(name.0);
                }
                self.used += 1;
                self.needs_quotes |= needs_quotes(text);
                return Ok(name);
            }
            let name = Name(slot as u32);
            if (slot >> 32) as u32 == hash && is_same(self.bytes(name), text) {
                return Ok(name);
            }
            at = (at + 1) & mask;
        }
    }

    /// Looks ahead at texts that will be added: where each would be, then what is there. In loops this small the processor waits for
    /// many places of memory at once; one text after another it would wait for each.
    pub(crate) fn look_ahead(&self, lookups: &mut [Lookup]) {
        let mask = self.slots.len() - 1;
        let at = |lookup: &Lookup| self.slots.get(lookup.hash as usize & mask).copied().unwrap_or(0);
        std::hint::black_box(lookups.iter().fold(0u64, |sum, lookup| sum.wrapping_add(at(lookup))));
        let mut names = Vec::with_capacity(lookups.len());
        for lookup in lookups {
            let mut at = lookup.hash as usize & mask;
            let slot = loop {
                let slot = self.slots.get(at).copied().unwrap_or(0);
                if slot == 0 || (slot >> 32) as u32 == lookup.hash {
                    break slot;
                }
                at = (at + 1) & mask;
            };
            (lookup.at, lookup.slots) = (at as u32, self.slots.len() as u32);
            if slot != 0 {
                names.push(Name(slot as u32));
            }
        }
        self.warm_texts(&names);
    }

    /// Looks ahead at names whose texts will be wanted.
    pub(crate) fn warm_texts(&self, names: &[Name]) {
        let places: Vec<u32> = names.iter().filter_map(|name| self.places.get(name.0).copied()).collect();
        let touched = places.iter().filter_map(|place| {
            let (page, at) = (*place as usize / TEXT_PAGE_BYTES, *place as usize % TEXT_PAGE_BYTES);
            self.texts.get(page)?.get(at).copied()
        });
        std::hint::black_box(touched.fold(0u8, u8::wrapping_add));
    }

    /// The name of a text, if it has one.
    pub(crate) fn known(&self, text: &[u8]) -> Option<Name> {
        let hash = hash(text);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots.get(at).copied().filter(|slot| *slot != 0)?;
            let name = Name(slot as u32);
            if (slot >> 32) as u32 == hash && self.bytes(name) == text {
                return Some(name);
            }
            at = (at + 1) & mask;
        }
    }

    /// The text of a name as bytes.
    pub(crate) fn bytes(&self, name: Name) -> &[u8] {
        self.find(name).unwrap_or_default()
    }

    fn find(&self, name: Name) -> Option<&[u8]> {
        let place = *self.places.get(name.0)? as usize;
        let text = self.texts.get(place / TEXT_PAGE_BYTES)?.get(place % TEXT_PAGE_BYTES..)?;
        let (length, text) = text.split_first()?;
        text.get(..usize::from(*length))
    }

    /// The text of a name.
    pub(crate) fn text(&self, name: Name) -> &str {
        std::str::from_utf8(self.bytes(name)).unwrap_or_default()
    }

    fn lay_down(&mut self, text: &[u8]) -> Option<Name> {
        let full = self.texts.last().is_none_or(|page| page.len() + 1 + text.len() > TEXT_PAGE_BYTES);
        if full {
            self.texts.push(Vec::with_capacity(TEXT_PAGE_BYTES));
        }
        let page_number = self.texts.len() - 1;
        let page = self.texts.last_mut()?;
        let place = u32::try_from(page_number * TEXT_PAGE_BYTES + page.len()).ok()?;
        page.push(u8::try_from(text.len()).ok()?);
        // Word by word: a sandbox leaves itself to copy what is longer than a word, and most ids are three words long.
        let (words, rest) = text.as_chunks::<8>();
        words.iter().for_each(|word| page.extend_from_slice(word));
        rest.iter().for_each(|byte| page.push(*byte));
        self.places.push(place).map(Name)
    }

    fn grow(&mut self) {
        let mut slots = vec![0u64; self.slots.len() * 2];
        let mask = slots.len() - 1;
        for slot in self.slots.iter().copied().filter(|slot| *slot != 0) {
            let mut at = (slot >> 32) as usize & mask;
            while slots.get(at).is_some_and(|taken| *taken != 0) {
                at = (at + 1) & mask;
            }
            if let Some(free) = slots.get_mut(at) {
                *free = slot;
            }
        }
        self.slots = slots;
    }
}

fn slots_for(names: usize) -> usize {
    (names + names / 4).clamp(64, 1 << 24).next_power_of_two()
}

/// Where the number of a text is, or would be, as far as that is known: its hash, and the slot where a search ended in a table of so many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup {
    hash: u32,
    at: u32,
    slots: u32,
}

impl Lookup {
    /// Nothing but the hash.
    pub(crate) fn of(text: &[u8]) -> Self {
        Self { hash: hash(text), at: 0, slots: 0 }
    }
}

/// Whether two texts are the same: a call to compare bytes costs more than comparing the few words of an id.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let words = a.iter().zip(b).all(|(a, b)| u64::from_le_bytes(*a) == u64::from_le_bytes(*b));
    words && a_rest.iter().zip(b_rest).all(|(a, b)| a == b)
}

/// Eight bytes at a time, with the multiplication that WebAssembly has. What is hashed is compared afterwards, so a collision costs time
/// only, and that has a limit.
fn hash(text: &[u8]) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = text.len() as u64;
    let mut mix = |word: u64| {
        state = (state ^ word).wrapping_mul(ODD);
        state ^= state >> 29;
    };
    let mut words = text.chunks_exact(8);
    for word in &mut words {
        mix(u64::from_le_bytes(word.try_into().unwrap_or_default()));
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        // The last eight bytes, some of them for the second time, where there are that many.
        let last = text.last_chunk::<8>().copied();
        mix(last.map_or_else(|| rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), u64::from_le_bytes));
    }
    (state ^ state >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_has_the_same_number_through_every_growth() {
        let mut names = Names::with_room(0);
        let text = |n: u32| format!("ch_{n:024}");
        let first: Vec<_> = (0..20_000).map(|n| names.add(text(n).as_bytes()).expect("fits")).collect();
        for (n, name) in (0..20_000).zip(first) {
            assert_eq!(names.add(text(n).as_bytes()), Ok(name));
            assert_eq!(names.text(name), text(n));
        }
        assert_eq!(names.count(), 20_001);
    }

    #[test]
    fn what_cannot_be_an_id_is_refused() {
        let mut names = Names::with_room(0);
        assert_eq!(names.add(b""), Ok(Name::NONE));
        assert_eq!(names.add(b"\xff\xfe"), Err(NameError::NotUtf8));
        assert_eq!(names.add(&[b'x'; 256]), Err(NameError::TooLong));
        assert!(names.add(&[b'x'; 255]).is_ok() && names.add("bestellung-ä".as_bytes()).is_ok());
        assert_eq!(names.text(Name::NONE), "");
    }
}
