//! Tenants and their shares.

use std::collections::HashMap;

use super::tx::Tx;
use super::writer::Verb;
use crate::store::stored::damaged;
use crate::store::{Result, TenantShare};

/// Every tenant with what it has, as the writer sees it between two groups.
pub(super) struct Tenants;

impl Verb for Tenants {
    type Answer = Vec<TenantShare>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<TenantShare>> {
        Ok(shares(tx))
    }
}

pub(super) struct SetTenant {
    pub(super) tenant: Option<Box<str>>,
    pub(super) weight: u32,
}

impl Verb for SetTenant {
    type Answer = TenantShare;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<TenantShare> {
        let name = self.tenant.as_deref();
        if name.is_some_and(|name| tx.mirror.tenant_id(name).is_none()) {
            tx.check_new_tenants(1)?;
        }
        let tenant_id = tx.tenant(name)?;
        tx.mirror.shares.set_weight(tenant_id, self.weight);
        tx.execute(
            "UPDATE tenants SET weight = ? WHERE tenant_id = ?",
            [i64::from(tx.mirror.shares.account(tenant_id).weight), tenant_id],
        )?;
        let is_this = |share: &TenantShare| share.tenant.as_ref().map(crate::task::Tenant::as_str) == name;
        shares(tx).into_iter().find(is_this).ok_or_else(|| damaged("the table tenants", "a tenant is missing"))
    }
}

fn shares(tx: &Tx<'_>) -> Vec<TenantShare> {
    let (mut queued, mut running) = (HashMap::<i64, u64>::new(), HashMap::<i64, u64>::new());
    for ((_, tenant_id), waiting) in &tx.mirror.flows {
        *queued.entry(*tenant_id).or_default() += waiting;
    }
    for task in tx.mirror.running.values() {
        *running.entry(task.tenant_id).or_default() += 1;
    }
    let share = |(tenant_id, tenant)| {
        let account = tx.mirror.shares.account(tenant_id);
        let count = |of: &HashMap<i64, u64>| of.get(&tenant_id).copied().unwrap_or_default();
        TenantShare { tenant, weight: account.weight, pass: account.pass, queued: count(&queued), running: count(&running) }
    };
    let mut shares: Vec<TenantShare> = tx.mirror.tenants().map(share).collect();
    shares.sort_unstable_by(|a, b| a.tenant.cmp(&b.tenant));
    shares
}
