//! The host's own binary, with the plugins inside.

use std::path::{Path, PathBuf};

use crate::process;
use crate::workspace::Workspace;

/// How the host is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As the tests are, so that they share what is compiled.
    Dev,
    /// For use.
    Release,
}

/// Builds `taskwarden` with the components of a folder inside, and answers where it is.
pub(crate) fn build(workspace: &Workspace, components: &Path, profile: Profile) -> anyhow::Result<PathBuf> {
    let mut command = workspace.cargo();
    // `--workspace`, so that dependencies have the features that the tests compile them with, and are not compiled twice.
    command.args(["build", "--workspace", "--bin", "taskwarden"]).env("TASKWARDEN_EMBED_DIR", components);
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    eprintln!("xtask: building the host ({folder})");
    process::run(&mut command)?;
    Ok(workspace.target.join(folder).join(format!("taskwarden{}", std::env::consts::EXE_SUFFIX)))
}
