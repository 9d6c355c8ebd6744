//! Findings.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Row as _};
use sqlx_postgres::{PgConnection, PgRow};

use super::PostgresStore;
use super::sql;
use crate::clock::UnixMs;
use crate::finding::{Acknowledgement, Currency, Finding, FindingId, FindingKind, FindingScope, FindingState, GrossValue, Report, settle};
use crate::store::stored::{damaged, task_id};
use crate::store::{FindingFilter, FindingPage, FindingStore, Reported, Result};

const COLUMNS: &str = "finding_no, id, scope, kind, keys, state, severity, gross_minor, currency, explanation, detail, source_task, \
    first_seen_ms, opened_ms, last_seen_ms, resolved_ms, times_seen, times_reopened, acknowledged_ms, acknowledged_note";

fn select(rest: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("SELECT {COLUMNS} FROM taskwarden.findings {rest}"))
}

fn finding(row: &PgRow) -> Result<Finding> {
    let keys: BTreeMap<String, String> =
        serde_json::from_str(row.try_get("keys")?).map_err(|error| damaged("the keys of a finding", error))?;
    let gross = match (row.try_get::<Option<i64>, _>("gross_minor")?, row.try_get::<Option<&str>, _>("currency")?) {
        (Some(minor), Some(currency)) => Some(GrossValue {
            minor: u64::try_from(minor).map_err(|error| damaged("the value of a finding", error))?,
            currency: currency.parse::<Currency>().map_err(|error| damaged("the currency of a finding", error))?,
        }),
        _ => None,
    };
    let detail: Option<String> = row.try_get("detail")?;
    let count = |column: &str| row.try_get::<i64, _>(column).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    Ok(Finding {
        id: row.try_get::<&str, _>("id")?.parse().map_err(|error| damaged("the id of a finding", error))?,
        scope: FindingScope::new(row.try_get("scope")?).map_err(|error| damaged("the scope of a finding", error))?,
        kind: FindingKind::new(row.try_get("kind")?).map_err(|error| damaged("the kind of a finding", error))?,
        keys,
        state: row.try_get::<&str, _>("state")?.parse().map_err(|error| damaged("the state of a finding", error))?,
        severity: u8::try_from(row.try_get::<i16, _>("severity")?).map_err(|error| damaged("the severity of a finding", error))?,
        gross,
        explanation: row.try_get("explanation")?,
        detail: detail.map(RawValue::from_string).transpose().map_err(|error| damaged("the detail of a finding", error))?,
        source: task_id(row.try_get("source_task")?)?,
        first_seen: UnixMs(row.try_get("first_seen_ms")?),
        opened: UnixMs(row.try_get("opened_ms")?),
        last_seen: UnixMs(row.try_get("last_seen_ms")?),
        resolved: row.try_get::<Option<i64>, _>("resolved_ms")?.map(UnixMs),
        times_seen: count("times_seen")?,
        times_reopened: count("times_reopened")?,
        acknowledged: match row.try_get::<Option<i64>, _>("acknowledged_ms")? {
            Some(at) => Some(Acknowledgement { at: UnixMs(at), note: row.try_get("acknowledged_note")? }),
            None => None,
        },
    })
}

/// Text as Postgres can hold it: it has no character zero.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

async fn write(conn: &mut PgConnection, finding: &Finding) -> Result<()> {
    let keys = serde_json::to_string(&finding.keys).map_err(|error| damaged("the keys of a finding", error))?;
    let (gross, acknowledged) = (finding.gross.as_ref(), finding.acknowledged.as_ref());
    sql::query(
        "INSERT INTO taskwarden.findings (id, scope, kind, keys, state, severity, gross_minor, currency, explanation, detail, source_task, \
         first_seen_ms, opened_ms, last_seen_ms, resolved_ms, times_seen, times_reopened, acknowledged_ms, acknowledged_note) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) \
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, severity = excluded.severity, gross_minor = excluded.gross_minor, \
         currency = excluded.currency, explanation = excluded.explanation, detail = excluded.detail, source_task = excluded.source_task, \
         opened_ms = excluded.opened_ms, last_seen_ms = excluded.last_seen_ms, resolved_ms = excluded.resolved_ms, \
         times_seen = excluded.times_seen, times_reopened = excluded.times_reopened, acknowledged_ms = excluded.acknowledged_ms, \
         acknowledged_note = excluded.acknowledged_note",
    )
    .bind(finding.id.to_string())
    .bind(finding.scope.as_str())
    .bind(finding.kind.as_str())
    .bind(keys)
    .bind(finding.state.name())
    .bind(i16::from(finding.severity))
    .bind(gross.map(|gross| i64::try_from(gross.minor).unwrap_or(i64::MAX)))
    .bind(gross.as_ref().map(|gross| gross.currency.code()))
    .bind(text(&finding.explanation))
    .bind(finding.detail.as_ref().map(|detail| detail.get()))
    .bind(finding.source.to_string())
    .bind(finding.first_seen.0)
    .bind(finding.opened.0)
    .bind(finding.last_seen.0)
    .bind(finding.resolved.map(|at| at.0))
    .bind(i64::from(finding.times_seen))
    .bind(i64::from(finding.times_reopened))
    .bind(acknowledged.map(|seen| seen.at.0))
    .bind(acknowledged.map(|seen| text(&seen.note)))
    .execute(conn)
    .await?;
    Ok(())
}

