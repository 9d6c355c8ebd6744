//! What was right, by kind of change.

use std::collections::BTreeMap;
use std::fmt;

use taskwarden_anomaly_score::{Episode, Options, Scored, Shape, episodes, score};

use super::{Case, Truth};

#[derive(Default)]
struct Row {
    truths: usize,
    hit: usize,
    shape: usize,
    told: usize,
    way: usize,
    onset: Vec<usize>,
    end: Vec<usize>,
    taken_for: BTreeMap<String, usize>,
}

/// What was right, by kind of change and over all of them.
#[derive(Default)]
pub(crate) struct Table {
    rows: BTreeMap<String, Row>,
    /// Episodes in which no change is.
    spurious: usize,
    points: usize,
}

impl Table {
    pub(crate) fn add(&mut self, case: &Case, options: &Options) {
        let (scored, _) = score(&case.points, options);
        let found = episodes(&scored);
        self.points += scored.len();
        let mut used = vec![false; found.len()];
        for truth in &case.truths {
            let inside = |episode: &Episode| {
                let (from, to) = (row_of(&scored, &episode.onset), row_of(&scored, &episode.end));
                from <= truth.until && to + 1 >= truth.start
            };
            let own: Vec<&Episode> = found.iter().filter(|episode| inside(episode)).collect();
            used.iter_mut().zip(&found).filter(|(_, episode)| inside(episode)).for_each(|(used, _)| *used = true);
            let worst = own.into_iter().max_by(|a, b| a.severity.total_cmp(&b.severity));
            let name = format!("{:?}", truth.shapes.first().unwrap_or(&Shape::Spike));
            for key in [name, "all".to_owned()] {
                self.rows.entry(key).or_default().count(truth, worst, &scored);
            }
        }
        self.spurious += used.iter().filter(|used| !**used).count();
    }
}

impl Row {
    fn count(&mut self, truth: &Truth, found: Option<&Episode>, scored: &[Scored]) {
        self.truths += 1;
        let Some(episode) = found else { return };
        self.hit += 1;
        self.shape += usize::from(truth.shapes.contains(&episode.shape));
        *self.taken_for.entry(format!("{:?}", episode.shape)).or_default() += 1;
        if let Some(way) = truth.way {
            self.told += 1;
            self.way += usize::from(episode.direction == way);
        }
        self.onset.push(row_of(scored, &episode.onset).abs_diff(truth.start));
        self.end.extend(truth.end.map(|end| row_of(scored, &episode.end).abs_diff(end)));
    }
}

/// Rows are named by their times.
fn row_of(scored: &[Scored], text: &str) -> usize {
    let series = taskwarden_anomaly_score::read_csv(format!("{text},0\n").as_bytes()).unwrap_or_default();
    let time_ms = series.points.first().map_or(i64::MIN, |point| point.time_ms);
    scored.partition_point(|point| point.time_ms < time_ms)
}

fn share(part: usize, of: usize) -> String {
    if of == 0 { "-".to_owned() } else { format!("{:.0} %", 100.0 * part as f64 / of as f64) }
}

/// How many are off by one row at most, and the median.
fn offs(offs: &[usize]) -> (String, String) {
    let mut sorted = offs.to_vec();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).map_or_else(|| "-".to_owned(), ToString::to_string);
    (share(offs.iter().filter(|off| **off <= 1).count(), offs.len()), median)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| change | found | kind | direction | onset ±1, median off | end ±1, median off | taken for |")?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- |")?;
        for (name, row) in &self.rows {
            let ((onset, onset_off), (end, end_off)) = (offs(&row.onset), offs(&row.end));
            let taken: Vec<String> = row.taken_for.iter().map(|(shape, count)| format!("{shape} {count}")).collect();
            writeln!(
                f,
                "| {name} | {} of {} | {} | {} | {onset}, {onset_off} | {end}, {end_off} | {} |",
                row.hit,
                row.truths,
                share(row.shape, row.hit),
                share(row.way, row.told),
                taken.join(", ")
            )?;
        }
        write!(f, "{} points; {} episodes without a change in them", self.points, self.spurious)
    }
}
