//! `journal`: what survives a retry, bounded by `journal_bytes` over all attempts of the task.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use crate::limits::Limit;
use crate::runtime::bindings;
use crate::runtime::guest::Guest;
use crate::runtime::meter::{Meter, Stop, to_u64};
use crate::runtime::ports::JournalPort;
use crate::task::Outcome;

/// Bytes of a step's name.
const STEP_BYTES_MAX: usize = 256;

/// What the guest's calls work on.
pub(in crate::runtime) struct JournalHost<'a> {
    pub(in crate::runtime) port: &'a Arc<dyn JournalPort>,
    pub(in crate::runtime) meter: &'a mut Meter,
}

impl JournalHost<'_> {
    /// Bytes the journal would have with `value` under `step`.
    async fn bytes_with(&self, step: &str, value: &[u8]) -> Result<u64, String> {
        let bytes = self.port.used_bytes().await?.saturating_add(to_u64(step.len() + value.len()));
        if bytes <= self.meter.limits.get(Limit::JournalBytes) {
            return Ok(bytes);
        }
        // Only now is it worth asking whether the value replaces another one.
        let replaced = self.port.get(step).await?.map_or(0, |old| to_u64(step.len() + old.len()));
        Ok(bytes.saturating_sub(replaced))
    }
}

impl bindings::journal::Host for JournalHost<'_> {
    async fn get(&mut self, step: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.meter.call(step.len())?;
        // The guest cannot tell "not there" from "not readable", and taking one for the other repeats work; so the attempt
        // ends and is made again.
        let unreadable = |why| Stop::error(Outcome::Transient, format!("the host could not read the journal: {why}"));
        let value = self.port.get(&step).await.map_err(unreadable)?;
        self.meter.charge_bytes(value.as_ref().map_or(0, Vec::len));
        Ok(value)
    }

    async fn put(&mut self, step: String, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        self.meter.call(step.len() + value.len())?;
        if step.is_empty() || step.len() > STEP_BYTES_MAX {
            return Ok(Err(format!("the name of a step has 1 to {STEP_BYTES_MAX} bytes; this one has {}", step.len())));
        }
        match self.bytes_with(&step, &value).await {
            Ok(bytes) if bytes > self.meter.limits.get(Limit::JournalBytes) => {
                let what = format!("the journal would have {bytes} bytes");
                Err(Stop::host_limit(Limit::JournalBytes, &self.meter.limits, &what))
            }
            Ok(_) => Ok(self.port.put(&step, value).await),
            Err(why) => Ok(Err(why)),
        }
    }
}

struct HasJournal;

impl HasData for HasJournal {
    type Data<'a> = JournalHost<'a>;
}

/// Links it.
///
/// # Errors
/// When it is linked already.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::journal::add_to_linker::<_, HasJournal>(linker, |guest| JournalHost { port: &guest.ports.journal, meter: &mut guest.meter })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LimitSet, Limits};
    use crate::runtime::ports::MemoryJournal;
    use bindings::journal::Host as _;

    #[tokio::test]
    async fn a_value_may_be_replaced_by_one_that_fits_in_its_place() {
        let limits = Limits::defaults().overridden_by(&LimitSet::default().with(Limit::JournalBytes, 20));
        let port: Arc<dyn JournalPort> = Arc::new(MemoryJournal::default());
        let mut meter = Meter::new(limits, 0);
        let mut host = JournalHost { port: &port, meter: &mut meter };
        assert_eq!(host.get("one".to_owned()).await.expect("no trap"), None);
        host.put("one".to_owned(), vec![1; 17]).await.expect("no trap").expect("20 bytes");
        host.put("one".to_owned(), vec![2; 16]).await.expect("no trap").expect("replaced");
        assert_eq!(host.get("one".to_owned()).await.expect("no trap"), Some(vec![2; 16]));
        assert!(host.put(String::new(), Vec::new()).await.expect("no trap").is_err());
        let stop = host.put("two".to_owned(), vec![0]).await.expect_err("23 bytes").downcast::<Stop>().expect("a stop");
        assert_eq!((stop.outcome, stop.message.as_str()), (Outcome::HostLimit, "the journal would have 23 bytes: journal_bytes allows 20"));
    }
}
