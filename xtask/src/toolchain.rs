//! A Rust compiler that can make WebAssembly: the active one, the active one with rustup's help, or Debian's.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::process;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Chooses one way instead of trying all: `active`, `rustup` or `debian`.
const CHOICE: &str = "XTASK_WASM_COMPILER";

/// How long rustup is waited for. It is never killed: an interrupted rustup can leave the whole toolchain unusable.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(180);

const WAYS: &str = "\
no Rust compiler here can make WebAssembly. Any one of these helps:
  1. rustup target add wasm32-unknown-unknown
  2. use a toolchain that has that target already
  3. on Debian or Ubuntu: make the package rustc-web available to apt-get download (nothing is installed)";

/// How cargo is made to build for [`TARGET`].
pub(crate) struct Toolchain {
    /// One line for people.
    pub(crate) description: String,
    /// Version of the compiler, so that a different one means building again.
    pub(crate) version: String,
    /// Where the compiler keeps its own files; such paths are kept out of what is built.
    pub(crate) sysroot: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    cargo_arguments: Vec<&'static str>,
}

impl Toolchain {
    /// Adds to a `cargo build` what this toolchain needs.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.args(["--target", TARGET]).args(&self.cargo_arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    fn active(description: &str) -> anyhow::Result<Self> {
        Ok(Self {
            description: description.to_owned(),
            version: process::output(rustc().arg("-vV"))?,
            sysroot: sysroot()?,
            environment: Vec::new(),
            cargo_arguments: Vec::new(),
        })
    }
}

/// Finds a compiler, and fetches one if need be. What was fetched stays under `<target>/wasm-toolchain`.
pub(crate) fn find(target: &Path) -> anyhow::Result<Toolchain> {
    let choice = process::env(CHOICE).map(|value| value.to_string_lossy().into_owned());
    let may = |way: &str| choice.as_deref().is_none_or(|choice| choice == way);
    if !["active", "rustup", "debian"].into_iter().any(may) {
        bail!("{CHOICE} is {:?}; use active, rustup or debian, or unset it to try them in this order", choice.unwrap_or_default());
    }
    let debian = Debian { folder: target.join("wasm-toolchain") };
    if may("active") && active_has_target() {
        return Toolchain::active("the active toolchain, which has the target");
    }
    // What was unpacked before is used without asking rustup's server again.
    if may("debian") && debian.is_complete() {
        return debian.toolchain();
    }
    let mut refusals = Vec::new();
    if may("rustup") {
        match rustup_adds_target(target) {
            Ok(()) => return Toolchain::active("the active toolchain, to which rustup added the target"),
            Err(error) => refusals.push(format!("rustup: {error:#}")),
        }
    }
    if may("debian") {
        match debian.fetch().and_then(|()| debian.toolchain()) {
            Ok(toolchain) => return Ok(toolchain),
            Err(error) => refusals.push(format!("Debian's packages: {error:#}")),
        }
    }
    bail!("{WAYS}\nwhat was tried:\n  {}", if refusals.is_empty() { "the active toolchain".to_owned() } else { refusals.join("\n  ") })
}

