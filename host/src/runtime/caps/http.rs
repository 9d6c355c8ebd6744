//! `http`: `wasi:http/outgoing-handler` to origins that the operator granted, bounded by `http_requests` and `http_bytes`.
//!
//! What the guest sends is looked at here and sent by the port. Bytes are counted where they move, which is beside the guest: a run that
//! goes over is ended at its next call into the host, or when it returns.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::{HeaderMap, Method, Request, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use wasmtime::component::Linker;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use super::log::LogBook;
use crate::clock::SharedClock;
use crate::limits::{Limit, Limits};
use crate::plugin::Origin;
use crate::runtime::Grants;
use crate::runtime::guest::Guest;
use crate::runtime::meter::{Meter, Stop, shorten, to_u64};
use crate::runtime::ports::{HttpBody, HttpError, HttpPort};
use crate::task::LogLevel;

/// What one write to a request's body may carry.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// What a head occupies beyond its names and values: separators, line ends, the version.
const HEAD_LINE_BYTES: u64 = 4;

/// What is shown of an origin that was refused.
const SHOWN_BYTES_MAX: usize = 200;

type Answer = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// One run's requests.
pub(in crate::runtime) struct HttpSide {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

impl HttpSide {
    /// Requests so far, refused ones included.
    pub(in crate::runtime) fn requests(&self) -> u64 {
        self.hooks.requests
    }

    /// Bytes so far, both ways.
    pub(in crate::runtime) fn bytes(&self) -> u64 {
        self.hooks.traffic.bytes.load(Ordering::Relaxed)
    }

    /// Whether there was too much of either.
    ///
    /// # Errors
    /// [`Stop`] when there was.
    pub(in crate::runtime) fn check(&self) -> wasmtime::Result<()> {
        if self.requests() > self.hooks.limits.get(Limit::HttpRequests) {
            return Err(Stop::host_limit(Limit::HttpRequests, &self.hooks.limits, "too many HTTP requests"));
        }
        if self.bytes() > self.hooks.traffic.bytes_max {
            return Err(Stop::host_limit(Limit::HttpBytes, &self.hooks.limits, "too many bytes over HTTP, both ways together"));
        }
        Ok(())
    }

    /// Charges for what has moved since the last call.
    fn charge(&self, meter: &mut Meter) {
        let moved = self.bytes();
        let before = self.hooks.traffic.charged.swap(moved, Ordering::Relaxed);
        meter.charge_bytes(usize::try_from(moved.saturating_sub(before)).unwrap_or(usize::MAX));
    }
}

/// What moves between guests and elsewhere, counted for one run.
struct Traffic {
    bytes: AtomicU64,
    bytes_max: u64,
    /// How much of it has been charged for.
    charged: AtomicU64,
}

impl Traffic {
    /// Counts bytes that are about to move.
    fn add(&self, bytes: u64) -> Result<(), HttpError> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.bytes_max { Err(HttpError::OverLimit) } else { Ok(()) }
    }
}

struct Hooks {
    port: Arc<dyn HttpPort>,
    grants: Arc<Grants>,
    log: LogBook,
    clock: SharedClock,
    limits: Limits,
    requests: u64,
    traffic: Arc<Traffic>,
}

impl Hooks {
    /// Looks a request over; says whether it may go to private addresses.
    fn look_over(&mut self, request: &Request<WasiBody>) -> Result<bool, Error> {
        self.requests = self.requests.saturating_add(1);
        if self.requests > self.limits.get(Limit::HttpRequests) {
            return Err(Error::HttpRequestDenied);
        }
        // A tunnel would lead anywhere.
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let origin = Origin::of(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
        let Some(grant) = self.grants.http.iter().find(|grant| grant.origin == origin) else {
            let shown = origin.to_string();
            let message =
                format!("a request to {} was refused: the operator has not granted that origin", shorten(&shown, SHOWN_BYTES_MAX));
            // A log that is full is found so at the guest's own next line.
            let _ = self.log.write(LogLevel::Warn, message, Vec::new());
            return Err(Error::HttpRequestDenied);
        };
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        self.traffic.add(head_bytes(request.headers(), target)).map_err(of_port)?;
        Ok(grant.private_addresses)
    }
}

impl WasiHttpHooks for Hooks {
    /// The port sets it, in the way its version of HTTP wants it.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WRITE_BYTES_MAX
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let private_addresses = match self.look_over(&request) {
            Ok(private_addresses) => private_addresses,
            Err(refused) => return Box::new(std::future::ready(Err(refused))),
        };
        let (port, clock, traffic) = (Arc::clone(&self.port), Arc::clone(&self.clock), Arc::clone(&self.traffic));
        Box::new(send(port, clock, traffic, request, options.unwrap_or_default(), private_addresses))
    }
}

