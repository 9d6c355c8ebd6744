//! Stripe's itemised reports: CSV with a header, money in major units.
//!
//! Columns are found by name, since whoever runs a report chooses them. Of a time the UTC column is taken where there is one.

use std::collections::BTreeMap;
use std::io::{BufRead, Chain};

use csv::StringRecord;

use super::amount::minor_units;
use super::{Entry, ImportError, ImportKind, ImportOptions, Quarantined, check_net, currency, cut};
use crate::clock::UnixMs;
use crate::stripe::ledger::{BalanceTransaction, Origin};

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Reads a report row by row.
pub struct ReportReader<R> {
    rows: csv::Reader<Chain<R, &'static [u8]>>,
    columns: Columns,
    options: ImportOptions,
    record: csv::ByteRecord,
}

/// Where a column is.
struct Columns {
    names: BTreeMap<String, usize>,
    count: usize,
    created: Time,
    available: Option<Time>,
    order: Option<usize>,
    account: Option<usize>,
}

/// A column with times, and whether they are UTC already.
#[derive(Clone, Copy)]
struct Time {
    column: usize,
    utc: bool,
}

impl<R: BufRead> ReportReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When it is not the header of such a report.
    pub fn new(mut source: R, options: ImportOptions) -> Result<Self, ImportError> {
        if source.fill_buf()?.starts_with(&BYTE_ORDER_MARK) {
            source.consume(BYTE_ORDER_MARK.len());
        }
        let not_this = |why: String| ImportError::NotThis { kind: options.kind.name(), why };
        let first_line = source.fill_buf()?.split(|byte| *byte == b'\n').next().unwrap_or_default();
        // As a spreadsheet of a country with decimal commas saves it.
        let semicolons = first_line.contains(&b';') && !first_line.contains(&b',');
        let mut rows = csv::ReaderBuilder::new()
            .flexible(true)
            .delimiter(if semicolons { b';' } else { b',' })
            // With either kind of line end the reader's own count of lines is behind by one after a carriage return.
            .terminator(csv::Terminator::Any(b'\n'))
            // So that the last row ends like the others.
            .from_reader(source.chain(b"\n".as_slice()));
        let mut header = rows.byte_headers().map_err(|error| not_this(error.to_string()))?.clone();
        without_carriage_return(&mut header);
        let header = StringRecord::from_byte_record_lossy(header);
        let columns = Columns::find(&header, &options).map_err(not_this)?;
        Ok(Self { rows, columns, options, record: csv::ByteRecord::new() })
    }

    fn row(&self, line: u64, end: u64) -> Entry {
        let shown = || {
            let fields: Vec<_> = self.record.iter().map(String::from_utf8_lossy).collect();
            fields.join(",")
        };
        let read = || -> Result<Entry, String> {
            if self.record.len() != self.columns.count {
                let reach = if end > line { format!(" and reaches to line {end}") } else { String::new() };
                let (fields, wanted) = (self.record.len(), self.columns.count);
                return Err(format!(
                    "it has {fields} fields{reach}, and the header has {wanted}: it is torn or has a stray quote or separator"
                ));
            }
            let record = StringRecord::from_byte_record(self.record.clone()).map_err(|error| error.to_string())?;
            self.transaction(&Row { record: &record, columns: &self.columns }).map(|row| Entry::Transaction(line, Box::new(row)))
        };
        read().unwrap_or_else(|why| Entry::Quarantined(Quarantined::new(line, why, &shown())))
    }

    fn transaction(&self, row: &Row<'_>) -> Result<BalanceTransaction, String> {
        if let Some(account) = self.columns.account.map(|column| row.at(column)).filter(|account| !account.is_empty())
            && account != self.options.owner.account
        {
            return Err(format!(
                "it belongs to account {}, and {:?} is imported; say --account {}",
                cut(account, 64),
                self.options.owner.account,
                cut(account, 64)
            ));
        }
        let currency = currency(row.text("currency")?)?;
        let money = |column: &str| {
            minor_units(row.text(column)?, currency, self.options.decimal_separator).map_err(|why| format!("{column}: {why}"))
        };
        let (amount, fee, net) = (money("gross")?, money("fee")?, money("net")?);
        check_net(amount, fee, net)?;
        let created_at = self.time(row, self.columns.created)?;
        let available_on = self.columns.available.filter(|time| !row.at(time.column).is_empty());
        let is_payout = self.options.kind == ImportKind::Payouts;
        let source = if is_payout { Some(row.text("payout_id")?.to_owned()) } else { row.optional("source_id") };
        let charge = row.optional("charge_id").or_else(|| source.clone().filter(|id| id.starts_with("ch_") || id.starts_with("py_")));
        Ok(BalanceTransaction {
            id: row.text("balance_transaction_id")?.to_owned(),
            kind: None,
            reporting_category: Some(row.text("reporting_category")?.to_owned()),
            balance_type: "payments".to_owned(),
            source,
            status: None,
            amount,
            fee,
            net,
            exchange_rate: None,
            created_at,
            available_on: available_on.map_or(Ok(created_at), |time| self.time(row, time))?,
            payout: row.optional("automatic_payout_id").or_else(|| self.options.payout.clone()),
            charge,
            payment_intent: row.optional("payment_intent_id"),
            order_id: self.columns.order.map(|column| row.at(column).to_owned()).filter(|id| !id.is_empty()),
            description: row.optional("description"),
            origin: Origin::Report,
            currency: currency.to_string(),
        })
    }

    fn time(&self, row: &Row<'_>, time: Time) -> Result<UnixMs, String> {
        let text = row.at(time.column);
        let wrong = || format!("{:?} is not a time such as 2026-01-31 12:00:00", cut(text, 40));
        // Some programs add what the column says already.
        let (text, says_utc) = match text.strip_suffix(" UTC").or_else(|| text.strip_suffix('Z')) {
            Some(time) => (time, true),
            None => (text, time.utc),
        };
        let local: jiff::civil::DateTime = text.parse().map_err(|_| wrong())?;
        let zone = self.options.time_zone.as_ref().filter(|_| !says_utc).cloned().unwrap_or(jiff::tz::TimeZone::UTC);
        // In the hour that a clock repeats, the earlier of the two moments; in the one it skips, the later.
        let moment = zone.to_ambiguous_zoned(local).compatible().map_err(|_| wrong())?;
        Ok(UnixMs(moment.timestamp().as_millisecond()))
    }
}

