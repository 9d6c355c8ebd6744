//! Tenants: who has submitted anything, and the weights that operators gave. Here tasks go by run key whosever they are; weights are
//! kept for the day they count.

use std::collections::HashSet;

use sqlx::Row as _;

use super::Db;
use crate::store::stored::damaged;
use crate::store::{Conflict, Result, StoreError, TenantShare};
use crate::task::Tenant;

/// Held while tenants are made, so that there are never more than the limit.
const LOCK: i64 = 0x7461_736b_7465_6e61;

/// The tenants that are known to be there.
#[derive(Debug, Default)]
pub(super) struct TenantBook(parking_lot::RwLock<HashSet<String>>);

impl Db {
    /// Makes the tenants of these names that are not there; all or none of them.
    pub(super) async fn make_tenants(&self, names: HashSet<&str>) -> Result<()> {
        let new: Vec<&str> = {
            let known = self.tenants.0.read();
            names.into_iter().filter(|name| !known.contains(*name)).collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO taskwarden.tenants (name) SELECT * FROM unnest($1::text[]) ON CONFLICT (name) DO NOTHING")
            .bind(&new)
            .execute(&mut *tx)
            .await?;
        // Nobody in particular is no tenant.
        let count: i64 = sqlx::query_scalar("SELECT count(*) - 1 FROM taskwarden.tenants").fetch_one(&mut *tx).await?;
        let max = self.options.tenants_max;
        if count > i64::from(max) {
            tx.rollback().await?;
            return Err(StoreError::Conflict(Conflict::TooManyTenants { max }));
        }
        self.commit(tx).await?;
        self.tenants.0.write().extend(new.into_iter().map(str::to_owned));
        Ok(())
    }

    pub(super) async fn read_tenants(&self, only: Option<&str>) -> Result<Vec<TenantShare>> {
        let mut tx = self.begin_read().await?;
        let rows = sqlx::query(
            "SELECT n.name, n.weight, coalesce(q.count, 0) AS queued, coalesce(r.count, 0) AS running FROM taskwarden.tenants n \
             LEFT JOIN (SELECT coalesce(t.tenant, '') AS name, count(*) FROM taskwarden.ready JOIN taskwarden.tasks t USING (seq) GROUP BY 1) q \
                 USING (name) \
             LEFT JOIN (SELECT coalesce(t.tenant, '') AS name, count(*) FROM taskwarden.running JOIN taskwarden.tasks t USING (seq) GROUP BY 1) r \
                 USING (name) \
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
                    pass: 0,
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
        sqlx::query("UPDATE taskwarden.tenants SET weight = $2 WHERE name = $1")
            .bind(name)
            .bind(i32::try_from(weight).unwrap_or(i32::MAX))
            .execute(&mut *tx)
            .await?;
        self.commit(tx).await?;
        self.read_tenants(Some(name)).await?.pop().ok_or_else(|| damaged("the table tenants", "a tenant is missing"))
    }
}
