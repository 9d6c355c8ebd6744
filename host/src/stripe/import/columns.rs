//! The header of a report: which column holds what.

use std::collections::BTreeMap;

use csv::StringRecord;

use super::{ImportKind, ImportOptions, cut};

/// Where a column is.
pub(super) struct Columns {
    pub(super) names: BTreeMap<String, usize>,
    pub(super) count: usize,
    pub(super) created: Time,
    pub(super) available: Option<Time>,
    pub(super) order: Option<usize>,
    pub(super) account: Option<usize>,
}

/// A column with times, and whether they are UTC already.
#[derive(Clone, Copy)]
pub(super) struct Time {
    pub(super) column: usize,
    pub(super) utc: bool,
}

impl Columns {
    /// Reads a header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn find(header: &StringRecord, options: &ImportOptions) -> Result<Self, String> {
        let mut names = BTreeMap::new();
        for (column, name) in header.iter().enumerate() {
            let name = name.trim().to_ascii_lowercase();
            if names.insert(name.clone(), column).is_some() {
                return Err(format!("the column {} is there twice", cut(&name, 64)));
            }
        }
        let shown: Vec<_> = header.iter().take(12).map(|name| cut(name, 40)).collect();
        let missing = |name: &str| format!("the column {name} is missing; the header begins with: {}", shown.join(", "));
        let own: &[&str] = match options.kind {
            ImportKind::Payouts => &["payout_id"],
            ImportKind::PayoutReconciliation => &["automatic_payout_id"],
            ImportKind::BalanceChange | ImportKind::Api => &[],
        };
        for name in ["balance_transaction_id", "currency", "gross", "fee", "net", "reporting_category"].iter().chain(own) {
            if !names.contains_key(*name) {
                return Err(missing(name));
            }
        }
        let time = |name: &str| {
            let utc = names.get(&format!("{name}_utc")).map(|column| Time { column: *column, utc: true });
            utc.or_else(|| names.get(name).map(|column| Time { column: *column, utc: false }))
        };
        let (happened, available) =
            if options.kind == ImportKind::Payouts { ("effective_at", "effective_at") } else { ("created", "available_on") };
        let created = time(happened).ok_or_else(|| missing(&format!("{happened}_utc")))?;
        if !created.utc && options.time_zone.is_none() {
            let ask = "its times are local and do not say where: give the report's time zone, or run it with the column";
            return Err(format!("{ask} {happened}_utc"));
        }
        Ok(Self {
            count: header.len(),
            created,
            available: time(available),
            order: names.get(&format!("payment_metadata[{}]", options.order_key.to_ascii_lowercase())).copied(),
            account: names.get("connected_account").or_else(|| names.get("account_id")).copied(),
            names,
        })
    }
}
