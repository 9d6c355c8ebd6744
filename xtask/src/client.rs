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

/// A temporary folder that is removed in the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// `purpose` is part of its name.
    pub(crate) fn new(purpose: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("taskwarden-{purpose}-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What a host wrote about itself; the last of it, if it is long.
    pub(crate) fn host_log(&self, name: &str) -> String {
        let log = fs::read_to_string(self.0.join(name).with_extension("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running host; dropped, it is killed.
pub(crate) struct Host {
    child: Child,
    client: Client,
}

impl Host {
    /// Starts a host that keeps its data, its configuration and its log in `scratch` under `name`, and waits until it is ready.
    pub(crate) fn start(binary: &Path, scratch: &Scratch, name: &str, configuration: &str) -> anyhow::Result<Self> {
        let file = scratch.0.join(name).with_extension("toml");
        fs::write(&file, configuration)?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(file).arg("--data").arg(scratch.0.join(name)).args(["--listen", "127.0.0.1:0"]);
        // Settings of another host in the environment are none of this one's.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TASKWARDEN_")) {
            command.env_remove(name);
        }
        let log = File::options().create(true).append(true).open(scratch.0.join(name).with_extension("log"))?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().context("the host does not start")?;
        let said = child.stdout.take().context("the host has no output")?;
        // From here on it is stopped whatever happens.
        let config = ureq::Agent::config_builder().timeout_global(Some(REQUEST_PATIENCE)).http_status_as_error(false).build();
        let mut host = Self { child, client: Client { address: String::new(), agent: config.into() } };
        host.client.address =
            first_address(said).with_context(|| format!("the host did not say where it listens; it said:\n{}", scratch.host_log(name)))?;
        host.client.wait_until_ready()?;
        Ok(host)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a signal by its name, as in `TERM`.
    pub(crate) fn signal(&self, name: &str) -> anyhow::Result<()> {
        // The shell's own `kill`: a machine may have no other, and this program has no unsafe code.
        process::run(Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]))
    }

    /// Stops it as an operator would, and waits until it has ended.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.signal("TERM")?;
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

/// A small client of one host.
pub(crate) struct Client {
    address: String,
    agent: ureq::Agent,
}

impl Client {
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn wait_until_ready(&self) -> anyhow::Result<()> {
        let start = process::now();
        while start.elapsed() < START_PATIENCE {
            if self.agent.get(format!("{}/readyz", self.address)).call().is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            std::thread::sleep(POLL_EVERY);
        }
        bail!("the host is not ready after {} s", START_PATIENCE.as_secs())
    }

    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        json_of(path, &self.text(path)?)
    }

    /// An answer that is not JSON.
    pub(crate) fn text(&self, path: &str) -> anyhow::Result<String> {
        read(path, self.agent.get(format!("{}{path}", self.address)).call()).map(|(_, answer)| answer)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.post_with_status(path, body).map(|(_, answer)| answer)
    }

    /// The same, with the status of the answer.
    pub(crate) fn post_with_status(&self, path: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let request = self.agent.post(format!("{}{path}", self.address)).header("content-type", "application/json");
        let (status, text) = read(path, request.send(body.to_string()))?;
        Ok((status, json_of(path, &text)?))
    }

    /// Posts and answers with whatever status and body came back.
    pub(crate) fn try_post(&self, path: &str, body: &Value) -> anyhow::Result<(u16, String)> {
        let request = self.agent.post(format!("{}{path}", self.address)).header("content-type", "application/json");
        let mut answer = request.send(body.to_string()).with_context(|| format!("{path}: the host does not answer"))?;
        let text = answer.body_mut().read_to_string().with_context(|| format!("{path}: the answer broke off"))?;
        Ok((answer.status().as_u16(), text))
    }

    /// The status of an answer.
    pub(crate) fn status(&self, path: &str) -> anyhow::Result<u16> {
        let answer = self.agent.get(format!("{}{path}", self.address)).call();
        Ok(answer.with_context(|| format!("{path}: the host does not answer"))?.status().as_u16())
    }

    /// Uploads bytes and answers with the id of the blob.
    pub(crate) fn upload(&self, bytes: &str) -> anyhow::Result<String> {
        let request = self.agent.post(format!("{}/v1/blobs", self.address)).header("content-type", "application/octet-stream");
        let (_, answer) = read("/v1/blobs", request.send(bytes))?;
        let answer = json_of("/v1/blobs", &answer)?;
        answer.get("blob").and_then(Value::as_str).map(str::to_owned).with_context(|| format!("the upload has no id: {answer}"))
    }

    /// Installs a plugin.
    pub(crate) fn install(&self, artifact: &[u8]) -> anyhow::Result<()> {
        let request = self.agent.post(format!("{}/v1/admin/plugins", self.address)).header("content-type", "application/wasm");
        read("/v1/admin/plugins", request.send(artifact)).map(drop)
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

fn read(path: &str, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<(u16, String)> {
    let mut answer = answer.with_context(|| format!("{path}: the host does not answer"))?;
    let status = answer.status();
    let text = answer.body_mut().read_to_string().with_context(|| format!("{path}: the answer broke off"))?;
    ensure!(status.is_success(), "{path}: the host answered {status}: {text}");
    Ok((status.as_u16(), text))
}

fn json_of(path: &str, text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).with_context(|| format!("{path}: the answer is not JSON: {text}"))
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
