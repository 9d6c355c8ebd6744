//! CSV as RFC 4180 has it, read in place from one buffer: a record is a list of ranges, no cell is copied.

use std::io::{self, BufRead};

use super::ABSENT;
use super::marks::marks;
use crate::store::Lookup;

/// A record beyond this is a quote that was never closed.
const RECORD_BYTES_MAX: usize = 1 << 20;
const BUFFER_BYTES: usize = 1 << 17;

/// A reader that hands out one record after another.
pub(crate) struct Csv<R> {
    from: R,
    buffer: Vec<u8>,
    /// Where the next record begins.
    start: usize,
    ended: bool,
    line: u64,
    separator: u8,
    /// Of the records of the block.
    cells: Vec<(u32, u32)>,
    /// Where each record's cells begin, and the line it begins on.
    records: Vec<(usize, u64)>,
    /// Which cells have doubled quotes in them.
    doubled: Vec<usize>,
    /// Line ends inside the cells of the record.
    inner_lines: u64,
    /// The input ended within the quotes of a cell.
    unclosed: bool,
    /// Where separators and line ends are in a window of the buffer: its first byte, and a bit for each of its 64.
    window: usize,
    marks: u64,
}

/// Some records, valid until the next are read.
pub(crate) struct Block<'a> {
    buffer: &'a [u8],
    cells: &'a [(u32, u32)],
    records: &'a [(usize, u64)],
    unclosed: bool,
}

impl<'a> Block<'a> {
    /// The line of the record within whose quotes the input ended. It is the last one, and may have swallowed others.
    pub(crate) fn unclosed(&self) -> Option<u64> {
        self.records.last().filter(|_| self.unclosed).map(|(_, line)| *line)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let (buffer, cells) = (self.buffer, self.cells);
        let ends = self.records.iter().skip(1).map(|(first, _)| *first).chain([cells.len()]);
        self.records.iter().zip(ends).map(move |((first, line), end)| Record {
            buffer,
            cells: cells.get(*first..end).unwrap_or_default(),
            line: *line,
            keys: &[],
            lookups: &[],
        })
    }
}

/// One record, valid until the next is read.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    buffer: &'a [u8],
    cells: &'a [(u32, u32)],
    /// The line it begins on, counted from 1.
    pub(crate) line: u64,
    /// Columns that hold ids, and what looking ahead has found of each.
    keys: &'a [usize],
    lookups: &'a [Lookup],
}

/// A cell that holds an id.
#[derive(Clone, Copy)]
pub(crate) struct IdCell<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) lookup: Option<Lookup>,
}

impl IdCell<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// Why reading cannot go on.
#[derive(Debug)]
pub(crate) enum CsvError {
    Io(io::Error),
    /// The record that begins on this line does not end.
    TooLong(u64),
}

impl<'a> Record<'a> {
    /// How many cells it has.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// The same record with what is known of the cells in the columns `keys`.
    pub(crate) fn with_lookups(self, keys: &'a [usize], lookups: &'a [Lookup]) -> Self {
        Self { keys, lookups, ..self }
    }

    /// A cell that holds an id.
    #[inline(always)]
    pub(crate) fn id(&self, column: usize) -> IdCell<'a> {
        if column == ABSENT {
            return IdCell { text: b"", lookup: None };
        }
        let known = self.keys.iter().zip(self.lookups).find(|(key, _)| **key == column);
        IdCell { text: self.cell(column), lookup: known.map(|(_, lookup)| *lookup) }
    }

    /// A cell without blanks around it; empty when there is none.
    #[inline(always)]
    pub(crate) fn cell(&self, at: usize) -> &'a [u8] {
        let Some((start, end)) = self.cells.get(at) else { return b"" };
        let cell = self.buffer.get(*start as usize..*end as usize).unwrap_or_default();
        match cell {
            [first, .., last] if *first > b' ' && *last > b' ' => cell,
            _ => cell.trim_ascii(),
        }
    }
}

/// Where scanning a record stopped.
enum Scan {
    /// Past its end.
    Record(usize),
    /// The buffer ends before the record does.
    NeedsMore,
}

impl<R: BufRead> Csv<R> {
    pub(crate) fn new(from: R) -> Self {
        Self {
            from,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            start: 0,
            ended: false,
            line: 0,
            separator: b',',
            cells: Vec::new(),
            records: Vec::new(),
            doubled: Vec::new(),
            inner_lines: 0,
            unclosed: false,
            window: 0,
            marks: 0,
        }
    }

