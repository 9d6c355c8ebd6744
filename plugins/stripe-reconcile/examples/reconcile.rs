//! Reconciles two files outside the sandbox: `cargo run --release --example reconcile -- LEDGER STRIPE FOLDER`. Against the same run of
//! the plugin it shows what the sandbox costs.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::PathBuf;

use taskwarden_stripe_reconcile::{Inputs, Options, Sink, reconcile};

struct Folder(PathBuf);

impl Sink for Folder {
    type File = BufWriter<File>;

    fn create(&mut self, name: &str, _media_type: &str) -> io::Result<Self::File> {
        Ok(BufWriter::with_capacity(1 << 16, File::create(self.0.join(name))?))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [ledger, stripe, folder] = arguments.as_slice() else { return Err("usage: reconcile LEDGER STRIPE FOLDER".into()) };
    let size_bytes = std::fs::metadata(ledger)?.len() + std::fs::metadata(stripe)?.len();
    let open = |path: &PathBuf| File::open(path).map(|file| Box::new(BufReader::with_capacity(1 << 16, file)));
    let inputs = Inputs { ledger: open(ledger)?, stripe: open(stripe)?, payouts: None, bank: None, open: None, size_bytes };
    let options = Options::default();
    let read = reconcile(inputs, &options).map_err(|error| format!("{error:?}"))?;
    let summary = read.write(&mut Folder(folder.clone())).map_err(|error| format!("{error:?}"))?;
    println!("{:?}: {:?}", summary.verdict, summary.outcomes);
    Ok(())
}
