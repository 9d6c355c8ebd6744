//! `taskwarden plugin check`: what a host would say of an artifact.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::artifact::Artifact;
use crate::clock::SystemClock;
use crate::limits::{Limit, LimitSet, Limits};
use crate::plugin::{Capability, Manifest};
use crate::runtime::{Inspection, Runtime, RuntimeConfig, inspect};

/// Arguments of `taskwarden plugin check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The plugin
    artifact: PathBuf,
    /// A manifest in place of the one inside the artifact
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Everything that can be said of an artifact.
#[derive(Serialize)]
struct Findings {
    /// Whether a host with default settings would take it.
    accepted: bool,
    /// Why not.
    refusals: Vec<String>,
    /// What works and should still be looked at.
    warnings: Vec<String>,
    manifest_from: String,
    manifest: Option<Manifest>,
    artifact: Inspection,
    /// Capabilities that the code uses.
    capabilities_used: Vec<Capability>,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let artifact = Artifact::read(&args.artifact, args.manifest.as_ref())?;
    let findings = examine(artifact)?;
    if args.json {
        println!("{}", serde_json::to_string(&findings)?);
    } else {
        print(&findings);
    }
    Ok(if findings.accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine(artifact: Artifact) -> anyhow::Result<Findings> {
    let inspection = inspect(&artifact.bytes)?;
    let capabilities_used: Vec<Capability> = Capability::ALL
        .into_iter()
        .filter(|capability| inspection.imports.iter().any(|import| Capability::of_import(import).is_some_and(|(of, _)| of == *capability)))
        .collect();
    let runtime = Runtime::new(RuntimeConfig { concurrent_runs: 1, ..RuntimeConfig::default() }, SystemClock::shared())?;
    let compiled = runtime.compile(&artifact.bytes, artifact.manifest.as_ref(), Limit::ArtifactBytes.default_value());
    let mut refusals: Vec<String> = compiled.err().map(|refusal| refusal.to_string()).into_iter().collect();
    let mut warnings = Vec::new();
    match &artifact.manifest {
        None => warnings.push(
            "it carries no manifest: `plugin run` takes it, a host does not; write plugin.toml and run `taskwarden plugin pack`".to_owned(),
        ),
        Some(manifest) => {
            judge_capabilities(manifest, &capabilities_used, &mut refusals, &mut warnings);
            warnings.extend(above_ceilings(&manifest.limits, &Limits::ceilings()));
        }
    }
    let memory_limit =
        Limits::defaults().overridden_by(&artifact.manifest.as_ref().map(|m| m.limits.clone()).unwrap_or_default()).get(Limit::MemoryBytes);
    let needs: u64 = inspection.memories.iter().map(|memory| memory.initial_bytes).sum();
    if needs > memory_limit {
        refusals.push(format!(
            "it starts with {needs} bytes of memory and memory_bytes allows {memory_limit}: no task could run; ask for more in [limits]"
        ));
    }
    Ok(Findings {
        accepted: refusals.is_empty(),
        refusals,
        warnings,
        manifest_from: artifact.manifest_origin,
        manifest: artifact.manifest,
        artifact: inspection,
        capabilities_used,
    })
}

fn judge_capabilities(manifest: &Manifest, used: &[Capability], refusals: &mut Vec<String>, warnings: &mut Vec<String>) {
    let names = |list: Vec<&Capability>| list.into_iter().map(|c| c.name()).collect::<Vec<_>>().join(", ");
    let missing: Vec<_> = used.iter().filter(|capability| !manifest.capabilities.contains(capability)).collect();
    if !missing.is_empty() {
        refusals.push(format!("the code uses {} and plugin.toml does not ask for it: add it to capabilities", names(missing)));
    }
    let unused: Vec<_> = manifest.capabilities.iter().filter(|capability| !used.contains(capability)).collect();
    if !unused.is_empty() {
        warnings.push(format!("plugin.toml asks for {}, which the code does not use: take it out", names(unused)));
    }
    if !manifest.settings.is_empty() && !used.contains(&Capability::Settings) {
        warnings.push("plugin.toml names settings that the code never reads".to_owned());
    }
}

fn above_ceilings(asked: &LimitSet, ceilings: &Limits) -> Vec<String> {
    let above = asked.0.iter().filter(|(limit, value)| **value > ceilings.get(**limit));
    above
        .map(|(limit, value)| {
            format!("it asks for {limit} {value} and gets {}, unless the operator moves that ceiling", ceilings.get(*limit))
        })
        .collect()
}

fn print(findings: &Findings) {
    let artifact = &findings.artifact;
    match &findings.manifest {
        Some(manifest) => {
            let types: Vec<_> = manifest.task_types.iter().map(ToString::to_string).collect();
            let models: Vec<_> = manifest.ai_models.iter().map(ToString::to_string).collect();
            println!("plugin        {} {}", manifest.name, manifest.version);
            println!("takes         {} for models {}", types.join(", "), models.join(", "));
        }
        None => println!("plugin        no manifest"),
    }
    println!("manifest      {}", findings.manifest_from);
    let kind = if artifact.wrapped_core_module { "core module, wrapped into a component when it is loaded" } else { "component" };
    println!("artifact      {} bytes, {kind}, {} functions", artifact.artifact_bytes, artifact.functions);
    for memory in &artifact.memories {
        let most = memory.maximum_bytes.map_or_else(|| "memory_bytes".to_owned(), |bytes| format!("{bytes} bytes"));
        println!("memory        {} bytes at the start, at most {most}", memory.initial_bytes);
    }
    println!("exports       {}", list(&artifact.exports));
    println!("imports       {}", list(&artifact.imports));
    let used: Vec<_> = findings.capabilities_used.iter().map(|c| c.name().to_owned()).collect();
    println!("capabilities  {}", list(&used));
    let asked = findings.manifest.as_ref().map(|manifest| manifest.limits.clone()).unwrap_or_default();
    let limits: Vec<_> = asked.0.iter().map(|(limit, value)| format!("{limit} {value} (default {})", limit.default_value())).collect();
    println!("limits        {}", if limits.is_empty() { "the defaults".to_owned() } else { limits.join(", ") });
    for warning in &findings.warnings {
        println!("warning       {warning}");
    }
    for refusal in &findings.refusals {
        println!("refused       {refusal}");
    }
    if findings.accepted {
        println!("accepted");
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_too_few_is_refused_and_one_too_many_is_pointed_out() {
        let text = "name = 'x'\nversion = '1.0.0'\ntask_types = ['x']\ncapabilities = ['log', 'journal']\nsettings = ['key']";
        let manifest = Manifest::parse(text).expect("good");
        let (mut refusals, mut warnings) = (Vec::new(), Vec::new());
        judge_capabilities(&manifest, &[Capability::Log, Capability::Inputs], &mut refusals, &mut warnings);
        assert!(refusals.len() == 1 && refusals[0].contains("uses inputs"), "{refusals:?}");
        assert!(warnings.len() == 2 && warnings[0].contains("asks for journal"), "{warnings:?}");
    }

    #[test]
    fn limits_beyond_the_ceiling_are_pointed_out() {
        let asked = LimitSet::default().with(Limit::Fuel, u64::MAX).with(Limit::WallMs, 1);
        let said = above_ceilings(&asked, &Limits::ceilings());
        assert!(said.len() == 1 && said[0].contains("fuel"), "{said:?}");
    }
}
