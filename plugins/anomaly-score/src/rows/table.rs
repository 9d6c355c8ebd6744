//! Reading rows: CSV with a header that names its columns.

use std::io::BufRead;

use crate::series::SeriesError;
use crate::stats::median;

/// Rows of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The columns' names.
    pub columns: Vec<String>,
    /// Row by row.
    pub cells: Vec<f64>,
}

/// A table has at most this many columns.
pub const COLUMNS_MAX: usize = 256;
/// And at most this many cells: 16 MiB would be needed for more.
pub const CELLS_MAX: usize = 1_000_000;
/// Values beyond this overflow when they are squared.
const CELL_MAX: f64 = 1e100;

impl Table {
    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.cells.len() / self.columns.len().max(1)
    }

    pub(crate) fn row(&self, at: usize) -> &[f64] {
        let width = self.columns.len();
        self.cells.get(at * width..(at + 1) * width).unwrap_or_default()
    }

    pub(crate) fn column(&self, at: usize) -> Vec<f64> {
        self.cells.iter().skip(at).step_by(self.columns.len().max(1)).copied().collect()
    }

    /// Reads CSV. The first line is a header; a cell that is empty, `NaN` or `null` gets its column's median.
    ///
    /// # Errors
    /// Which line is wrong and why.
    pub fn read_csv(from: impl BufRead) -> Result<Self, SeriesError> {
        let mut lines = from.lines().enumerate();
        let mut table = Self { columns: Vec::new(), cells: Vec::new() };
        for (at, line) in &mut lines {
            let number = at + 1;
            let line = line.map_err(|e| SeriesError(format!("line {number}: {e}")))?;
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() {
                continue;
            }
            let cells = line.split(',').map(|cell| cell.trim().trim_matches('"').trim());
            if table.columns.is_empty() {
                table.columns = cells.map(str::to_owned).collect();
                if table.columns.len() > COLUMNS_MAX {
                    let many = table.columns.len();
                    return Err(SeriesError(format!("line {number}: {many} columns, and at most {COLUMNS_MAX} are taken")));
                }
                if let Some(cell) = table.columns.iter().find(|cell| cell.parse::<f64>().is_ok()) {
                    return Err(SeriesError(format!("line {number}: {cell} is a number where a header was expected")));
                }
                continue;
            }
            let before = table.cells.len();
            for cell in cells {
                table.cells.push(parse(cell).map_err(|why| SeriesError(format!("line {number}: {why}")))?);
            }
            if table.cells.len() - before != table.columns.len() {
                let (found, wanted) = (table.cells.len() - before, table.columns.len());
                return Err(SeriesError(format!("line {number}: {found} cells where the header has {wanted}")));
            }
            if table.cells.len() > CELLS_MAX {
                return Err(SeriesError(format!("line {number}: more than {CELLS_MAX} cells; send fewer rows or columns")));
            }
        }
        table.fill_gaps();
        Ok(table)
    }

    /// Makes a table of rows that are there already.
    ///
    /// # Errors
    /// Which row is wrong and why.
    pub fn from_rows(columns: Vec<String>, rows: &[Vec<Option<f64>>]) -> Result<Self, SeriesError> {
        if columns.len() > COLUMNS_MAX || rows.len().saturating_mul(columns.len()) > CELLS_MAX {
            return Err(SeriesError(format!("rows: at most {COLUMNS_MAX} columns and {CELLS_MAX} cells are taken")));
        }
        let mut cells = Vec::with_capacity(rows.len() * columns.len());
        for (at, row) in rows.iter().enumerate() {
            if row.len() != columns.len() {
                return Err(SeriesError(format!("rows[{at}]: {} cells for {} columns", row.len(), columns.len())));
            }
            for cell in row {
                let cell = cell.unwrap_or(f64::NAN);
                if cell.abs() > CELL_MAX {
                    return Err(SeriesError(format!("rows[{at}]: {cell} is larger than {CELL_MAX:e}")));
                }
                cells.push(cell);
            }
        }
        let mut table = Self { columns, cells };
        table.fill_gaps();
        Ok(table)
    }

    fn fill_gaps(&mut self) {
        for at in 0..self.columns.len() {
            let mut known: Vec<f64> = self.column(at).into_iter().filter(|cell| !cell.is_nan()).collect();
            let middle = median(&mut known);
            let width = self.columns.len();
            self.cells.iter_mut().skip(at).step_by(width).filter(|cell| cell.is_nan()).for_each(|cell| *cell = middle);
        }
    }
}

fn parse(cell: &str) -> Result<f64, String> {
    if cell.is_empty() || ["nan", "null", "na"].iter().any(|gap| cell.eq_ignore_ascii_case(gap)) {
        return Ok(f64::NAN);
    }
    let shown: String = cell.chars().take(40).collect();
    let number: f64 = cell.parse().map_err(|_| format!("{shown:?} is not a number"))?;
    if number.abs() <= CELL_MAX { Ok(number) } else { Err(format!("{shown} is not a finite number of at most {CELL_MAX:e}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_gaps_get_the_median() {
        let table = Table::read_csv("a,b\n1,2\n3,\n5,6\n".as_bytes()).expect("good");
        assert_eq!((table.rows(), table.row(1), table.column(0)), (3, [3.0, 4.0].as_slice(), vec![1.0, 3.0, 5.0]));
        for (text, why) in [("a,b\n1\n", "line 2: 1 cells"), ("a\nx\n", "line 2"), ("1,2\n", "header"), ("a\ninf\n", "line 2")] {
            assert!(Table::read_csv(text.as_bytes()).is_err_and(|e| e.0.contains(why)), "{text}");
        }
        assert_eq!(Table::read_csv("".as_bytes()).map(|table| table.rows()), Ok(0));
    }
}
