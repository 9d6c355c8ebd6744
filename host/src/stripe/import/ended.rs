//! Whether the last row of a file is whole. A file that was cut off usually breaks off within a row, and within the last cell of it nothing else
//! shows that: the row has all its cells.

use std::io::Read;

/// Stands behind the last row, as a row of its own; where it does not, a quote before it was never closed.
pub(super) const END: &str = "\u{4}\n";
/// The same as a row.
pub(super) const END_ROW: [&str; 1] = ["\u{4}"];
/// The same where the last row lacks its line's end.
const LINE_AND_END: &str = "\n\u{4}\n";

/// A source with [`END`] behind it.
pub(super) struct Ended<R> {
    source: R,
    last: u8,
    /// What is still to come behind the source, once it has ended.
    rest: Option<&'static [u8]>,
    cut_off: bool,
    bytes: u64,
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Not behind the last row, or that has its line's end.
    Before,
    /// Behind the last row, which has no line's end.
    LastRow,
    /// Behind [`END`].
    Beyond,
}

impl<R> Ended<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, last: b'\n', rest: None, cut_off: false, bytes: 0 }
    }

    pub(super) fn is_behind(&self, bytes: u64) -> Place {
        match self.rest {
            Some([]) if bytes == self.bytes => Place::Beyond,
            Some([]) if self.cut_off && bytes.saturating_add(END.len() as u64) == self.bytes => Place::LastRow,
            _ => Place::Before,
        }
    }
}

impl<R: Read> Read for Ended<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_none() {
            let count = self.source.read(into)?;
            if let Some(last) = count.checked_sub(1).and_then(|at| into.get(at)) {
                self.last = *last;
                self.bytes = self.bytes.saturating_add(count as u64);
                return Ok(count);
            }
            self.cut_off = self.last != b'\n';
            self.rest = Some(if self.cut_off { LINE_AND_END } else { END }.as_bytes());
        }
        let count = self.rest.as_mut().map_or(Ok(0), |rest| rest.read(into))?;
        self.bytes = self.bytes.saturating_add(count as u64);
        Ok(count)
    }
}

/// The shortest and the longest of the last cells of rows: ids and times of a report are all of a length.
#[derive(Default)]
pub(super) struct Widths {
    rows: u64,
    shortest: usize,
    longest: usize,
}

/// Shorter cells are all of a length by chance.
const EVEN_WIDTH_MIN: usize = 10;
/// So many rows have to agree.
const EVEN_ROWS_MIN: u64 = 2;

impl Widths {
    pub(super) fn add(&mut self, cell: &[u8]) {
        self.shortest = if self.rows == 0 { cell.len() } else { self.shortest.min(cell.len()) };
        self.longest = self.longest.max(cell.len());
        self.rows += 1;
    }

    /// Whether all cells were of one length, and this one is not empty and has less.
    pub(super) fn is_shorter(&self, cell: &[u8]) -> bool {
        let even = self.rows >= EVEN_ROWS_MIN && self.shortest == self.longest && self.shortest >= EVEN_WIDTH_MIN;
        even && !cell.is_empty() && cell.len() < self.shortest
    }
}
