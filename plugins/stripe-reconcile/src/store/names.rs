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

/// Texts are laid down in pages of this size, each with its number and its length before it.
const TEXT_PAGE_BYTES: usize = 1 << 18;
const LENGTH_MAX: usize = 255;
/// Bytes before a text. With an id of Stripe's, which has 27, that is half a line of the processor's cache.
const HEAD_BYTES: usize = 5;
const CACHE_LINE_BYTES: usize = 64;

/// Every id seen, found by its text.
pub(crate) struct Names {
    texts: Vec<Vec<u8>>,
    /// Where each name's text is: page and place in it.
    places: Pages<u32>,
    /// Open addressing: the upper half of a slot is the hash, the lower the place of the text, where the number stands too. Zero is free:
    /// what has that place is no name that is looked up.
    slots: Vec<u64>,
    used: usize,
    /// Some name has a byte that a CSV cell cannot have without quotes. Hardly ever, and then nobody has to look at each again.
    needs_quotes: bool,
}

/// Whether a text needs quotes to be one cell of a CSV file.
pub(crate) fn needs_quotes(text: &[u8]) -> bool {
    // Letters and digits are beyond all of these. Eight at a time: a byte that is not borrows from its high bit.
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = |word: u64| word.wrapping_sub(ONES * u64::from(b'-')) & !word & (ONES << 7);
    let special = |bytes: &[u8]| bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    match Words::of(text) {
        Some(words) => words.numbers().iter().fold(0, |any, word| any | low(*word)) != 0 && special(text),
        None => special(text),
    }
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
                return self.add_new(text, hash, at);
            }
            if (slot >> 32) as u32 == hash
                && let Some((name, known)) = self.at(slot as u32)
                && is_same(known, text)
            {
                return Ok(name);
            }
            at = (at + 1) & mask;
        }
    }

    /// What is there already was looked at when it came.
    fn add_new(&mut self, text: &[u8], hash: u32, slot: usize) -> Result<Name, NameError> {
        if text.len() > LENGTH_MAX {
            return Err(NameError::TooLong);
        }
        if !text.is_ascii() && std::str::from_utf8(text).is_err() {
            return Err(NameError::NotUtf8);
        }
        let (name, place) = self.lay_down(text).ok_or(NameError::TooMany)?;
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = u64::from(hash) << 32 | u64::from(place);
        }
        self.used += 1;
        self.needs_quotes |= needs_quotes(text);
        Ok(name)
    }

    /// Looks ahead at texts that will be added: where each would be, then what is there. In loops this small the processor waits for
    /// many places of memory at once; one text after another it would wait for each.
    pub(crate) fn look_ahead(&self, lookups: &mut [Lookup]) {
        let mask = self.slots.len() - 1;
        let at = |lookup: &Lookup| self.slots.get(lookup.hash as usize & mask).copied().unwrap_or(0);
        std::hint::black_box(lookups.iter().fold(0u64, |sum, lookup| sum.wrapping_add(at(lookup))));
        let mut places = Vec::with_capacity(lookups.len());
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
                places.push(slot as u32);
            }
        }
        self.warm_places(&places);
    }

    /// Looks ahead at names whose texts will be wanted.
    pub(crate) fn warm_texts(&self, names: &[Name]) {
        let places: Vec<u32> = names.iter().filter_map(|name| self.places.get(name.0).copied()).collect();
        self.warm_places(&places);
    }

    fn warm_places(&self, places: &[u32]) {
        let touch = |place: u32| {
            let (page, at) = (place as usize / TEXT_PAGE_BYTES, place as usize % TEXT_PAGE_BYTES);
            self.texts.get(page).and_then(|page| page.get(at)).copied().unwrap_or(0)
        };
        std::hint::black_box(places.iter().fold(0u8, |sum, place| sum.wrapping_add(touch(*place))));
    }

    /// The name of a text, if it has one.
    pub(crate) fn known(&self, text: &[u8]) -> Option<Name> {
        let hash = hash(text);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots.get(at).copied().filter(|slot| *slot != 0)?;
            let (name, known) = self.at(slot as u32)?;
            if (slot >> 32) as u32 == hash && known == text {
                return Some(name);
            }
            at = (at + 1) & mask;
        }
    }

    /// The text of a name as bytes.
    pub(crate) fn bytes(&self, name: Name) -> &[u8] {
        self.places.get(name.0).and_then(|place| self.at(*place)).map_or(&[], |(_, text)| text)
    }

    /// What was laid down at a place.
    #[inline(always)]
    fn at(&self, place: u32) -> Option<(Name, &[u8])> {
        let place = place as usize;
        let text = self.texts.get(place / TEXT_PAGE_BYTES)?.get(place % TEXT_PAGE_BYTES..)?;
        let ([a, b, c, d, length], text) = text.split_first_chunk::<HEAD_BYTES>()?;
        Some((Name(u32::from_le_bytes([*a, *b, *c, *d])), text.get(..usize::from(*length))?))
    }

    /// The text of a name.
    pub(crate) fn text(&self, name: Name) -> &str {
        std::str::from_utf8(self.bytes(name)).unwrap_or_default()
    }

    /// Answers with its number and its place.
    fn lay_down(&mut self, text: &[u8]) -> Option<(Name, u32)> {
        let full = self.texts.last().is_none_or(|page| page.len() + HEAD_BYTES + text.len().max(WORDS_BYTES_MAX) > TEXT_PAGE_BYTES);
        if full {
            let mut page: Vec<u8> = Vec::with_capacity(TEXT_PAGE_BYTES);
            // Ids then lie within lines of the cache.
            page.resize(page.as_ptr().align_offset(CACHE_LINE_BYTES) % CACHE_LINE_BYTES, 0);
            self.texts.push(page);
        }
        let page_number = self.texts.len() - 1;
        let page = self.texts.last_mut()?;
        let place = u32::try_from(page_number * TEXT_PAGE_BYTES + page.len()).ok()?;
        let [a, b, c, d] = self.places.len().to_le_bytes();
        page.extend_from_slice(&[a, b, c, d, u8::try_from(text.len()).ok()?]);
        // A sandbox leaves itself to copy bytes whose number is not known beforehand.
        match Words::of(text) {
            Some(words) => {
                let begin = page.len();
                page.extend_from_slice(&[0; WORDS_BYTES_MAX]);
                words.write(page.get_mut(begin..begin + text.len())?);
                page.truncate(begin + text.len());
            }
            None => page.extend_from_slice(text),
        }
        self.places.push(place).map(|name| (Name(name), place))
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

const WORDS_BYTES_MAX: usize = 32;

/// A text of 16 to 32 bytes, as ids are, in four words that overlap where it is shorter: with its length they tell all such texts apart.
/// Going through it word by word would be a loop, and a sandbox looks at the fuel and at the time in each turn of a loop.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Words([[u8; 8]; 4]);

impl Words {
    #[inline(always)]
    fn of(text: &[u8]) -> Option<Self> {
        let (first, last) = (text.first_chunk::<16>()?, text.last_chunk::<16>()?);
        let ([a, b], [c, d]) = (first.as_chunks::<8>().0, last.as_chunks::<8>().0) else { return None };
        (text.len() <= WORDS_BYTES_MAX).then_some(Self([*a, *b, *c, *d]))
    }

    #[inline(always)]
    fn numbers(self) -> [u64; 4] {
        self.0.map(u64::from_le_bytes)
    }

    /// Writes the text that it is into as many bytes as that has.
    #[inline(always)]
    fn write(self, into: &mut [u8]) {
        let Self([a, b, c, d]) = self;
        if let Some(first) = into.first_chunk_mut::<16>() {
            first.as_chunks_mut::<8>().0.copy_from_slice(&[a, b]);
        }
        if let Some(last) = into.last_chunk_mut::<16>() {
            last.as_chunks_mut::<8>().0.copy_from_slice(&[c, d]);
        }
    }
}

/// Whether two texts are the same: a call to compare bytes costs more than comparing the few words of an id.
#[inline(always)]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    match (Words::of(a), Words::of(b)) {
        (Some(x), Some(y)) => a.len() == b.len() && x.numbers() == y.numbers(),
        _ => a == b,
    }
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// With the multiplication that WebAssembly has. What is hashed is compared afterwards, so a collision costs time only, and that has a
/// limit.
#[inline(always)]
fn hash(text: &[u8]) -> u32 {
    const ODDS: [u64; 3] = [0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63];
    let Some(words) = Words::of(text) else { return hash_by_word(text) };
    let ([a, b, c, d], [x, y, z]) = (words.numbers(), ODDS);
    // Four products that need not wait for each other.
    let sum = (a ^ text.len() as u64).wrapping_mul(ODD).wrapping_add(b.wrapping_mul(x)) ^ c.wrapping_mul(y).wrapping_add(d.wrapping_mul(z));
    ((sum ^ sum >> 29).wrapping_mul(ODD) >> 32) as u32
}

