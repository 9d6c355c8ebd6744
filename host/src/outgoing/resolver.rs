//! Names to addresses, of which only those of the open internet are let through.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::plugin::is_public;

/// Every address of a name is private.
#[derive(Debug, thiserror::Error)]
#[error("every address of the host is private")]
pub(super) struct Prohibited;

/// The name has no address.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub(super) struct Unresolved;

/// The system's resolver, without private addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => found.collect(),
                Err(_) => return Err(Unresolved.into()),
            };
            let any = !found.is_empty();
            let public: Vec<SocketAddr> = found.into_iter().filter(|address| is_public(address.ip())).collect();
            match public.is_empty() {
                true if any => Err(Prohibited.into()),
                true => Err(Unresolved.into()),
                false => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}
