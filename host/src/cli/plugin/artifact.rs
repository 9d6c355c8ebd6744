//! Reading an artifact and the manifest that belongs to it.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::plugin::{Manifest, unpack};

/// A plugin's file, read.
pub(super) struct Artifact {
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Option<Manifest>,
    /// Where the manifest came from, for people.
    pub(super) manifest_origin: String,
}

impl Artifact {
    /// Reads the artifact, and its manifest from the file given, or else from inside it.
    pub(super) fn read(path: &Path, manifest: Option<&PathBuf>) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (manifest, manifest_origin) = match manifest {
            Some(file) => (Some(read_manifest(file)?), file.display().to_string()),
            None => {
                let packed = unpack(&bytes).with_context(|| path.display().to_string())?;
                let origin = if packed.is_some() { "inside the artifact" } else { "none" };
                (packed, origin.to_owned())
            }
        };
        Ok(Self { bytes, manifest, manifest_origin })
    }

    /// The plugin's name: its manifest's, or the file's without its ending.
    pub(super) fn name(&self, path: &Path) -> String {
        match &self.manifest {
            Some(manifest) => manifest.name.clone(),
            None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

/// Reads and checks `plugin.toml`.
pub(super) fn read_manifest(path: &Path) -> anyhow::Result<Manifest> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Manifest::parse(&text).with_context(|| path.display().to_string())
}
