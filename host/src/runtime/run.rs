//! One run: a fresh store, the call, and what came of it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::de::IgnoredAny;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store};

use super::bindings::types::{Failure, Task, Transient};
use super::bindings::{Executor, ExecutorPre};
use super::caps::log::LogBook;
use super::caps::outputs::OutputShelf;
use super::caps::tasks::Nursery;
use super::guest::{self, Guest};
use super::limiter::MemoryLimiter;
use super::meter::{Meter, Stop, shorten, to_u64};
use super::read_ahead::ReadAheadRoom;
use super::{Job, Report, Usage, verdict, wasi};
use crate::clock::SharedClock;
use crate::limits::Limit;
use crate::task::{LogLine, Outcome};

/// What the guest said, or the error that unwound it.
type Answer = wasmtime::Result<Result<Vec<u8>, Failure>>;

/// How an attempt ended, before its costs are added.
struct End {
    outcome: Outcome,
    result: Option<Box<str>>,
    error: Option<String>,
    retry_after: Option<Duration>,
}

impl End {
    fn failed((outcome, error): (Outcome, String)) -> Self {
        Self { outcome, result: None, error: Some(error), retry_after: None }
    }
}

/// A report for a job that never got as far as a sandbox.
pub(super) fn not_started(job: &Job, outcome: Outcome, error: String) -> Report {
    let usage = Usage { input_bytes: to_u64(job.payload.len()), ..Usage::default() };
    Report {
        outcome,
        result: None,
        error: Some(error),
        retry_after: None,
        usage,
        logs: Vec::new(),
        outputs: Vec::new(),
        children: Vec::new(),
    }
}

/// Runs a job in a sandbox of its own.
pub(super) async fn run(engine: &Engine, plugin: &ExecutorPre<Guest>, clock: &SharedClock, job: Job) -> Report {
    let started = clock.monotonic();
    let limits = job.limits;
    if job.cancel.is_cancelled() {
        return not_started(&job, Outcome::Cancelled, verdict::CANCELLED.to_owned());
    }
    if to_u64(job.payload.len()) > limits.get(Limit::InputBytes) {
        let message = format!("the payload has {} bytes: input_bytes allows {}", job.payload.len(), limits.get(Limit::InputBytes));
        return not_started(&job, Outcome::HostLimit, message);
    }
    let log = LogBook::new(Arc::clone(clock), limits);
    let wasi = match job.grants.directories.is_empty() {
        true => None,
        false => match wasi::with_directories(&job.grants, &log, clock) {
            Ok(wasi) => Some(wasi),
            // Nothing the task can do about it, and an operator may: worth another attempt.
            Err(why) => return not_started(&job, Outcome::Transient, why),
        },
    };
    let wall = Duration::from_millis(limits.get(Limit::WallMs));
    let guest = Guest {
        meter: Meter::new(limits, to_u64(job.payload.len())),
        memory: MemoryLimiter::new(&limits),
        log: log.clone(),
        outputs: OutputShelf::default(),
        nursery: Nursery::default(),
        http: None,
        grants: Arc::clone(&job.grants),
        ports: job.ports.clone(),
        read_ahead_room: ReadAheadRoom::default(),
        table: ResourceTable::new(),
        wasi,
        clock: Arc::clone(clock),
        cancel: job.cancel.clone(),
        deadline: started.saturating_add(wall),
    };
    let mut store = match guest::store(engine, guest) {
        Ok(store) => store,
        Err(error) => return not_started(&job, Outcome::Transient, format!("the host could not make a sandbox: {error}")),
    };
    let cancel = job.cancel.clone();
    let answer = {
        let mut call = pin!(call(plugin, &mut store, task(job)));
        match first_poll(call.as_mut()).await {
            // Most runs end without ever waiting for the host, and need no timer.
            Poll::Ready(answer) => answer,
            Poll::Pending => {
                let left = wall.saturating_sub(clock.monotonic().saturating_sub(started));
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => Err(Stop::error(Outcome::Cancelled, verdict::CANCELLED)),
                    () = clock.sleep(left) => Err(Stop::error(Outcome::Deadline, verdict::deadline_message(&limits))),
                    answer = call => answer,
                }
            }
        }
    };
    // What moved in the background may have gone over after the guest's last call.
    let answer = answer.and_then(|said| store.data().check_http().map(|()| said));
    let end = end(answer, &mut store.data_mut().meter);
    report(store, end, &log, clock.monotonic().saturating_sub(started))
}

