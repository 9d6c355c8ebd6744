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
    log::info(format!("{rows} rows, {} stand apart, {} groups", alerts.len(), groups.len()));
    let alerting = alerts.len();
    alerts.truncate(ALERTS_MAX);
    Ok(Answer { rows, alerts, alerting, groups, scores_in: "scores.csv" })
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
        let centre = (0..table.columns.len()).map(|column| {
            let mut cells: Vec<f64> = members.iter().filter_map(|at| table.row(*at).get(column).copied()).collect();
            median(&mut cells)
        });
        let share = members.len() as f64 / scored.len().max(1) as f64;
        let explanation = format!("{} rows ({:.1} %) stand apart in the same way: a new small group.", members.len(), share * 100.0);
        Group { group: number, rows: members.len(), share, centre: centre.collect(), explanation }
    };
    (0..count).map(group).collect()
}

fn write_scores(scored: &[RowScore]) -> Result<(), Failure> {
    let mut file = output("scores.csv", "text/csv")?;
    writeln!(file, "row,score,severity,group")?;
    for (at, row) in scored.iter().enumerate() {
        let group = row.group.map(|group| group.to_string()).unwrap_or_default();
        writeln!(file, "{at},{},{},{group}", row.score, row.severity)?;
    }
    Ok(file.finish()?)
}
