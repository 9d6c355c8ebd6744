//! The API: each handler parses, makes one call and replies. The only users of axum are below this module.

mod admin;
mod auth;
mod batch;
mod blobs;
mod body;
mod config;
mod discard;
mod events;
mod findings;
mod health;
mod income;
mod json;
mod limits;
mod metrics;
mod openapi;
mod payments;
mod plugins;
mod problem;
mod query;
mod ratings;
mod serve;
mod submit;
mod tasks;
mod watch;
mod webhook;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use config::{ApiConfig, AuthMode};
pub use openapi::document as openapi_document;
pub use serve::serve;
pub use webhook::StripeEndpoint;

use crate::clock::SharedClock;
use crate::event::{Bells, EventBus};
use crate::metrics::Metrics;
use crate::payments::Checkouts;
use crate::registry::{Plugin, Registry};
use crate::store::{Store, StoreError, TokenScope};
use problem::Problem;

/// Why a plugin was not installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum PluginChangeError {
    /// The artifact is not a plugin that this host can run; says why, for its author.
    #[error("{0}")]
    Refused(String),
    /// Another plugin takes the same tasks; says which.
    #[error("{0}")]
    RouteTie(String),
    /// A plugin that came with the host cannot be removed or replaced.
    #[error("plugin {0} is built into this host; give yours another name, or turn the built-in one off in the configuration")]
    BuiltIn(String),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Installs and removes plugins: compiling and keeping them is the business of whoever knows runtime and store.
#[async_trait]
pub trait PluginAdmin: Send + Sync + 'static {
    /// Verifies, compiles and keeps an artifact and puts it into the registry; answers what is loaded now.
    async fn install(&self, artifact: Bytes) -> Result<Arc<Plugin>, PluginChangeError>;
    /// Takes a plugin out of the registry and forgets it; whether it was there.
    async fn remove(&self, name: &str) -> Result<bool, PluginChangeError>;
}

/// What the API works on.
#[derive(Clone)]
pub struct ApiState {
    /// Where tasks are kept.
    pub store: Arc<dyn Store>,
    /// What is loaded.
    pub registry: Arc<Registry>,
    /// Changes what is loaded.
    pub plugins: Arc<dyn PluginAdmin>,
    /// Sends customers to a checkout; nothing where no key or no catalogue is configured.
    pub checkouts: Option<Arc<Checkouts>>,
    /// Where changes of tasks are told.
    pub events: EventBus,
    /// Wake the scheduler.
    pub bells: Arc<Bells>,
    /// What time it is.
    pub clock: SharedClock,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Settings.
    pub config: Arc<ApiConfig>,
    /// Whether the host takes tasks: set once everything has started, cleared when it stops.
    pub ready: Arc<AtomicBool>,
}

/// The API's own state beside what it is given.
struct Api {
    given: ApiState,
    tokens: auth::Tokens,
    requests: Semaphore,
    waits: Semaphore,
    transfers: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// Tells the events of this start of the host from those of an earlier one, which counted from one as well.
    boot: i64,
    shutdown: CancellationToken,
}

impl std::ops::Deref for Api {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.given
    }
}

/// Everything under `/`. Waits and event streams end when `shutdown` is cancelled.
pub fn router(state: ApiState, shutdown: CancellationToken) -> Router {
    let config = Arc::clone(&state.config);
    let api = Arc::new(Api {
        tokens: auth::Tokens::new(Arc::clone(&state.store), state.clock.clone()),
        requests: Semaphore::new(config.requests_max),
        // However they are set, waits must leave room for the requests that end them.
        waits: Semaphore::new(config.waits_max.min((config.requests_max / 2).max(1))),
        transfers: Arc::new(Semaphore::new(config.transfers_max)),
        streams: Arc::new(Semaphore::new(config.streams_max)),
        boot: state.clock.now().0,
        shutdown,
        given: state,
    });
    let needs = |scope: TokenScope| from_fn_with_state((Arc::clone(&api), scope), auth::require);
    let limited = OpenApiRouter::new()
        .merge(submit_routes().route_layer(needs(TokenScope::Submit)))
        .merge(read_routes().route_layer(needs(TokenScope::Read)))
        .merge(admin_routes().route_layer(needs(TokenScope::Admin)))
        .merge(signed_routes())
        // Health and metrics stay outside of this: they must answer when nothing else does.
        .route_layer(from_fn_with_state(Arc::clone(&api), limits::admit));
    let measured = OpenApiRouter::new().routes(routes!(metrics::metrics)).route_layer(needs(TokenScope::Read));
    let (router, _) = limited.merge(measured).merge(open_routes()).split_for_parts();
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&api), auth::refuse_foreign_pages))
        .layer(from_fn(problem::only_problems))
        .layer(CatchPanicLayer::custom(problem::of_panic))
        .layer(from_fn_with_state(Arc::clone(&api), watch::observe))
        .layer(from_fn_with_state(Arc::clone(&api), discard::rest_of_body))
        .with_state(api)
}

type Routes = OpenApiRouter<Arc<Api>>;

fn submit_routes() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(tasks::submit))
        .routes(routes!(batch::submit_batch))
        .routes(routes!(tasks::cancel))
        .routes(routes!(tasks::retry))
        .routes(routes!(ratings::rate))
        .routes(routes!(blobs::upload))
        .routes(routes!(payments::checkout))
}

fn read_routes() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::get))
        .routes(routes!(tasks::logs))
        .routes(routes!(ratings::get))
        .routes(routes!(tasks::outputs))
        .routes(routes!(tasks::output))
        .routes(routes!(events::events))
        .routes(routes!(blobs::download))
        .routes(routes!(plugins::list))
        .routes(routes!(income::read))
        .routes(routes!(payments::order))
        .routes(routes!(findings::list))
        .routes(routes!(findings::get))
}

fn admin_routes() -> Routes {
    OpenApiRouter::new()
        .routes(routes!(admin::plugins::install, admin::plugins::list))
        .routes(routes!(admin::plugins::remove))
        .routes(routes!(admin::lanes::list, admin::lanes::change))
        .routes(routes!(admin::hosts::list))
        .routes(routes!(admin::tenants::list, admin::tenants::change))
        .routes(routes!(admin::limits::read))
        .routes(routes!(admin::limits::set_host, admin::limits::clear_host))
        .routes(routes!(admin::limits::set_named, admin::limits::clear_named))
        .routes(routes!(admin::tokens::list, admin::tokens::create))
        .routes(routes!(admin::tokens::revoke))
        .routes(routes!(admin::routes::list))
        .routes(routes!(admin::stripe::import))
        .routes(routes!(admin::stripe::quarantine))
        .routes(routes!(admin::findings::acknowledge, admin::findings::withdraw))
        .routes(routes!(admin::schedules::list))
        .routes(routes!(admin::schedules::put, admin::schedules::pause, admin::schedules::remove))
}

/// What proves itself by a signature instead of a token.
fn signed_routes() -> Routes {
    OpenApiRouter::new().routes(routes!(webhook::receive))
}

fn open_routes() -> Routes {
    OpenApiRouter::new().routes(routes!(health::healthz)).routes(routes!(health::readyz)).routes(routes!(openapi::openapi))
}

async fn nothing_here(uri: Uri) -> Problem {
    let path = submit::shown(uri.path());
    Problem::not_found(format!("there is nothing at {path}; GET /openapi.json says what there is"))
}

async fn wrong_method() -> Problem {
    Problem::wrong_method()
}
