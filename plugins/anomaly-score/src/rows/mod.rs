//! Rows of several columns: which stand apart, by which column, and which of them belong together.
//!
//! Columns are evened and scaled, then turned into units of the bulk's own spread; the bulk are the four fifths of the rows around which
//! it is densest, found in three rounds. There the local outlier factor tells who stands apart, even if the rows are of several
//! kinds. How columns go together can be learnt only from many more rows than there are pairs of columns; with fewer, distances in
//! the plain scales and column-by-column scores take over, smoothly.

mod clusters;
mod columns;
mod local;
mod scale;
mod table;

pub use table::{CELLS_MAX, COLUMNS_MAX, Table};

use crate::math::ln;
use crate::matrix::{Bulk, Matrix, Neighbour};
use crate::stats::{median, quantile, rarities};
use local::Local;

/// With more rows than this, every row is compared with so many of them.
const REFERENCES_MAX: usize = 2000;
/// Neighbours that are looked at.
const NEIGHBOURS: (usize, usize) = (5, 80);
/// Neighbours for distances and for finding the bulk.
const NEAR_MAX: usize = 40;
/// The share of rows that are taken for the bulk.
const BULK_SHARE: f64 = 0.8;
const BULK_ROUNDS: usize = 3;
/// Of the rows that alert, so many may be no news: the rate of false discoveries.
const FALSE_SHARE: f64 = 0.25;
/// The shares of rows, with the lowest local outlier factors, at whose ends the tail of ordinary rows is measured.
const TAIL: (f64, f64) = (0.75, 0.9);
/// The tail of ordinary rows is taken for no steeper than this, in logarithms of the factor: on a grid of whole numbers most rows differ by nothing.
const LEAST_UNIT: f64 = 0.1;
/// So many rows that do not alert tell how close rows of one group are.
const BULK_SAMPLE: usize = 500;
/// Rows of one kind are as close together as this share of all rows is to their nearest, ...
const CLUSTER_SHARE: f64 = 0.95;
/// ... times this.
const CLUSTER_REACH: f64 = 2.0;
/// Neighbours of each row that tell how far rows of one kind are apart.
const PAIRS: usize = 3;
/// Columns named for a row.
const REASONS_MAX: usize = 3;

/// One row and what was found of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RowScore {
    /// −log10 of the share of rows that stand as far apart, from all views together.
    pub score: f64,
    /// 0 to 100; 50 is the alert boundary.
    pub severity: f64,
    /// For rows that alert: the columns to blame, most to blame first.
    pub reasons: Vec<Reason>,
    /// The group of alerting rows that it belongs to, if there are several like it.
    pub group: Option<usize>,
    /// The kind of rows that it belongs to, by how they lie together; the largest kind is 0. None for a row that lies alone.
    pub cluster: Option<usize>,
}

/// A column's part in a row's standing apart.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Reason {
    /// Which column.
    pub column: String,
    /// What the row has there.
    pub value: f64,
    /// What its nearest rows have.
    pub expected: f64,
    /// The column's share of what sets the row apart, 0 to 1.
    pub share: f64,
}

/// Fuel that scoring a table takes, roughly: what is refused up front is refused by this.
#[must_use]
pub fn rows_cost_fuel(rows: usize, columns: usize) -> u64 {
    let compared = rows.min(REFERENCES_MAX) as u64;
    let passes = compared * compared * (BULK_ROUNDS as u64 + 5) + rows as u64 * compared * 4;
    passes * (12 * columns as u64 + 40)
}

