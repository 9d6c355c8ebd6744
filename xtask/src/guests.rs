//! `cargo xtask plugins`: Rust guests to components, with their manifests inside.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::process;
use crate::toolchain::{self, Toolchain};
use crate::workspace::{Guest, Workspace};

/// The custom section in which a plugin carries its `plugin.toml`.
const MANIFEST_SECTION: &str = "taskwarden:manifest";

/// What the guests are made from. JavaScript and Python guests are no concern of this module.
const SOURCES: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "wit",
    "plugins",
    "tests/guests",
    "xtask/src/guests.rs",
    "xtask/src/toolchain.rs",
    "xtask/src/workspace.rs",
];

/// Builds every guest that is not built yet, and answers with the folder of the components.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let start = process::now();
    let guests = workspace.guests()?;
    let folder = workspace.wasm();
    fs::create_dir_all(folder.join("core"))?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;

    let toolchain = toolchain::find(&workspace.target)?;
    let digest = digest_of_sources(&workspace.root, &toolchain)?;
    let mark = folder.join("built-from");
    let all_there = guests.iter().all(|guest| component_path(&folder, guest).is_file());
    if all_there && fs::read_to_string(&mark).is_ok_and(|built_from| built_from == digest) {
        eprintln!("xtask: {} guests are up to date in {}", guests.len(), folder.display());
        return Ok(folder);
    }

    let _ = fs::remove_file(&mark);
    eprintln!("xtask: building {} guests with {}", guests.len(), toolchain.description);
    let compiled = compile(workspace, &guests, &toolchain);
    for guest in &guests {
        match wrap(workspace, guest, &folder) {
            Ok(bytes) => eprintln!("xtask: {:<16} {:>9} bytes", guest.name, bytes),
            // With a crate that does not compile, the others are still of use; its own error was printed by cargo.
            Err(error) if compiled.is_err() => eprintln!("xtask: {:<16} {error:#}", guest.name),
            Err(error) => return Err(error.context(format!("guest {}", guest.name))),
        }
    }
    compiled?;
    fs::write(&mark, digest)?;
    eprintln!("xtask: guests are in {} ({:.1} s)", folder.display(), start.elapsed().as_secs_f32());
    Ok(folder)
}

fn compile(workspace: &Workspace, guests: &[Guest], toolchain: &Toolchain) -> anyhow::Result<()> {
    let mut command = workspace.cargo();
    command.args(["build", "--locked", "--profile", "guest", "--keep-going"]);
    for guest in guests {
        command.args(["--package", &guest.package]);
    }
    toolchain.apply(&mut command);
    command.env("CARGO_TARGET_DIR", build_folder(workspace));
    command.env("CARGO_ENCODED_RUSTFLAGS", compiler_flags(workspace, toolchain).join("\u{1f}"));
    // Flags for the host's own code would make a different guest on every machine.
    command.env_remove("RUSTFLAGS");
    process::run(&mut command)
}

/// What the guests' compiler is told: to use vectors, and to keep this machine's paths out of panic messages, so that the same sources and compiler give the same bytes anywhere.
fn compiler_flags(workspace: &Workspace, toolchain: &Toolchain) -> Vec<String> {
    let library = toolchain.sysroot.join("lib/rustlib/src/rust");
    // Debian's sources are behind a link; the compiler sees where it leads.
    let real_library = fs::canonicalize(&library).ok().filter(|real| *real != library);
    let home = process::env("CARGO_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(process::env("HOME")?).join(".cargo")));
    // The folder below `src` is named after the registry or its mirror.
    let registries = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok()).into_iter().flatten().flatten();
    // Every runtime of components has vectors of 128 bits; what scans text is twice as fast with them.
    let mut flags = vec!["-Ctarget-feature=+simd128".to_owned()];
    let mut remap = |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    remap(&workspace.root, "/taskwarden");
    remap(&library, "/rust");
    real_library.iter().for_each(|library| remap(library, "/rust"));
    registries.for_each(|registry| remap(&registry.path(), "/cargo"));
    flags
}

fn build_folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("wasm-build")
}

fn component_path(folder: &Path, guest: &Guest) -> PathBuf {
    folder.join(format!("{}.wasm", guest.name))
}

/// Makes a component of a compiled module and answers with its size.
fn wrap(workspace: &Workspace, guest: &Guest, folder: &Path) -> anyhow::Result<usize> {
    let module_path = build_folder(workspace).join(toolchain::TARGET).join("guest").join(&guest.module_file);
    let module = fs::read(&module_path).context("was not built")?;
    let mut component = wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| anyhow::anyhow!("cannot be made a component: {error:#}"))?;
    let manifest_path = guest.folder.join("plugin.toml");
    if manifest_path.is_file() {
        append_custom_section(&mut component, MANIFEST_SECTION, &fs::read(&manifest_path)?)?;
    }
    write_if_changed(&folder.join("core").join(format!("{}.wasm", guest.name)), &module)?;
    write_if_changed(&component_path(folder, guest), &component)?;
    Ok(component.len())
}

/// A custom section is id 0, its length, then its name with a length of its own, then the bytes; it may stand at the very end.
fn append_custom_section(component: &mut Vec<u8>, name: &str, data: &[u8]) -> anyhow::Result<()> {
    let mut body = Vec::with_capacity(name.len() + data.len() + 5);
    push_leb128(&mut body, u32::try_from(name.len())?);
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    component.push(0);
    push_leb128(component, u32::try_from(body.len())?);
    component.append(&mut body);
    Ok(())
}

fn push_leb128(bytes: &mut Vec<u8>, mut value: u32) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Leaves an unchanged file's time alone, so that the host is not compiled again around the same plugin.
fn write_if_changed(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes)?;
    fs::rename(&partial, path).with_context(|| format!("could not write {}", path.display()))
}

fn digest_of_sources(root: &Path, toolchain: &Toolchain) -> anyhow::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect_files(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    hasher.update(&toolchain.version);
    for file in files {
        let bytes = fs::read(&file)?;
        hasher.update(file.strip_prefix(root).unwrap_or(&file).to_string_lossy().as_bytes());
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect_files(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let foreign = path.is_dir() && ["js", "py", "node_modules", "target"].contains(&name.as_str());
        if !foreign && !name.starts_with('.') {
            collect_files(&path, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_webassembly_does() {
        for (value, expected) in [(0, vec![0]), (127, vec![0x7f]), (128, vec![0x80, 1]), (624_485, vec![0xe5, 0x8e, 0x26])] {
            let mut bytes = Vec::new();
            push_leb128(&mut bytes, value);
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn a_custom_section_has_a_name_and_a_length() {
        let mut component = vec![1, 2];
        append_custom_section(&mut component, "ab", b"xyz").expect("short");
        assert_eq!(component, [1, 2, 0, 6, 2, b'a', b'b', b'x', b'y', b'z']);
    }
}
