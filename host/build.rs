//! Puts the built-in plugins into the binary, when somebody has built them.
//!
//! `cargo xtask` sets `TASKWARDEN_EMBED_DIR` to the folder of built components. Without it the list is empty, so that plain cargo needs
//! no compiler for WebAssembly.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// In the order in which they are loaded.
const BUILT_IN: [&str; 3] = ["anomaly-score", "echo", "stripe-reconcile"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=TASKWARDEN_EMBED_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    let list = match env::var_os("TASKWARDEN_EMBED_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => entries(Path::new(&folder))?,
        None => String::new(),
    };
    let out_dir = env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| io::Error::other("cargo gave no OUT_DIR"))?;
    // An unchanged file keeps its time, and then the host is not compiled again.
    let file = out_dir.join("built_in.rs");
    let code = format!("&[{list}]\n");
    if fs::read_to_string(&file).is_ok_and(|present| present == code) {
        return Ok(());
    }
    fs::write(file, code)
}

fn entries(folder: &Path) -> io::Result<String> {
    let folder = fs::canonicalize(folder).map_err(|error| {
        io::Error::new(error.kind(), format!("TASKWARDEN_EMBED_DIR {}: {error}; run cargo xtask plugins", folder.display()))
    })?;
    let mut list = String::new();
    for name in BUILT_IN {
        let path = folder.join(format!("{name}.wasm"));
        if !path.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is missing; run cargo xtask plugins", path.display())));
        }
        let path = path.to_str().ok_or_else(|| io::Error::other("TASKWARDEN_EMBED_DIR is not UTF-8"))?;
        println!("cargo::rerun-if-changed={path}");
        write!(list, "({name:?}, include_bytes!({path:?})), ").map_err(io::Error::other)?;
    }
    Ok(list)
}
