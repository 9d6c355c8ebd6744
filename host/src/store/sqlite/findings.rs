//! Findings.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, Row, params};
use serde_json::value::RawValue;

use super::SqliteStore;
use super::row;
use super::tx::Tx;
use super::writer::{BULK_ROWS, Turn, Verb};
use crate::clock::UnixMs;
use crate::finding::{Acknowledgement, Currency, Finding, FindingId, FindingKind, FindingScope, FindingState, GrossValue, Report, settle};
use crate::store::stored::{damaged, task_id};
use crate::store::{FindingFilter, FindingPage, FindingStore, Reported, Result};

const COLUMNS: &str = "finding_no, id, scope, kind, keys, state, severity, gross_minor, currency, explanation, detail, source_task, \
    first_seen_ms, opened_ms, last_seen_ms, resolved_ms, times_seen, times_reopened, acknowledged_ms, acknowledged_note";

fn select(rest: &str) -> String {
    format!("SELECT {COLUMNS} FROM findings {rest}")
}

fn finding(row: &Row<'_>) -> Result<Finding> {
    let keys: BTreeMap<String, String> =
        serde_json::from_str(row::text(row, "keys")?).map_err(|error| damaged("the keys of a finding", error))?;
    let gross = match (row.get::<_, Option<i64>>("gross_minor")?, row::text_or_null(row, "currency")?) {
        (Some(minor), Some(currency)) => Some(GrossValue {
            minor: u64::try_from(minor).map_err(|error| damaged("the value of a finding", error))?,
            currency: currency.parse::<Currency>().map_err(|error| damaged("the currency of a finding", error))?,
        }),
        _ => None,
    };
    let detail: Option<String> = row.get("detail")?;
    let acknowledged: Option<i64> = row.get("acknowledged_ms")?;
    Ok(Finding {
        id: row::text(row, "id")?.parse().map_err(|error| damaged("the id of a finding", error))?,
        scope: FindingScope::new(row::text(row, "scope")?).map_err(|error| damaged("the scope of a finding", error))?,
        kind: FindingKind::new(row::text(row, "kind")?).map_err(|error| damaged("the kind of a finding", error))?,
        keys,
        state: row::text(row, "state")?.parse().map_err(|error| damaged("the state of a finding", error))?,
        severity: row.get("severity")?,
        gross,
        explanation: row.get("explanation")?,
        detail: detail.map(RawValue::from_string).transpose().map_err(|error| damaged("the detail of a finding", error))?,
        source: task_id(row::text(row, "source_task")?)?,
        first_seen: UnixMs(row.get("first_seen_ms")?),
        opened: UnixMs(row.get("opened_ms")?),
        last_seen: UnixMs(row.get("last_seen_ms")?),
        resolved: row.get::<_, Option<i64>>("resolved_ms")?.map(UnixMs),
        times_seen: row.get("times_seen")?,
        times_reopened: row.get("times_reopened")?,
        acknowledged: match acknowledged {
            Some(at) => Some(Acknowledgement { at: UnixMs(at), note: row.get("acknowledged_note")? }),
            None => None,
        },
    })
}

impl Verb for Report {
    type Answer = Reported;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Reported> {
        let (scope, source) = (self.scope.as_str(), self.source.to_string());
        let mut last = tx.conn.prepare_cached("SELECT source_task = ?2 OR reported_at_ms > ?3 FROM finding_reports WHERE scope = ?1")?;
        let superseded: Option<bool> = last.query_row(params![scope, source, self.at.0], |row| row.get(0)).optional()?;
        if superseded == Some(true) {
            return Ok(Reported::Superseded);
        }
        let ids: Vec<FindingId> =
            self.found.iter().map(|observation| FindingId::of(&self.scope, &observation.kind, &observation.keys)).collect();
        let ids = serde_json::to_string(&ids).map_err(|error| damaged("the id of a finding", error))?;
        let known = select("WHERE scope = ?1 AND state <> 'resolved' OR id IN (SELECT value FROM json_each(?2))");
        let changes = settle(row::all(tx.conn, &known, params![scope, ids], finding)?, self);
        for change in &changes {
            write(tx, change.finding())?;
        }
        tx.execute(
            "INSERT OR REPLACE INTO finding_reports (scope, source_task, reported_at_ms) VALUES (?, ?, ?)",
            params![scope, source, self.at.0],
        )?;
        Ok(Reported::Applied(changes))
    }

    fn rows(&self) -> usize {
        self.found.len()
    }

    fn turn(&self) -> Turn {
        if self.found.len() > BULK_ROWS { Turn::Bulk } else { Turn::Soon }
    }
}