    /// The first record, which decides what separates cells: commas, semicolons or tabs. A byte-order mark is passed over.
    pub(crate) fn header(&mut self) -> Result<Option<Record<'_>>, CsvError> {
        while !self.ended && !self.buffer.contains(&b'\n') && self.buffer.len() < RECORD_BYTES_MAX {
            self.fill()?;
        }
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.start = 3;
        }
        let first_line = self.buffer.split(|byte| *byte == b'\n').next().unwrap_or_default();
        self.separator = taskwarden_money::cell_separator(first_line);
        self.find_marks(self.start);
        self.next()
    }

    /// The next record that is not an empty line.
    fn next(&mut self) -> Result<Option<Record<'_>>, CsvError> {
        Ok(self.block(1)?.and_then(|block| block.records().next()))
    }

    /// The next records that are not empty lines: as many as the buffer holds whole, and at most so many. None at the end.
    pub(crate) fn block(&mut self, most: usize) -> Result<Option<Block<'_>>, CsvError> {
        self.cells.clear();
        self.records.clear();
        self.doubled.clear();
        self.scan_plain(most);
        while self.records.len() < most {
            let (begin, first, doubled) = (self.start, self.cells.len(), self.doubled.len());
            match self.scan(first) {
                Scan::NeedsMore => {
                    self.cells.truncate(first);
                    self.doubled.truncate(doubled);
                    if !self.records.is_empty() {
                        break;
                    }
                    if self.buffer.len() - self.start > RECORD_BYTES_MAX {
                        return Err(CsvError::TooLong(self.line + 1));
                    }
                    self.fill()?;
                }
                Scan::Record(end) if end == begin => break,
                Scan::Record(end) => {
                    let line = self.line + 1;
                    self.line += 1 + self.inner_lines;
                    self.start = end;
                    if is_blank(&self.buffer, self.cells.get(first..).unwrap_or_default()) {
                        self.cells.truncate(first);
                    } else {
                        self.records.push((first, line));
                    }
                }
            }
        }
        self.undouble();
        let block = Block { buffer: &self.buffer, cells: &self.cells, records: &self.records, unclosed: self.unclosed };
        Ok(Some(block).filter(|block| !block.records.is_empty()))
    }

    /// Scans whole records as long as there are no quotes, from the marks alone: most files have none, and nearly all time would go into
    /// looking at each cell's first and last byte.
    fn scan_plain(&mut self, most: usize) {
        let (buffer, separator) = (self.buffer.as_slice(), self.separator);
        // The first cell of the record, and where the cell begins.
        let (mut first, mut cell, mut window) = (0, self.start, self.start);
        while let Some(bytes) = buffer.get(window..).and_then(<[u8]>::first_chunk::<64>) {
            if marks(bytes, b'"', b'"') != 0 {
                break;
            }
            let (mut marks, ends) = (marks(bytes, separator, b'\n'), marks(bytes, b'\n', b'\n'));
            while marks != 0 {
                let end = window + marks.trailing_zeros() as usize;
                self.cells.push((cell as u32, end as u32));
                cell = end + 1;
                let mark = marks & marks.wrapping_neg();
                marks ^= mark;
                if ends & mark == 0 {
                    continue;
                }
                (self.line, self.start) = (self.line + 1, cell);
                if is_blank(buffer, self.cells.get(first..).unwrap_or_default()) {
                    self.cells.truncate(first);
                } else {
                    self.records.push((first, self.line));
                    first = self.cells.len();
                }
                if self.records.len() >= most {
                    return;
                }
            }
            window += 64;
        }
        self.cells.truncate(first);
    }

    /// Moves what is left to the front of the buffer and reads on behind it.
    fn fill(&mut self) -> Result<(), CsvError> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let chunk = loop {
            match self.from.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CsvError::Io(error)),
                Ok(_) => break self.from.fill_buf().map_err(CsvError::Io)?,
            }
        };
        let count = chunk.len();
        self.ended = count == 0;
        self.buffer.extend_from_slice(chunk);
        self.from.consume(count);
        self.find_marks(0);
        Ok(())
    }

    /// The first separator or line end at `at` or after it, as far as the buffer goes.
    #[inline(always)]
    fn mark(&mut self, at: usize) -> Option<usize> {
        if at.wrapping_sub(self.window) >= 64 {
            self.find_marks(at);
        }
        let passed = at - self.window;
        let mut marks = self.marks >> passed << passed;
        while marks == 0 {
            let next = self.window + 64;
            if next >= self.buffer.len() {
                return None;
            }
            self.find_marks(next);
            marks = self.marks;
        }
        Some(self.window + marks.trailing_zeros() as usize)
    }

    /// Looks at the 64 bytes from `at` on.
    fn find_marks(&mut self, at: usize) {
        self.window = at;
        let rest = self.buffer.get(at..).unwrap_or_default();
        let separator = self.separator;
        self.marks = match rest.first_chunk::<64>() {
            Some(bytes) => marks(bytes, separator, b'\n'),
            None => {
                let bit = |(at, byte): (usize, &u8)| u64::from(*byte == separator || *byte == b'\n') << at;
                rest.iter().enumerate().map(bit).fold(0, |bits, bit| bits | bit)
            }
        };
    }

    /// Scans one record, whose cells come behind the `first` that are there.
    fn scan(&mut self, first: usize) -> Scan {
        self.inner_lines = 0;
        let mut at = self.start;
        loop {
            // One cell.
            if self.buffer.get(at) == Some(&b'"') {
                let Some(after) = self.scan_quoted(at) else { return Scan::NeedsMore };
                at = after;
            } else {
                match self.mark(at) {
                    Some(end) => {
                        self.push_cell(at, end);
                        at = end;
                    }
                    None if self.ended => {
                        let end = self.buffer.len();
                        if at == end && self.cells.len() == first {
                            return Scan::Record(at);
                        }
                        self.push_cell(at, end);
                        at = end;
                    }
                    None => return Scan::NeedsMore,
                }
            }
            match self.buffer.get(at) {
                Some(byte) if *byte == self.separator => at += 1,
                Some(_) => return Scan::Record(at + 1),
                None => return Scan::Record(at),
            }
        }
    }

    /// A cell in quotes. Answers with the place of what follows it.
    fn scan_quoted(&mut self, open: usize) -> Option<usize> {
        let begin = open + 1;
        let mut end = begin;
        let mut doubled = false;
        let close = loop {
            match self.buffer.get(end) {
                Some(b'"') if self.buffer.get(end + 1) == Some(&b'"') => {
                    doubled = true;
                    end += 2;
                }
                // A quote at the very end of the buffer may be half of a double one.
                Some(b'"') if end + 1 == self.buffer.len() && !self.ended => return None,
                Some(b'"') => break end,
                Some(_) => end += 1,
                None if self.ended => {
                    self.unclosed = true;
                    break end;
                }
                None => return None,
            }
        };
        // What stands between the closing quote and the separator belongs to no cell.
        let rest = self.buffer.get((close + 1).min(self.buffer.len())..).unwrap_or_default();
        let skipped = rest.iter().position(|byte| *byte == self.separator || *byte == b'\n');
        let after = match skipped {
            Some(skipped) => close + 1 + skipped,
            None if self.ended => self.buffer.len(),
            None => return None,
        };
        let cell = self.buffer.get(begin..close).unwrap_or_default();
        self.inner_lines += cell.iter().filter(|byte| **byte == b'\n').count() as u64;
        if doubled {
            self.doubled.push(self.cells.len());
        }
        self.push_cell(begin, close);
        Some(after)
    }

    /// Makes doubled quotes single, where they stand. Only for whole records: one that needs more is scanned again.
    fn undouble(&mut self) {
        for cell in &self.doubled {
            let Some((begin, end)) = self.cells.get_mut(*cell) else { continue };
            let (mut from, mut into) = (*begin, *begin);
            while from < *end {
                let byte = self.buffer.get(from as usize).copied().unwrap_or_default();
                if let Some(place) = self.buffer.get_mut(into as usize) {
                    *place = byte;
                }
                from += if byte == b'"' { 2 } else { 1 };
                into += 1;
            }
            *end = into;
        }
    }

    #[inline(always)]
    fn push_cell(&mut self, from: usize, to: usize) {
        self.cells.push((u32::try_from(from).unwrap_or(u32::MAX), u32::try_from(to).unwrap_or(u32::MAX)));
    }
}

