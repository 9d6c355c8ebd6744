//! What the tests share: a run from texts to texts.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::{Inputs, Options, ReadError, Request, Sink, Summary, reconcile};

/// The inputs of a run.
#[derive(Default, Clone)]
pub(crate) struct Case {
    pub(crate) ledger: String,
    pub(crate) stripe: String,
    pub(crate) payouts: Option<String>,
    pub(crate) bank: Option<String>,
    pub(crate) open: Option<String>,
    pub(crate) payload: String,
}

/// What came of it.
pub(crate) struct Done {
    pub(crate) summary: Summary,
    pub(crate) files: BTreeMap<String, String>,
}

/// Files that stay in memory.
#[derive(Default, Clone)]
struct Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

struct MemoryFile(Memory, String);

impl Sink for Memory {
    type File = MemoryFile;

    fn create(&mut self, name: &str, _media_type: &str) -> io::Result<MemoryFile> {
        Ok(MemoryFile(self.clone(), name.to_owned()))
    }
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut files = self.0.0.lock().expect("no test panics while it writes");
        files.entry(self.1.clone()).or_default().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Case {
    pub(crate) fn new(ledger: &str, stripe: &str) -> Self {
        Self { ledger: ledger.to_owned(), stripe: stripe.to_owned(), payload: "{}".to_owned(), ..Self::default() }
    }

    pub(crate) fn payload(mut self, payload: &str) -> Self {
        payload.clone_into(&mut self.payload);
        self
    }

    pub(crate) fn payouts(mut self, payouts: &str) -> Self {
        self.payouts = Some(payouts.to_owned());
        self
    }

    pub(crate) fn bank(mut self, bank: &str) -> Self {
        self.bank = Some(bank.to_owned());
        self
    }

    pub(crate) fn open(mut self, open: &str) -> Self {
        self.open = Some(open.to_owned());
        self
    }

    pub(crate) fn try_run(&self) -> Result<Done, ReadError> {
        let request: Request = serde_json::from_str(&self.payload).expect("a payload");
        let options = Options::try_from(request).expect("good options");
        fn stream(text: &str) -> Box<dyn io::BufRead + '_> {
            Box::new(BufReader::with_capacity(1000, text.as_bytes()))
        }
        let inputs = Inputs {
            ledger: stream(&self.ledger),
            stripe: stream(&self.stripe),
            payouts: self.payouts.as_deref().map(stream),
            bank: self.bank.as_deref().map(stream),
            open: self.open.as_deref().map(stream),
            size_bytes: 0,
        };
        let mut memory = Memory::default();
        let summary = reconcile(inputs, &options)?.write(&mut memory)?;
        let files = std::mem::take(&mut *memory.0.lock().expect("not poisoned"));
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ok(Done { summary, files: files.into_iter().map(|(name, bytes)| (name, text(bytes))).collect() })
    }

    pub(crate) fn run(&self) -> Done {
        self.try_run().unwrap_or_else(|error| panic!("{error:?}"))
    }
}

impl Done {
    /// `leg class` and the number of findings, of every line.
    pub(crate) fn classes(&self) -> Vec<(String, u64)> {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for line in &self.summary.lines {
            *found.entry(format!("{} {}", line.key.leg.name(), line.key.class.name())).or_default() += line.line.findings;
        }
        found.into_iter().collect()
    }

    pub(crate) fn assert_classes(&self, expected: &[(&str, u64)]) -> &Self {
        let expected: Vec<_> = expected.iter().map(|(class, count)| ((*class).to_owned(), *count)).collect();
        assert_eq!(self.classes(), expected, "{}", self.files["breaks.csv"]);
        self.assert_no_residue()
    }

    pub(crate) fn assert_no_residue(&self) -> &Self {
        let report = self.report();
        for leg in report["legs"].as_array().expect("legs") {
            for currency in leg["currencies"].as_array().expect("currencies") {
                assert_eq!(currency["residual"], 0, "{leg}");
            }
        }
        assert!(!self.summary.reasons.iter().any(|reason| reason.contains("have no class")), "{:?}", self.summary.reasons);
        self
    }

    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.files["report.json"]).expect("JSON")
    }

    /// Rows of `breaks.csv` by column name.
    pub(crate) fn breaks(&self) -> Vec<BTreeMap<String, String>> {
        let mut lines = self.files["breaks.csv"].lines();
        let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
        lines.map(|line| header.iter().map(|name| (*name).to_owned()).zip(line.split(',').map(str::to_owned)).collect()).collect()
    }
}
