//! Stripe's API over HTTP, and nothing of what the answers mean. The only users of an HTTP client in the host are below this module.
//!
//! * The key goes to the configured address and nowhere else: no redirect is followed, and it is in no error and no log line.
//! * Requests keep their distance (`requests_per_second`); what failed for a reason that passes is sent again after a back-off with full
//!   jitter, or after what `Retry-After` asks for. What takes longer than a request may wait is left to the task queue.
//! * A write carries an idempotency key, so that sending it again cannot do it twice.

mod error;
mod pace;

pub use error::ApiError;

use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use reqwest::{Method, StatusCode, redirect};

use crate::clock::SharedClock;
use crate::secret::Secret;
use crate::task::{RetryPolicy, backoff};
use pace::Pace;

const VERSION_HEADER: HeaderName = HeaderName::from_static("stripe-version");
const ACCOUNT_HEADER: HeaderName = HeaderName::from_static("stripe-account");
const IDEMPOTENCY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Stripe's own word on whether sending the same again can help; it wins over the status.
const SHOULD_RETRY_HEADER: HeaderName = HeaderName::from_static("stripe-should-retry");
const RETRY_AFTER_HEADER: HeaderName = reqwest::header::RETRY_AFTER;

/// How the API is used.
#[derive(Debug, Clone)]
pub struct StripeApiConfig {
    /// Where it is, without a path.
    pub base_url: String,
    /// A restricted key.
    pub key: Secret,
    /// The version of the API that answers are written in.
    pub version: String,
    /// A connected account (`acct_…`) to act for.
    pub account: Option<String>,
    /// At most so many requests start in a second.
    pub requests_per_second: u32,
    /// How often one request is sent before its failure is the caller's.
    pub sends_max: u32,
    /// How failures that pass are spaced.
    pub retry: RetryPolicy,
    /// A `Retry-After` beyond this is not waited for here.
    pub wait_max: Duration,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Bytes of one answer.
    pub response_bytes_max: usize,
}

/// A client of one account.
pub struct StripeApi {
    http: reqwest::Client,
    config: StripeApiConfig,
    clock: SharedClock,
    pace: Pace,
    jitter: Mutex<StdRng>,
}

impl std::fmt::Debug for StripeApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StripeApi").field("base_url", &self.config.base_url).finish_non_exhaustive()
    }
}

impl StripeApi {
    /// A client; does not connect yet.
    ///
    /// # Errors
    /// When the address is one that a key must not be sent to, or the key cannot be sent at all.
    pub fn new(config: StripeApiConfig, clock: SharedClock, seed: u64) -> Result<Self, ApiError> {
        check_address(&config.base_url)?;
        let headers = headers(&config).map_err(|_| {
            ApiError::Misconfigured("the key, the version or the account has characters that no header can carry".to_owned())
        })?;
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(config.timeout)
            .build()
            .map_err(|error| ApiError::Misconfigured(format!("an HTTP client cannot be made: {error}")))?;
        let pace = Pace::new(config.requests_per_second);
        Ok(Self { http, config, clock, pace, jitter: Mutex::new(StdRng::seed_from_u64(seed)) })
    }