/// The same for texts of other lengths.
fn hash_by_word(text: &[u8]) -> u32 {
    let (words, rest) = text.as_chunks::<8>();
    let mix = |state: u64, word: u64| {
        let state = (state ^ word).wrapping_mul(ODD);
        state ^ state >> 29
    };
    let state = words.iter().fold(text.len() as u64, |state, word| mix(state, u64::from_le_bytes(*word)));
    let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let state = if rest.is_empty() { state } else { mix(state, last) };
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
    fn texts_of_every_length_are_told_apart() {
        let mut names = Names::with_room(0);
        let text = |length: usize, differs_at: usize| (0..length).map(|at| if at == differs_at { 'x' } else { 'a' }).collect::<String>();
        let all: Vec<String> = (1..=LENGTH_MAX).flat_map(|length| (0..=length).map(move |at| text(length, at))).collect();
        let numbers: Vec<_> = all.iter().map(|text| names.add(text.as_bytes()).expect("fits")).collect();
        assert_eq!(names.count() as usize, all.len() + 1);
        for (text, name) in all.iter().zip(numbers) {
            assert_eq!((names.text(name), names.known(text.as_bytes())), (text.as_str(), Some(name)));
            assert_eq!(names.add(text.as_bytes()), Ok(name));
        }
    }

    #[test]
    fn what_needs_quotes_is_found_at_every_place() {
        for length in 1..50 {
            assert!(
                !needs_quotes(&vec![b'a'; length]) && !needs_quotes(&vec![b'+'; length]) && !needs_quotes("ä".repeat(length).as_bytes())
            );
            for (at, special) in (0..length).flat_map(|at| b",\"\n\r".map(|special| (at, special))) {
                let mut text = vec![b'a'; length];
                text[at] = special;
                assert!(needs_quotes(&text), "{text:?}");
            }
        }
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