/// Whether a record is an empty line.
#[inline(always)]
fn is_blank(buffer: &[u8], cells: &[(u32, u32)]) -> bool {
    matches!(cells, [(start, end)] if buffer.get(*start as usize..*end as usize).is_none_or(|cell| cell.trim_ascii().is_empty()))
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8], chunk: usize) -> Vec<(u64, Vec<String>)> {
        let mut csv = Csv::new(BufReader::with_capacity(chunk, text));
        let mut found = Vec::new();
        let mut record = csv.header().expect("reads");
        while let Some(row) = record {
            found.push((row.line, (0..row.len()).map(|at| String::from_utf8_lossy(row.cell(at)).into_owned()).collect()));
            record = csv.next().expect("reads");
        }
        found
    }

    #[test]
    fn every_way_to_write_a_cell() {
        let text = b"\xef\xbb\xbfa,b,c\r\n1, x ,\"q, \"\"r\"\"\"\r\n\r\n\"two\nlines\",,z\nlast,,";
        for chunk in [1, 2, 3, 7, 64] {
            let rows = read(text, chunk);
            let expected: [(u64, [&str; 3]); 4] =
                [(1, ["a", "b", "c"]), (2, ["1", "x", "q, \"r\""]), (4, ["two\nlines", "", "z"]), (6, ["last", "", ""])];
            assert_eq!(rows, expected.map(|(line, cells)| (line, cells.map(str::to_owned).to_vec())), "chunks of {chunk}");
        }
    }

    #[test]
    fn semicolons_tabs_and_empty_files() {
        assert_eq!(read(b"a;b\n1,5;2\n", 64)[1].1, ["1,5", "2"]);
        assert_eq!(read(b"a\tb\tc\n1,5\t\t\"x\ty\"\r\n", 64)[1].1, ["1,5", "", "x\ty"]);
        assert!(read(b"", 64).is_empty() && read(b"\n\n", 64).is_empty());
    }

    #[test]
    fn a_quote_that_is_never_closed_has_an_end() {
        let text = [b"a,b\n\"".as_slice(), &vec![b'x'; RECORD_BYTES_MAX + BUFFER_BYTES]].concat();
        let mut csv = Csv::new(BufReader::with_capacity(1000, text.as_slice()));
        csv.header().expect("reads");
        assert!(matches!(csv.next(), Err(CsvError::TooLong(2))));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(cells in prop::collection::vec(prop::collection::vec("[a-c\",; \n]{0,6}", 3), 1..20), chunk in 1usize..40) {
            let quote = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let text: String = cells.iter().map(|row| row.iter().map(quote).collect::<Vec<_>>().join(",") + "\n").collect();
            let rows: Vec<Vec<String>> = read(format!("x,y,z\n{text}").as_bytes(), chunk).into_iter().skip(1).map(|row| row.1).collect();
            let trimmed: Vec<Vec<String>> =
                cells.iter().map(|row| row.iter().map(|cell| cell.trim_ascii().to_owned()).collect()).collect();
            prop_assert_eq!(rows, trimmed);
        }

        #[test]
        fn chunks_do_not_show(text in prop::collection::vec(prop::sample::select(b"ab,\"\n\r;".to_vec()), 0..60), chunk in 1usize..8) {
            prop_assert_eq!(read(&text, chunk), read(&text, 4096));
        }

        #[test]
        fn records_without_quotes_and_with_them_are_read_alike(
            rows in prop::collection::vec(prop::collection::vec("[a-z]{0,30}", 1..5), 0..60),
            quoted in 0usize..80,
            chunk in 1usize..200,
        ) {
            let rows: Vec<String> = rows.iter().map(|row| row.join(",") + "\r\n").collect();
            let plain = rows.concat();
            // One byte after another hardly anything is scanned ahead.
            prop_assert_eq!(read(plain.as_bytes(), 1), read(plain.as_bytes(), 4096));
            let quote = |(at, row): (usize, &String)| if at == quoted { format!("\"x\ny\",{row}") } else { row.clone() };
            let mixed: String = rows.iter().enumerate().map(quote).collect();
            prop_assert_eq!(read(mixed.as_bytes(), chunk), read(mixed.as_bytes(), 4096));
            prop_assert_eq!(read(mixed.as_bytes(), 1), read(mixed.as_bytes(), 4096));
        }
    }
}