impl<R: BufRead> Iterator for ReportReader<R> {
    type Item = Result<Entry, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut record = std::mem::take(&mut self.record);
            let read = self.rows.read_byte_record(&mut record);
            without_carriage_return(&mut record);
            self.record = record;
            return match read {
                Ok(false) => None,
                // An empty line with a carriage return.
                Ok(true) if self.record.len() == 1 && self.record.get(0).is_some_and(<[u8]>::is_empty) => continue,
                Ok(true) => {
                    // The reader stands behind the row's end, unless a quote was never closed. Where the row begins it knows only as the place
                    // from which it looked for one, before any empty lines.
                    let end = self.rows.position().line().saturating_sub(1);
                    let inside = self.record.iter().flatten().filter(|byte| **byte == b'\n').count();
                    let from = self.record.position().map_or(0, csv::Position::line);
                    let line = end.saturating_sub(u64::try_from(inside).unwrap_or_default()).max(from);
                    Some(Ok(self.row(line, end)))
                }
                Err(error) => Some(Err(ImportError::Io(error.into()))),
            };
        }
    }
}

/// Takes the carriage return of a line's end out of its last field.
fn without_carriage_return(record: &mut csv::ByteRecord) {
    let Some(last) = record.iter().next_back().and_then(|last| last.strip_suffix(b"\r")).map(<[u8]>::to_vec) else { return };
    record.truncate(record.len().saturating_sub(1));
    record.push_field(&last);
}

struct Row<'a> {
    record: &'a StringRecord,
    columns: &'a Columns,
}

impl Row<'_> {
    fn at(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default().trim()
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        let value = self.columns.names.get(name).map(|column| self.at(*column)).unwrap_or_default();
        if value.is_empty() { Err(format!("{name} is empty")) } else { Ok(value) }
    }

    fn optional(&self, name: &str) -> Option<String> {
        self.text(name).ok().map(str::to_owned)
    }
}

impl Columns {
    fn find(header: &StringRecord, options: &ImportOptions) -> Result<Self, String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::import::DecimalSeparator;
    use crate::stripe::ledger::Owner;

    fn options(kind: ImportKind) -> ImportOptions {
        ImportOptions::new(kind, Owner { account: String::new(), livemode: true })
    }

    fn entries(text: &str, options: ImportOptions) -> Vec<Entry> {
        ReportReader::new(text.as_bytes(), options).expect("a report").map(|entry| entry.expect("readable")).collect()
    }

