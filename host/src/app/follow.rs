//! Where several hosts share a database, what an operator sets through one of them is followed by the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::plugins::{LoadError, Plugins};
use crate::builtin::built_in;
use crate::limits::LimitSetting;
use crate::store::LimitScope;

/// Between two looks at what other hosts may have set.
const PAUSE: Duration = Duration::from_secs(2);

/// Name and digest of every uploaded plugin.
type Digests = BTreeMap<String, [u8; 32]>;

/// Follows until `stopped`.
pub(super) async fn run(plugins: Arc<Plugins>, stopped: CancellationToken) {
    let mut seen = None;
    loop {
        tokio::select! {
            () = stopped.cancelled() => return,
            () = plugins.clock.sleep(PAUSE) => {}
        }
        let followed = async {
            plugins.follow_limits().await?;
            plugins.follow_uploads(&mut seen).await
        };
        tokio::select! {
            () = stopped.cancelled() => return,
            followed = followed => if let Err(error) = followed {
                tracing::warn!(%error, "could not look for what was set through other hosts");
            },
        }
    }
}

impl Plugins {
    async fn follow_limits(&self) -> Result<(), LoadError> {
        let before = self.registry.snapshot();
        let wanted: BTreeMap<LimitScope, LimitSetting> = self.store.limit_settings().await?.into_iter().collect();
        // Somebody has set something here meanwhile, and what was read may be older than that. The next look sees it all.
        if !Arc::ptr_eq(&before, &self.registry.snapshot()) {
            return Ok(());
        }
        let present = before.limit_settings();
        for scope in present.keys().filter(|scope| !wanted.contains_key(scope)) {
            self.registry.set_limits(scope.clone(), LimitSetting::default())?;
        }
        for (scope, limits) in wanted.iter().filter(|(scope, limits)| present.get(scope) != Some(limits)) {
            tracing::info!(?scope, "limits were set through another host");
            self.registry.set_limits(scope.clone(), limits.clone())?;
        }
        Ok(())
    }

    /// `seen` is what the last look saw: what could not be loaded then is tried again when anything has changed.
    async fn follow_uploads(&self, seen: &mut Option<Digests>) -> Result<(), LoadError> {
        let _one_at_a_time = self.changing.lock().await;
        let wanted: Digests = self.store.plugin_digests().await?.into_iter().collect();
        if seen.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let present = self.registry.snapshot();
        // Those that go first: one that comes may take their tasks.
        for plugin in present.plugins().filter(|plugin| !plugin.built_in && !wanted.contains_key(&plugin.manifest.name)) {
            let name = &plugin.manifest.name;
            tracing::info!(plugin = name, "a plugin was removed through another host");
            match built_in().iter().find(|(built_in, _)| built_in == name) {
                Some((_, bytes)) => self.registry.insert(self.compile(Bytes::from_static(bytes), true).await?.0)?,
                None => {
                    self.registry.remove(name)?;
                }
            }
        }
        let same = |name: &str, digest: &[u8; 32]| present.plugin(name).is_some_and(|plugin| plugin.digest_hex == hex::encode(digest));
        if wanted.iter().any(|(name, digest)| !same(name, digest)) {
            for artifact in self.store.plugins().await?.into_iter().filter(|artifact| !same(&artifact.name, &artifact.digest)) {
                let loaded = match self.compile(artifact.bytes, false).await {
                    Ok((plugin, _)) => self.registry.insert(plugin).map_err(LoadError::from),
                    Err(error) => Err(error),
                };
                match loaded {
                    Ok(()) => {
                        tracing::info!(plugin = artifact.name, version = artifact.version, "a plugin was uploaded through another host")
                    }
                    Err(error) => {
                        tracing::error!(plugin = artifact.name, %error, "a plugin that was uploaded through another host could not be loaded")
                    }
                }
            }
        }
        *seen = Some(wanted);
        Ok(())
    }
}
