//! What a scorer remembers, as bytes: little-endian numbers in a fixed order, so that a scorer read back goes on with the same bits.
//!
//! The order is that of the format's number. What a later version adds without changing that order comes after it, each addition with its own
//! number and length: a version that does not know one passes over it, and one that misses it takes its default. So a state outlives the
//! version that wrote it, in both directions, until the order itself has to change.

use std::collections::BTreeMap;

/// "TWA" and the format's number as a digit.
const MARK: u32 = 0x5457_4100;
/// The number of the format that is written and read.
const FORMAT: u32 = 0x34;

/// Why a state cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateError {
    /// These bytes never were one.
    Foreign,
    /// It has the format of another version, whose digit this is.
    Format(char),
    /// It is one, but not all of it is there, or something in it cannot be.
    Damaged,
}

impl std::fmt::Display for StateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own = char::from_u32(FORMAT).unwrap_or('?');
        match self {
            Self::Foreign => f.write_str(
                "this is not a state; give the output \"state\" of the run before byte for byte, or leave it out to start the series again",
            ),
            Self::Format(found) => write!(
                f,
                "this state has format {found}, and this version reads format {own}: run once without it over as much of the past as there is \
                 (six weeks of days, or four of hours, will do), and go on from the state that this leaves"
            ),
            Self::Damaged => f.write_str(
                "this state is cut off or damaged; give the output \"state\" of the run before byte for byte, or run once without it over as much \
                 of the past as there is, and go on from the state that this leaves",
            ),
        }
    }
}

impl std::error::Error for StateError {}

/// Bytes in the making.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Begins with what it is.
    pub(crate) fn begin() -> Self {
        let mut new = Self::default();
        new.u32(MARK | FORMAT);
        new
    }

    /// Something that was added to the format, after everything that belongs to it.
    pub(crate) fn addition(&mut self, number: u8, write: impl FnOnce(&mut Self)) {
        let mut own = Self::default();
        write(&mut own);
        self.u8(number);
        self.u32(u32::try_from(own.0.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(&own.0);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f32(&mut self, value: f32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f64(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f64s(&mut self, values: impl ExactSizeIterator<Item = f64>) {
        self.u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
        values.for_each(|value| self.f64(value));
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Bytes being read, front to back.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Past the beginning, if it is that of a state of this format.
    pub(crate) fn begin(bytes: &'a [u8]) -> Result<Self, StateError> {
        let mut from = Self(bytes);
        let found = from.u32().map_err(|_| StateError::Foreign)?;
        match char::from_u32(found & 0xFF).filter(char::is_ascii_digit) {
            Some(_) if found == MARK | FORMAT => Ok(from),
            Some(format) if found & !0xFF == MARK => Err(StateError::Format(format)),
            _ => Err(StateError::Foreign),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(StateError::Damaged)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, StateError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, StateError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, StateError> {
        self.take().map(i64::from_le_bytes)
    }

    pub(crate) fn f32(&mut self) -> Result<f32, StateError> {
        self.take().map(f32::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Result<f64, StateError> {
        self.take().map(f64::from_le_bytes)
    }

    /// How many of something follow, at most `max`.
    pub(crate) fn count(&mut self, max: usize) -> Result<usize, StateError> {
        usize::try_from(self.u32()?).ok().filter(|count| *count <= max).ok_or(StateError::Damaged)
    }

    pub(crate) fn f64s(&mut self, max: usize) -> Result<Vec<f64>, StateError> {
        let count = self.count(max)?;
        (0..count).map(|_| self.f64()).collect()
    }

    /// What was added to the format, by its number. Nothing else may follow.
    pub(crate) fn additions(mut self) -> Result<BTreeMap<u8, Self>, StateError> {
        let mut found = BTreeMap::new();
        while !self.0.is_empty() {
            let number = self.u8()?;
            let length = usize::try_from(self.u32()?).map_err(|_| StateError::Damaged)?;
            let (own, rest) = self.0.split_at_checked(length).ok_or(StateError::Damaged)?;
            self.0 = rest;
            found.insert(number, Self(own));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Point, Scored, Scorer};

    /// A series as the states in `states` were made of: days until the 40th, hours until the 60th point.
    fn series(count: i64, step_ms: i64) -> Vec<Point> {
        let value = |at: i64| 100.0 + ((at * 37) % 11) as f64 - if at % 7 > 4 { 30.0 } else { 0.0 };
        (0..count).map(|at| Point::new(at * step_ms, value(at))).collect()
    }

    fn rest(mut scorer: Scorer, points: &[Point]) -> Vec<Scored> {
        points.iter().map(|point| scorer.push(*point)).collect()
    }

    #[test]
    fn a_state_of_a_version_without_additions_goes_on_as_if_nothing_had_happened() {
        let days: &[u8] = include_bytes!("../states/days.state");
        let hours: &[u8] = include_bytes!("../states/hours.state");
        for (state, step_ms, seen) in [(days, 86_400_000, 40), (hours, 3_600_000, 60)] {
            let points = series(150, step_ms);
            let resumed = Scorer::resume(Options::default(), state).expect("a state of this format");
            assert_eq!(resumed.latest(), None, "it did not say");
            let whole = rest(Scorer::new(Options::default()), &points);
            for (resumed, whole) in rest(resumed, &points[seen..]).iter().zip(&whole[seen..]) {
                // That version judged the first days of hours otherwise, which `lately` remembers.
                let told = |point: &Scored| (point.score.to_bits(), point.expected.to_bits(), point.deviation.to_bits(), point.opens);
                assert_eq!(told(resumed), told(whole), "{}", whole.time_ms);
            }
        }
    }

    #[test]
    fn what_a_later_version_added_is_passed_over_and_nothing_else() {
        let points = series(90, 86_400_000);
        let mut scorer = Scorer::new(Options::default());
        for point in &points[..60] {
            scorer.push(*point);
        }
        let state = scorer.save();
        let mut added = Writer(state.clone());
        added.addition(200, |to| to.f64s([1.0, 2.0].into_iter()));
        let later = added.finish();
        let resumed = Scorer::resume(Options::default(), &later).expect("it knows what it needs");
        assert_eq!(resumed.latest(), Some(points[59]));
        assert_eq!(rest(resumed, &points[60..]), rest(scorer, &points[60..]));
        for broken in [&later[..later.len() - 1], &[state.as_slice(), b"x"].concat()] {
            assert_eq!(Scorer::resume(Options::default(), broken).err(), Some(StateError::Damaged));
        }
    }
}
