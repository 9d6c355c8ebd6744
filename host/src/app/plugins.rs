//! From an artifact to a plugin in the registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::builtin::built_in;
use crate::clock::SharedClock;
use crate::config::PluginGrants;
use crate::http::{PluginAdmin, PluginChangeError};
use crate::limits::{Limit, Limits};
use crate::plugin::{Capability, Manifest, PackError, unpack};
use crate::registry::{Code, Plugin, Registry, RouteTie};
use crate::runtime::{Compiled, DirectoryGrant, Grants, HttpGrant, Refusal, Runtime};
use crate::store::{LimitScope, PluginArtifact, Store, StoreError};
use crate::task::NativeTask;

/// Why an artifact did not become a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The artifact cannot be read, or its manifest is wrong.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// There is no manifest inside.
    #[error("the artifact carries no manifest; put one in with `taskwarden plugin pack PLUGIN.wasm --manifest plugin.toml`")]
    NoManifest,
    /// The runtime does not take it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It wants the same tasks as another plugin.
    #[error(transparent)]
    Tie(#[from] RouteTie),
    /// It came with the host and cannot be removed; it can be replaced by uploading one of the same name.
    #[error("{0} came with the host; upload a plugin of the same name to replace it")]
    BuiltIn(String),
    /// The host runs tasks of its own under this name.
    #[error("{0} is the host's own; give the plugin another name")]
    Reserved(String),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The compiler's thread died.
    #[error("compiling failed unexpectedly")]
    Broken,
}

/// Loads, installs and removes plugins.
pub struct Plugins {
    pub(super) runtime: Arc<Runtime>,
    pub(super) registry: Arc<Registry>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: SharedClock,
    pub(super) grants: BTreeMap<String, PluginGrants>,
    pub(super) ceilings: Limits,
    /// One change at a time, so that registry and store agree.
    pub(super) changing: tokio::sync::Mutex<()>,
}

impl Plugins {
    /// Takes in what the host runs itself; before [`Plugins::load_all`], so that no plugin can be there first.
    ///
    /// # Errors
    /// When two of them want the same task type.
    pub fn add_native(&self, tasks: Vec<Arc<dyn NativeTask>>) -> anyhow::Result<()> {
        for task in tasks {
            self.registry.insert(Plugin::native(task)?)?;
        }
        Ok(())
    }

    /// Loads limit settings, the plugins that came with the host, and the uploaded ones, which replace those of the same name.
    ///
    /// # Errors
    /// When the store does not answer or two plugins tie. An uploaded plugin that no longer compiles is logged and left out:
    /// the host must come up for the others.
    pub async fn load_all(&self) -> Result<(), LoadError> {
        for (scope, limits) in self.store.limit_settings().await? {
            self.registry.set_limits(scope, limits)?;
        }
        let uploaded = self.store.plugins().await?;
        for (name, bytes) in built_in() {
            if uploaded.iter().all(|artifact| artifact.name != *name) {
                let (plugin, _) = self.compile(Bytes::from_static(bytes), true).await?;
                self.registry.insert(plugin)?;
            }
        }
        for artifact in uploaded {
            let loaded = match self.compile(artifact.bytes, false).await {
                Ok((plugin, _)) => self.registry.insert(plugin).map_err(LoadError::from),
                Err(error) => Err(error),
            };
            if let Err(error) = loaded {
                tracing::error!(plugin = artifact.name, %error, "an uploaded plugin could not be loaded and is left out");
            }
        }
        let names: Vec<_> = self.registry.snapshot().plugins().map(|plugin| plugin.manifest.name.clone()).collect();
        tracing::info!(plugins = names.join(", "), "plugins loaded");
        Ok(())
    }