/// Instantiates and calls. The fuel, the epoch deadline and the time limit are running from before the first instruction.
async fn call(plugin: &ExecutorPre<Guest>, store: &mut Store<Guest>, task: Task) -> Answer {
    let executor: Executor = plugin.instantiate_async(&mut *store).await?;
    executor.call_execute(&mut *store, &task).await
}

async fn first_poll<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

fn task(job: Job) -> Task {
    let id = job.id.to_string();
    Task {
        idempotency_key: job.idempotency_key.map_or_else(|| id.clone(), |key| key.as_str().to_owned()),
        id,
        task_type: job.task_type.as_str().to_owned(),
        ai_model: job.ai_model.map(|model| model.as_str().to_owned()),
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        payload: job.payload.into(),
    }
}

fn end(answer: Answer, meter: &mut Meter) -> End {
    match answer {
        Ok(Ok(bytes)) => match meter.put_output(bytes.len()) {
            Ok(()) => succeeded(bytes),
            Err(error) => End::failed(verdict::of_error(&error, meter)),
        },
        Ok(Err(failure)) => failed(failure),
        Err(error) => End::failed(verdict::of_error(&error, meter)),
    }
}

fn succeeded(bytes: Vec<u8>) -> End {
    let text = String::from_utf8(bytes).map_err(|error| error.to_string());
    let json = text.and_then(|text| match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    });
    match json {
        Ok(text) => End { outcome: Outcome::Succeeded, result: Some(text.into()), error: None, retry_after: None },
        Err(why) => End::failed((Outcome::Permanent, format!("the result is not JSON: {why}; return JSON text, such as null"))),
    }
}

fn failed(failure: Failure) -> End {
    let short = |words: String| shorten(&words, verdict::WORDS_BYTES_MAX).to_owned();
    match failure {
        Failure::Invalid(why) => End::failed((Outcome::Invalid, short(why))),
        Failure::Permanent(why) => End::failed((Outcome::Permanent, short(why))),
        Failure::Transient(Transient { reason, retry_after_ms }) => {
            End { retry_after: retry_after_ms.map(Duration::from_millis), ..End::failed((Outcome::Transient, short(reason))) }
        }
    }
}

fn report(mut store: Store<Guest>, end: End, log: &LogBook, run_time: Duration) -> Report {
    let left = store.get_fuel().unwrap_or(0);
    let guest = store.data_mut();
    let usage = Usage {
        fuel: guest.meter.limits.get(Limit::Fuel).saturating_sub(left),
        memory_peak_bytes: guest.memory.peak_bytes(),
        host_calls: guest.meter.host_calls,
        input_bytes: guest.meter.input_bytes,
        output_bytes: guest.meter.output_bytes,
        http_requests: guest.http.as_ref().map_or(0, |http| http.requests()),
        http_bytes: guest.http.as_ref().map_or(0, |http| http.bytes()),
        child_tasks: to_u64(guest.nursery.len()),
        run_time,
    };
    let succeeded = end.outcome == Outcome::Succeeded;
    let (outputs, children) = if succeeded { (guest.outputs.take(), guest.nursery.take()) } else { (Vec::new(), Vec::new()) };
    // Whatever the guest printed without ending the line is logged when its streams go.
    drop(store);
    let logs: Vec<LogLine> = log.take();
    Report { outcome: end.outcome, result: end.result, error: end.error, retry_after: end.retry_after, usage, logs, outputs, children }
}