/// Scores the rows of a table.
#[must_use]
pub fn score_rows(table: &Table) -> Vec<RowScore> {
    let count = table.rows();
    if count < 3 {
        return vec![RowScore { score: 0.0, severity: 0.0, reasons: Vec::new(), group: None, cluster: None }; count];
    }
    let plain = scale::scaled(table);
    let references = references(count);
    let neighbours = (references.len() / 4).clamp(NEIGHBOURS.0, NEIGHBOURS.1);
    let least = scale::least_variances(table);
    let white = whitened(&plain, &least, &references, neighbours.min(NEAR_MAX));

    let (white_among, plain_among) = (white.select(&references), plain.select(&references));
    let local = Local::new(&white_among, neighbours);
    let (apart, _) = factors(&local, &white, &references);
    let plain_local = Local::new(&plain_among, neighbours);
    let (plain_apart, distance) = factors(&plain_local, &plain, &references);
    let others = [distance, plain_apart, columns::histogram(table), columns::tails(table)].map(|scores| rarities(&scores));
    let pairs = (table.columns.len() * table.columns.len()) as f64;
    let trust = count as f64 / (count as f64 + pairs);
    let white_rarity = rarities(&apart);
    let scores = (0..count).map(|at| {
        let other = others.iter().filter_map(|scores| scores.get(at)).sum::<f64>() / others.len() as f64;
        trust * white_rarity.get(at).copied().unwrap_or(0.0) + (1.0 - trust) * other
    });
    let scores = scores.collect();
    let view = View { table, plain: &plain, white: &white, local: &local, references: &references };
    view.finished(&apart, scores)
}

/// Evenly spread over the table; all of it, if it is small.
fn references(count: usize) -> Vec<u32> {
    let taken = count.min(REFERENCES_MAX);
    (0..taken).filter_map(|at| u32::try_from(at * count / taken).ok()).collect()
}

/// `least` is what each column varies by at least.
fn whitened(plain: &Matrix, least: &[f64], references: &[u32], near: usize) -> Matrix {
    let mut white = plain.clone();
    for _ in 0..BULK_ROUNDS {
        let sample = white.select(references);
        let reach = sample.reach(near);
        let limit = quantile(&mut reach.clone(), BULK_SHARE);
        let kept: Vec<u32> = references.iter().zip(&reach).filter(|(_, reach)| **reach <= limit).map(|(at, _)| *at).collect();
        white = Bulk::of_at_least(plain, &kept, least).whiten(plain);
    }
    white
}

/// Each row's local outlier factor, and how far its neighbours are.
fn factors(local: &Local<'_>, space: &Matrix, references: &[u32]) -> (Vec<f64>, Vec<f64>) {
    let mut found: Vec<Neighbour> = Vec::new();
    let of = |at: usize| {
        let around = local.around(space.row(at), place(references, at), &mut found);
        let near = around.get(..NEAR_MAX).unwrap_or(around);
        (local.factor(around), near.last().map_or(0.0, |neighbour| neighbour.0))
    };
    (0..space.rows()).map(of).unzip()
}

/// A row's place among the references, if it is one of them.
fn place(references: &[u32], at: usize) -> Option<usize> {
    references.binary_search(&u32::try_from(at).ok()?).ok()
}

/// A table from all sides.
struct View<'a> {
    table: &'a Table,
    plain: &'a Matrix,
    white: &'a Matrix,
    local: &'a Local<'a>,
    references: &'a [u32],
}

