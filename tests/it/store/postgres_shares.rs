//! Shares of tenants over several hosts on one Postgres.

use std::collections::HashMap;
use std::time::Duration;

use taskwarden::clock::VirtualClock;
use taskwarden::store::postgres::{PostgresOptions, TimeSource};
use taskwarden::store::{ClaimRequest, Finish, TaskStore as _};
use taskwarden::task::fair::Service;
use taskwarden::task::{NewTask, Priority, Tenant};

use super::postgres::Database;
use super::support::{NOW, at, lane, new_task, succeed};

/// Three hosts of unlike size, and tenants of weight 6:3:1 whose tasks differ a hundredfold in cost.
#[tokio::test]
async fn weights_are_shares_of_what_all_hosts_serve_together() {
    let database = Database::migrated().await;
    let clock = VirtualClock::starting_at(NOW);
    let options = || PostgresOptions { clock: clock.clone(), time: TimeSource::Caller, ..PostgresOptions::default() };
    let stores = futures::future::join_all((0..3).map(|_| database.open(options()))).await;
    let tenants = [("six", 600, 100_000), ("three", 300, 1_000), ("one", 100, 10_000)];
    for (name, weight, _) in tenants {
        stores[0].set_tenant(Some(&Tenant::new(name).unwrap()), weight).await.unwrap();
        let of_tenant = || NewTask { tenant: Some(Tenant::new(name).unwrap()), ..new_task(lane(name, None), Priority::Normal) };
        stores[0].submit((0..if name == "three" { 9_000 } else { 1_500 }).map(|_| of_tenant()).collect(), NOW).await.unwrap();
    }
    let mut had: HashMap<&str, u64> = HashMap::new();
    // Twice, so that the first one too hears that it is not alone.
    for _ in 0..2 {
        for store in &stores {
            store.heartbeat("host", NOW, at(15_000)).await.unwrap();
        }
    }
    for _ in 0..300 {
        for (number, store) in stores.iter().enumerate() {
            let request =
                ClaimRequest { host: "host".into(), now: NOW, max_tasks: u32::try_from(2 << number).unwrap(), urgent_only: false };
            let tasks = store.claim(request).await.unwrap().tasks;
            let mut ends = Vec::new();
            for task in &tasks {
                let (name, _, cost_us) =
                    tenants.into_iter().find(|(name, ..)| task.tenant.as_ref().is_some_and(|tenant| tenant.as_str() == *name)).unwrap();
                *had.entry(name).or_default() += cost_us;
                ends.push(Finish { service: Service::from_micros(cost_us), ..succeed(task, NOW) });
            }
            store.finish(ends).await.unwrap();
        }
        // What the others did is heard about once a second.
        clock.advance(Duration::from_secs(1));
    }
    let all: u64 = had.values().sum();
    for (name, weight, _) in tenants {
        let (share, due) = (had[name] as f64 / all as f64, f64::from(weight) / 1_000.0);
        assert!((share - due).abs() <= 0.05 * due, "{name} had {share:.4} of the service and {due} was due to it: {had:?}");
    }
    for store in stores {
        store.close().await;
    }
    database.drop().await;
}