fn write(tx: &Tx<'_>, finding: &Finding) -> Result<()> {
    let keys = serde_json::to_string(&finding.keys).map_err(|error| damaged("the keys of a finding", error))?;
    let gross = finding.gross.as_ref();
    let acknowledged = finding.acknowledged.as_ref();
    tx.execute(
        "INSERT INTO findings (id, scope, kind, keys, state, severity, gross_minor, currency, explanation, detail, source_task, \
         first_seen_ms, opened_ms, last_seen_ms, resolved_ms, times_seen, times_reopened, acknowledged_ms, acknowledged_note) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, severity = excluded.severity, gross_minor = excluded.gross_minor, \
         currency = excluded.currency, explanation = excluded.explanation, detail = excluded.detail, source_task = excluded.source_task, \
         opened_ms = excluded.opened_ms, last_seen_ms = excluded.last_seen_ms, resolved_ms = excluded.resolved_ms, \
         times_seen = excluded.times_seen, times_reopened = excluded.times_reopened, acknowledged_ms = excluded.acknowledged_ms, \
         acknowledged_note = excluded.acknowledged_note",
        params![
            finding.id.to_string(),
            finding.scope.as_str(),
            finding.kind.as_str(),
            keys,
            finding.state.name(),
            finding.severity,
            gross.map(|gross| i64::try_from(gross.minor).unwrap_or(i64::MAX)),
            gross.as_ref().map(|gross| gross.currency.code()),
            finding.explanation,
            finding.detail.as_ref().map(|detail| detail.get()),
            finding.source.to_string(),
            finding.first_seen.0,
            finding.opened.0,
            finding.last_seen.0,
            finding.resolved.map(|at| at.0),
            finding.times_seen,
            finding.times_reopened,
            acknowledged.map(|seen| seen.at.0),
            acknowledged.map(|seen| seen.note.as_str())
        ],
    )?;
    Ok(())
}

struct Acknowledge {
    id: FindingId,
    acknowledged: Option<Acknowledgement>,
}

impl Verb for Acknowledge {
    type Answer = Option<Finding>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Finding>> {
        let (id, seen) = (self.id.to_string(), self.acknowledged.as_ref());
        tx.execute(
            "UPDATE findings SET acknowledged_ms = ?, acknowledged_note = ? WHERE id = ?",
            params![seen.map(|seen| seen.at.0), seen.map(|seen| seen.note.as_str()), id],
        )?;
        row::first(tx.conn, &select("WHERE id = ?"), [id], finding)
    }
}

struct Prune {
    resolved_before: UnixMs,
    limit_findings: u32,
}

impl Verb for Prune {
    type Answer = u64;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<u64> {
        let deleted = tx.execute(
            "DELETE FROM findings WHERE finding_no IN (SELECT finding_no FROM findings WHERE resolved_ms < ? ORDER BY resolved_ms LIMIT ?)",
            params![self.resolved_before.0, self.limit_findings],
        )?;
        Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
    }

    fn rows(&self) -> usize {
        usize::try_from(self.limit_findings).unwrap_or(usize::MAX)
    }
}

#[async_trait]
impl FindingStore for SqliteStore {
    async fn report_findings(&self, report: Report) -> Result<Reported> {
        self.writer.run(report).await
    }

    async fn findings(&self, filter: FindingFilter) -> Result<FindingPage> {
        let limit = usize::try_from(filter.limit.max(1)).unwrap_or(usize::MAX);
        let mut wheres = String::from("WHERE finding_no < ?1");
        if let Some(state) = filter.state {
            // The second condition is what the index of open findings is known by.
            wheres.push_str(if state.is_open() { " AND state = ?2 AND state <> 'resolved'" } else { " AND state = ?2" });
        }
        wheres.push_str(filter.kind.as_ref().map_or("", |_| " AND kind = ?3"));
        wheres.push_str(filter.scope.as_ref().map_or("", |_| " AND scope = ?4"));
        wheres.push_str(match filter.acknowledged {
            None => "",
            Some(true) => " AND acknowledged_ms IS NOT NULL",
            Some(false) => " AND acknowledged_ms IS NULL",
        });
        let read = self.readers.run(move |conn| {
            let text = select(&format!("{wheres} ORDER BY finding_no DESC LIMIT ?5"));
            let params = params![
                filter.before.unwrap_or(i64::MAX),
                filter.state.map(FindingState::name),
                filter.kind.as_ref().map(FindingKind::as_str),
                filter.scope.as_ref().map(FindingScope::as_str),
                i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
            ];
            row::all(conn, &text, params, |row| Ok((row.get::<_, i64>("finding_no")?, finding(row)?)))
        });
        let mut found = read.await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(number, _)| *number);
        Ok(FindingPage { findings: found.into_iter().map(|(_, finding)| finding).collect(), next })
    }

    async fn finding(&self, id: FindingId) -> Result<Option<Finding>> {
        self.readers.run(move |conn| row::first(conn, &select("WHERE id = ?"), [id.to_string()], finding)).await
    }

    async fn acknowledge_finding(&self, id: FindingId, acknowledged: Option<Acknowledgement>) -> Result<Option<Finding>> {
        self.writer.run(Acknowledge { id, acknowledged }).await
    }

    async fn prune_findings(&self, resolved_before: UnixMs, limit_findings: u32) -> Result<u64> {
        self.writer.run(Prune { resolved_before, limit_findings }).await
    }
}
