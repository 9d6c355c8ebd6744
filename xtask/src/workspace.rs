//! Where things are: asked of cargo, so that its configuration decides.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::process;

/// The workspace this program belongs to.
pub(crate) struct Workspace {
    /// The folder with the top `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// The target folder, as cargo decides it.
    pub(crate) target: PathBuf,
    metadata: Value,
}

/// A crate that is built for WebAssembly.
pub(crate) struct Guest {
    /// The name of its folder, and of the `.wasm` made from it.
    pub(crate) name: String,
    /// Its package.
    pub(crate) package: String,
    /// What cargo calls the module.
    pub(crate) module_file: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> anyhow::Result<Self> {
        // As cargo says now, not as it said when this was compiled: checkouts may share a target folder.
        let here = process::env("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let manifest = Path::new(&here).join("../Cargo.toml");
        let mut command = process::cargo();
        command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
        let metadata: Value = serde_json::from_str(&process::output(&mut command)?).context("cargo metadata printed no JSON")?;
        let folder = |key: &str| {
            metadata.get(key).and_then(Value::as_str).map(PathBuf::from).with_context(|| format!("cargo metadata printed no {key}"))
        };
        Ok(Self { root: folder("workspace_root")?, target: folder("target_directory")?, metadata })
    }

    /// Plugins and test guests: every crate under `plugins` and `tests/guests` that makes a `cdylib`, by name.
    pub(crate) fn guests(&self) -> anyhow::Result<Vec<Guest>> {
        let homes = [self.root.join("plugins"), self.root.join("tests/guests")];
        let packages = self.metadata.get("packages").and_then(Value::as_array).context("cargo metadata printed no packages")?;
        let mut guests = Vec::new();
        for package in packages {
            let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
            let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
            let Some(folder) = text(package, "manifest_path").and_then(|path| Some(PathBuf::from(path).parent()?.to_owned())) else {
                continue;
            };
            let is_home = folder.parent().is_some_and(|parent| homes.iter().any(|home| home == parent));
            let module =
                list(package, "targets").into_iter().find(|target| list(target, "crate_types").iter().any(|kind| kind == "cdylib"));
            if let (true, Some(module)) = (is_home, module) {
                guests.push(Guest {
                    name: folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                    package: text(package, "name").context("a package has no name")?,
                    module_file: format!("{}.wasm", text(&module, "name").context("a target has no name")?.replace('-', "_")),
                    folder,
                });
            }
        }
        guests.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(guests)
    }

    /// A cargo command in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = process::cargo();
        command.current_dir(&self.root);
        command
    }

    /// Where the built components are.
    pub(crate) fn wasm(&self) -> PathBuf {
        self.target.join("wasm")
    }
}
