//! `taskwarden plugin pack`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::artifact::read_manifest;
use crate::plugin;

/// Arguments of `taskwarden plugin pack`.
#[derive(Debug, Args)]
pub(super) struct PackArgs {
    /// The compiled plugin: a component, or a core module with its component type
    artifact: PathBuf,
    /// The manifest
    #[arg(long, value_name = "FILE", default_value = "plugin.toml")]
    manifest: PathBuf,
    /// Where to write the packed plugin [default: over the artifact]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PackArgs) -> anyhow::Result<ExitCode> {
    let manifest = read_manifest(&args.manifest)?;
    let wasm = std::fs::read(&args.artifact).with_context(|| format!("cannot read {}", args.artifact.display()))?;
    let packed = plugin::pack(&wasm, &manifest).with_context(|| args.artifact.display().to_string())?;
    let output = args.output.as_ref().unwrap_or(&args.artifact);
    std::fs::write(output, &packed).with_context(|| format!("cannot write {}", output.display()))?;
    if args.json {
        let done = serde_json::json!({"file": output, "bytes": packed.len(), "name": manifest.name, "version": manifest.version});
        println!("{done}");
    } else {
        println!("{} {} packed into {} ({} bytes)", manifest.name, manifest.version, output.display(), packed.len());
    }
    Ok(ExitCode::SUCCESS)
}
