//! What a client still sends when its request has been answered already.
//!
//! A connection that is closed with bytes unread is reset, and the reset may overtake the answer: a client in the middle of a large
//! body would see a broken pipe instead of why it was refused. So the rest of the body is read and thrown away before the answer
//! goes out, within bounds. The same end as the "lingering close" of other servers, reached from the other side of the answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use http_body::{Frame, SizeHint};

use super::Api;
use super::body::declared_bytes;

/// Middleware: reads what the handler left of a body.
pub(super) async fn rest_of_body(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let bytes_max = api.config.discard_bytes_max;
    // Whoever announces more than would be thrown away is better off with an answer now, which it may see while it sends.
    let hopeless = declared_bytes(request.headers()).is_some_and(|declared| declared > bytes_max);
    let waits_for_a_word = expects_continue(request.headers());
    let (head, body) = request.into_parts();
    let lent = Lent::new(body);
    let rest = lent.clone();
    let response = next.run(Request::from_parts(head, Body::new(lent))).await;
    // A body that came too slowly will not come faster now.
    if !hopeless && response.status() != StatusCode::REQUEST_TIMEOUT {
        tokio::select! {
            biased;
            () = rest.discard(bytes_max, waits_for_a_word) => {}
            () = api.clock.sleep(api.config.discard_timeout) => {}
        }
    }
    response
}

/// Whether the client sends its body only once it has been told to.
fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A body that outlives the request it was lent to.
#[derive(Clone)]
struct Lent(Arc<Mutex<Inner>>);

struct Inner {
    body: Body,
    /// Whether it was read from, which is also what tells a client that waits for it to begin.
    begun: bool,
}

impl Lent {
    fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Inner { body, begun: false })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A handler that panicked while it read leaves a body that can still be thrown away.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn discard(self, bytes_max: u64, waits_for_a_word: bool) {
        {
            let inner = self.inner();
            if inner.body.is_end_stream() || (waits_for_a_word && !inner.begun) {
                return;
            }
        }
        let mut stream = Body::new(self).into_data_stream();
        let mut left_bytes = bytes_max;
        while let Some(Ok(bytes)) = stream.next().await {
            match left_bytes.checked_sub(bytes.len() as u64) {
                Some(left) => left_bytes = left,
                None => return,
            }
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut inner = self.inner();
        inner.begun = true;
        Pin::new(&mut inner.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner().body.size_hint()
    }
}
