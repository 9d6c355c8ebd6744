//! Part of the conformance suite: what operators set, and what a store remembers because of it.

use std::sync::Arc;

use taskwarden::clock::UnixMs;
use taskwarden::store::{RetryAnswer, Store};
use taskwarden::task::{Next, Outcome, TaskId, TaskState, TaskType};

use super::support::{NOW, at, claim, finish, simple, submit};

pub(super) async fn settings_plugins_and_tokens(store: Arc<dyn Store>) {
    use taskwarden::limits::{Limit, LimitSet, LimitSetting, RetryPercent};
    use taskwarden::store::{LimitScope, PluginArtifact};
    let limits = LimitSet::default().with(Limit::Fuel, 7).with(Limit::WallMs, 9);
    let set = LimitSetting { limits, retry_percent: RetryPercent::new(150) };
    let scopes = [
        LimitScope::Host,
        LimitScope::TaskType(TaskType::new("echo").unwrap()),
        LimitScope::AiModel(taskwarden::task::AiModel::new("m 1").unwrap()),
        LimitScope::Plugin("echo".to_owned()),
    ];
    for scope in &scopes {
        store.set_limits(scope.clone(), LimitSet::default().with(Limit::Fuel, 1).into(), NOW).await.unwrap();
        store.set_limits(scope.clone(), set.clone(), NOW).await.unwrap();
    }
    let mut settings = store.limit_settings().await.unwrap();
    settings.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(settings, scopes.clone().map(|scope| (scope, set.clone())));
    store.set_limits(LimitScope::Host, LimitSetting::default(), NOW).await.unwrap();
    assert_eq!(store.limit_settings().await.unwrap().len(), 3);
    let only_retry = LimitSetting { limits: LimitSet::default(), retry_percent: RetryPercent::new(101) };
    store.set_limits(LimitScope::Host, only_retry.clone(), NOW).await.unwrap();
    assert!(store.limit_settings().await.unwrap().contains(&(LimitScope::Host, only_retry)));
    store.set_limits(LimitScope::Host, LimitSetting::default(), NOW).await.unwrap();

    let plugin = |version: &str, uploaded_at: UnixMs| PluginArtifact {
        name: "echo".to_owned(),
        version: version.to_owned(),
        digest: [5; 32],
        bytes: bytes::Bytes::from(vec![1; 100_000]),
        uploaded_at,
    };
    store.put_plugin(plugin("1.0.0", NOW)).await.unwrap();
    store.put_plugin(plugin("1.1.0", at(1))).await.unwrap();
    assert_eq!(store.plugins().await.unwrap(), [plugin("1.1.0", at(1))]);
    assert_eq!(store.plugin_digests().await.unwrap(), [("echo".to_owned(), plugin("1.1.0", at(1)).digest)]);
    assert!(store.remove_plugin("echo").await.unwrap());
    assert!(!store.remove_plugin("echo").await.unwrap());
    let token = taskwarden::store::TokenRecord {
        id: TaskId::new().0,
        hash: [1; 32],
        scopes: vec![taskwarden::store::TokenScope::Admin],
        label: "me".to_owned(),
        created_at: NOW,
    };
    store.put_token(token.clone()).await.unwrap();
    assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&token));
    assert!(store.remove_token(token.id).await.unwrap());
    assert!(!store.remove_token(token.id).await.unwrap());
    store.ping().await.unwrap();
}

pub(super) async fn a_retry_with_larger_limits_is_remembered(store: Arc<dyn Store>) {
    let id = submit(&store, vec![simple()]).await[0];
    let claim_one = async |ms: i64| {
        let task = claim(&store, 1, at(ms)).await.tasks.remove(0);
        (task.larger_limits, task)
    };
    let (larger, first) = claim_one(0).await;
    assert!(!larger);
    store.finish(vec![finish(&first, Outcome::OutOfFuel, Next::RetryLarger(at(1)), at(1))]).await.unwrap();
    let (larger, second) = claim_one(1).await;
    assert_eq!((larger, second.attempt), (true, 2));
    // Whatever happens to that attempt, the next has larger limits too.
    store.give_back(vec![second.claim], at(2), at(2)).await.unwrap();
    let (larger, again) = claim_one(2).await;
    assert_eq!((larger, again.attempt), (true, 2));
    store.finish(vec![finish(&again, Outcome::Transient, Next::RetryAt(at(3)), at(3))]).await.unwrap();
    let (larger, third) = claim_one(3).await;
    assert!(larger);
    store.finish(vec![finish(&third, Outcome::OutOfFuel, Next::Final(TaskState::Failed), at(4))]).await.unwrap();
    // Who retries by hand begins anew.
    assert_eq!(store.retry(id, at(5)).await.unwrap(), RetryAnswer::Queued);
    let (larger, by_hand) = claim_one(5).await;
    assert_eq!((larger, by_hand.attempt, by_hand.max_attempts), (false, 4, 6));
}
