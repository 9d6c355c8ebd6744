//! The task type `anomaly.rows`.

use std::io::Write;

use serde::Serialize;
use taskwarden_plugin::{Failure, OrFail, input, input_names, log, output, progress};

use super::RowsRequest;
use crate::cost::ROWS_FUEL_MAX;
use crate::stats::median;
use crate::{Reason, RowScore, Table, rows_cost_fuel, score_rows};

/// Rows that are told in the result; all of them are in `scores.csv`.
const ALERTS_MAX: usize = 1_000;

/// The answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    rows: usize,
    alerts: Vec<Alert>,
    alerting: usize,
    groups: Vec<Group>,
    clusters: Vec<Cluster>,
    /// Rows that lie with no others.
    alone: usize,
    scores_in: &'static str,
}

#[derive(Debug, Serialize)]
struct Alert {
    /// Counting from 0, without the header.
    row: usize,
    score: f64,
    severity: f64,
    group: Option<usize>,
    reasons: Vec<Reason>,
}

/// Rows that stand apart together.
#[derive(Debug, Serialize)]
struct Group {
    group: usize,
    rows: usize,
    share: f64,
    /// The median of each column.
    centre: Vec<f64>,
    explanation: String,
}

/// A kind of rows.
#[derive(Debug, Serialize)]
struct Cluster {
    cluster: usize,
    rows: usize,
    share: f64,
    /// The median of each column.
    centre: Vec<f64>,
    /// Whether it is a small kind beside a larger one.
    small: bool,
    /// How many of its rows alert.
    alerting: usize,
    explanation: String,
}

/// A kind of fewer than this share of all rows is a small one.
const SMALL_SHARE: f64 = 0.05;
/// Kinds of rows that are told.
const CLUSTERS_MAX: usize = 50;

pub(super) fn run(request: RowsRequest) -> Result<Answer, Failure> {
    let table = table(request)?;
    let (rows, columns) = (table.rows(), table.columns.len());
    let fuel = rows_cost_fuel(rows, columns);
    if fuel > ROWS_FUEL_MAX {
        return Err(Failure::invalid(format!(
            "{rows} rows of {columns} columns would take about {fuel} fuel and at most {ROWS_FUEL_MAX} are spent on one table: send fewer rows or columns"
        )));
    }
    progress(0.1, format!("{rows} rows read"));
    let scored = score_rows(&table);
    progress(0.9, "scored");
    write_scores(&scored)?;
    let mut alerts: Vec<Alert> = scored.iter().enumerate().filter(|(_, row)| row.severity >= 50.0).map(alert).collect();
    alerts.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    let groups = groups(&table, &scored);
    let clusters = clusters(&table, &scored);
    let alone = scored.iter().filter(|row| row.cluster.is_none()).count();
    log::info(format!("{rows} rows, {} stand apart, {} groups", alerts.len(), groups.len()));
    let alerting = alerts.len();
    alerts.truncate(ALERTS_MAX);
    Ok(Answer { rows, alerts, alerting, groups, clusters, alone, scores_in: "scores.csv" })
}

fn table(request: RowsRequest) -> Result<Table, Failure> {
    let has_input = input_names().iter().any(|name| name == "rows");
    match request.rows {
        Some(_) if has_input => Err(Failure::invalid("there are rows in the payload and an input \"rows\": send one of them")),
        Some(rows) => {
            let width = rows.first().map_or(0, Vec::len);
            let columns = request.columns.unwrap_or_else(|| (0..width).map(|at| format!("f{at}")).collect());
            Table::from_rows(columns, &rows).or_invalid("payload")
        }
        None if request.columns.is_some() => Err(Failure::invalid("columns without rows: the header of the input names the columns")),
        None => Table::read_csv(input("rows")?).or_invalid("input \"rows\""),
    }
}

fn alert((at, row): (usize, &RowScore)) -> Alert {
    Alert { row: at, score: row.score, severity: row.severity, group: row.group, reasons: row.reasons.clone() }
}

fn groups(table: &Table, scored: &[RowScore]) -> Vec<Group> {
    let count = scored.iter().filter_map(|row| row.group).max().map_or(0, |last| last + 1);
    let group = |number: usize| {
        let members: Vec<usize> = (0..scored.len()).filter(|at| scored.get(*at).is_some_and(|row| row.group == Some(number))).collect();
        let centre = centre(table, &members);
        let share = members.len() as f64 / scored.len().max(1) as f64;
        let explanation = format!("{} rows ({:.1} %) stand apart in the same way: a new small group.", members.len(), share * 100.0);
        Group { group: number, rows: members.len(), share, centre, explanation }
    };
    (0..count).map(group).collect()
}

/// The kinds of rows, the largest first.
fn clusters(table: &Table, scored: &[RowScore]) -> Vec<Cluster> {
    let count = scored.iter().filter_map(|row| row.cluster).max().map_or(0, |last| last + 1);
    let mut members = vec![Vec::new(); count.min(CLUSTERS_MAX)];
    for (at, row) in scored.iter().enumerate() {
        if let Some(members) = row.cluster.and_then(|cluster| members.get_mut(cluster)) {
            members.push(at);
        }
    }
    let cluster = |(cluster, members): (usize, Vec<usize>)| {
        let (rows, share) = (members.len(), members.len() as f64 / scored.len().max(1) as f64);
        let alerting = members.iter().filter(|at| scored.get(**at).is_some_and(|row| row.severity >= 50.0)).count();
        let small = cluster > 0 && share < SMALL_SHARE;
        let kind = if small { "a small kind of rows beside the others" } else { "a kind of rows" };
        let explanation = format!("{rows} rows ({:.1} %) lie together: {kind}; {alerting} of them stand apart.", share * 100.0);
        Cluster { cluster, rows, share, centre: centre(table, &members), small, alerting, explanation }
    };
    members.into_iter().enumerate().map(cluster).collect()
}

/// The median of each column over some rows.
fn centre(table: &Table, members: &[usize]) -> Vec<f64> {
    let middle = |column: usize| median(&mut members.iter().filter_map(|at| table.row(*at).get(column).copied()).collect::<Vec<_>>());
    (0..table.columns.len()).map(middle).collect()
}

fn write_scores(scored: &[RowScore]) -> Result<(), Failure> {
    let mut file = output("scores.csv", "text/csv")?;
    writeln!(file, "row,score,severity,group,cluster")?;
    for (at, row) in scored.iter().enumerate() {
        let shown = |number: Option<usize>| number.map(|number| number.to_string()).unwrap_or_default();
        writeln!(file, "{at},{},{},{},{}", row.score, row.severity, shown(row.group), shown(row.cluster))?;
    }
    Ok(file.finish()?)
}