    fn rows(entries: &[Entry]) -> Vec<&BalanceTransaction> {
        entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Transaction(_, row) => Some(row.as_ref()),
                _ => None,
            })
            .collect()
    }

    fn quarantined(entries: &[Entry]) -> Vec<(u64, &str)> {
        entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Quarantined(row) => Some((row.line, row.reason.as_str())),
                _ => None,
            })
            .collect()
    }

    const ACTIVITY: &str = "balance_transaction_id,created_utc,created,available_on_utc,currency,gross,fee,net,reporting_category,source_id,\
                            payment_intent_id,description,payment_metadata[order_id]\n";

    #[test]
    fn activity_is_read_into_minor_units() {
        let text = format!(
            "\u{feff}{ACTIVITY}txn_1,2026-01-31 12:00:00,2026-01-31 13:00:00,2026-02-07 00:00:00,EUR,30.00,0.59,29.41,charge,ch_1,pi_1,\"Two, \
             \"\"quoted\"\"\nlines\",o-1\ntxn_2,2026-01-31 12:00:01,,,jpy,-500,0,-500,refund,re_1,,,\n"
        );
        let entries = entries(&text, options(ImportKind::BalanceChange));
        let rows = rows(&entries);
        assert_eq!((rows[0].amount, rows[0].fee, rows[0].net, rows[0].currency.as_str()), (3000, 59, 2941, "eur"));
        assert_eq!(
            (rows[0].created_at.to_rfc3339().as_str(), rows[0].available_on.to_rfc3339().as_str()),
            ("2026-01-31T12:00:00.000Z", "2026-02-07T00:00:00.000Z")
        );
        assert_eq!((rows[0].charge.as_deref(), rows[0].order_id.as_deref()), (Some("ch_1"), Some("o-1")));
        assert_eq!(rows[0].description.as_deref(), Some("Two, \"quoted\"\nlines"));
        assert_eq!((rows[1].amount, rows[1].charge.as_deref(), rows[1].available_on), (-500, None, rows[1].created_at));
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn times_may_say_that_they_are_utc() {
        let zone = Some(jiff::tz::TimeZone::get("Europe/Berlin").expect("known"));
        let header = "balance_transaction_id,created,currency,gross,fee,net,reporting_category\n";
        for (time, says) in [
            ("2026-01-31 12:00:00", Some("2026-01-31T11:00:00.000Z")),
            ("2026-01-31 12:00", Some("2026-01-31T11:00:00.000Z")),
            ("2026-01-31 12:00:00 UTC", Some("2026-01-31T12:00:00.000Z")),
            ("2026-01-31T12:00:00Z", Some("2026-01-31T12:00:00.000Z")),
            ("2026-01-31", Some("2026-01-30T23:00:00.000Z")),
            ("31.01.2026", None),
            ("2026-01-31 12:00:00 CET", None),
            ("Z", None),
        ] {
            let text = format!("{header}txn_1,{time},eur,1.00,0,1.00,charge\n");
            let entries = entries(&text, ImportOptions { time_zone: zone.clone(), ..options(ImportKind::BalanceChange) });
            let read = rows(&entries).first().map(|row| row.created_at.to_rfc3339());
            assert_eq!(read.as_deref(), says, "{time}");
            assert!(quarantined(&entries).iter().all(|(_, why)| why.ends_with("is not a time such as 2026-01-31 12:00:00")), "{entries:?}");
        }
    }

    #[test]
    fn a_torn_last_line_is_quarantined_whether_it_lost_fields_or_digits() {
        let whole = "txn_1,2026-01-31 12:00:00,,,eur,30.00,0.59,29.41,charge,ch_1,,,\n";
        for torn in ["txn_2,2026-01-31 12:00:00,,,eur,30.00,0.5", "txn_2,2026-01-31 12:00:00,,,eur,30.00,0.59,\"29.41,charge"] {
            let text = format!("{ACTIVITY}{whole}{torn}");
            let entries = entries(&text, options(ImportKind::BalanceChange));
            assert_eq!(rows(&entries).len(), 1);
            let [(3, why)] = quarantined(&entries)[..] else { panic!("{entries:?}") };
            assert!(why.contains("header has 13"), "{why}");
        }
        let header = "balance_transaction_id,created_utc,currency,reporting_category,gross,fee,net\n";
        let lost_a_digit = format!("{header}txn_1,2026-01-31 12:00:00,eur,charge,30.00,0.59,29.4");
        let entries = entries(&lost_a_digit, options(ImportKind::BalanceChange));
        assert!(quarantined(&entries)[0].1.contains("is not net 2940"), "{entries:?}");
    }

    #[test]
    fn lines_are_counted_alike_whatever_ends_them() {
        let good = "txn_1,2026-01-31 12:00:00,,,eur,30.00,0.59,29.41,charge,ch_1,,\"two\nlines\",o-1\n";
        let text = format!("{ACTIVITY}{good}\n{}{}", good.replace("29.41", "29.42"), good.replace("30.00", "ten"));
        for text in [text.clone(), text.replace('\n', "\r\n"), text.replace(',', ";"), text.replace(',', ";").replace('\n', "\r\n")] {
            let entries = entries(&text, options(ImportKind::BalanceChange));
            assert_eq!(quarantined(&entries).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5, 7], "{text:?}");
            assert_eq!(rows(&entries)[0].order_id.as_deref(), Some("o-1"), "{text:?}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_does_not_hold_up_the_others() {
        let row = |money: &str| format!("txn_1,2026-01-31 12:00:00,,,eur,{money},charge,ch_1,,,\n");
        let text =
            format!("{ACTIVITY}{}{}{}{}", row("30,00,0.59,29.41"), row("30.00,,29.41"), row("30.005,0.595,29.41"), row("30.00,0.59,29.41"));
        let entries = entries(&text, options(ImportKind::BalanceChange));
        let reasons = quarantined(&entries);
        assert_eq!(reasons.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4]);
        assert!(reasons[1].1.contains("fee is empty") && reasons[2].1.contains("more decimals"), "{reasons:?}");
        assert_eq!(rows(&entries).len(), 1);
    }

    #[test]
    fn decimal_commas_are_read_when_they_are_declared() {
        let text = "balance_transaction_id,created_utc,currency,reporting_category,gross,fee,net\ntxn_1,2026-01-31 12:00:00,eur,charge,\"30,00\",\"0,59\",\"29,41\"\n";
        let declared = ImportOptions { decimal_separator: DecimalSeparator::Comma, ..options(ImportKind::BalanceChange) };
        assert_eq!(rows(&entries(text, declared))[0].amount, 3000);
        assert!(quarantined(&entries(text, options(ImportKind::BalanceChange)))[0].1.contains("is the decimal separator another one?"));
    }

    #[test]
    fn payouts_may_be_negative_and_carry_their_own_source() {
        let text = "payout_id,effective_at_utc,currency,gross,fee,net,reporting_category,balance_transaction_id,payout_status\n\
                    po_1,2026-02-02 00:00:00,eur,-29.41,0.00,-29.41,payout,txn_9,paid\n\
                    po_2,2026-02-03 00:00:00,eur,5.00,0.00,5.00,payout,txn_10,paid\n";
        let entries = entries(text, options(ImportKind::Payouts));
        let found: Vec<_> = rows(&entries).iter().map(|row| (row.source.clone().unwrap_or_default(), row.net)).collect();
        assert_eq!(found, [("po_1".to_owned(), -2941), ("po_2".to_owned(), 500)]);
    }

    #[test]
    fn payout_membership_comes_from_the_reconciliation_report() {
        let text = "automatic_payout_id,balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category\n\
                    po_1,txn_1,2026-01-31 12:00:00,eur,30.00,0.59,29.41,charge\n";
        assert_eq!(rows(&entries(text, options(ImportKind::PayoutReconciliation)))[0].payout.as_deref(), Some("po_1"));
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused_with_what_is_missing() {
        let refusal =
            |kind, text: &str| ReportReader::new(text.as_bytes(), options(kind)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refusal(ImportKind::BalanceChange, "{\"object\":\"list\"}").contains("balance_transaction_id is missing"));
        assert!(refusal(ImportKind::PayoutReconciliation, ACTIVITY).contains("automatic_payout_id is missing"));
        let local = ACTIVITY.replace("created_utc,", "");
        assert!(refusal(ImportKind::BalanceChange, &local).contains("time zone"));
        assert!(refusal(ImportKind::BalanceChange, &ACTIVITY.replace("gross", "net")).contains("net is there twice"));
    }

    #[test]
    fn rows_of_other_accounts_are_kept_out() {
        let text = "connected_account,balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category\n\
                    acct_2,txn_1,2026-01-31 12:00:00,eur,30.00,0.59,29.41,charge\n";
        assert!(quarantined(&entries(text, options(ImportKind::BalanceChange)))[0].1.contains("acct_2"));
        let own = ImportOptions { owner: Owner { account: "acct_2".to_owned(), livemode: true }, ..options(ImportKind::BalanceChange) };
        assert_eq!(rows(&entries(text, own)).len(), 1);
    }
}
