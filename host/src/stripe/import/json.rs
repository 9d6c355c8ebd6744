//! The API's JSON: a list as it answers it, and files that hold such lists, arrays of objects, one object, or one object a line.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ApiObject, Entry, ImportError, ImportKind, ImportOptions, Quarantined, read_transaction};

/// A page of the API.
#[derive(Debug, Clone)]
pub struct ApiList {
    /// Its rows, in its order.
    pub entries: Vec<Entry>,
    /// The id of its first and last object, by which the next page is asked for.
    pub first_id: Option<String>,
    /// The same for the last.
    pub last_id: Option<String>,
    /// Whether there is another page.
    pub has_more: bool,
}

#[derive(Deserialize)]
struct List<'a> {
    object: String,
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Head {
    object: String,
    id: String,
}

fn not_this(why: impl Into<String>) -> ImportError {
    ImportError::NotThis { kind: "JSON of Stripe's API", why: why.into() }
}

/// Reads a page of the API.
///
/// # Errors
/// When it is not a list.
pub fn read_list(text: &str, options: &ImportOptions) -> Result<ApiList, ImportError> {
    let list: List<'_> = serde_json::from_str(text).map_err(|error| not_this(error.to_string()))?;
    if list.object != "list" {
        return Err(not_this(format!("its object is {:?} and not \"list\"", super::cut(&list.object, 40))));
    }
    let id = |raw: &&RawValue| serde_json::from_str::<Head>(raw.get()).ok().map(|head| head.id);
    Ok(ApiList {
        first_id: list.data.first().and_then(id),
        last_id: list.data.last().and_then(id),
        has_more: list.has_more,
        entries: list.data.iter().map(|raw| entry(raw.get(), line_of(text, raw.get()), options)).collect(),
    })
}

/// Reads a whole file.
///
/// # Errors
/// When it is nothing of the kind.
pub(super) fn read_file(text: &str, options: &ImportOptions) -> Result<Vec<Entry>, ImportError> {
    debug_assert_eq!(options.kind, ImportKind::Api, "reports are not JSON");
    let text = text.trim_start_matches('\u{feff}');
    let whole: Result<&RawValue, _> = serde_json::from_str(text);
    match whole {
        Ok(raw) if raw.get().starts_with('[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|error| not_this(error.to_string()))?;
            Ok(items.iter().map(|item| entry(item.get(), line_of(text, item.get()), options)).collect())
        }
        Ok(raw) => match serde_json::from_str::<List<'_>>(raw.get()) {
            Ok(list) if list.object == "list" => {
                let mut entries = read_list(text, options)?.entries;
                if list.has_more {
                    let why = "has_more is true: the file holds only the first of several pages; import the others as well";
                    entries.push(Entry::Quarantined(Quarantined::new(1, why, "")));
                }
                Ok(entries)
            }
            _ if raw.get().starts_with('{') => Ok(vec![entry(raw.get(), 1, options)]),
            _ => Err(not_this("it is neither a list, nor an array, nor an object")),
        },
        // Not one JSON text: then each line is one. The first line decides whether it is that.
        Err(error) => {
            let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            if serde_json::from_str::<Head>(first).is_err() {
                return Err(not_this(error.to_string()));
            }
            let lines = text.lines().zip(1_u64..).filter(|(line, _)| !line.trim().is_empty());
            Ok(lines.map(|(line, number)| entry(line, number, options)).collect())
        }
    }
}

fn entry(json: &str, line: u64, options: &ImportOptions) -> Entry {
    let quarantined = |why: String| Entry::Quarantined(Quarantined::new(line, why, json));
    let head: Head = match serde_json::from_str(json) {
        Ok(head) => head,
        Err(error) => return quarantined(format!("this is no object of the API: {error}")),
    };
    if head.object != "balance_transaction" {
        return Entry::Object(line, ApiObject { object: head.object, id: head.id, json: json.to_owned() });
    }
    match read_transaction(json, options) {
        Ok(transaction) => Entry::Transaction(line, Box::new(transaction)),
        Err(why) => quarantined(why),
    }
}