    /// Makes an artifact a plugin, here and for every later start. What runs goes on with what it started with.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub async fn install(&self, bytes: Bytes) -> Result<Arc<Plugin>, LoadError> {
        let _one_at_a_time = self.changing.lock().await;
        let (plugin, compiled) = self.compile(bytes.clone(), false).await?;
        let artifact = PluginArtifact {
            name: plugin.manifest.name.clone(),
            version: plugin.manifest.version.to_string(),
            digest: compiled.digest(),
            bytes,
            uploaded_at: self.clock.now(),
        };
        let name = artifact.name.clone();
        let before = self.registry.snapshot();
        self.registry.insert(plugin)?;
        if let Err(error) = self.store.put_plugin(artifact).await {
            self.registry.restore(&name, &before)?;
            return Err(error.into());
        }
        self.registry.snapshot().plugin(&name).cloned().ok_or(LoadError::Broken)
    }

    /// Removes an uploaded plugin; where one of the same name came with the host, that one is back. Whether there was one.
    ///
    /// # Errors
    /// When it is built in, or the store does not answer.
    pub async fn remove(&self, name: &str) -> Result<bool, LoadError> {
        let _one_at_a_time = self.changing.lock().await;
        match self.registry.snapshot().plugin(name) {
            None => return Ok(false),
            Some(plugin) if plugin.built_in => return Err(LoadError::BuiltIn(name.to_owned())),
            Some(_) => {}
        }
        self.store.remove_plugin(name).await?;
        match built_in().iter().find(|(built_in, _)| *built_in == name) {
            Some((_, bytes)) => self.registry.insert(self.compile(Bytes::from_static(bytes), true).await?.0)?,
            None => {
                self.registry.remove(name)?;
            }
        }
        Ok(true)
    }

    pub(super) async fn compile(&self, bytes: Bytes, built_in: bool) -> Result<(Plugin, Compiled), LoadError> {
        let settings = self.registry.snapshot();
        let host_says = settings.limit_settings().get(&LimitScope::Host).and_then(|host| host.limits.get(Limit::ArtifactBytes));
        let bytes_max = host_says.unwrap_or_else(|| Limit::ArtifactBytes.default_value()).min(self.ceilings.get(Limit::ArtifactBytes));
        if bytes.len() as u64 > bytes_max {
            return Err(Refusal::TooLarge { bytes: bytes.len() as u64, max: bytes_max }.into());
        }
        let manifest = unpack(&bytes)?.ok_or(LoadError::NoManifest)?;
        if settings.plugin(&manifest.name).is_some_and(|holder| holder.is_native()) {
            return Err(LoadError::Reserved(manifest.name));
        }
        let (runtime, artifact, asked) = (Arc::clone(&self.runtime), bytes.clone(), manifest.clone());
        let compiled = tokio::task::spawn_blocking(move || runtime.compile(&artifact, Some(&asked), bytes_max))
            .await
            .map_err(|_| LoadError::Broken)??;
        let grants = Arc::new(self.granted(&manifest));
        let digest_hex = hex::encode(compiled.digest());
        let code = Code::Component(compiled.clone());
        Ok((Plugin { manifest, code, digest_hex, artifact_bytes: bytes.len() as u64, grants, built_in }, compiled))
    }

    /// What the operator's configuration grants: of the settings, only the names that the manifest asks for; the rest only to those that
    /// ask for the capability.
    fn granted(&self, manifest: &Manifest) -> Grants {
        let Some(configured) = self.grants.get(&manifest.name) else { return Grants::default() };
        let asks = |capability| manifest.capabilities.contains(&capability);
        let settings = configured.settings.iter().filter(|(name, _)| manifest.settings.contains(name));
        let directories = configured.directories.iter().map(|directory| DirectoryGrant {
            host_path: directory.host_path.clone(),
            guest_path: directory.guest_path.clone(),
            writable: directory.writable,
        });
        let http = configured.http.iter().filter(|_| asks(Capability::Http));
        Grants {
            settings: settings.map(|(name, value)| (name.clone(), value.clone())).collect(),
            directories: directories.collect(),
            http: http.map(|http| HttpGrant { origin: http.origin.clone(), private_addresses: http.private_addresses }).collect(),
            child_task_types: configured.child_task_types.iter().filter(|_| asks(Capability::Tasks)).cloned().collect(),
        }
    }
}

#[async_trait]
impl PluginAdmin for Plugins {
    async fn install(&self, artifact: Bytes) -> Result<Arc<Plugin>, PluginChangeError> {
        Ok(Self::install(self, artifact).await?)
    }

    async fn remove(&self, name: &str) -> Result<bool, PluginChangeError> {
        Ok(Self::remove(self, name).await?)
    }
}

impl From<LoadError> for PluginChangeError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Tie(tie) => Self::RouteTie(tie.to_string()),
            LoadError::BuiltIn(name) => Self::BuiltIn(name),
            LoadError::Store(error) => Self::Store(error),
            refused => Self::Refused(refused.to_string()),
        }
    }
}
