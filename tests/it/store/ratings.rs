//! What people thought of tasks' results, on every backend.

use std::sync::Arc;
use std::time::Duration;

use taskwarden::clock::UnixMs;
use taskwarden::store::{RateAnswer, Rated, RatingStats, Store};
use taskwarden::task::{Outcome, Priority, Rating, TaskId, TaskState};

use super::support::{NOW, at, claim, lane, new_task, succeed};

conformance!(a_task_is_rated_once_it_has_ended, ratings_are_summed_by_time_lane_and_version, old_ratings_are_pruned);

const HOUR: Duration = Duration::from_secs(3_600);

fn stars(rating: u8) -> Rating {
    Rating::new(rating).unwrap()
}

/// A task of a model by a version that has succeeded.
async fn ended(store: &Arc<dyn Store>, model: Option<&str>, version: &str) -> TaskId {
    let id = store.submit(vec![new_task(lane("echo", model), Priority::Normal)], NOW).await.unwrap()[0].id;
    let task = claim(store, 1, NOW).await.tasks.remove(0);
    let mut done = succeed(&task, NOW);
    done.receipt.plugin_version = version.to_owned();
    store.finish(vec![done]).await.unwrap();
    id
}

async fn a_task_is_rated_once_it_has_ended(store: Arc<dyn Store>) {
    store.heartbeat("host-a", NOW, NOW.plus(HOUR)).await.unwrap();
    assert_eq!(store.rate(TaskId::new(), stars(5), NOW).await.unwrap(), RateAnswer::NotFound);
    let waiting = store.submit(vec![new_task(lane("echo", None), Priority::Normal)], NOW).await.unwrap()[0].id;
    assert_eq!(store.rate(waiting, stars(5), NOW).await.unwrap(), RateAnswer::NotEnded(TaskState::Queued));
    store.cancel(waiting, NOW).await.unwrap();
    assert_eq!(store.rate(waiting, stars(1), NOW).await.unwrap(), RateAnswer::Kept(Rated { rating: stars(1), at: NOW }), "it never ran");

    let id = ended(&store, None, "1.0.0").await;
    assert_eq!(store.task(id).await.unwrap().unwrap().outcome, Some(Outcome::Succeeded));
    assert_eq!(store.rating(id).await.unwrap(), None);
    for (rating, now, kept) in [(4, 10, (4, 10)), (4, 20, (4, 10)), (2, 30, (2, 30))] {
        let kept = Rated { rating: stars(kept.0), at: at(kept.1) };
        assert_eq!(store.rate(id, stars(rating), at(now)).await.unwrap(), RateAnswer::Kept(kept));
        assert_eq!(store.rating(id).await.unwrap(), Some(kept));
    }
}

async fn ratings_are_summed_by_time_lane_and_version(store: Arc<dyn Store>) {
    store.heartbeat("host-a", NOW, NOW.plus(HOUR)).await.unwrap();
    let from = UnixMs(NOW.0.div_euclid(3_600_000) * 3_600_000);
    for (model, version, rating, hour) in
        [(None, "1.0.0", 5, 0), (None, "1.0.0", 4, 0), (None, "1.0.0", 3, 0), (None, "2.0.0", 1, 0), (Some("m"), "1.0.0", 5, 2)]
    {
        let id = ended(&store, model, version).await;
        store.rate(id, stars(rating), from.plus(HOUR * hour)).await.unwrap();
    }
    let row = |hour: u32, model: Option<&str>, version: &str, ratings: u64, satisfied: u64| RatingStats {
        from: from.plus(HOUR * hour),
        lane: lane("echo", model),
        plugin: "echo".to_owned(),
        plugin_version: version.to_owned(),
        ratings,
        satisfied,
    };
    let all = vec![row(0, None, "1.0.0", 3, 2), row(0, None, "2.0.0", 1, 0), row(2, Some("m"), "1.0.0", 1, 1)];
    assert_eq!(store.rating_stats(from, from.plus(3 * HOUR), HOUR, 10).await.unwrap(), (all.clone(), false));
    assert_eq!(store.rating_stats(from, from.plus(2 * HOUR), HOUR, 10).await.unwrap(), (all[..2].to_vec(), false));
    assert_eq!(store.rating_stats(from, from.plus(3 * HOUR), HOUR, 1).await.unwrap(), (all[2..].to_vec(), true), "the latest");
}

async fn old_ratings_are_pruned(store: Arc<dyn Store>) {
    store.heartbeat("host-a", NOW, NOW.plus(HOUR)).await.unwrap();
    let mut ids = Vec::new();
    for ms in 0..4 {
        let id = ended(&store, None, "1.0.0").await;
        store.rate(id, stars(5), at(ms)).await.unwrap();
        ids.push(id);
    }
    assert_eq!(store.prune_ratings(at(3), 2).await.unwrap(), 2);
    assert_eq!(store.prune_ratings(at(3), 10).await.unwrap(), 1);
    assert!(store.rating(ids[2]).await.unwrap().is_none() && store.rating(ids[3]).await.unwrap().is_some());
}