impl View<'_> {
    fn finished(&self, apart: &[f64], scores: Vec<f64>) -> Vec<RowScore> {
        let alerts = standing_apart(apart);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        let score = |at: usize| scores.get(at).copied().unwrap_or(0.0);
        order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
        // Half way between the last row that alerts and the first that does not.
        let at_rank = |rank: usize| order.get(rank).map_or(0.0, |at| score(*at));
        let boundary = ((at_rank(alerts.saturating_sub(1)) + at_rank(alerts)) / 2.0).max(f64::MIN_POSITIVE);
        let severity = |score: f64| if alerts == 0 { 49.0 * score / (1.0 + score) } else { 100.0 * score / (score + boundary) };
        let mut found: Vec<RowScore> = scores
            .iter()
            .zip(self.clusters())
            .map(|(score, cluster)| RowScore {
                score: *score,
                severity: severity(*score).min(100.0),
                reasons: Vec::new(),
                group: None,
                cluster,
            })
            .collect();
        // Rows that score the same alert together.
        let alerts = order.partition_point(|at| severity(score(*at)) >= 50.0);
        let (alerting, others) = order.split_at(alerts);
        let rows = |order: &[usize]| order.iter().filter_map(|at| u32::try_from(*at).ok()).collect::<Vec<_>>();
        // How close rows of one group are: about as close as those of the bulk.
        let bulk = self.white.select(&rows(others.get(..BULK_SAMPLE).unwrap_or(others)));
        let within = quantile(&mut bulk.reach(NEIGHBOURS.0), 0.95) * 2.0;
        let groups = clusters::groups(&self.white.select(&rows(alerting)), within);
        let mut near = Vec::new();
        for (at, group) in alerting.iter().zip(groups) {
            if let Some(row) = found.get_mut(*at) {
                row.group = group;
                row.reasons = self.reasons(*at, &mut near);
            }
        }
        found
    }

    /// Which kind of rows each belongs to: as dense as most of them are, whatever the distances between the kinds. Rows beyond the references
    /// are of the kind of the nearest one.
    fn clusters(&self) -> Vec<Option<usize>> {
        let white = self.within_kinds();
        let among = white.select(self.references);
        let within = CLUSTER_REACH * quantile(&mut among.reach(NEIGHBOURS.0), CLUSTER_SHARE);
        let mut kinds = clusters::groups(&among, within);
        clusters::by_size(&mut kinds);
        let mut near = Vec::new();
        let kind = |at: usize| match place(self.references, at) {
            Some(place) => kinds.get(place).copied().flatten(),
            None => {
                among.nearest(white.row(at), None, 1, &mut near);
                let (distance, other) = near.first()?;
                kinds.get(*other as usize).copied().flatten().filter(|_| *distance <= within)
            }
        };
        (0..white.rows()).map(kind).collect()
    }

    /// The rows in units of how far rows of one kind are apart, which differences between nearest neighbours tell whatever lies between the
    /// kinds (Art, Gnanadesikan and Kettenring, "Data-based metrics for cluster analysis", Utilitas Mathematica 1982).
    fn within_kinds(&self) -> Matrix {
        let among = self.white.select(self.references);
        let (mut near, mut apart, mut cells) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..among.rows() {
            among.nearest(among.row(at), u32::try_from(at).ok(), PAIRS, &mut near);
            for (distance, other) in &near {
                apart.push(*distance);
                cells.extend(among.row(at).iter().zip(among.row(*other as usize)).map(|(one, other)| one - other));
            }
        }
        let limit = quantile(&mut apart.clone(), CLUSTER_SHARE);
        let kept: Vec<u32> = (0..).zip(&apart).filter(|(_, distance)| **distance <= limit).map(|(at, _)| at).collect();
        Bulk::of(&Matrix { width: among.width, cells }, &kept).whiten(self.white)
    }

    /// The columns in which a row is furthest from its nearest rows.
    fn reasons(&self, at: usize, near: &mut Vec<Neighbour>) -> Vec<Reason> {
        let around = self.local.around(self.white.row(at), place(self.references, at), near);
        let rows: Vec<usize> = around.iter().filter_map(|(_, other)| Some(*self.references.get(*other as usize)? as usize)).collect();
        let expected = |cell: &dyn Fn(usize) -> Option<f64>| median(&mut rows.iter().filter_map(|row| cell(*row)).collect::<Vec<_>>());
        let squares: Vec<f64> = (0..self.plain.width)
            .map(|column| {
                let cell = |row: usize| self.plain.row(row).get(column).copied();
                let off = cell(at).unwrap_or(0.0) - expected(&cell);
                off * off
            })
            .collect();
        let total = squares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut order: Vec<usize> = (0..squares.len()).collect();
        order.sort_by(|a, b| squares.get(*b).unwrap_or(&0.0).total_cmp(squares.get(*a).unwrap_or(&0.0)));
        let reason = |column: usize| {
            let cell = |row: usize| self.table.row(row).get(column).copied();
            let share = squares.get(column)? / total;
            Some(Reason { column: self.table.columns.get(column)?.clone(), value: cell(at)?, expected: expected(&cell), share })
        };
        order.into_iter().take(REASONS_MAX).filter_map(reason).filter(|reason| reason.share > 0.05).collect()
    }
}

