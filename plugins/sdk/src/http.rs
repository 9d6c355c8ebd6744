//! Requests over HTTP. Needs the feature `http` of this crate, the capability `http`, and origins that the operator granted.
//!
//! ```no_run
//! use taskwarden_plugin::http::Request;
//! # fn example() -> Result<(), taskwarden_plugin::Failure> {
//! let answer = Request::get("https://api.example.com/rates").header("accept", "application/json").send()?;
//! if answer.status == 200 {
//!     let rates: serde_json::Value = answer.json()?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Redirects are not followed: the answer says where it leads, and that origin has to be granted too. Nothing is retried: return the failure, and
//! the host retries the task. What a request changes elsewhere is done again then, unless it carries an idempotency key, for which
//! `Task::idempotency_key` is made.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;

/// A request that is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
}

/// An answer, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Request {
    /// A request with any method, to a URL such as `https://api.example.com/v1/things?limit=3`.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Self {
        Self { method: method.to_owned(), url: url.to_owned(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// A `GET`.
    #[must_use]
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A `POST`.
    #[must_use]
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self
    }

    /// Sets the body to a value as JSON, and says so in a header.
    ///
    /// # Errors
    /// [`Failure::Permanent`] when the value is no JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Self, Failure> {
        let bytes = serde_json::to_vec(value).map_err(|e| Failure::permanent(format!("the body of a request is no JSON: {e}")))?;
        Ok(self.header("content-type", "application/json").body(bytes))
    }

    /// How long to wait for the answer to begin, and for each piece of it; without this only the task's own deadline counts.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// Sends it and waits for the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`Failure::Permanent`] when the request is not allowed or no request; [`Failure::Transient`] when no answer came.
    pub fn send(self) -> Result<Response, Failure> {
        wire::send(&self)
    }
}

impl Response {
    /// The first header of a name, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Failure::Permanent`] when it is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Failure::permanent(format!("the answer (status {}) is not as expected: {e}", self.status)))
    }
}

#[cfg(not(target_family = "wasm"))]
use crate::double::wire;

#[cfg(target_family = "wasm")]
mod wire {
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{
        ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
        Scheme,
    };
    use wasip2::io::streams::StreamError;

    use super::{Request, Response};
    use crate::Failure;

    /// What one write may carry, as `wasi:io` has it.
    const WRITE_BYTES: usize = 4096;
    /// What is asked for in one read.
    const READ_BYTES: u64 = 64 << 10;

    pub(super) fn send(request: &Request) -> Result<Response, Failure> {
        let wrong = |what: &str| Failure::permanent(format!("{} {}: {what}", request.method, request.url));
        let outgoing = outgoing(request).map_err(wrong)?;
        let body = outgoing.body().map_err(|()| wrong("the request has no body"))?;
        let future = handle(outgoing, options(request)).map_err(|code| failed(request, &code))?;
        // Where this fails the answer says why.
        let _ = write(body, &request.body);
        receive(request, &future)
    }

    fn outgoing(request: &Request) -> Result<OutgoingRequest, &'static str> {
        let (scheme, rest) = request.url.split_once("://").ok_or("this is not a URL")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or("this is not a URL")?;
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let length = ("content-length".to_owned(), request.body.len().to_string().into_bytes());
        let headers = if request.body.is_empty() { headers } else { headers.into_iter().chain([length]).collect() };
        let headers = Fields::from_list(&headers).map_err(|_| "a header is not allowed or has characters that no header can carry")?;
        let outgoing = OutgoingRequest::new(headers);
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => Scheme::Other(other.to_owned()),
        };
        outgoing.set_scheme(Some(&scheme)).map_err(|()| "the scheme is not one")?;
        outgoing.set_method(&method(&request.method)).map_err(|()| "the method is not one")?;
        outgoing.set_authority(Some(authority)).map_err(|()| "the host is not one")?;
        outgoing.set_path_with_query(Some(&path)).map_err(|()| "the path has characters that none can have")?;
        Ok(outgoing)
    }

    fn method(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "PATCH" => Method::Patch,
            "OPTIONS" => Method::Options,
            other => Method::Other(other.to_owned()),
        }
    }

    fn options(request: &Request) -> Option<RequestOptions> {
        let nanoseconds = u64::try_from(request.timeout?.as_nanos()).unwrap_or(u64::MAX);
        let options = RequestOptions::new();
        // A host that does not know one of them still has the task's deadline.
        let _ = options.set_first_byte_timeout(Some(nanoseconds));
        let _ = options.set_between_bytes_timeout(Some(nanoseconds));
        Some(options)
    }

    fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), StreamError> {
        if !bytes.is_empty() {
            let stream = body.write().map_err(|()| StreamError::Closed)?;
            for piece in bytes.chunks(WRITE_BYTES) {
                stream.blocking_write_and_flush(piece)?;
            }
        }
        OutgoingBody::finish(body, None).map_err(|_| StreamError::Closed)
    }

    fn receive(request: &Request, future: &FutureIncomingResponse) -> Result<Response, Failure> {
        future.subscribe().block();
        let incoming = match future.get() {
            Some(Ok(Ok(incoming))) => incoming,
            Some(Ok(Err(code))) => return Err(failed(request, &code)),
            _ => return Err(Failure::transient(format!("{} {}: no answer came", request.method, request.url))),
        };
        let (status, headers) = (incoming.status(), incoming.headers().entries());
        let body =
            read(&incoming).map_err(|()| Failure::transient(format!("{} {}: the answer was cut off", request.method, request.url)))?;
        Ok(Response { status, headers, body })
    }

    fn read(incoming: &IncomingResponse) -> Result<Vec<u8>, ()> {
        let body: IncomingBody = incoming.consume()?;
        let stream = body.stream()?;
        let mut bytes = Vec::new();
        loop {
            match stream.blocking_read(READ_BYTES) {
                Ok(piece) => bytes.extend_from_slice(&piece),
                Err(StreamError::Closed) => return Ok(bytes),
                Err(StreamError::LastOperationFailed(_)) => return Err(()),
            }
        }
    }

    /// What can pass is worth another attempt of the task.
    fn failed(request: &Request, code: &ErrorCode) -> Failure {
        let what = format!("{} {}", request.method, request.url);
        match code {
            ErrorCode::HttpRequestDenied => {
                Failure::permanent(format!("{what}: this origin was not granted; the operator grants origins by plugin"))
            }
            ErrorCode::DestinationIpProhibited => {
                Failure::permanent(format!("{what}: the host has a private address only, which was not granted"))
            }
            ErrorCode::HttpRequestMethodInvalid | ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpProtocolError => {
                Failure::permanent(format!("{what}: {}", named(code)))
            }
            passing => Failure::transient(format!("{what}: {}", named(passing))),
        }
    }

    /// Such as `ConnectionRefused`.
    fn named(code: &ErrorCode) -> String {
        format!("{code:?}").trim_start_matches("ErrorCode::").to_owned()
    }
}
