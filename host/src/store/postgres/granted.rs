//! Which claims this process was given and has not ended. Asking the database for just these costs the same whatever else is there.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::store::Claim;

#[derive(Debug, Default)]
pub(super) struct Granted {
    /// With the number of the host that holds it.
    claims: Mutex<HashMap<Claim, i32>>,
    hosts: Mutex<HashMap<String, i32>>,
}

impl Granted {
    pub(super) fn add(&self, host_id: i32, claims: impl IntoIterator<Item = Claim>) {
        self.claims.lock().extend(claims.into_iter().map(|claim| (claim, host_id)));
    }

    pub(super) fn remove(&self, claims: impl IntoIterator<Item = Claim>) {
        let mut granted = self.claims.lock();
        for claim in claims {
            granted.remove(&claim);
        }
    }

    pub(super) fn contains(&self, claim: Claim) -> bool {
        self.claims.lock().contains_key(&claim)
    }

    /// In order.
    pub(super) fn of(&self, host_id: i32) -> Vec<Claim> {
        let mut claims: Vec<Claim> = self.claims.lock().iter().filter(|(_, host)| **host == host_id).map(|(claim, _)| *claim).collect();
        claims.sort_unstable();
        claims
    }

    pub(super) fn host_id(&self, name: &str) -> Option<i32> {
        self.hosts.lock().get(name).copied()
    }

    pub(super) fn host_ids(&self) -> Vec<i32> {
        self.hosts.lock().values().copied().collect()
    }

    pub(super) fn set_host(&self, name: &str, host_id: Option<i32>) {
        match host_id {
            Some(host_id) => self.hosts.lock().insert(name.to_owned(), host_id),
            None => self.hosts.lock().remove(name),
        };
    }
}