async fn send(
    port: Arc<dyn HttpPort>,
    clock: SharedClock,
    traffic: Arc<Traffic>,
    request: Request<WasiBody>,
    options: RequestOptions,
    private_addresses: bool,
) -> Answer {
    let request = request.map(|body| {
        let body = body.map_err(|_| HttpError::CutOff).boxed_unsync();
        Counted { body, traffic: Arc::clone(&traffic), idle: None }.boxed_unsync()
    });
    // One wait for both: the port says nothing between the connection and the head of the answer.
    let patience = match (options.connect_timeout, options.first_byte_timeout) {
        (None, None) | (Some(_), None) => None,
        (connect, Some(first_byte)) => Some(first_byte.saturating_add(connect.unwrap_or_default())),
    };
    let answer = match patience {
        None => port.send(request, private_addresses).await,
        Some(patience) => tokio::select! {
            answer = port.send(request, private_addresses) => answer,
            () = clock.sleep(patience) => Err(HttpError::Timeout),
        },
    };
    let answer = answer.map_err(of_port)?;
    traffic.add(head_bytes(answer.headers(), 0)).map_err(of_port)?;
    let idle = options.between_bytes_timeout.map(|time| Idle { time, clock, wait: None });
    let answer = answer.map(|body| Counted { body, traffic, idle }.map_err(of_port).boxed_unsync());
    let done: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(std::future::ready(Ok(())));
    Ok((answer, done))
}

fn head_bytes(headers: &HeaderMap, target_bytes: usize) -> u64 {
    let lines = headers.iter().map(|(name, value)| to_u64(name.as_str().len() + value.len()).saturating_add(HEAD_LINE_BYTES));
    lines.sum::<u64>().saturating_add(to_u64(target_bytes)).saturating_add(HEAD_LINE_BYTES)
}

/// What the guest is told. The last one it never sees: its run is over.
fn of_port(error: HttpError) -> Error {
    match error {
        HttpError::Denied => Error::HttpRequestDenied,
        HttpError::AddressProhibited => Error::DestinationIpProhibited,
        HttpError::UnknownHost => Error::DnsError { rcode: Some("the name has no address".to_owned()), info_code: None },
        HttpError::Refused => Error::ConnectionRefused,
        HttpError::Tls => Error::TlsProtocolError,
        HttpError::Timeout => Error::ConnectionReadTimeout,
        HttpError::CutOff => Error::ConnectionTerminated,
        HttpError::OverLimit => Error::HttpResponseBodySize(None),
    }
}

/// A body whose bytes are counted, and which may not pause for longer than the guest allows.
struct Counted {
    body: HttpBody,
    traffic: Arc<Traffic>,
    idle: Option<Idle>,
}

struct Idle {
    time: Duration,
    clock: SharedClock,
    wait: Option<BoxFuture<'static, ()>>,
}

impl Idle {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (time, clock) = (self.time, Arc::clone(&self.clock));
        self.wait.get_or_insert_with(|| Box::pin(async move { clock.sleep(time).await })).as_mut().poll(context)
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let Some(idle) = &mut self.idle else { return Poll::Pending };
                ready!(idle.poll(context));
                return Poll::Ready(Some(Err(HttpError::Timeout)));
            }
        };
        if let Some(idle) = &mut self.idle {
            idle.wait = None;
        }
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let bytes = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => to_u64(data.len()),
            (None, Some(trailers)) => head_bytes(trailers, 0),
            (None, None) => 0,
        };
        Poll::Ready(Some(self.traffic.add(bytes).map(|()| frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl WasiHttpView for Guest {
    /// Every call of `wasi:http` comes through here once, which is where it is counted; the check that follows is in the store's hook.
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.meter.count_call();
        let side = self.http.get_or_insert_with(|| {
            let limits = self.meter.limits;
            let traffic = Traffic { bytes: AtomicU64::new(0), bytes_max: limits.get(Limit::HttpBytes), charged: AtomicU64::new(0) };
            let hooks = Hooks {
                port: Arc::clone(&self.ports.http),
                grants: Arc::clone(&self.grants),
                log: self.log.clone(),
                clock: Arc::clone(&self.clock),
                limits,
                requests: 0,
                traffic: Arc::new(traffic),
            };
            Box::new(HttpSide { ctx: WasiHttpCtx::new(), hooks })
        });
        side.charge(&mut self.meter);
        WasiHttpCtxView { hooks: &mut side.hooks, table: &mut self.table, ctx: &mut side.ctx }
    }
}

/// Links it.
///
/// # Errors
/// When it is linked already.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{UnixMs, VirtualClock};
    use http_body_util::Full;

    fn counted(bytes: &'static [u8], bytes_max: u64) -> Counted {
        let traffic = Traffic { bytes: AtomicU64::new(0), bytes_max, charged: AtomicU64::new(0) };
        let body = Full::new(Bytes::from_static(bytes)).map_err(|never| match never {}).boxed_unsync();
        Counted { body, traffic: Arc::new(traffic), idle: None }
    }

    #[tokio::test]
    async fn a_body_is_cut_off_where_the_limit_is() {
        assert_eq!(counted(b"hello", 5).collect().await.map(|all| all.to_bytes()), Ok(Bytes::from_static(b"hello")));
        assert_eq!(counted(b"hello", 4).collect().await.err(), Some(HttpError::OverLimit));
    }

    #[tokio::test]
    async fn a_body_that_pauses_for_too_long_ends_in_an_error() {
        let clock = VirtualClock::starting_at(UnixMs(0));
        let never = http_body_util::StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, HttpError>>()).boxed_unsync();
        let idle = Idle { time: Duration::from_millis(30), clock: clock.clone(), wait: None };
        let mut body = Counted { body: never, idle: Some(idle), ..counted(b"", 10) };
        let mut frame = Box::pin(body.frame());
        assert!(futures::poll!(&mut frame).is_pending());
        clock.advance(Duration::from_millis(30));
        assert_eq!(frame.await.map(|frame| frame.err()), Some(Some(HttpError::Timeout)));
    }
}
