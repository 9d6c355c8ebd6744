//! Tenants: who has submitted anything, and the weights that operators gave.

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;

use super::Db;
use super::sql;
use crate::store::stored::damaged;
use crate::store::{Conflict, Result, StoreError, TenantShare};
use crate::task::Tenant;

/// Held while tenants are made, so that there are never more than the limit.
const LOCK: i64 = 0x7461_736b_7465_6e61;

/// The numbers of tenants, as far as this host has had to do with them.
#[derive(Debug, Default)]
pub(super) struct TenantBook(parking_lot::RwLock<HashMap<String, i32>>);

impl TenantBook {
    /// The number of a tenant that was made before; nobody in particular has one too.
    pub(super) fn id(&self, tenant: Option<&Tenant>) -> Option<i32> {
        match tenant {
            None => Some(0),
            Some(tenant) => self.0.read().get(tenant.as_str()).copied(),
        }
    }
}

impl Db {
    /// Makes the tenants of these names that are not there; all or none of them.
    pub(super) async fn make_tenants(&self, names: HashSet<&str>) -> Result<()> {
        let new: Vec<&str> = {
            let known = self.tenants.0.read();
            names.into_iter().filter(|name| !known.contains_key(*name)).collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sql::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
        sql::query("INSERT INTO taskwarden.tenants (name) SELECT * FROM unnest($1::text[]) ON CONFLICT (name) DO NOTHING")
            .bind(&new)
            .execute(&mut *tx)
            .await?;
        // Nobody in particular is no tenant.
        let count: i64 = sql::query_scalar("SELECT count(*) - 1 FROM taskwarden.tenants").fetch_one(&mut *tx).await?;
        let max = self.options.tenants_max;
        if count > i64::from(max) {
            tx.rollback().await?;
            return Err(StoreError::Conflict(Conflict::TooManyTenants { max }));
        }
        let made: Vec<(String, i32)> =
            sql::query_as("SELECT name, tenant_id FROM taskwarden.tenants WHERE name = ANY($1)").bind(&new).fetch_all(&mut *tx).await?;
        self.commit(tx).await?;
        self.tenants.0.write().extend(made);
        Ok(())
    }

    pub(super) async fn read_tenants(&self, only: Option<&str>) -> Result<Vec<TenantShare>> {
        let mut tx = self.begin_read().await?;
        let rows = sql::query(
            "SELECT n.tenant_id, n.name, n.weight, coalesce(q.count, 0) AS queued, coalesce(r.count, 0) AS running FROM taskwarden.tenants n \
             LEFT JOIN (SELECT tenant_id, count(*) FROM taskwarden.ready GROUP BY 1) q USING (tenant_id) \
             LEFT JOIN (SELECT tenant_id, count(*) FROM taskwarden.running GROUP BY 1) r USING (tenant_id) \
             WHERE $1::text IS NULL OR n.name = $1 ORDER BY n.name",
        )
        .bind(only)
        .fetch_all(&mut *tx)
        .await?;
        rows.iter()
            .map(|row| {
                let count = |name: &str| row.try_get::<i64, _>(name).map(|count| u64::try_from(count).unwrap_or_default());
                Ok(TenantShare {
                    tenant: Tenant::new(row.try_get("name")?).ok(),
                    weight: u32::try_from(row.try_get::<i32, _>("weight")?).unwrap_or_default(),
                    pass: self.accounts.account(row.try_get("tenant_id")?).pass,
                    queued: count("queued")?,
                    running: count("running")?,
                })
            })
            .collect()
    }

    pub(super) async fn change_tenant(&self, tenant: Option<&Tenant>, weight: u32) -> Result<TenantShare> {
        let name = tenant.map_or("", Tenant::as_str);
        if !name.is_empty() {
            self.make_tenants(HashSet::from([name])).await?;
        }
        let mut tx = self.begin().await?;
        sql::query("UPDATE taskwarden.tenants SET weight = $2 WHERE name = $1")
            .bind(name)
            .bind(i32::try_from(weight).unwrap_or(i32::MAX))
            .execute(&mut *tx)
            .await?;
        self.read_shares(&mut tx).await?;
        self.commit(tx).await?;
        self.notices.lanes_changed();
        self.read_tenants(Some(name)).await?.pop().ok_or_else(|| damaged("the table tenants", "a tenant is missing"))
    }
}
