//! Reading what a client sends, with a bound on its size and on how long the client may take.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use super::problem::{Answer, Code, Problem};
use crate::clock::SharedClock;

/// A body that is being read.
pub(super) struct BodyReader {
    stream: BodyDataStream,
    clock: SharedClock,
    idle_max: Duration,
    left_bytes: u64,
    max_bytes: u64,
    field: &'static str,
}

impl BodyReader {
    /// Refuses at once a body that says it is too large.
    pub(super) fn new(
        body: Body,
        headers: &HeaderMap,
        clock: &SharedClock,
        idle_max: Duration,
        max_bytes: u64,
        limit_name: &'static str,
    ) -> Answer<Self> {
        let reader =
            Self { stream: body.into_data_stream(), clock: clock.clone(), idle_max, left_bytes: max_bytes, max_bytes, field: limit_name };
        if declared_bytes(headers).is_some_and(|declared| declared > max_bytes) { Err(reader.too_large()) } else { Ok(reader) }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Answer<Option<Bytes>> {
        let arrived = tokio::select! {
            biased;
            arrived = self.stream.next() => arrived,
            () = self.clock.sleep(self.idle_max) => return Err(too_slow()),
        };
        let Some(arrived) = arrived else { return Ok(None) };
        let bytes = arrived.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, Code::BodyCutOff, "the body ended too early"))?;
        match self.left_bytes.checked_sub(bytes.len() as u64) {
            Some(left) => self.left_bytes = left,
            None => return Err(self.too_large()),
        }
        Ok(Some(bytes))
    }

    /// All of it, in memory, within `total_max`: for bodies that are bounded well below the memory of the host.
    pub(super) async fn all(mut self, declared: Option<u64>, total_max: Duration) -> Answer<Bytes> {
        let deadline = self.clock.sleep(total_max);
        tokio::select! {
            biased;
            read = self.read_all(declared) => read,
            () = deadline => Err(too_slow()),
        }
    }

    async fn read_all(&mut self, declared: Option<u64>) -> Answer<Bytes> {
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next().await? else { return Ok(first) };
        // A client may declare much and send nothing, so what it declares is believed only up to a point.
        let expected = declared.unwrap_or(0).min(8 << 20);
        let mut all = BytesMut::with_capacity(usize::try_from(expected).unwrap_or(0).max(first.len() + second.len()));
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(more) = self.next().await? {
            all.extend_from_slice(&more);
        }
        Ok(all.freeze())
    }

    fn too_large(&self) -> Problem {
        let detail = format!("the body is larger than {} bytes, which is this host's {}", self.max_bytes, self.field);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::PayloadTooLarge, detail)
    }
}

/// How large the client says its body is.
pub(super) fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses bodies that say they are something other than JSON. One that says nothing is taken for JSON.
pub(super) fn expect_json(headers: &HeaderMap) -> Answer<()> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let detail = "the body must be JSON: send it with Content-Type: application/json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::UnsupportedMediaType, detail))
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, Code::RequestTimeout, "the body did not come in time; send it faster or in smaller parts")
}
