//! `tasks`: what a guest submits, bounded by `child_tasks`. Kept until the run has ended: only a success has children.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{HasData, Linker};

use crate::limits::Limit;
use crate::runtime::bindings;
use crate::runtime::guest::Guest;
use crate::runtime::meter::{Meter, Stop, to_u64};
use crate::runtime::ports::TaskPort;
use crate::task::{ChildRequest, NewTask, TaskId};

/// The children of one run so far.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Nursery {
    children: Vec<NewTask>,
    by_key: BTreeMap<String, (TaskId, [u8; 32])>,
}

impl Nursery {
    /// How many there are.
    pub(in crate::runtime) fn len(&self) -> usize {
        self.children.len()
    }

    /// All of them, in the order they were submitted in.
    pub(in crate::runtime) fn take(&mut self) -> Vec<NewTask> {
        std::mem::take(&mut self.children)
    }
}

/// What the guest's calls work on.
pub(in crate::runtime) struct TasksHost<'a> {
    pub(in crate::runtime) port: &'a Arc<dyn TaskPort>,
    pub(in crate::runtime) nursery: &'a mut Nursery,
    pub(in crate::runtime) meter: &'a mut Meter,
}

impl bindings::tasks::Host for TasksHost<'_> {
    fn submit(&mut self, task: bindings::tasks::NewTask) -> wasmtime::Result<Result<String, String>> {
        let bindings::tasks::NewTask { task_type, ai_model, payload, key } = task;
        let payload_bytes = payload.len();
        self.meter.call(task_type.len() + ai_model.as_ref().map_or(0, String::len) + payload_bytes + key.len())?;
        let child = match self.port.accept(ChildRequest { task_type, ai_model, payload, key: key.clone() }) {
            Ok(child) => child,
            Err(why) => return Ok(Err(why)),
        };
        let digest = child.idempotency.as_ref().map(|(_, digest)| *digest).unwrap_or_default();
        match self.nursery.by_key.get(&key) {
            Some((first, same)) if *same == digest => return Ok(Ok(first.to_string())),
            Some(_) => {
                return Ok(Err(format!("the key {key:?} was used before in this attempt, for another task; give each child its own")));
            }
            None => {}
        }
        if to_u64(self.nursery.len()) >= self.meter.limits.get(Limit::ChildTasks) {
            return Err(Stop::host_limit(Limit::ChildTasks, &self.meter.limits, "too many tasks were submitted"));
        }
        // Kept by the host until the run has ended, as outputs are.
        self.meter.put_output(payload_bytes)?;
        let id = child.id;
        self.nursery.by_key.insert(key, (id, digest));
        self.nursery.children.push(child);
        Ok(Ok(id.to_string()))
    }
}

struct HasTasks;

impl HasData for HasTasks {
    type Data<'a> = TasksHost<'a>;
}

/// Links it.
///
/// # Errors
/// When it is linked already.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::tasks::add_to_linker::<_, HasTasks>(linker, |guest| TasksHost {
        port: &guest.ports.tasks,
        nursery: &mut guest.nursery,
        meter: &mut guest.meter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{UnixMs, VirtualClock};
    use crate::limits::{LimitSet, Limits};
    use crate::runtime::ports::UnroutedTasks;
    use crate::task::{Outcome, TypeGrant};
    use bindings::tasks::{Host as _, NewTask as Wanted};

    #[test]
    fn a_key_is_one_child_and_the_limit_is_the_number_of_children() {
        let clock = VirtualClock::starting_at(UnixMs(5));
        let port: Arc<dyn TaskPort> =
            Arc::new(UnroutedTasks { parent: TaskId::new(), granted: vec![TypeGrant::Any], payload_bytes_max: 100, clock });
        let limits = Limits::defaults().overridden_by(&LimitSet::default().with(Limit::ChildTasks, 2));
        let (mut nursery, mut meter) = (Nursery::default(), Meter::new(limits, 0));
        let mut host = TasksHost { port: &port, nursery: &mut nursery, meter: &mut meter };
        let wanted = |payload: &str, key: &str| Wanted {
            task_type: "echo".to_owned(),
            ai_model: None,
            payload: payload.into(),
            key: key.to_owned(),
        };
        let first = host.submit(wanted("1", "a")).expect("no trap").expect("taken");
        assert_eq!(host.submit(wanted("1", "a")).expect("no trap"), Ok(first));
        assert!(host.submit(wanted("2", "a")).expect("no trap").is_err_and(|why| why.contains("used before")));
        host.submit(wanted("2", "b")).expect("no trap").expect("taken");
        let stop = host.submit(wanted("3", "c")).expect_err("a third").downcast::<Stop>().expect("a stop");
        assert_eq!((stop.outcome, stop.message.as_str()), (Outcome::HostLimit, "too many tasks were submitted: child_tasks allows 2"));
        assert_eq!((nursery.take().len(), meter.output_bytes), (2, 2));
    }
}
