//! What has to hold for any bytes at all. Each function takes what a fuzzer made, and panics where it does not hold.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};

use taskwarden::secret::Secret;
use taskwarden::stripe::event::Event;
use taskwarden::stripe::import::{Entry, ImportKind, ImportOptions, read};
use taskwarden::stripe::ledger::{AMOUNT_MAX, ORDER_KEY, Owner};
use taskwarden::stripe::object::told;
use taskwarden::stripe::signature::{TOLERANCE_S, sign, verify};
use taskwarden_stripe_reconcile::{Inputs, Options, Request, Sink, reconcile};

const NOW_S: i64 = 1_800_000_000;
/// Small chunks, so that every place in the input is the end of one.
const CHUNK_BYTES: usize = 3;

/// A header, and after the first line end a body. What is accepted carries the signature of exactly this body; nothing else is.
pub fn signature_header(data: &[u8]) {
    let secret = Secret::new("whsec_fuzzed").expect("a secret");
    let (header, body) = cut(data, b"\n");
    let secrets = [secret];
    if let Ok(genuine) = verify(&secrets, header, body, NOW_S, TOLERANCE_S) {
        let right = sign(&secrets[0], body, genuine.signed_at_s);
        let signature = right.split_once("v1=").expect("it has one").1.as_bytes();
        assert!(header.windows(signature.len()).any(|part| part == signature), "accepted without the right signature");
    }
    let good = sign(&secrets[0], body, NOW_S.unsigned_abs());
    assert!(verify(&secrets, good.as_bytes(), body, NOW_S, TOLERANCE_S).is_ok());
    let with_this_before = [header, b",", good.as_bytes()].concat();
    let other_body = [body, b"!"].concat();
    assert!(verify(&secrets, &with_this_before, &other_body, NOW_S, TOLERANCE_S).is_err(), "a signature fits two bodies");
}

/// An event. What it says is money within bounds, and saying it twice adds nothing.
pub fn stripe_event(data: &[u8]) {
    let Ok(event) = Event::parse(data) else { return };
    assert!(!event.id.is_empty());
    let Ok(told) = told(&event, ORDER_KEY) else { return };
    for row in told.seen {
        assert!(!row.key.id.is_empty() && row.standing.amount.abs() <= AMOUNT_MAX);
        assert!(matches!(row.standing.currency.len(), 0 | 3));
        assert_eq!(row.clone().join(row.clone()), row);
    }
    assert!(told.movements.read.iter().all(|row| row.amount.checked_sub(row.fee) == Some(row.net)));
}

/// A file to import, as each of the kinds. Every row adds up or is set aside with its line, and lines do not go backwards.
pub fn stripe_file(data: &[u8]) {
    for kind in ImportKind::ALL {
        let options = ImportOptions::new(kind, Owner { account: String::new(), livemode: true });
        let Ok(entries) = read(BufReader::with_capacity(CHUNK_BYTES, data), options) else { continue };
        let mut before = 0;
        for entry in entries {
            let line = match entry.expect("memory can be read") {
                Entry::Transaction(line, row) => {
                    assert_eq!(row.amount.checked_sub(row.fee), Some(row.net));
                    line
                }
                Entry::Quarantined(row) => row.line,
                Entry::Object(line, _) => line,
            };
            let only_page = line == 1 && before > 0 && kind == ImportKind::Api;
            assert!(line >= before.max(1) || only_page, "line {line} after line {before}");
            before = line;
        }
    }
}

/// A ledger, and after `\n---\n` balance transactions. No unit of money is lost on the way, and how the bytes come does not show.
pub fn reconcile_csv(data: &[u8]) {
    let (ledger, stripe) = cut(data, b"\n---\n");
    let whole = reconciled(ledger, stripe, 1 << 16);
    assert_eq!(whole, reconciled(ledger, stripe, CHUNK_BYTES), "chunks show");
    let Some(files) = whole else { return };
    let report: serde_json::Value = serde_json::from_slice(&files["report.json"]).expect("JSON");
    for leg in report["legs"].as_array().expect("legs") {
        for currency in leg["currencies"].as_array().expect("currencies") {
            assert_eq!(currency["residual"], 0, "{currency}");
        }
    }
}

/// The files of a run, or nothing where the input is none.
fn reconciled(ledger: &[u8], stripe: &[u8], chunk_bytes: usize) -> Option<BTreeMap<String, Vec<u8>>> {
    let options = Options::try_from(Request::default()).expect("nothing asked for");
    let inputs = Inputs {
        ledger: Box::new(BufReader::with_capacity(chunk_bytes, ledger)),
        stripe: Box::new(BufReader::with_capacity(chunk_bytes, stripe)),
        payouts: None,
        bank: None,
        open: None,
        size_bytes: 0,
    };
    let mut files = Files::default();
    reconcile(inputs, &options).ok()?.write(&mut files).ok()?;
    Some(files.0.into_iter().map(|(name, bytes)| (name, bytes.lock().expect("nobody panicked").clone())).collect())
}

type Shared = std::sync::Arc<std::sync::Mutex<Vec<u8>>>;

/// Files in memory.
#[derive(Default)]
struct Files(BTreeMap<String, Shared>);

struct File(Shared);

impl Sink for Files {
    type File = File;

    fn create(&mut self, name: &str, _media_type: &str) -> io::Result<File> {
        let file = Shared::default();
        self.0.insert(name.to_owned(), Shared::clone(&file));
        Ok(File(file))
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is before a mark and what is after it.
fn cut<'a>(data: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(mark.len()).position(|part| part == mark) {
        Some(at) => (&data[..at], &data[at + mark.len()..]),
        None => (data, &[]),
    }
}
