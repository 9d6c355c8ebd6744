//! The income by period.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::problem::{Answer, Problem, ProblemBody};
use super::query::Query;
use crate::clock::UnixMs;
use crate::store::stripe::{IncomeFilter, IncomeRow};
use crate::stripe::figures::Figures;
use crate::stripe::income::{BUCKET_MS, Basis, CLOSED_AFTER_MS, Cell};
use crate::zone::{Period, Step, Zone};

/// Periods of one answer.
const PERIODS_MAX: usize = 2_000;
/// Days that are shown when nothing is said.
const DAYS_DEFAULT: i64 = 31;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

const PARAMETERS: [&str; 8] = ["from", "to", "bucket", "tz", "currency", "basis", "livemode", "account"];

/// Figures by period. Amounts are in minor units of `currency`. Nothing is summed over currencies, accounts, balances, modes or bases.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Income {
    /// The first moment that is asked for.
    from: String,
    /// The first moment after.
    to: String,
    /// How long a period is.
    bucket: &'static str,
    /// Whose clock it is by.
    tz: String,
    /// The figures are as of this moment.
    as_of: String,
    /// In order of time. Periods in which nothing happened are left out.
    rows: Vec<IncomeView>,
}

/// One period of one kind of money.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IncomeView {
    /// Its first moment.
    start: String,
    /// The first moment after it.
    end: String,
    /// Its date in the zone that was asked for.
    date: String,
    /// `provisional`: from charges, in the currency customers paid. `final`: from balance transactions, in the currency of the balance.
    basis: &'static str,
    /// The connected account; empty for the endpoint's own.
    account: String,
    /// Real money.
    livemode: bool,
    /// Which of the account's balances.
    balance_type: String,
    /// Lower case.
    currency: String,
    /// Whether the period was closed when this was read, which is twelve hours after its end. What comes later restates it.
    closed: bool,
    /// How often it was restated after it was closed.
    revision: usize,
    /// When that happened last.
    #[serde(skip_serializing_if = "Option::is_none")]
    restated_at: Option<String>,
    /// The figures when it was closed, if it was restated.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_closed: Option<FiguresView>,
    /// The figures now.
    #[serde(flatten)]
    figures: FiguresView,
}

/// Money out is negative, except in `fees`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FiguresView {
    /// How many facts.
    count: i64,
    /// What customers paid.
    gross: i64,
    /// What was given back; negative.
    refunds: i64,
    /// What was taken for disputes, less what came back; negative.
    disputes: i64,
    /// What Stripe kept; positive. Not known from charges.
    fees: Option<i64>,
    /// Everything else, such as transfers.
    other: i64,
    /// `gross + refunds + disputes + other - fees`. Not known from charges.
    net: Option<i64>,
    /// What went to the bank; negative. No part of `net`: both together are the change of the balance.
    payouts: i64,
    /// How many facts are of a category that this host does not know; their money is in `other`.
    unclassified: i64,
}

impl FiguresView {
    fn new(basis: Basis, figures: Figures) -> Self {
        let known = |amount: i64| (basis == Basis::Final).then_some(amount);
        Self {
            count: figures.count,
            gross: figures.gross,
            refunds: figures.refunds,
            disputes: figures.disputes,
            fees: known(figures.fees),
            other: figures.other,
            net: known(figures.net),
            payouts: figures.payouts,
            unclassified: figures.unclassified,
        }
    }
}

