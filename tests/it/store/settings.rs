//! Part of the conformance suite: what operators set.

use std::sync::Arc;

use taskwarden::clock::UnixMs;
use taskwarden::store::Store;
use taskwarden::task::{TaskId, TaskType};

use super::support::{NOW, at};

pub(super) async fn settings_plugins_and_tokens(store: Arc<dyn Store>) {
    use taskwarden::limits::{Limit, LimitSet};
    use taskwarden::store::{LimitScope, PluginArtifact};
    let set = LimitSet::default().with(Limit::Fuel, 7).with(Limit::WallMs, 9);
    let scopes = [
        LimitScope::Host,
        LimitScope::TaskType(TaskType::new("echo").unwrap()),
        LimitScope::AiModel(taskwarden::task::AiModel::new("m 1").unwrap()),
        LimitScope::Plugin("echo".to_owned()),
    ];
    for scope in &scopes {
        store.set_limits(scope.clone(), LimitSet::default().with(Limit::Fuel, 1), NOW).await.unwrap();
        store.set_limits(scope.clone(), set.clone(), NOW).await.unwrap();
    }
    let mut settings = store.limit_settings().await.unwrap();
    settings.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(settings, scopes.clone().map(|scope| (scope, set.clone())));
    store.set_limits(LimitScope::Host, LimitSet::default(), NOW).await.unwrap();
    assert_eq!(store.limit_settings().await.unwrap().len(), 3);

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