fn rustc() -> Command {
    Command::new(process::env("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn sysroot() -> anyhow::Result<PathBuf> {
    Ok(PathBuf::from(process::output(rustc().args(["--print", "sysroot"]))?.trim()))
}

fn active_has_target() -> bool {
    let folder = process::output(rustc().args(["--print", "target-libdir", "--target", TARGET]));
    let files = folder.ok().and_then(|folder| fs::read_dir(folder.trim()).ok()).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn rustup_adds_target(target: &Path) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;

    let rustup = process::find("rustup").context("it is not installed")?;
    // Two of them at once, for two target folders, would write the same toolchain.
    let lock = File::create(std::env::temp_dir().join("taskwarden-rustup.lock")).context("no lock file can be made")?;
    lock.lock()?;
    if active_has_target() {
        return Ok(());
    }
    eprintln!("xtask: the active toolchain cannot make WebAssembly; asking rustup for {TARGET}");
    fs::create_dir_all(target)?;
    let log_path = target.join("rustup-target-add.log");
    let log = File::create(&log_path)?;
    // In a process group of its own, so that interrupting this program does not interrupt rustup.
    let mut child = Command::new(rustup)
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let start = process::now();
    while start.elapsed() < RUSTUP_PATIENCE {
        if let Some(status) = child.try_wait()? {
            let said = fs::read_to_string(&log_path).unwrap_or_default();
            if !status.success() || !active_has_target() {
                bail!("{}", said.lines().rev().find(|line| line.contains("error")).unwrap_or("it did not add the target"));
            }
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("no answer for {} s; it goes on in the background and is best left alone", RUSTUP_PATIENCE.as_secs())
}

/// Debian's `rustc-web`, unpacked into a folder without being installed. It brings no library for [`TARGET`], so cargo builds
/// the standard library from the sources that come in `rust-web-src`.
struct Debian {
    folder: PathBuf,
}

impl Debian {
    fn complete_mark(&self) -> PathBuf {
        self.folder.join("complete")
    }

    fn is_complete(&self) -> bool {
        self.complete_mark().is_file()
    }

    fn toolchain(&self) -> anyhow::Result<Toolchain> {
        let linker = find_file(&sysroot()?.join("lib/rustlib"), 3, &|name| name == "rust-lld")
            .context("the active toolchain has no rust-lld to link WebAssembly with; install Rust with rustup")?;
        let wrapper = self.folder.join("rustc");
        let version = process::output(Command::new(&wrapper).arg("-vV"))?;
        let release = version.lines().find_map(|line| line.strip_prefix("release: ")).unwrap_or("?").to_owned();
        Ok(Toolchain {
            description: format!("Debian's rustc-web {release}, unpacked under the target folder"),
            version,
            sysroot: self.folder.join("usr"),
            environment: vec![
                ("RUSTC", wrapper.into()),
                // Building the standard library is an unstable option of cargo; Debian's compiler is the same version as its sources.
                ("RUSTC_BOOTSTRAP", "1".into()),
                // The linker itself, not `wasm-ld` beside it, which refuses the `-flavor` that rustc passes.
                ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker.into()),
            ],
            cargo_arguments: vec!["-Zbuild-std=std,panic_abort"],
        })
    }

    fn fetch(&self) -> anyhow::Result<()> {
        for program in ["apt-get", "apt-cache", "dpkg-deb", "tar"] {
            process::find(program).with_context(|| format!("{program} is not installed"))?;
        }
        eprintln!("xtask: fetching Debian's Rust compiler for WebAssembly (140 MB, once; nothing is installed)");
        let parts = self.folder.with_extension("partial");
        let _ = fs::remove_dir_all(&parts);
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(parts.join("packages"))?;
        let own_lists = Apt { lists: Some(parts.join("apt")) };
        // The machine's own package lists may be missing or older than its mirror; a fresh copy of our own needs no root.
        if let Err(first) = (Apt { lists: None }).download(&parts.join("packages")) {
            own_lists.update().and_then(|()| own_lists.download(&parts.join("packages"))).with_context(|| format!("{first:#}; then"))?;
        }
        for package in fs::read_dir(parts.join("packages"))? {
            unpack(&package?.path(), &parts)?;
        }
        fs::remove_dir_all(parts.join("packages"))?;
        fs::rename(&parts, &self.folder)?;
        self.write_wrapper()?;
        process::output(Command::new(self.folder.join("rustc")).arg("-vV")).context("the unpacked compiler does not start")?;
        fs::write(self.complete_mark(), "")?;
        Ok(())
    }

    fn write_wrapper(&self) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt;

        let libraries = find_file(&self.folder.join("usr/lib"), 2, &|name| name.starts_with("librustc_driver-"))
            .and_then(|driver| Some(driver.parent()?.to_owned()))
            .context("the packages hold no librustc_driver")?;
        let wrapper = self.folder.join("rustc");
        let script =
            format!("#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n", libraries.display(), self.folder.join("usr/bin/rustc").display());
        fs::write(&wrapper, script)?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}

/// Debian's package programs, on the machine's own package lists or on lists of our own.
struct Apt {
    lists: Option<PathBuf>,
}

impl Apt {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C");
        if let Some(folder) = &self.lists {
            command.arg("-o").arg(format!("Dir::State::Lists={}", folder.join("lists").display()));
            command.arg("-o").arg(format!("Dir::Cache={}", folder.join("cache").display()));
        }
        command
    }

    fn update(&self) -> anyhow::Result<()> {
        if let Some(folder) = &self.lists {
            fs::create_dir_all(folder.join("lists/partial"))?;
            fs::create_dir_all(folder.join("cache/archives/partial"))?;
        }
        process::output(self.command("apt-get").args(["-q", "update"])).map(|_| ())
    }

    fn depends(&self, package: &str) -> anyhow::Result<Vec<String>> {
        let text = process::output(self.command("apt-cache").args(["depends", package]))?;
        Ok(text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned).collect())
    }

    fn download(&self, into: &Path) -> anyhow::Result<()> {
        let library = self.versioned("libstd-rust-web-dev", "libstd-rust-web-")?;
        let llvm = self.versioned(&library, "libllvm")?;
        let mut command = self.command("apt-get");
        command.args(["-q", "download", "rustc-web", "rust-web-src", "libstd-rust-web-dev", &library, &llvm]).current_dir(into);
        process::output(&mut command).map(|_| ())
    }

    fn versioned(&self, package: &str, prefix: &str) -> anyhow::Result<String> {
        let is_version =
            |name: &String| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
        self.depends(package)?
            .into_iter()
            .find(is_version)
            .with_context(|| format!("{package} depends on no {prefix}N: this is not a package layout known here"))
    }
}

/// Unpacks one package. Of the compiler's sources only the standard library is taken.
fn unpack(package: &Path, into: &Path) -> anyhow::Result<()> {
    let is_source = package.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rust-web-src_"));
    let mut reader = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--directory").arg(into);
    if is_source {
        tar.args(["--wildcards", "./usr/lib", "./usr/src/*/library"]);
    }
    tar.stdin(reader.stdout.take().context("dpkg-deb has no output")?);
    process::run(&mut tar)?;
    let status = reader.wait()?;
    if !status.success() {
        bail!("{} is not a readable package ({status})", package.display());
    }
    Ok(())
}

/// The first file under `folder`, at most `depth` folders down, whose name is wanted.
fn find_file(folder: &Path, depth: u32, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let here = entries.iter().find(|path| path.is_file() && path.file_name().and_then(|name| name.to_str()).is_some_and(wanted));
    let below = || entries.iter().filter(|path| depth > 0 && path.is_dir()).find_map(|path| find_file(path, depth - 1, wanted));
    here.cloned().or_else(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_only_as_deep_as_asked() {
        let folder = std::env::temp_dir().join(format!("xtask-find-{}", std::process::id()));
        fs::create_dir_all(folder.join("a/b")).expect("made");
        fs::write(folder.join("a/b/rust-lld"), "").expect("written");
        assert_eq!(find_file(&folder, 1, &|name| name == "rust-lld"), None);
        assert_eq!(find_file(&folder, 2, &|name| name == "rust-lld"), Some(folder.join("a/b/rust-lld")));
        fs::remove_dir_all(&folder).expect("removed");
    }
}
