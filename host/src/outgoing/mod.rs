//! Sends the HTTP requests of guests. What may be sent, and how much, is the runtime's to say; here it is connected to the network.
//!
//! * A plugin's connections are its own: nobody else's request goes over one that it has opened, or logged in on.
//! * Names are resolved here, and an address that is not of the open internet is dropped before anything connects to it, unless private
//!   addresses were granted. The address that was looked at is the one that is connected to.
//! * No redirect is followed, no cookie is kept, no proxy of the environment is used, and nothing of the host's is added.

mod resolver;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, OnceLock};

use ::http::{Request, Response};
use async_trait::async_trait;
use http_body::Body as _;
use http_body_util::{BodyDataStream, BodyExt as _};
use parking_lot::Mutex;
use reqwest::redirect;

use crate::plugin::is_public;
use crate::runtime::ports::{HttpBody, HttpError, HttpPort};
use resolver::{Prohibited, PublicOnly};

/// The clients of all plugins, made when they are first asked for.
#[derive(Default)]
pub struct Outgoing {
    by_plugin: Mutex<BTreeMap<String, Arc<Client>>>,
}

impl Outgoing {
    /// What sends a plugin's requests.
    #[must_use]
    pub fn of(&self, plugin: &str) -> Arc<dyn HttpPort> {
        let mut by_plugin = self.by_plugin.lock();
        // The name is copied only for a plugin that was not there before.
        if let Some(client) = by_plugin.get(plugin) {
            return Arc::<Client>::clone(client);
        }
        Arc::<Client>::clone(by_plugin.entry(plugin.to_owned()).or_default())
    }
}

/// Two clients, because which addresses may be connected to is a property of one.
#[derive(Default)]
struct Client {
    public: OnceLock<Option<reqwest::Client>>,
    private: OnceLock<Option<reqwest::Client>>,
}

impl Client {
    fn get(&self, private_addresses: bool) -> Result<&reqwest::Client, HttpError> {
        let (slot, builder) = if private_addresses {
            (&self.private, reqwest::Client::builder())
        } else {
            (&self.public, reqwest::Client::builder().dns_resolver(PublicOnly))
        };
        let client = slot.get_or_init(|| {
            let built = builder.redirect(redirect::Policy::none()).no_proxy().referer(false).build();
            built.inspect_err(|error| tracing::error!(%error, "no HTTP client for a plugin could be made")).ok()
        });
        client.as_ref().ok_or(HttpError::Tls)
    }
}

#[async_trait]
impl HttpPort for Client {
    async fn send(&self, request: Request<HttpBody>, private_addresses: bool) -> Result<Response<HttpBody>, HttpError> {
        let client = self.get(private_addresses)?;
        let request = request.map(|body| {
            // A body of unknown length is announced as one that comes in pieces, even where there is none.
            if body.is_end_stream() { reqwest::Body::default() } else { reqwest::Body::wrap_stream(BodyDataStream::new(body)) }
        });
        let request = reqwest::Request::try_from(request).map_err(|_| HttpError::Denied)?;
        // An address in the place of a name is not resolved, so the resolver cannot refuse it.
        let literal = request.url().host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if literal.is_some_and(|address| !private_addresses && !is_public(address)) {
            return Err(HttpError::AddressProhibited);
        }
        let answer = client.execute(request).await.map_err(|error| meaning(&error))?;
        let (parts, body) = Response::<reqwest::Body>::from(answer).into_parts();
        Ok(Response::from_parts(parts, body.map_err(|error| meaning(&error)).boxed_unsync()))
    }
}

/// What an error means for the guest. What it says of this host's network stays here.
fn meaning(error: &reqwest::Error) -> HttpError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut found = if error.is_connect() { HttpError::Refused } else { HttpError::CutOff };
    while let Some(inner) = cause {
        if inner.is::<Prohibited>() {
            return HttpError::AddressProhibited;
        }
        if let Some(own) = inner.downcast_ref::<HttpError>() {
            return own.clone();
        }
        if inner.is::<resolver::Unresolved>() {
            found = HttpError::UnknownHost;
        }
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::InvalidData
        {
            // How the TLS library's own errors come out of a connection.
            found = HttpError::Tls;
        }
        // An error of the operating system's kind does not name what it wraps as its source, but the source of that.
        cause = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    tracing::debug!(error = %error, meaning = %found, "a plugin's request failed");
    found
}
