//! A host of our own, as a child process, and a small client for it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::process;

/// A host that compiles its plugins for the first time may take this long to be ready.
const START_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(20);

/// Two slots, so that the queue has something to decide; open, because only this machine can reach it.
const CONFIGURATION: &str = "[auth]\nmode = \"loopback_open\"\n\n[runtime]\nslots = 2\n";

/// A temporary folder that is removed in the end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("taskwarden-demo-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// What the host wrote about itself; the last of it, if it is long.
    pub(super) fn host_log(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.0.join("host.log")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running host; dropped, it is killed.
pub(super) struct Host {
    child: Child,
    address: String,
    agent: ureq::Agent,
}

impl Host {
    pub(super) fn start(binary: &Path, scratch: &Scratch) -> anyhow::Result<Self> {
        let configuration = scratch.0.join("taskwarden.toml");
        fs::write(&configuration, CONFIGURATION)?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(configuration).arg("--data").arg(scratch.0.join("data")).args(["--listen", "127.0.0.1:0"]);
        // Settings of another host in the environment are none of this one's.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TASKWARDEN_")) {
            command.env_remove(name);
        }
        let log = File::create(scratch.log_path())?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().context("the host does not start")?;
        let said = child.stdout.take().context("the host has no output")?;
        // From here on it is stopped whatever happens.
        let config = ureq::Agent::config_builder().timeout_global(Some(REQUEST_PATIENCE)).http_status_as_error(false).build();
        let mut host = Self { child, address: String::new(), agent: config.into() };
        host.address =
            first_address(said).with_context(|| format!("the host did not say where it listens; it said:\n{}", scratch.host_log()))?;
        host.wait_until_ready()?;
        Ok(host)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        let start = process::now();
        while start.elapsed() < START_PATIENCE {
            if self.agent.get(format!("{}/readyz", self.address)).call().is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            std::thread::sleep(POLL_EVERY);
        }
        bail!("the host is not ready after {} s", START_PATIENCE.as_secs())
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        read(path, self.agent.get(format!("{}{path}", self.address)).call()).map(|(_, answer)| answer)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.post_with_status(path, body).map(|(_, answer)| answer)
    }

    /// The same, with the status of the answer.
    pub(super) fn post_with_status(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let request = self.agent.post(format!("{}{path}", self.address)).header("content-type", "application/json");
        read(path, request.send(body.to_string()))
    }

    /// Uploads bytes and answers with the id of the blob.
    pub(super) fn upload(&self, bytes: &str) -> anyhow::Result<String> {
        let request = self.agent.post(format!("{}/v1/blobs", self.address)).header("content-type", "application/octet-stream");
        let (_, answer) = read("/v1/blobs", request.send(bytes))?;
        answer.get("blob").and_then(Value::as_str).map(str::to_owned).with_context(|| format!("the upload has no id: {answer}"))
    }

    /// Stops it as an operator would, and waits until it has ended.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        // The shell's own `kill`: a machine may have no other, and this program has no unsafe code.
        process::run(Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]))?;
        let start = process::now();
        while start.elapsed() < STOP_PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the host ended with {status}");
                return Ok(());
            }
            std::thread::sleep(POLL_EVERY);
        }
        bail!("the host did not stop within {} s", STOP_PATIENCE.as_secs())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The address in the first line that has one. A thread goes on reading, so that the host never writes into a closed pipe.
fn first_address(output: impl std::io::Read + Send + 'static) -> anyhow::Result<String> {
    let (found, wait) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(at) = line.find("http://") {
                let address: String = line.chars().skip(at).take_while(|c| !c.is_whitespace()).collect();
                let _ = found.send(address.trim_end_matches('/').to_owned());
            }
        }
    });
    Ok(wait.recv_timeout(START_PATIENCE)?)
}

fn read(path: &str, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<(u16, Value)> {
    let mut answer = answer.with_context(|| format!("{path}: the host does not answer"))?;
    let status = answer.status();
    let text = answer.body_mut().read_to_string().with_context(|| format!("{path}: the answer broke off"))?;
    ensure!(status.is_success(), "{path}: the host answered {status}: {text}");
    Ok((status.as_u16(), serde_json::from_str(&text).with_context(|| format!("{path}: the answer is not JSON: {text}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_what_the_host_says() {
        let said: &[u8] = b"starting\nlistening on http://127.0.0.1:4711/ now\n";
        assert_eq!(first_address(said).expect("there is one"), "http://127.0.0.1:4711");
        assert!(first_address(&b"nothing of the kind\n"[..]).is_err());
    }
}
