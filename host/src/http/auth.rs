//! Who may do what.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use parking_lot::RwLock;
use subtle::ConstantTimeEq;

use super::Api;
use super::config::AuthMode;
use super::problem::{Answer, Code, Problem};
use crate::clock::SharedClock;
use crate::store::{Store, TokenRecord, TokenScope};
use crate::task::NewTask;

/// Tokens are read again after this, so that one made or revoked by another process counts soon.
const RELOAD_AFTER: Duration = Duration::from_secs(3);
/// An unknown token makes them be read again sooner, but not more often than this.
const RELOAD_AFTER_MISS: Duration = Duration::from_millis(500);
/// While the database is away, what was read last counts for this long: a revoked token must not live on for hours.
const STALE_MAX: Duration = Duration::from_secs(60);

/// The tokens, in memory.
pub(super) struct Tokens {
    store: Arc<dyn Store>,
    clock: SharedClock,
    cached: RwLock<Option<Cached>>,
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Cached {
    records: Arc<[TokenRecord]>,
    read_at: Duration,
}

impl Tokens {
    pub(super) fn new(store: Arc<dyn Store>, clock: SharedClock) -> Self {
        Self { store, clock, cached: RwLock::new(None), reading: tokio::sync::Mutex::new(()) }
    }

    /// Makes the next request read them again.
    pub(super) fn forget(&self) {
        *self.cached.write() = None;
    }

    async fn scopes_of(&self, token: &str) -> Answer<Option<Vec<TokenScope>>> {
        let hash = crate::token::hash(token);
        if let Some(scopes) = find(&self.not_older_than(RELOAD_AFTER).await?, &hash) {
            return Ok(Some(scopes));
        }
        Ok(find(&self.not_older_than(RELOAD_AFTER_MISS).await?, &hash))
    }

    async fn not_older_than(&self, max: Duration) -> Answer<Arc<[TokenRecord]>> {
        if let Some(cached) = self.fresh(max) {
            return Ok(cached);
        }
        let _one_at_a_time = self.reading.lock().await;
        if let Some(cached) = self.fresh(max) {
            return Ok(cached);
        }
        let read_at = self.clock.monotonic();
        match self.store.tokens().await {
            Ok(records) => {
                let records: Arc<[TokenRecord]> = records.into();
                *self.cached.write() = Some(Cached { records: Arc::clone(&records), read_at });
                Ok(records)
            }
            Err(error) => self.fresh(STALE_MAX).ok_or_else(|| error.into()),
        }
    }

    fn fresh(&self, max: Duration) -> Option<Arc<[TokenRecord]>> {
        let cached = self.cached.read().clone()?;
        (self.clock.monotonic().saturating_sub(cached.read_at) < max).then_some(cached.records)
    }
}

/// Compares with every token, in time that does not depend on which one fits or how far.
fn find(records: &[TokenRecord], hash: &[u8; 32]) -> Option<Vec<TokenScope>> {
    let mut found = None;
    for record in records {
        if bool::from(record.hash.ct_eq(hash)) {
            found = Some(record.scopes.clone());
        }
    }
    found
}

/// Middleware: lets a request pass that may use `scope`.
pub(super) async fn require(State((api, scope)): State<(Arc<Api>, TokenScope)>, request: Request, next: Next) -> Answer<Response> {
    match api.config.auth {
        AuthMode::LoopbackOpen => {
            if !from_loopback(&request) {
                let detail = "this host serves without tokens, and then only to its own machine; make a token and let it require tokens";
                return Err(unauthorized(detail));
            }
        }
        AuthMode::Tokens => has_scope(&api, request.headers(), scope).await?,
    }
    Ok(next.run(request).await)
}

async fn has_scope(api: &Api, headers: &HeaderMap, scope: TokenScope) -> Answer<()> {
    let token = bearer(headers).ok_or_else(|| unauthorized("send a token: Authorization: Bearer tw_…"))?;
    let scopes = api.tokens.scopes_of(token).await?.ok_or_else(|| unauthorized("this token is not known or was revoked"))?;
    if scopes.contains(&scope) {
        return Ok(());
    }
    let detail = format!("this needs a token with the scope {:?}", scope_name(scope));
    Err(Problem::new(StatusCode::FORBIDDEN, Code::Forbidden, detail))
}

/// A plugin reads the host's tables on behalf of whoever submits its task. So only those may name tables who may read.
pub(super) async fn may_name_tables(api: &Api, headers: &HeaderMap, tasks: &[NewTask]) -> Answer<()> {
    let names_one = |task: &NewTask| task.plan.inputs.values().any(|input| input.blob().is_none());
    if api.config.auth == AuthMode::LoopbackOpen || !tasks.iter().any(names_one) {
        return Ok(());
    }
    has_scope(api, headers, TokenScope::Read).await.map_err(|problem| problem.at("inputs"))
}

/// Middleware for a host without tokens: whoever can make a browser on this machine send requests must not get what its user has.
/// A page of another origin gives itself away by `Origin`; a name that was made to point here, by `Host`.
pub(super) async fn refuse_foreign_pages(State(api): State<Arc<Api>>, request: Request, next: Next) -> Answer<Response> {
    if api.config.auth == AuthMode::LoopbackOpen {
        let host = authority(request.uri(), request.headers());
        if !host.is_some_and(is_loopback_name) {
            let detail = "the Host header must be a name of this machine, such as localhost or 127.0.0.1";
            return Err(Problem::new(StatusCode::FORBIDDEN, Code::Forbidden, detail));
        }
        let origin = request.headers().get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
        let same = |origin: &str| origin.split_once("://").map(|(_, authority)| authority) == host;
        if origin.is_some_and(|origin| !same(origin)) {
            let detail = "pages of another origin may not use this host";
            return Err(Problem::new(StatusCode::FORBIDDEN, Code::Forbidden, detail));
        }
    }
    Ok(next.run(request).await)
}

fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    // HTTP/2 has the authority in the request's head instead of a Host header.
    uri.authority().map(axum::http::uri::Authority::as_str).or_else(|| headers.get(header::HOST)?.to_str().ok())
}

fn is_loopback_name(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn from_loopback(request: &Request) -> bool {
    request.extensions().get::<ConnectInfo<SocketAddr>>().is_some_and(|peer| peer.0.ip().to_canonical().is_loopback())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, detail)
}

fn scope_name(scope: TokenScope) -> &'static str {
    match scope {
        TokenScope::Submit => "submit",
        TokenScope::Read => "read",
        TokenScope::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback_names() {
        for good in ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "127.9.9.9", "[::1]:8080", "[::1]"] {
            assert!(is_loopback_name(good), "{good}");
        }
        for bad in ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:80", "[::2]", "0.0.0.0"] {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }
}
