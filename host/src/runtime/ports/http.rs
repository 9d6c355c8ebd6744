//! Requests over HTTP to elsewhere.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// The bytes of a request or of an answer, as they come.
pub type HttpBody = UnsyncBoxBody<Bytes, HttpError>;

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Its origin is not granted, or it asks for what is not offered to guests.
    #[error("the request is not allowed")]
    Denied,
    /// Every address of the host is of a kind that was not granted.
    #[error("the address is private and was not granted")]
    AddressProhibited,
    /// The name has no address.
    #[error("the host's name cannot be resolved")]
    UnknownHost,
    /// No connection came about.
    #[error("the connection was refused")]
    Refused,
    /// The other side could not prove who it is, or does not speak TLS.
    #[error("no TLS connection came about")]
    Tls,
    /// It took longer than the guest allowed.
    #[error("the answer took too long")]
    Timeout,
    /// The connection ended in the middle.
    #[error("the connection was cut off")]
    CutOff,
    /// The run has sent and received as many bytes as it may.
    #[error("too many bytes for one run")]
    OverLimit,
}

/// Sends requests on behalf of one plugin. Follows no redirects and adds nothing of the host's own: no cookies, no credentials, no proxy.
#[async_trait]
pub trait HttpPort: Send + Sync + 'static {
    /// Sends a request to an origin that was granted; answers as soon as the head of the answer is there. Unless `private_addresses`,
    /// it must not connect to anything but addresses of the open internet.
    async fn send(&self, request: ::http::Request<HttpBody>, private_addresses: bool) -> Result<::http::Response<HttpBody>, HttpError>;
}

/// Nobody sends anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHttp;

#[async_trait]
impl HttpPort for NoHttp {
    async fn send(&self, _request: ::http::Request<HttpBody>, _private_addresses: bool) -> Result<::http::Response<HttpBody>, HttpError> {
        Err(HttpError::Denied)
    }
}