    /// Reads something; answers JSON text.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String, ApiError> {
        let query = form(query);
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.send(Method::GET, &path, None).await
    }

    /// Writes something, once however often this is called with the same `idempotency_key` and the same `fields`; answers JSON text.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn post(&self, path: &str, fields: &[(&str, &str)], idempotency_key: &str) -> Result<String, ApiError> {
        let key = HeaderValue::from_str(idempotency_key)
            .map_err(|_| ApiError::Misconfigured("an idempotency key has characters that no header can carry".to_owned()))?;
        self.send(Method::POST, path, Some((form(fields), key))).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<(String, HeaderValue)>) -> Result<String, ApiError> {
        let mut sent = 0;
        loop {
            self.pace.wait(&self.clock).await;
            sent += 1;
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.config.base_url.trim_end_matches('/')));
            if let Some((fields, key)) = &body {
                request = request
                    .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .header(IDEMPOTENCY_HEADER, key.clone())
                    .body(fields.clone());
            }
            let failed = match self.answer(request).await {
                Ok(text) => return Ok(text),
                Err(error) => error,
            };
            let ApiError::Passing { retry_after, .. } = &failed else { return Err(failed) };
            if sent >= self.config.sends_max || retry_after.is_some_and(|wait| wait > self.config.wait_max) {
                return Err(failed);
            }
            let wait = retry_after.unwrap_or_else(|| backoff(sent, &self.config.retry, self.jitter.lock().random()));
            tracing::debug!(%failed, sent, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "a request to Stripe is sent again");
            self.clock.sleep(wait).await;
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<String, ApiError> {
        let cut_off = |error: reqwest::Error| ApiError::passing(format!("Stripe cannot be reached: {}", error.without_url()));
        let mut response = request.send().await.map_err(cut_off)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(cut_off)? {
            if body.len() + chunk.len() > self.config.response_bytes_max {
                return Err(ApiError::Unreadable(format!("an answer has more than {} bytes", self.config.response_bytes_max)));
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(failure(status, &headers, &body));
        }
        String::from_utf8(body.into()).map_err(|_| ApiError::Unreadable("an answer is not UTF-8".to_owned()))
    }
}

fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let said = headers.get(SHOULD_RETRY_HEADER).and_then(|value| value.to_str().ok());
    // 409 is another request with the same idempotency key that has not ended yet.
    let by_status = matches!(status.as_u16(), 408 | 409 | 425 | 429) || status.is_server_error();
    if said.map_or(by_status, |said| said == "true") {
        let seconds = headers.get(RETRY_AFTER_HEADER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        return ApiError::Passing { why: format!("Stripe answered {status}"), retry_after: seconds.map(Duration::from_secs) };
    }
    ApiError::refused(status.as_u16(), body)
}

fn headers(config: &StripeApiConfig) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    let mut key = HeaderValue::from_str(&format!("Bearer {}", config.key.expose()))?;
    key.set_sensitive(true);
    headers.insert(reqwest::header::AUTHORIZATION, key);
    headers.insert(VERSION_HEADER, HeaderValue::from_str(&config.version)?);
    if let Some(account) = &config.account {
        headers.insert(ACCOUNT_HEADER, HeaderValue::from_str(account)?);
    }
    Ok(headers)
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// A key goes over TLS, or not farther than this machine.
fn check_address(base_url: &str) -> Result<(), ApiError> {
    let wrong = |why: &str| Err(ApiError::Misconfigured(format!("stripe.api.base_url {base_url:?} {why}")));
    let Ok(url) = reqwest::Url::parse(base_url) else { return wrong("is not a URL such as https://api.stripe.com") };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return wrong("may hold a host and a port only; the key has a setting of its own");
    }
    let local = url.host_str().is_some_and(|host| {
        host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    match url.scheme() {
        "https" => Ok(()),
        "http" if local => Ok(()),
        _ => wrong("must begin with https:// (http:// only for this machine itself), since a key goes there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_over_tls_or_stays_on_this_machine() {
        for fine in ["https://api.stripe.com", "http://127.0.0.1:12111", "http://[::1]:1", "http://localhost:1"] {
            assert!(check_address(fine).is_ok(), "{fine}");
        }
        for wrong in
            ["http://api.stripe.com", "ftp://127.0.0.1", "api.stripe.com", "https://key@api.stripe.com", "http://127.0.0.1.example.com"]
        {
            assert!(check_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stripe_has_the_last_word_on_sending_again() {
        let answer = |status: u16, header: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(SHOULD_RETRY_HEADER, HeaderValue::from_static(value));
            }
            headers.insert(RETRY_AFTER_HEADER, HeaderValue::from_static("7"));
            failure(StatusCode::from_u16(status).unwrap(), &headers, b"{}")
        };
        for (status, header) in [(429, None), (500, None), (503, None), (409, None), (400, Some("true"))] {
            let ApiError::Passing { retry_after, .. } = answer(status, header) else { panic!("{status} passes") };
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
        for (status, header) in [(400, None), (401, None), (404, None), (500, Some("false"))] {
            assert!(matches!(answer(status, header), ApiError::Refused { .. }), "{status}");
        }
    }
}