/// How many rows have a local outlier factor that the others do not lead one to expect. Beyond the nine tenths of lowest factors the tail of their
/// logarithms is taken to go on as it came, exponentially; the boundary is the lowest one at which at most [`FALSE_SHARE`] of the rows beyond it are
/// what chance makes of so many (Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995).
fn standing_apart(apart: &[f64]) -> usize {
    let mut logs: Vec<f64> = apart.iter().map(|factor| ln(factor.max(1e-12))).collect();
    let (inner, outer) = (quantile(&mut logs, TAIL.0), quantile(&mut logs, TAIL.1));
    let unit = ((outer - inner) / ln((1.0 - TAIL.0) / (1.0 - TAIL.1))).max(LEAST_UNIT);
    logs.sort_unstable_by(|one, other| other.total_cmp(one));
    // −ln of the share of ordinary rows that are as far out, against −ln of the share of false discoveries that are allowed.
    let beyond = |log: f64| (log - outer) / unit - ln(1.0 - TAIL.1);
    let allowed = |rank: usize| ln(logs.len() as f64) - ln(FALSE_SHARE * rank as f64);
    let far = |rank: usize| logs.get(rank - 1).is_some_and(|log| *log > outer && beyond(*log) >= allowed(rank));
    (1..=logs.len()).rev().find(|rank| far(*rank)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::noise;

    #[test]
    fn two_kinds_are_two_however_many_of_each_there_are() {
        for others in [12usize, 60, 150] {
            let rows = (0..400 + others).flat_map(|at| {
                let dice = |salt: i64| noise(at as i64 * 7 + salt);
                let (ms, cost) = if at < 400 { (55.0, 1.5) } else { (1100.0, 8.5) };
                [ms * crate::math::exp(0.2 * dice(1)), 20_000.0 * crate::math::exp(0.3 * dice(2)), cost + 0.3 * dice(3)]
            });
            let table = Table { columns: ["ms", "fuel", "cost"].map(str::to_owned).to_vec(), cells: rows.collect() };
            let kinds: Vec<Option<usize>> = score_rows(&table).iter().map(|row| row.cluster).collect();
            let of = |range: std::ops::Range<usize>, kind: usize| kinds[range].iter().filter(|found| **found == Some(kind)).count();
            assert!(
                of(0..400, 0) > 380 && of(400..400 + others, 1) * 10 > others * 9,
                "{others}: {} {}",
                of(0..400, 0),
                of(400..400 + others, 1)
            );
            assert!(kinds.iter().flatten().all(|kind| *kind < 2), "{others}");
        }
    }

    /// Two kinds of rows whose second column follows the first.
    fn table(odd: &[(usize, [f64; 3])]) -> Table {
        let rows = (0..300usize).flat_map(|i| {
            let noise = |salt: usize| (((i + salt) * 7919) % 1000) as f64 / 1000.0 - 0.5;
            let base = if i % 3 == 0 { 1000.0 } else { 100.0 } * (1.0 + 0.4 * noise(1));
            let row = [base, base * 3.0 * (1.0 + 0.05 * noise(57)), 10.0 + noise(211)];
            odd.iter().find(|(at, _)| *at == i).map_or(row, |(_, row)| *row)
        });
        Table { columns: ["ms", "tokens", "load"].map(str::to_owned).to_vec(), cells: rows.collect() }
    }

    #[test]
    fn a_row_that_breaks_the_pattern_stands_apart_and_says_why() {
        // Neither cell is unusual by itself: 100 ms and 3000 tokens both occur.
        let found = score_rows(&table(&[(77, [100.0, 3000.0, 10.0])]));
        let worst = (0..300).max_by(|a, b| found[*a].score.total_cmp(&found[*b].score));
        assert_eq!(worst, Some(77));
        assert!(found[77].severity > 50.0 && found[76].severity < 50.0);
        assert_ne!(found[77].reasons[0].column, "load");
        assert_eq!(found[77].group, None);
    }

    #[test]
    fn rows_that_went_wrong_alike_are_a_group() {
        let odd: Vec<(usize, [f64; 3])> = (0..6usize).map(|i| (20 + i * 40, [500.0 + i as f64, 20.0, 30.0])).collect();
        let found = score_rows(&table(&odd));
        for (at, _) in &odd {
            assert!(found[*at].severity > 50.0, "{at}: {:?}", found[*at]);
            assert_eq!(found[*at].group, Some(0));
        }
    }

    #[test]
    fn kinds_of_rows_are_told_apart_also_where_none_stands_apart() {
        // A fifth of the rows are of a second kind, and twelve of a third; two lie alone.
        let rows = (0..400usize).flat_map(|i| {
            let noise = |salt: usize| crate::dice::even((i * 10 + salt) as i64);
            match i {
                100 | 300 => [40.0 * noise(1).signum(), 60.0],
                _ if i % 33 == 7 => [30.0 + noise(2) / 4.0, 30.0 + noise(3) / 4.0],
                _ if i % 5 == 0 => [10.0 + noise(4), noise(5)],
                _ => [noise(6), noise(7)],
            }
        });
        let found = score_rows(&Table { columns: ["a", "b"].map(str::to_owned).to_vec(), cells: rows.collect() });
        let kind = |at: usize| found[at].cluster;
        assert_eq!((kind(1), kind(5), kind(7), kind(40), kind(100)), (Some(0), Some(1), Some(2), Some(2), None));
        assert_eq!(found.iter().filter(|row| row.cluster == Some(2)).count(), 12);
    }

    #[test]
    fn ordinary_rows_hardly_alert_and_few_whole_numbers_do_not_change_that() {
        // Two even columns, and one of how often something happened: none, one, two, three, seldom more.
        let happened = |share: f64, of: i64| {
            f64::from((0..5u8).map(|dice| u8::from(crate::dice::even(of * 9 + i64::from(dice)) < share - 0.5)).sum::<u8>())
        };
        for share in [0.0, 0.06, 0.2] {
            let rows = (0..1200i64).flat_map(|at| {
                let ms = 100.0 * crate::math::exp(0.3 * noise(at * 7)) * if at == 700 { 12.0 } else { 1.0 };
                [ms, 20.0 + noise(at * 7 + 3), happened(share, at)]
            });
            let found = score_rows(&Table { columns: ["ms", "load", "retries"].map(str::to_owned).to_vec(), cells: rows.collect() });
            let alerts = found.iter().filter(|row| row.severity >= 50.0).count();
            assert!(found[700].severity > 50.0 && found[700].reasons[0].column == "ms", "{share}: {:?}", found[700]);
            assert!(alerts <= 6, "{share}: {alerts}");
            assert!(found.iter().all(|row| (row.severity >= 50.0) != row.reasons.is_empty()), "what alerts says why");
        }
        // Nothing but small whole numbers: many rows are the same row.
        let rows = (0..1200i64).flat_map(|at| [happened(0.3, at), if at == 700 { 14.0 } else { happened(0.1, at + 5_000) }]);
        let found = score_rows(&Table { columns: ["a", "b"].map(str::to_owned).to_vec(), cells: rows.collect() });
        let alerts = found.iter().filter(|row| row.severity >= 50.0).count();
        assert!(found[700].severity > 50.0 && alerts <= 36, "{alerts}");
    }

    #[test]
    fn tiny_and_constant_tables_have_nothing_to_tell() {
        for rows in [0, 1, 2, 40] {
            let found = score_rows(&Table { columns: vec!["a".into()], cells: vec![7.0; rows] });
            assert_eq!(found.len(), rows);
            assert!(found.iter().all(|row| row.severity < 50.0 && row.score.is_finite()));
        }
    }

    #[test]
    fn more_rows_than_references_are_scored_all_the_same() {
        let mut table = table(&[]);
        table.cells = table.cells.repeat(10);
        table.cells[300..303].copy_from_slice(&[100.0, 3000.0, 10.0]);
        let found = score_rows(&table);
        let worst = (0..3000).max_by(|a, b| found[*a].score.total_cmp(&found[*b].score));
        assert_eq!(worst, Some(100));
        assert!(rows_cost_fuel(3000, 3) > rows_cost_fuel(300, 3));
    }
}
