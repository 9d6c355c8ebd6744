//! What happens to tasks, as server-sent events.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;

use super::Api;
use super::limits::take_place;
use super::problem::{Answer, ProblemBody};
use super::query::Query;
use crate::clock::Sleep;
use crate::event::{Event, EventKind, Missed};
use crate::finding::FindingState;
use crate::task::{Outcome, TaskId, TaskState};

/// The data of a `state` or `progress` event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct EventView<'a> {
    #[schema(value_type = String, format = DateTime)]
    at: String,
    #[schema(value_type = String, format = Uuid)]
    task: TaskId,
    task_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ai_model: Option<&'a str>,
    /// In a `state` event: the state that the task is in now.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<TaskState>,
    /// In a `state` event: which attempt it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// In a `state` event: how the attempt ended, when one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// In a `progress` event: 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    fraction: Option<f32>,
    /// In a `progress` event: the plugin's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    /// In a `finding` event: the id of what the task found, or found gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding: Option<String>,
    /// In a `finding` event: what kind of thing it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding_kind: Option<&'a str>,
    /// In a `finding` event: `new` or `resolved`.
    #[serde(skip_serializing_if = "Option::is_none")]
    finding_state: Option<FindingState>,
    /// In a `finding` event: how bad it is, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<u8>,
}

/// Follow what happens to tasks. Events are named `state`, `progress`, `finding`, `heartbeat`, and `resync` when some were missed: then look anew.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "follow_events",
    params(("task" = Option<String>, Query, description = "only events of this task"),
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event that was seen: those after it come first")),
    responses((status = 200, description = "a stream that does not end by itself", body = EventView, content_type = "text/event-stream"),
        (status = 503, description = "as many streams are open as there may be", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn events(State(api): State<Arc<Api>>, headers: HeaderMap, RawQuery(query): RawQuery) -> Answer<Response> {
    let task: Option<TaskId> = Query::parse(query.as_deref(), &["task"])?.get("task")?;
    let place = take_place(&api.streams, "event streams")?;
    let (queue, receiver) = match headers.get("last-event-id") {
        None => (VecDeque::new(), api.events.subscribe()),
        Some(last) => missed(&api, last),
    };
    let start = Stream { heartbeat: api.clock.sleep(api.config.heartbeat), queue, receiver, task, _open: Open::new(&api, place), api };
    let body = Body::from_stream(stream::unfold(start, |mut stream| async move {
        Some((Ok::<_, std::convert::Infallible>(stream.next().await?), stream))
    }));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}

fn missed(api: &Api, last: &HeaderValue) -> (VecDeque<Item>, Receiver<Arc<Event>>) {
    let last = last.to_str().ok().and_then(|text| text.split_once('-'));
    let last = last.filter(|(boot, _)| i64::from_str_radix(boot, 16) == Ok(api.boot)).and_then(|(_, id)| id.parse().ok());
    match last.map(|id| api.events.subscribe_after(id)) {
        Some((Missed::Events(events), receiver)) => (events.into_iter().map(Item::Event).collect(), receiver),
        Some((Missed::TooMuch, receiver)) => (VecDeque::from([Item::Resync]), receiver),
        None => (VecDeque::from([Item::Resync]), api.events.subscribe()),
    }
}

enum Item {
    Event(Arc<Event>),
    Resync,
}

struct Stream {
    api: Arc<Api>,
    queue: VecDeque<Item>,
    receiver: Receiver<Arc<Event>>,
    task: Option<TaskId>,
    heartbeat: Sleep,
    _open: Open,
}

/// Counts a stream for as long as it lives.
struct Open {
    api: Arc<Api>,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(api: &Arc<Api>, place: OwnedSemaphorePermit) -> Self {
        api.metrics.event_streams.inc();
        Self { api: Arc::clone(api), _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.api.metrics.event_streams.dec();
    }
}

impl Stream {
    /// The next piece of text; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let item = match self.queue.pop_front() {
                Some(item) => item,
                None => tokio::select! {
                    biased;
                    () = self.api.shutdown.cancelled() => return None,
                    heard = self.receiver.recv() => match heard {
                        Ok(event) => Item::Event(event),
                        // This client is slower than the events; what it missed is gone.
                        Err(RecvError::Lagged(_)) => Item::Resync,
                        Err(RecvError::Closed) => return None,
                    },
                    () = &mut self.heartbeat => {
                        self.heartbeat = self.api.clock.sleep(self.api.config.heartbeat);
                        return Some(Bytes::from_static(b"event: heartbeat\ndata: {}\n\n"));
                    }
                },
            };
            match item {
                Item::Resync => return Some(Bytes::from_static(b"event: resync\ndata: {}\n\n")),
                Item::Event(event) if self.task.is_none_or(|task| task == event.task) => return Some(self.write(&event)),
                Item::Event(_) => {}
            }
        }
    }

    fn write(&self, event: &Event) -> Bytes {
        let mut view = EventView {
            at: event.at.to_rfc3339(),
            task: event.task,
            task_type: event.task_type.as_str(),
            ai_model: event.ai_model.as_ref().map(crate::task::AiModel::as_str),
            state: None,
            attempt: None,
            outcome: None,
            fraction: None,
            note: None,
            finding: None,
            finding_kind: None,
            finding_state: None,
            severity: None,
        };
        let name = match &event.kind {
            EventKind::State { state, attempt, outcome } => {
                (view.state, view.attempt, view.outcome) = (Some(*state), Some(*attempt), *outcome);
                "state"
            }
            EventKind::Progress { fraction, note } => {
                (view.fraction, view.note) = (Some(*fraction), Some(note.as_str()));
                "progress"
            }
            EventKind::Finding { finding, finding_kind, finding_state, severity } => {
                (view.finding, view.finding_kind) = (Some(finding.to_string()), Some(finding_kind.as_str()));
                (view.finding_state, view.severity) = (Some(*finding_state), Some(*severity));
                "finding"
            }
        };
        // JSON has no line breaks in it, so one data line is enough.
        let data = serde_json::to_string(&view).unwrap_or_default();
        Bytes::from(format!("id: {:x}-{}\nevent: {name}\ndata: {data}\n\n", self.api.boot, event.id))
    }
}
