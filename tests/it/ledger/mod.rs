//! Getting Stripe's ledger: files, the API's client, the sync, and what becomes of both in the store.

mod checkout;
mod client;
mod host;
mod nightly;
mod published_fixtures;
mod repair;
mod server;
mod store;
mod sync;
mod worked;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use taskwarden::clock::{Clock, SharedClock, Sleep, UnixMs};
use taskwarden::secret::Secret;
use taskwarden::stripe_api::{StripeApi, StripeApiConfig};
use taskwarden::task::RetryPolicy;

use server::StripeServer;

pub(crate) const KEY: &str = "rk_test_0123456789abcdef";

/// A clock on which a wait is over at once and has taken its time; it remembers the waits.
#[derive(Default)]
pub(crate) struct LeapingClock {
    elapsed: Mutex<Duration>,
    pub(crate) waits: Mutex<Vec<Duration>>,
}

/// When it starts.
pub(crate) const START: UnixMs = UnixMs(1_700_000_000_000);

impl Clock for LeapingClock {
    fn now(&self) -> UnixMs {
        START.plus(*self.elapsed.lock())
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.lock()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        *self.elapsed.lock() += duration;
        self.waits.lock().push(duration);
        Box::pin(std::future::ready(()))
    }
}

pub(crate) fn api_config(server: &StripeServer) -> StripeApiConfig {
    StripeApiConfig {
        base_url: server.url(),
        key: Secret::new(KEY).expect("a key"),
        version: "2026-09-30.endive".to_owned(),
        account: None,
        requests_per_second: 20,
        sends_max: 4,
        retry: RetryPolicy { backoff_base: Duration::from_millis(500), backoff_cap: Duration::from_secs(8), lost_max: 0 },
        wait_max: Duration::from_secs(60),
        timeout: Duration::from_secs(30),
        response_bytes_max: 1 << 20,
    }
}

pub(crate) fn api(server: &StripeServer, clock: &Arc<LeapingClock>) -> StripeApi {
    StripeApi::new(api_config(server), Arc::clone(clock) as SharedClock, 7).expect("a client")
}
