//! The listening side: connections, their bounds in number and time, and an orderly end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::{ApiConfig, ApiState, router};
use crate::clock::SharedClock;

const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: usize = 64 << 10;
const HTTP2_STREAMS_MAX: u32 = 200;
/// After an error of `accept` that is about the whole process, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the API until `shutdown` is cancelled; then takes no more connections, ends waits and event streams, and returns when
/// the requests under way have been answered or `drain_timeout` has passed.
///
/// # Errors
/// Never at present; a listener that fails is tried again.
pub async fn serve(listener: TcpListener, state: ApiState, shutdown: CancellationToken) -> io::Result<()> {
    let (config, clock) = (Arc::clone(&state.config), state.clock.clone());
    let router = router(state, shutdown.clone());
    let builder = Arc::new(connection_builder(&config));
    let places = Arc::new(Semaphore::new(config.connections_max));
    let (connections, hang_up) = (TaskTracker::new(), CancellationToken::new());
    while let Some((stream, peer, place)) = next_connection(&listener, &places, &clock, &shutdown).await {
        let (router, builder, shutdown, hang_up) = (router.clone(), Arc::clone(&builder), shutdown.clone(), hang_up.clone());
        connections.spawn(async move {
            let _place = place;
            tokio::select! {
                () = converse(stream, peer, router, &builder, shutdown) => {}
                () = hang_up.cancelled() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    let drained = tokio::select! {
        () = connections.wait() => true,
        () = clock.sleep(config.drain_timeout) => false,
    };
    if !drained {
        tracing::warn!(connections = connections.len(), "requests were still under way at the end of the drain timeout");
        hang_up.cancel();
        connections.wait().await;
    }
    Ok(())
}

fn connection_builder(config: &ApiConfig) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_read_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(config.head_read_timeout))
        .keep_alive_timeout(config.head_read_timeout);
    builder
}

/// The next connection, once there is a place for it; `None` when the host stops.
async fn next_connection(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    clock: &SharedClock,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = tokio::select! {
        biased;
        () = shutdown.cancelled() => return None,
        place = Arc::clone(places).acquire_owned() => place.ok()?,
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => return Some((stream, peer, place)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, builder: &Builder<TokioExecutor>, shutdown: CancellationToken) {
    // Answers are small and awaited; holding them back to fill a packet only makes them late.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended with an error");
    }
}
