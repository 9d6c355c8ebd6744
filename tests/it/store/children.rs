//! What a task submits enters the queue with its success, or not at all.

use std::sync::Arc;

use taskwarden::store::{Conflict, Finish, Finished, Store};
use taskwarden::task::{NewTask, Next, Outcome, TaskState};

use super::support::{at, claim, finish, keyed, simple, submit, succeed};

pub(crate) async fn children_come_with_the_success_of_their_parent_or_not_at_all(store: Arc<dyn Store>) {
    let tasks: Vec<NewTask> = (0..4).map(|_| simple()).collect();
    submit(&store, tasks).await;
    let claimed = claim(&store, 4, at(1)).await.tasks;
    let child = |key: &str| keyed(key, 1, Some("acme"));
    let (good, late, failed, clash, neighbour) = (child("p/1"), child("p/2"), child("p/3"), keyed("p/1", 9, Some("acme")), child("p/4"));

    let first = Finish { children: vec![good.clone()], ..succeed(&claimed[0], at(2)) };
    assert_eq!(store.finish(vec![first.clone()]).await.unwrap(), [Finished::Recorded]);
    // A second end of the same claim, a failure, one whose child contradicts what is there, and one beside it that must not suffer.
    let answers = store
        .finish(vec![
            Finish { children: vec![late.clone()], ..first },
            Finish { children: vec![failed.clone()], ..finish(&claimed[1], Outcome::Permanent, Next::Final(TaskState::Failed), at(3)) },
            Finish { children: vec![clash.clone()], ..succeed(&claimed[2], at(3)) },
            Finish { children: vec![neighbour.clone()], ..succeed(&claimed[3], at(3)) },
        ])
        .await
        .unwrap();
    let refusal = Conflict::Idempotency { index: 0, existing: good.id };
    assert_eq!(answers, [Finished::Stale, Finished::Recorded, Finished::Refused(refusal), Finished::Recorded]);
    for absent in [&late, &failed, &clash] {
        assert!(store.task(absent.id).await.unwrap().is_none());
    }
    let unfinished = store.task(claimed[2].id).await.unwrap().expect("there");
    assert_eq!(unfinished.state, TaskState::Running, "a refused end leaves its claim held");
    let found: Vec<_> = claim(&store, 9, at(4)).await.tasks.into_iter().map(|task| task.id).collect();
    assert_eq!(found, [good.id, neighbour.id]);
}
