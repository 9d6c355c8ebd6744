//! The plugin: opens the inputs, calls the library, keeps the outputs.

use std::io::{self, BufRead};

use taskwarden_plugin::{Failure, Input, OrFail, Output, Plugin, Task, input, input_names, log, output, progress};

use crate::{Inputs, Options, ReadError, Request, Sink, Summary, reconcile};

/// The plugin.
pub struct StripeReconcile;

impl Plugin for StripeReconcile {
    type Payload = Request;
    type Output = Summary;

    fn execute(_task: &Task, request: Request) -> Result<Summary, Failure> {
        let options = Options::try_from(request).or_invalid("payload")?;
        const KNOWN: [&str; 5] = ["ledger", "stripe", "payouts", "bank", "open"];
        if let Some(other) = input_names().into_iter().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(Failure::invalid(format!("there is no use for an input {other:?}; the inputs are {}", KNOWN.join(", "))));
        }
        let read = reconcile(open_inputs()?, &options)?;
        progress(0.6, "read");
        let summary = read.write(&mut Outputs)?;
        log::info(format!("{:?}: {} lines, {} rows quarantined", summary.verdict, summary.lines.len(), summary.quarantined.rows));
        Ok(summary)
    }
}

taskwarden_plugin::export!(StripeReconcile);

fn open_inputs() -> Result<Inputs<'static>, Failure> {
    let mut size_bytes = 0;
    let mut open = |name: &str| -> Result<Box<dyn BufRead>, Failure> {
        let stream: Input = input(name)?;
        size_bytes += stream.size_bytes().unwrap_or(0);
        Ok(Box::new(stream))
    };
    let names = input_names();
    let given = |name: &str| names.iter().any(|given| given == name);
    let (ledger, stripe) = (open("ledger")?, open("stripe")?);
    let mut optional = |name: &str| if given(name) { open(name).map(Some) } else { Ok(None) };
    let (payouts, bank, earlier) = (optional("payouts")?, optional("bank")?, optional("open")?);
    Ok(Inputs { ledger, stripe, payouts, bank, open: earlier, size_bytes })
}

struct Outputs;

impl Sink for Outputs {
    type File = Output;

    fn create(&mut self, name: &str, media_type: &str) -> io::Result<Output> {
        output(name, media_type).map_err(|failure| io::Error::other(failure.reason().to_owned()))
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Invalid(reason) => Failure::invalid(reason),
            ReadError::Io(error) => error.into(),
        }
    }
}
