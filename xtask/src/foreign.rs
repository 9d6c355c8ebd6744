//! `cargo xtask foreign-guests`: guests by other toolchains, written against `wit/` alone, built and run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::process;
use crate::test::Tally;
use crate::workspace::Workspace;

const TEXT: &str = "The quick fox and the lazy dog";
const MORE: &str = "the end of the fox\n";
const TABLE: &str = "word,count\nand,1\ndog,1\nend,1\nfox,2\nlazy,1\nof,1\nquick,1\nthe,4\n";

/// What to do on a machine without node or Python.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenMissing {
    /// Say so and go on.
    LeaveOut,
    /// It is a failure.
    Fail,
}

/// One language: how its guest is made.
struct Language {
    name: &'static str,
    /// Below `tests/guests`.
    folder: &'static str,
    programs: &'static [&'static str],
    build: fn(&Workspace, &Path, &Path, &Path) -> anyhow::Result<()>,
}

const LANGUAGES: [Language; 2] = [
    Language { name: "javascript", folder: "js", programs: &["node", "npm"], build: build_javascript },
    Language { name: "python", folder: "py", programs: &["python3"], build: build_python },
];

/// Builds and runs the guest of every language whose toolchain can be had.
pub(crate) fn check(workspace: &Workspace, host: &Path, tally: &mut Tally, when_missing: WhenMissing) {
    for language in &LANGUAGES {
        let what = format!("guest in {}", language.name);
        if let Some(missing) = language.programs.iter().find(|program| process::find(program).is_none()) {
            match when_missing {
                WhenMissing::LeaveOut => tally.left_out(&what, &format!("{missing} is not installed")),
                WhenMissing::Fail => tally.check(&what, Err(anyhow::anyhow!("{missing} is not installed"))),
            }
            continue;
        }
        tally.check(&what, build(workspace, language).and_then(|component| run(language, host, &component)));
    }
}

fn build(workspace: &Workspace, language: &Language) -> anyhow::Result<PathBuf> {
    let source = workspace.root.join("tests/guests").join(language.folder);
    let work = workspace.target.join("foreign").join(language.folder);
    let component = workspace.wasm().join("foreign").join(format!("{}.wasm", language.folder));
    for folder in [Some(work.as_path()), component.parent()].into_iter().flatten() {
        fs::create_dir_all(folder)?;
    }
    let mark = work.join("built-from");
    let digest = digest(&[&source, &workspace.root.join("wit")])?;
    if component.is_file() && fs::read_to_string(&mark).is_ok_and(|built_from| built_from == digest) {
        return Ok(component);
    }
    let _ = fs::remove_file(&mark);
    let start = process::now();
    eprintln!("xtask: building the guest in {}", language.name);
    (language.build)(workspace, &source, &work, &component)?;
    fs::write(mark, digest)?;
    let bytes = fs::metadata(&component)?.len();
    eprintln!("xtask: {:<16} {bytes:>9} bytes ({:.1} s)", language.name, start.elapsed().as_secs_f32());
    Ok(component)
}

fn build_javascript(workspace: &Workspace, source: &Path, work: &Path, component: &Path) -> anyhow::Result<()> {
    for file in ["package.json", "guest.js"] {
        fs::copy(source.join(file), work.join(file)).with_context(|| format!("tests/guests/js/{file}"))?;
    }
    let lock = digest(&[&work.join("package.json")])?;
    let installed = work.join("installed");
    if !fs::read_to_string(&installed).is_ok_and(|of| of == lock) {
        let mut npm = Command::new("npm");
        // Without a lock file: `npm ci` refused the one that npm itself had made, and an install from it left out `preview2-shim`.
        npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(work).stdout(Stdio::null());
        process::run(&mut npm)?;
        fs::write(installed, lock)?;
    }
    let mut componentize = Command::new(work.join("node_modules/.bin/componentize-js"));
    componentize.current_dir(work).arg("guest.js").args(["--world-name", "executor", "--wit"]).arg(workspace.root.join("wit"));
    // The host has no `wasi:http`; a guest that imports it is refused.
    componentize.args(["--disable", "http", "fetch-event", "--out"]).arg(component);
    process::output(&mut componentize).map(|_| ())
}

