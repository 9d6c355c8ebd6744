//! `taskwarden plugin new`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::plugin::Manifest;

/// Arguments of `taskwarden plugin new`.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The plugin's name: lower-case letters, digits and '-'
    name: String,
    /// Where to make the folder [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Depend on the SDK in this folder instead of putting a copy of it into the new one
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
    /// Print the files that were made as JSON
    #[arg(long)]
    json: bool,
}

/// What is made, by its path in the new folder.
const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../../templates/plugin/Cargo.toml.template")),
    ("plugin.toml", include_str!("../../../templates/plugin/plugin.toml.template")),
    ("src/lib.rs", include_str!("../../../templates/plugin/lib.rs.template")),
    ("README.md", include_str!("../../../templates/plugin/README.md.template")),
    (".gitignore", include_str!("../../../templates/plugin/gitignore.template")),
];

/// The SDK's text travels in this binary, so that what it makes builds anywhere and fits this host. The host's code does not use it.
const SDK: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../../templates/plugin/sdk-Cargo.toml.template")),
    ("src/bindings.rs", include_str!("../../../../plugins/sdk/src/bindings.rs")),
    ("src/double.rs", include_str!("../../../../plugins/sdk/src/double.rs")),
    ("src/failure.rs", include_str!("../../../../plugins/sdk/src/failure.rs")),
    ("src/host.rs", include_str!("../../../../plugins/sdk/src/host.rs")),
    ("src/http.rs", include_str!("../../../../plugins/sdk/src/http.rs")),
    ("src/journal.rs", include_str!("../../../../plugins/sdk/src/journal.rs")),
    ("src/lib.rs", include_str!("../../../../plugins/sdk/src/lib.rs")),
    ("src/log.rs", include_str!("../../../../plugins/sdk/src/log.rs")),
    ("src/plugin.rs", include_str!("../../../../plugins/sdk/src/plugin.rs")),
    ("src/streams.rs", include_str!("../../../../plugins/sdk/src/streams.rs")),
    ("src/tasks.rs", include_str!("../../../../plugins/sdk/src/tasks.rs")),
    ("wit/inputs.wit", include_str!("../../../../wit/inputs.wit")),
    ("wit/journal.wit", include_str!("../../../../wit/journal.wit")),
    ("wit/log.wit", include_str!("../../../../wit/log.wit")),
    ("wit/outputs.wit", include_str!("../../../../wit/outputs.wit")),
    ("wit/progress.wit", include_str!("../../../../wit/progress.wit")),
    ("wit/settings.wit", include_str!("../../../../wit/settings.wit")),
    ("wit/tasks.wit", include_str!("../../../../wit/tasks.wit")),
    ("wit/types.wit", include_str!("../../../../wit/types.wit")),
    ("wit/world.wit", include_str!("../../../../wit/world.wit")),
];

pub(super) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let sdk = args.sdk.as_deref().map(existing_sdk).transpose()?;
    let files = render(&args.name, sdk.as_deref())?;
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is there already and not empty; choose another --path", folder.display());
    }
    for (path, text) in &files {
        write(&folder.join(path), text)?;
    }
    if args.json {
        let paths: Vec<_> = files.iter().map(|(path, _)| path).collect();
        println!("{}", serde_json::json!({"folder": folder, "files": paths}));
    } else {
        println!("{} is ready; go on with:\n  cd {} && cargo test\nREADME.md says how to build and run it.", args.name, folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn existing_sdk(path: &Path) -> anyhow::Result<PathBuf> {
    let full = path.canonicalize().with_context(|| format!("cannot find the SDK in {}", path.display()))?;
    if !full.join("Cargo.toml").is_file() {
        bail!("{} holds no Cargo.toml; --sdk names the folder of the crate taskwarden-plugin", path.display());
    }
    Ok(full)
}

/// Every file of the new folder, by path.
fn render(name: &str, sdk: Option<&Path>) -> anyhow::Result<Vec<(String, String)>> {
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-') || name.contains("--") {
        bail!("{name:?}: use lower-case letters, digits and single '-' between them, beginning with a letter");
    }
    let copied = sdk.is_none();
    let dependency = sdk.map_or_else(|| "{ path = \"sdk\" }".to_owned(), |path| format!("{{ path = {:?} }}", path.display().to_string()));
    let note = " `sdk/` is a copy of the crate `taskwarden-plugin` as this version of Taskwarden has it.";
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{crate}}", &name.replace('-', "_"))
            .replace("{{Name}}", &camel(name))
            .replace("{{sdk}}", &dependency)
            .replace("{{sdk_note}}", if copied { note } else { "" })
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
    };
    let mut files: Vec<_> = FILES.iter().map(|(path, text)| ((*path).to_owned(), fill(text))).collect();
    if copied {
        files.extend(SDK.iter().map(|(path, text)| (format!("sdk/{path}"), fill(text))));
    }
    let manifest = files.iter().find(|(path, _)| path == "plugin.toml").map_or("", |(_, text)| text);
    Manifest::parse(manifest)?;
    Ok(files)
}

fn camel(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    words.collect::<String>() + "Plugin"
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in_and_the_manifest_is_good() {
        let files = render("word-count2", None).expect("renders");
        for (path, text) in &files {
            assert!(!text.contains("{{"), "{path}");
        }
        let text = |wanted: &str| files.iter().find(|(path, _)| path == wanted).map(|(_, text)| text.as_str()).unwrap_or_default();
        assert!(text("src/lib.rs").contains("export!(WordCount2Plugin)"));
        assert!(text("Cargo.toml").parse::<toml::Table>().is_ok());
        assert!(text("sdk/Cargo.toml").parse::<toml::Table>().is_ok());
        let plugin_lines =
            text("src/lib.rs").lines().take_while(|line| !line.contains("cfg(test)")).filter(|line| !line.is_empty()).count();
        assert!(plugin_lines <= 30, "{plugin_lines}");
    }

    #[test]
    fn every_file_of_the_sdk_and_of_the_wit_package_is_copied() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (folder, prefix) in [("plugins/sdk/src", "src/"), ("wit", "wit/")] {
            for entry in std::fs::read_dir(root.join(folder)).expect("the folder").flatten().filter(|e| e.path().is_file()) {
                let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
                assert!(SDK.iter().any(|(copied, _)| *copied == path), "{path} is not in the list");
            }
        }
    }

    #[test]
    fn names_that_no_crate_or_plugin_can_have_are_refused() {
        for name in ["", "Echo", "2x", "a b", "a--b", "a-", "-a", &"x".repeat(65)] {
            assert!(render(name, None).is_err(), "{name}");
        }
    }
}