#[async_trait]
impl FindingStore for PostgresStore {
    async fn report_findings(&self, report: Report) -> Result<Reported> {
        let (scope, source) = (report.scope.as_str(), report.source.to_string());
        let mut tx = self.db.begin().await?;
        // The row of the scope is what two reports of it wait for; the first of all makes it, with nothing in it yet.
        sql::query(
            "INSERT INTO taskwarden.finding_reports (scope, source_task, reported_at_ms) VALUES ($1, '', $2) ON CONFLICT DO NOTHING",
        )
        .bind(scope)
        .bind(i64::MIN)
        .execute(&mut *tx)
        .await?;
        let superseded: bool =
            sql::query_scalar("SELECT source_task = $2 OR reported_at_ms > $3 FROM taskwarden.finding_reports WHERE scope = $1 FOR UPDATE")
                .bind(scope)
                .bind(&source)
                .bind(report.at.0)
                .fetch_one(&mut *tx)
                .await?;
        if superseded {
            return Ok(Reported::Superseded);
        }
        let ids: Vec<String> =
            report.found.iter().map(|observation| FindingId::of(&report.scope, &observation.kind, &observation.keys).to_string()).collect();
        let known = sql::query(select("WHERE scope = $1 AND state <> 'resolved' OR id = ANY($2)"))
            .bind(scope)
            .bind(ids)
            .fetch_all(&mut *tx)
            .await?;
        let changes = settle(known.iter().map(finding).collect::<Result<_>>()?, &report);
        for change in &changes {
            write(&mut tx, change.finding()).await?;
        }
        sql::query("UPDATE taskwarden.finding_reports SET source_task = $2, reported_at_ms = $3 WHERE scope = $1")
            .bind(scope)
            .bind(&source)
            .bind(report.at.0)
            .execute(&mut *tx)
            .await?;
        self.db.commit(tx).await?;
        Ok(Reported::Applied(changes))
    }

    async fn findings(&self, filter: FindingFilter) -> Result<FindingPage> {
        let limit = usize::try_from(filter.limit.max(1)).unwrap_or(usize::MAX);
        let mut wheres = String::from(
            "WHERE finding_no < $1 AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR kind = $3) \
             AND ($4::text IS NULL OR scope = $4)",
        );
        if filter.state.is_some_and(FindingState::is_open) {
            // What the index of open findings is known by.
            wheres.push_str(" AND state <> 'resolved'");
        }
        wheres.push_str(match filter.acknowledged {
            None => "",
            Some(true) => " AND acknowledged_ms IS NOT NULL",
            Some(false) => " AND acknowledged_ms IS NULL",
        });
        let mut tx = self.db.begin_read().await?;
        let rows = sql::query(select(&format!("{wheres} ORDER BY finding_no DESC LIMIT $5")))
            .bind(filter.before.unwrap_or(i64::MAX))
            .bind(filter.state.map(FindingState::name))
            .bind(filter.kind.as_ref().map(FindingKind::as_str))
            .bind(filter.scope.as_ref().map(FindingScope::as_str))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1))
            .fetch_all(&mut *tx)
            .await?;
        let shown = rows.get(..limit).unwrap_or(&rows);
        let next = shown.last().filter(|_| rows.len() > limit).map(|row| row.try_get("finding_no")).transpose()?;
        Ok(FindingPage { findings: shown.iter().map(finding).collect::<Result<_>>()?, next })
    }

    async fn finding(&self, id: FindingId) -> Result<Option<Finding>> {
        let mut tx = self.db.begin_read().await?;
        let row = sql::query(select("WHERE id = $1")).bind(id.to_string()).fetch_optional(&mut *tx).await?;
        row.as_ref().map(finding).transpose()
    }

    async fn acknowledge_finding(&self, id: FindingId, acknowledged: Option<Acknowledgement>) -> Result<Option<Finding>> {
        let query = sql::query("UPDATE taskwarden.findings SET acknowledged_ms = $1, acknowledged_note = $2 WHERE id = $3")
            .bind(acknowledged.as_ref().map(|seen| seen.at.0))
            .bind(acknowledged.as_ref().map(|seen| text(&seen.note)))
            .bind(id.to_string());
        self.db.write(query).await?;
        self.finding(id).await
    }

    async fn prune_findings(&self, resolved_before: UnixMs, limit_findings: u32) -> Result<u64> {
        let mut tx = self.db.begin().await?;
        let done = sql::query(
            "DELETE FROM taskwarden.findings WHERE finding_no IN \
             (SELECT finding_no FROM taskwarden.findings WHERE resolved_ms < $1 ORDER BY resolved_ms LIMIT $2)",
        )
        .bind(resolved_before.0)
        .bind(i64::from(limit_findings))
        .execute(&mut *tx)
        .await?;
        self.db.commit(tx).await?;
        Ok(done.rows_affected())
    }
}
