//! The breaks of a reconciliation as findings. What `stripe.reconcile` leaves behind is read here: its result, its payload, and its
//! output `breaks.csv`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::clock::UnixMs;
use crate::finding::{Currency, FindingKind, FindingScope, GrossValue, OBSERVATIONS_MAX, Observation, Report};
use crate::task::TaskId;

/// The task type whose breaks these are.
pub const TASK_TYPE: &str = "stripe.reconcile";
/// The output that lists them.
pub const OUTPUT: &str = "breaks.csv";

/// What a reconciliation left behind.
#[derive(Debug, Clone, Copy)]
pub struct Reconciled<'a> {
    /// The task.
    pub task: TaskId,
    /// What it was asked, as JSON.
    pub payload: &'a str,
    /// Whether it was given what the run before left open, so that its breaks are those of all runs.
    pub carries_open: bool,
    /// What it answered, as JSON.
    pub result: &'a str,
    /// What it listed.
    pub breaks_csv: &'a [u8],
    /// When it ended.
    pub finished_at: UnixMs,
}

/// Why nothing can be made of it.
#[derive(Debug, thiserror::Error)]
pub enum BreaksError {
    /// Payload or result are not what the plugin takes and answers.
    #[error("a reconciliation's {what} cannot be read: {error}")]
    Json {
        /// Which.
        what: &'static str,
        /// Why.
        error: serde_json::Error,
    },
    /// The list is no such list.
    #[error("breaks.csv: {0}")]
    Csv(#[from] csv::Error),
    /// A name made of it is none.
    #[error("breaks.csv: {0}")]
    Name(String),
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    period: Option<Period>,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    livemode: Option<bool>,
}

#[derive(Deserialize)]
struct Period {
    from: String,
    to: String,
}

#[derive(Deserialize)]
struct Answered {
    verdict: String,
    as_of: String,
}

/// A row of the list, as far as it is needed here.
#[derive(Deserialize)]
struct Row {
    id: String,
    priority: u8,
    outcome: String,
    leg: String,
    class: String,
    rule: String,
    currency: String,
    left_amount: String,
    right_amount: String,
    gross_value: String,
    order_id: String,
    payment_intent: String,
    left_source: String,
    right_source: String,
    balance_transaction: String,
}

/// What a reconciliation found, as a report. Only what somebody has to look at is in it: breaks, and rows that were not understood.
///
/// # Errors
/// When the task did not leave behind what the plugin leaves.
pub fn report(of: &Reconciled<'_>) -> Result<Report, BreaksError> {
    let json = |what| move |error| BreaksError::Json { what, error };
    let asked: Option<Asked> = serde_json::from_str(of.payload).map_err(json("payload"))?;
    let answered: Answered = serde_json::from_str(of.result).map_err(json("result"))?;
    let mut found = Vec::new();
    let mut cut_off = false;
    for row in csv::Reader::from_reader(of.breaks_csv).into_deserialize() {
        let row: Row = row?;
        if !matches!(row.outcome.as_str(), "break" | "warning") {
            continue;
        }
        if found.len() == OBSERVATIONS_MAX {
            cut_off = true;
            break;
        }
        found.push(observation(&row)?);
    }
    Ok(Report {
        scope: FindingScope::new(&scope(asked.as_ref(), of.carries_open)).map_err(|error| BreaksError::Name(error.0))?,
        source: of.task,
        at: UnixMs::parse_rfc3339(&answered.as_of).unwrap_or(of.finished_at),
        // What an incomplete run does not list may be there all the same.
        complete: answered.verdict != "INCOMPLETE" && !cut_off,
        found,
    })
}

/// The set that a run replaces. A run over one period that carries nothing over knows only of that period.
fn scope(asked: Option<&Asked>, carries_open: bool) -> String {
    let mut scope = TASK_TYPE.to_owned();
    if let Some(asked) = asked {
        scope.extend(asked.account.iter().flat_map(|account| [":", account.as_str()]));
        scope.extend(asked.livemode.map(|live| if live { ":live" } else { ":test" }));
        let period = asked.period.as_ref().filter(|_| !carries_open);
        scope.extend(period.iter().flat_map(|period| [":", period.from.as_str(), "/", period.to.as_str()]));
    }
    scope
}

fn observation(row: &Row) -> Result<Observation, BreaksError> {
    let currency = row.currency.parse::<Currency>().ok();
    let gross = row.gross_value.parse::<u64>().ok().zip(currency).map(|(minor, currency)| GrossValue { minor, currency });
    let about = [
        ("order", &row.order_id),
        ("payment intent", &row.payment_intent),
        ("in the books", &row.left_source),
        ("at Stripe", &row.right_source),
        ("balance transaction", &row.balance_transaction),
    ];
    let about: Vec<String> = about.iter().filter(|(_, id)| !id.is_empty()).map(|(what, id)| format!("{what} {id}")).collect();
    let amount = |text: &str| if text.is_empty() { "nothing".to_owned() } else { format!("{text} {}", row.currency) };
    let explanation = format!(
        "{} between {}: {} on the left, {} on the right, in the smallest unit ({}); decided by {}.",
        row.class.replace('_', " "),
        row.leg.replace('_', " and "),
        amount(&row.left_amount),
        amount(&row.right_amount),
        if about.is_empty() { "no id".to_owned() } else { about.join(", ") },
        row.rule.replace('_', " "),
    );
    let detail = json!({
        "leg": row.leg, "class": row.class, "rule": row.rule, "outcome": row.outcome,
        "left_amount_minor": row.left_amount.parse::<i64>().ok(), "right_amount_minor": row.right_amount.parse::<i64>().ok(),
        "order_id": row.order_id, "payment_intent": row.payment_intent, "left_source": row.left_source,
        "right_source": row.right_source, "balance_transaction": row.balance_transaction,
    });
    Ok(Observation {
        kind: FindingKind::new(&format!("break.{}", row.class)).map_err(|error| BreaksError::Name(error.0))?,
        // The plugin's own id: a digest of leg, class and every id, the same from run to run.
        keys: BTreeMap::from([("break".to_owned(), row.id.clone())]),
        severity: severity(row.priority),
        gross,
        explanation,
        detail: serde_json::value::to_raw_value(&detail).ok(),
    })
}

/// The plugin's priority runs from 1, goods that left without cash, to 5.
fn severity(priority: u8) -> u8 {
    match priority {
        0 | 1 => 90,
        2 => 75,
        3 => 60,
        4 => 40,
        _ => 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "id,lifecycle,first_seen,age_days,priority,outcome,leg,class,rule,currency,left_currency,left_amount,right_amount,\
        difference,gross_value,becomes_break_on,kind,status,created,order_id,payment_intent,left_source,right_source,balance_transaction,suggestions\n";
    const ROWS: &str = "brk_1,new,2026-11-25,3,1,break,order_charge,status_mismatch,status,usd,usd,1999,-1999,-3998,3998,,charge,failed,,\"A,17\",pi_1,ch_1,ch_1,,\n\
        brk_2,new,2026-11-25,0,5,pending,charge_bt,timing_in_transit,inside_grace,usd,usd,5,,-5,5,2026-11-30,charge,paid,,B,,,,,\n\
        brk_3,new,2026-11-25,0,4,warning,charge_bt,unclassified,category,,,,7,7,7,,other,,,,,,,txn_1,\n";

    fn read(payload: &str, verdict: &str, rows: &str, carries_open: bool) -> Report {
        let result = format!(r#"{{"verdict": "{verdict}", "as_of": "2026-11-25T00:00:00Z", "reasons": []}}"#);
        let breaks_csv = format!("{HEAD}{rows}");
        let of = Reconciled {
            task: TaskId::new(),
            payload,
            carries_open,
            result: &result,
            breaks_csv: breaks_csv.as_bytes(),
            finished_at: UnixMs(7),
        };
        report(&of).expect("readable")
    }

    #[test]
    fn breaks_become_findings_and_what_is_pending_does_not() {
        let report = read("{}", "BREAKS", ROWS, false);
        assert!(report.complete);
        assert_eq!((report.scope.as_str(), report.at.to_rfc3339().as_str()), ("stripe.reconcile", "2026-11-25T00:00:00.000Z"));
        let [goods_gone, unknown] = report.found.as_slice() else { panic!("two of three") };
        assert_eq!(
            (goods_gone.kind.as_str(), goods_gone.severity, goods_gone.keys["break"].as_str()),
            ("break.status_mismatch", 90, "brk_1")
        );
        assert_eq!(goods_gone.gross, Some(GrossValue { minor: 3_998, currency: "usd".parse::<Currency>().expect("a currency") }));
        assert_eq!(
            goods_gone.explanation,
            "status mismatch between order and charge: 1999 usd on the left, -1999 usd on the right, in the smallest unit (order A,17, \
             payment intent pi_1, in the books ch_1, at Stripe ch_1); decided by status."
        );
        assert_eq!((unknown.kind.as_str(), unknown.gross.clone()), ("break.unclassified", None), "no currency, no sum");
    }

    #[test]
    fn a_run_over_a_period_speaks_of_that_period_unless_it_carries_what_was_open() {
        let payload = r#"{"account": "acct_1", "livemode": true, "timezone": "UTC", "period": {"from": "2026-11-24", "to": "2026-11-25"}}"#;
        assert_eq!(read(payload, "BREAKS", ROWS, false).scope.as_str(), "stripe.reconcile:acct_1:live:2026-11-24/2026-11-25");
        assert_eq!(read(payload, "BREAKS", ROWS, true).scope.as_str(), "stripe.reconcile:acct_1:live");
        assert_eq!(read("null", "RECONCILED", "", false).scope.as_str(), "stripe.reconcile");
    }

    #[test]
    fn an_incomplete_run_or_a_list_that_is_too_long_resolves_nothing() {
        assert!(!read("{}", "INCOMPLETE", "", false).complete);
        let row = ROWS.lines().next().expect("a row");
        let many: String = (0..=OBSERVATIONS_MAX).map(|number| format!("{}\n", row.replace("brk_1", &format!("brk_{number}")))).collect();
        let report = read("{}", "BREAKS", &many, false);
        assert_eq!((report.complete, report.found.len()), (false, OBSERVATIONS_MAX));
    }
}