/// The line on which `part`, a piece of `text`, begins.
fn line_of(text: &str, part: &str) -> u64 {
    let before = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let newlines = text.as_bytes().iter().take(before).filter(|byte| **byte == b'\n').count();
    u64::try_from(newlines).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMs;
    use crate::stripe::ledger::Owner;

    fn options() -> ImportOptions {
        ImportOptions::new(ImportKind::Api, Owner { account: String::new(), livemode: false })
    }

    fn transaction(id: &str, amount: &str) -> String {
        format!(
            r#"{{"id":"{id}","object":"balance_transaction","amount":{amount},"fee":59,"net":941,"currency":"eur","created":1700000000,
                "available_on":1700600000,"status":"pending","type":"charge","reporting_category":"charge","source":"ch_1",
                "exchange_rate":0.880000000000000001,"fee_details":[{{"amount":59,"currency":"eur","type":"stripe_fee"}}]}}"#
        )
    }

    #[test]
    fn an_expanded_source_may_lack_what_others_have() {
        let expanded = |source: &str| {
            let text = transaction("txn_1", "1000")
                .replace("\"ch_1\"", source)
                .replace(r#"[{"amount":59,"currency":"eur","type":"stripe_fee"}]"#, "null");
            match entry(&text, 1, &options()) {
                Entry::Transaction(_, row) => (row.source.unwrap_or_default(), row.charge, row.payment_intent, row.order_id),
                other => panic!("{source}: {other:?}"),
            }
        };
        let some = |text: &str| Some(text.to_owned());
        let charge =
            r#"{"id":"ch_1","object":"charge","payment_intent":{"id":"pi_1","metadata":null},"metadata":{"order_id":"o-1","n":7}}"#;
        assert_eq!(expanded(charge), ("ch_1".to_owned(), some("ch_1"), some("pi_1"), some("o-1")));
        let refund = r#"{"id":"re_1","object":"refund","charge":"ch_1","payment_intent":null,"metadata":null}"#;
        assert_eq!(expanded(refund), ("re_1".to_owned(), some("ch_1"), None, None));
        assert_eq!(expanded(r#"{"id":"trr_1","object":null}"#), ("trr_1".to_owned(), None, None, None));
    }

    #[test]
    fn a_list_is_read_with_what_it_says_of_its_neighbours() {
        let text = format!(
            r#"{{"object":"list","url":"/v1/balance_transactions","has_more":true,"data":[{},{}]}}"#,
            transaction("txn_2", "1000"),
            transaction("txn_1", "1000")
        );
        let list = read_list(&text, &ImportOptions { payout: Some("po_1".to_owned()), ..options() }).expect("a list");
        assert_eq!((list.first_id.as_deref(), list.last_id.as_deref(), list.has_more), (Some("txn_2"), Some("txn_1"), true));
        let Some(Entry::Transaction(_, first)) = list.entries.first() else { panic!("{list:?}") };
        assert_eq!((first.amount, first.fee, first.net, first.created_at), (1000, 59, 941, UnixMs(1_700_000_000_000)));
        assert_eq!((first.payout.as_deref(), first.charge.as_deref()), (Some("po_1"), Some("ch_1")));
        assert_eq!(first.exchange_rate.as_deref(), Some("0.880000000000000001"), "no float touches a rate");
    }

    #[test]
    fn text_amounts_and_broken_sums_are_quarantined_with_their_line() {
        let text = format!("[{},\n{},\n{}]", transaction("txn_1", "1000"), transaction("txn_2", "\"10.00\""), transaction("txn_3", "1001"));
        let entries = read_file(&text, &options()).expect("an array");
        let reasons: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Quarantined(row) => Some((row.line, row.reason.as_str())),
                _ => None,
            })
            .collect();
        assert_eq!(entries.len(), 3);
        assert_eq!((reasons[0].0, reasons[1].0), (4, 7));
        assert!(reasons[0].1.starts_with("amount: invalid type: string \"10.00\""), "{reasons:?}");
        assert!(reasons[1].1.contains("amount 1001 less fee 59 is not net 941"), "{reasons:?}");
    }

    #[test]
    fn amounts_at_the_ends_of_64_bits_are_quarantined() {
        for money in ["9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e3", "1000.0"] {
            let text = transaction("txn_1", money).replace("\"fee\":59", "\"fee\":0").replace("\"net\":941", &format!("\"net\":{money}"));
            assert!(matches!(entry(&text, 1, &options()), Entry::Quarantined(_)), "{money}");
        }
    }

    #[test]
    fn an_expanded_source_tells_charge_payment_and_order() {
        let text = transaction("txn_1", "1000").replace(
            r#""source":"ch_1""#,
            r#""source":{"id":"re_1","object":"refund","charge":"ch_7","payment_intent":{"id":"pi_7"},"metadata":{"order_id":"o-7"}}"#,
        );
        let row = read_transaction(&text, &options()).expect("readable");
        let found = [&row.source, &row.charge, &row.payment_intent, &row.order_id].map(|id| id.as_deref().unwrap_or_default());
        assert_eq!(found, ["re_1", "ch_7", "pi_7", "o-7"]);
    }

    #[test]
    fn files_may_hold_one_object_or_one_a_line_and_torn_lines_are_kept() {
        let one = transaction("txn_1", "1000").replace('\n', " ");
        assert_eq!(read_file(&one, &options()).expect("one object").len(), 1);
        let lines = format!("{one}\n{}\n", one.get(..60).unwrap_or_default());
        let entries = read_file(&lines, &options()).expect("lines");
        assert!(matches!(entries.as_slice(), [Entry::Transaction(1, _), Entry::Quarantined(Quarantined { line: 2, .. })]), "{entries:?}");
    }

    #[test]
    fn a_file_that_is_only_a_first_page_says_so() {
        let text = format!(r#"{{"object":"list","has_more":true,"data":[{}]}}"#, transaction("txn_1", "1000"));
        let entries = read_file(&text, &options()).expect("a list");
        assert!(matches!(entries.last(), Some(Entry::Quarantined(row)) if row.reason.contains("has_more")));
    }

    #[test]
    fn what_is_no_json_of_the_api_is_refused_whole() {
        for text in ["", "balance_transaction_id,gross\ntxn_1,10.00\n", "{\"object\":\"list\",\"data\":[", "17"] {
            assert!(read_file(text, &options()).is_err(), "{text}");
        }
    }

    #[test]
    fn other_objects_pass_as_they_are() {
        let entries = read_file(r#"[{"id":"ch_1","object":"charge","new_field":1}]"#, &options()).expect("an array");
        let expected = ApiObject {
            object: "charge".to_owned(),
            id: "ch_1".to_owned(),
            json: r#"{"id":"ch_1","object":"charge","new_field":1}"#.to_owned(),
        };
        assert_eq!(entries, [Entry::Object(1, expected)]);
    }
}