/// The income between two moments, by period.
#[utoipa::path(get, path = "/v1/income", tag = "stripe", operation_id = "read_income",
    params(
        ("from" = Option<String>, Query, description = "a date in the zone (its whole day counts) or an RFC 3339 time; 31 days ago when it is left out"),
        ("to" = Option<String>, Query, description = "a date (its whole day counts) or a time (itself not counted); now when it is left out"),
        ("bucket" = Option<String>, Query, description = "`quarter_hour`, `hour`, `day` (the default) or `month`"),
        ("tz" = Option<String>, Query, description = "an IANA zone, such as Europe/Berlin; UTC when it is left out"),
        ("currency" = Option<String>, Query, description = "only this currency"),
        ("basis" = Option<String>, Query, description = "only `provisional` or only `final`"),
        ("livemode" = Option<bool>, Query, description = "only real money, or only test data"),
        ("account" = Option<String>, Query, description = "only this connected account")),
    responses((status = 200, description = "the figures", body = Income),
        (status = 422, description = "a parameter is wrong", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Answer<Json<Income>> {
    let query = Query::parse(query.as_deref(), &PARAMETERS)?;
    let now = api.clock.now();
    let asked = Asked::read(&query, now)?;
    let sums = api.store.income(&asked.periods, &asked.filter).await?;
    let restated = api.store.income_restated(&asked.periods, &asked.filter).await?;
    let rows = views(&asked, sums, restated, now)?;
    Ok(Json(Income {
        from: UnixMs(asked.whole.start_ms).to_rfc3339(),
        to: UnixMs(asked.whole.end_ms).to_rfc3339(),
        bucket: asked.step.name(),
        tz: asked.zone_name,
        as_of: now.to_rfc3339(),
        rows,
    }))
}

/// What is asked for.
struct Asked {
    zone: Zone,
    zone_name: String,
    step: Step,
    whole: Period,
    periods: Vec<Period>,
    filter: IncomeFilter,
}

impl Asked {
    fn read(query: &Query, now: UnixMs) -> Answer<Self> {
        let zone_name = query.text("tz").unwrap_or("UTC").to_owned();
        let zone: Zone = zone_name.parse().map_err(|error: String| Problem::invalid_field("tz", error))?;
        let step = query.get("bucket")?.unwrap_or(Step::Day);
        let default_start = || zone.date(now.0 - (DAYS_DEFAULT - 1) * DAY_MS).and_then(|date| zone.day(date)).map(|day| day.start_ms);
        let default_end = || zone.period(Step::QuarterHour, now.0).map(|quarter| quarter.end_ms);
        let start_ms = edge(query, "from", &zone, |day| day.start_ms, default_start)?;
        let end_ms = edge(query, "to", &zone, |day| day.end_ms, default_end)?;
        if end_ms <= start_ms {
            return Err(Problem::invalid_field("to", "this must be after `from`"));
        }
        let whole = Period { start_ms, end_ms };
        let currency = query.text("currency").map(|code| {
            let fine = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
            let wrong = || Problem::invalid_field("currency", "this must be a currency code of three letters, such as eur");
            fine.then(|| code.to_ascii_lowercase()).ok_or_else(wrong)
        });
        let filter = IncomeFilter {
            basis: query.get("basis")?,
            currency: currency.transpose()?,
            livemode: query.get("livemode")?,
            account: query.text("account").map(str::to_owned),
        };
        let periods = periods(&zone, step, whole)?;
        Ok(Self { zone, zone_name, step, whole, periods, filter })
    }
}

/// One end of what is asked for: a whole day of the zone, or a moment at which a sum begins.
fn edge(
    query: &Query,
    name: &'static str,
    zone: &Zone,
    of_day: impl Fn(Period) -> i64,
    default: impl Fn() -> Result<i64, String>,
) -> Answer<i64> {
    let wrong = |error: String| Problem::invalid_field(name, error);
    let Some(text) = query.text(name) else { return default().map_err(wrong) };
    if let Ok(date) = text.parse::<Date>()
        && text.len() == "2026-01-31".len()
    {
        return zone.day(date).map(of_day).map_err(wrong);
    }
    let at = UnixMs::parse_rfc3339(text)
        .map_err(|_| wrong("this must be a date such as 2026-01-31, or an RFC 3339 time such as 2026-01-31T12:00:00Z".to_owned()))?;
    if at.0.rem_euclid(BUCKET_MS) != 0 {
        return Err(wrong("sums are kept by quarters of an hour, so this must be at the start of one".to_owned()));
    }
    Ok(at.0)
}

/// The periods that make up what is asked for; the first and the last may be cut.
fn periods(zone: &Zone, step: Step, whole: Period) -> Answer<Vec<Period>> {
    let mut all = Vec::new();
    let mut at_ms = whole.start_ms;
    while at_ms < whole.end_ms {
        if all.len() == PERIODS_MAX {
            return Err(Problem::invalid_field(
                "to",
                format!("this would be more than {PERIODS_MAX} periods; ask for less, or for longer ones"),
            ));
        }
        let period = zone.period(step, at_ms).map_err(|error| Problem::invalid_field("from", error))?;
        let end_ms = period.end_ms.min(whole.end_ms);
        all.push(Period { start_ms: at_ms, end_ms });
        at_ms = end_ms;
    }
    Ok(all)
}

/// Everything in a cell but the category.
type Group = Cell;

fn group(cell: Cell) -> Group {
    Cell { category: String::new(), ..cell }
}

#[derive(Default)]
struct Restated {
    late: Figures,
    times: Vec<UnixMs>,
}

fn views(asked: &Asked, sums: Vec<IncomeRow>, restated: Vec<IncomeRow>, now: UnixMs) -> Answer<Vec<IncomeView>> {
    let overflow = |error: crate::stripe::income::Overflow| Problem::internal(&error.to_string());
    let mut groups: BTreeMap<Group, (Figures, Restated)> = BTreeMap::new();
    for row in sums {
        let category = row.cell.category.clone();
        groups.entry(group(row.cell)).or_default().0.add(&category, row.sums).map_err(overflow)?;
    }
    for row in restated {
        let category = row.cell.category.clone();
        let late = &mut groups.entry(group(row.cell)).or_default().1;
        late.late.add(&category, row.sums).map_err(overflow)?;
        late.times.extend(row.restated_at);
    }
    let ends: BTreeMap<i64, i64> = asked.periods.iter().map(|period| (period.start_ms, period.end_ms)).collect();
    let mut views = Vec::with_capacity(groups.len());
    for (cell, (figures, mut restated)) in groups {
        restated.times.sort_unstable();
        restated.times.dedup();
        let end_ms = ends.get(&cell.bucket_ms).copied().unwrap_or(cell.bucket_ms);
        let as_closed = if restated.times.is_empty() { None } else { Some(figures.minus(restated.late).map_err(overflow)?) };
        views.push(IncomeView {
            start: UnixMs(cell.bucket_ms).to_rfc3339(),
            end: UnixMs(end_ms).to_rfc3339(),
            date: asked.zone.date(cell.bucket_ms).map_err(|error| Problem::internal(&error))?.to_string(),
            basis: cell.basis.name(),
            account: cell.owner.account,
            livemode: cell.owner.livemode,
            balance_type: cell.balance_type,
            currency: cell.currency,
            closed: end_ms + CLOSED_AFTER_MS <= now.0,
            revision: restated.times.len(),
            restated_at: restated.times.last().map(|at| at.to_rfc3339()),
            as_closed: as_closed.map(|figures| FiguresView::new(cell.basis, figures)),
            figures: FiguresView::new(cell.basis, figures),
        });
    }
    // Cells sort by owner first; who reads figures reads them by time.
    views.sort_by(|one, other| one.start.cmp(&other.start));
    Ok(views)
}
