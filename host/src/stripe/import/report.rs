//! Stripe's itemised reports: CSV with a header, money in major units.
//!
//! Columns are found by name, since whoever runs a report chooses them. Of a time the UTC column is taken where there is one.

use std::io::BufRead;

use csv::StringRecord;
use taskwarden_money::cell_separator;

use super::amount::minor_units;
use super::columns::{Columns, Time};
use super::ended::{END, END_ROW, Ended, Place, Widths};
use super::{Entry, ImportError, ImportKind, ImportOptions, Quarantined, check_net, currency, cut};
use crate::clock::UnixMs;
use crate::stripe::figures::begins_a_category;
use crate::stripe::ledger::{BalanceTransaction, Origin};

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
/// How UTF-16 begins, in either order.
const UTF_16: [[u8; 2]; 2] = [[0xff, 0xfe], [0xfe, 0xff]];

/// Reads a report row by row.
pub struct ReportReader<R> {
    rows: csv::Reader<Ended<R>>,
    columns: Columns,
    options: ImportOptions,
    record: csv::ByteRecord,
    last_cells: Widths,
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
        let begin = source.fill_buf()?;
        if UTF_16.iter().any(|mark| begin.starts_with(mark)) {
            return Err(not_this("it is text in UTF-16; save it as CSV in UTF-8".to_owned()));
        }
        let first_line = begin.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let separator = cell_separator(first_line);
        let mut rows = csv::ReaderBuilder::new()
            .flexible(true)
            .delimiter(separator)
            // With either kind of line end the reader's own count of lines is behind by one after a carriage return.
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(Ended::new(source));
        let mut header = rows.byte_headers().map_err(|error| not_this(error.to_string()))?.clone();
        without_carriage_return(&mut header);
        let header = StringRecord::from_byte_record_lossy(header);
        let columns = Columns::find(&header, &options).map_err(not_this)?;
        Ok(Self { rows, columns, options, record: csv::ByteRecord::new(), last_cells: Widths::default() })
    }

    /// The row that begins on `line` and reaches to `end`. Nothing may follow the last cell of the last row, not even a line's end, where a file was
    /// cut off: so that one is looked at twice.
    fn row(&mut self, line: u64, end: u64) -> Entry {
        let at_end = self.rows.get_ref().is_behind(self.rows.position().byte());
        let cell = self.record.iter().next_back().unwrap_or_default();
        let torn = match at_end {
            Place::Before => None,
            Place::LastRow if self.record.len() == self.columns.count => self.torn(cell),
            Place::LastRow => None,
            Place::Beyond => Some(format!(
                "a quote that is opened in it is never closed: it is torn, or the rows up to line {} are inside the quote and were not read",
                self.rows.position().line().saturating_sub(2).max(line)
            )),
        };
        self.last_cells.add(cell);
        if let Some(why) = torn {
            let shown = self.record.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
            return Entry::Quarantined(Quarantined::new(line, why, shown.trim_end_matches(END).trim_end()));
        }
        self.whole_row(line, end)
    }

    /// Why the last cell of a file that does not end with a line's end cannot be whole, if it cannot.
    fn torn(&self, cell: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(cell);
        let cut_off = "and the file ends behind it without a line's end: it is torn";
        if self.last_cells.is_shorter(cell) {
            return Some(format!("its last cell {:?} is shorter than all before it, {cut_off}", cut(&text, 40)));
        }
        let is_category = self.columns.names.get("reporting_category") == Some(&self.columns.count.saturating_sub(1));
        let begun = is_category && begins_a_category(text.trim());
        begun.then(|| format!("reporting_category {:?} is the beginning of one, {cut_off}", cut(&text, 40)))
    }

    fn whole_row(&self, line: u64, end: u64) -> Entry {
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
                Ok(true) if self.record == END_ROW[..] && self.rows.get_ref().is_behind(self.rows.position().byte()) == Place::Beyond => {
                    None
                }
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
            assert!(why.contains("header has 13") || why.contains("never closed"), "{why}");
        }
        let header = "balance_transaction_id,created_utc,currency,reporting_category,gross,fee,net\n";
        let lost_a_digit = format!("{header}txn_1,2026-01-31 12:00:00,eur,charge,30.00,0.59,29.4");
        let entries = entries(&lost_a_digit, options(ImportKind::BalanceChange));
        assert!(quarantined(&entries)[0].1.contains("is not net 2940"), "{entries:?}");
    }

    #[test]
    fn a_last_cell_that_cannot_be_whole_is_quarantined_with_its_row() {
        let header = "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category";
        let row = |id: u32, category: &str| format!("txn_{id},2026-01-31 12:00:00,eur,1.00,0,1.00,{category}");
        let whole = [row(1, "charge"), row(2, "charge")].join("\n");
        for (more, last, cut_off, why) in [
            ("", "", "partial_cap", "beginning of one"),
            (",source_id", ",ch_3MmlLrLkdIwHu7ix0snN0B15", ",ch_3MmlLrLkdIwHu7ix0snN", "shorter than all"),
            (",available_on_utc", ",2026-02-07 00:00:00", ",2026-02-07", "shorter than all"),
            (",description", ",\"a shirt\"", ",\"a sh", "never closed"),
        ] {
            let category = if more.is_empty() { "" } else { "charge" };
            let text = format!("{header}{more}\n{}{last}\n{}", whole.replace('\n', &format!("{last}\n")), row(3, category));
            let read = |end: &str| entries(&format!("{text}{cut_off}{end}"), options(ImportKind::BalanceChange));
            let torn = read("");
            assert_eq!(rows(&torn).len(), 2, "{torn:?}");
            let [(4, found)] = quarantined(&torn)[..] else { panic!("{torn:?}") };
            assert!(found.contains(why), "{found}");
            assert!(
                matches!(torn.last(), Some(Entry::Quarantined(row)) if row.row.ends_with(cut_off.trim_matches([',', '"']))),
                "{torn:?}"
            );
            // With its line's end the row is whole, as far as anybody can say; and what is whole needs no line's end.
            assert_eq!(rows(&read("\n")).len(), if more == ",description" { 2 } else { 3 });
            assert_eq!(
                quarantined(&entries(
                    &format!("{text}{}", if more.is_empty() { "charge" } else { last }),
                    options(ImportKind::BalanceChange)
                )),
                []
            );
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_swallow_rows_in_silence() {
        let header = "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,description";
        let row = |id: u32, what: &str| format!("txn_{id},2026-01-31 12:00:00,eur,1.00,0,1.00,charge,{what}");
        for end in ["\n", ""] {
            let text = [header, &row(1, "a cap"), &row(2, "\"5 inches\nwide"), &row(3, "a hat")].join("\n") + end;
            let entries = entries(&text, options(ImportKind::BalanceChange));
            assert_eq!((entries.len(), rows(&entries).len()), (2, 1), "{entries:?}");
            let [(3, why)] = quarantined(&entries)[..] else { panic!("{entries:?}") };
            assert!(why.contains("up to line 5"), "{why}");
        }
    }

    #[test]
    fn tables_as_spreadsheets_save_them() {
        let text = "balance_transaction_id\tcreated_utc\tcurrency\tgross\tfee\tnet\treporting_category\r\n\
                    txn_1\t2026-01-31 12:00:00\teur\t1,234.50\t0.59\t1'233.91\tcharge\r\n\
                    txn_2\t2026-01-31 12:00:00\teur\t1,234\t0\t1,234\tcharge\r\n";
        let entries_of = |text: &str, options| entries(text, options);
        let read = entries_of(text, options(ImportKind::BalanceChange));
        assert_eq!(rows(&read).iter().map(|row| (row.amount, row.net)).collect::<Vec<_>>(), [(123_450, 123_391)]);
        assert!(matches!(quarantined(&read)[..], [(3, why)] if why.contains("thousands or decimals")), "{read:?}");
        let german = "balance_transaction_id;created_utc;currency;gross;fee;net;reporting_category\n\
                      txn_1;2026-01-31 12:00:00;eur;1.234,50;0,59;1.233,91;charge\n";
        let declared = ImportOptions { decimal_separator: DecimalSeparator::Comma, ..options(ImportKind::BalanceChange) };
        assert_eq!(rows(&entries_of(german, declared))[0].net, 123_391);
        let utf_16: Vec<u8> = std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let refused = ReportReader::new(utf_16.as_slice(), options(ImportKind::BalanceChange)).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|why| why.contains("save it as CSV in UTF-8")));
    }

    #[test]
    fn amounts_out_of_all_proportion_hold_up_no_sum() {
        let header = "balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category\n";
        let row = |money: &str| format!("{header}txn_1,2026-01-31 12:00:00,idr,{money},0,{money},charge\n");
        assert_eq!(rows(&entries(&row("10000000000000.00"), options(ImportKind::BalanceChange)))[0].net, 1_000_000_000_000_000);
        let huge = entries(&row("10000000000000.01"), options(ImportKind::BalanceChange));
        assert!(quarantined(&huge)[0].1.contains("no amount of money"), "{huge:?}");
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