fn build_python(workspace: &Workspace, source: &Path, work: &Path, component: &Path) -> anyhow::Result<()> {
    for file in ["requirements.txt", "guest.py"] {
        fs::copy(source.join(file), work.join(file)).with_context(|| format!("tests/guests/py/{file}"))?;
    }
    let wanted = digest(&[&work.join("requirements.txt")])?;
    let installed = work.join("installed");
    if !fs::read_to_string(&installed).is_ok_and(|of| of == wanted) {
        process::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(work.join("venv")))
            .context("python3 cannot make a virtual environment; on Debian that needs the package python3-venv")?;
        let mut pip = Command::new(work.join("venv/bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--requirement"]);
        process::output(pip.arg(work.join("requirements.txt")))?;
        fs::write(installed, wanted)?;
    }
    let mut componentize = Command::new(work.join("venv/bin/componentize-py"));
    componentize.current_dir(work).env("PYTHONDONTWRITEBYTECODE", "1").arg("--wit-path").arg(workspace.root.join("wit"));
    componentize.args(["--world", "executor", "componentize", "--python-path"]).arg(work).args(["guest", "--output"]).arg(component);
    process::output(&mut componentize).map(|_| ())
}

/// Runs the guest once to success and once to a refusal, and looks at everything that comes back.
fn run(language: &Language, host: &Path, component: &Path) -> anyhow::Result<()> {
    let folder = component.with_extension("run");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let input = folder.join("more.txt");
    fs::write(&input, MORE)?;

    let mut plugin_run = plugin_run(host, component, &json!({ "text": TEXT }));
    plugin_run.arg("--input").arg(format!("more={}", input.display())).arg("--output-dir").arg(&folder);
    let answer = answer(&mut plugin_run)?;
    let wanted = json!({
        "language": language.name, "task_type": "words.count", "distinct": 8, "total": 12, "remembered": "8", "granted": null,
    });
    ensure!(answer.pointer("/outcome") == Some(&json!("succeeded")), "it should have succeeded: {answer}");
    ensure!(answer.pointer("/result") == Some(&wanted), "the result is not {wanted}: {answer}");
    ensure!(answer.pointer("/logs/0/message") == Some(&json!("counted")), "its log line is missing: {answer}");
    ensure!(fs::read_to_string(folder.join("words.csv"))? == TABLE, "words.csv is not what was to be counted");
    let receipt = |name: &str| answer.pointer(&format!("/receipt/{name}")).and_then(Value::as_u64).unwrap_or(0);
    for name in ["fuel_used", "memory_peak_bytes", "host_calls"] {
        ensure!(receipt(name) > 0, "the receipt has no {name}: {answer}");
    }
    eprintln!(
        "xtask: {:<16} fuel {}, memory {} KiB, {} host calls, {} ms",
        language.name,
        receipt("fuel_used"),
        receipt("memory_peak_bytes") / 1024,
        receipt("host_calls"),
        receipt("run_ms")
    );

    let refusal = self::answer(&mut self::plugin_run(host, component, &json!({ "text": 3 })))?;
    ensure!(refusal.pointer("/outcome") == Some(&json!("invalid")), "a wrong payload should have been refused: {refusal}");
    ensure!(refusal.to_string().contains("payload.text must be a string"), "the refusal does not say why: {refusal}");
    Ok(())
}

fn plugin_run(host: &Path, component: &Path, payload: &Value) -> Command {
    let mut command = Command::new(host);
    command.args(["plugin", "run"]).arg(component).args(["--task-type", "words.count", "--json", "--payload"]).arg(payload.to_string());
    // A language's whole runtime takes seconds to compile; the second run, and the next run of the tests, finds it done.
    command.arg("--cache-dir").arg(component.with_extension("cache"));
    command
}

/// What `plugin run --json` printed. It ends with 1 when the task did not succeed, which is an answer too.
fn answer(command: &mut Command) -> anyhow::Result<Value> {
    let output = command.stdin(Stdio::null()).output().context("could not start the host")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Ok(answer) = serde_json::from_str::<Value>(&text) else {
        bail!("plugin run printed no JSON ({}): {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    };
    let succeeded = answer.pointer("/outcome") == Some(&json!("succeeded"));
    ensure!(succeeded == output.status.success(), "outcome and exit code ({}) differ: {answer}", output.status);
    Ok(answer)
}

fn digest(paths: &[&Path]) -> anyhow::Result<String> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(fs::read_dir(path)?.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
        } else {
            files.push((*path).to_owned());
        }
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
