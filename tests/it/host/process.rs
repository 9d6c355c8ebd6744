//! The host as a real process, so that it can be killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::Client;
use serde_json::{Value, json};

/// The binary that cargo built beside this test.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let binary = test.parent().and_then(Path::parent).expect("<target>/<profile>/deps/it").join("taskwarden");
    assert!(binary.is_file(), "{} is missing; run `cargo xtask test`, which builds it first", binary.display());
    binary
}

/// A running `taskwarden serve` on loopback without tokens. Killed when dropped.
pub(super) struct HostProcess {
    child: Child,
    pub(super) base: String,
    pub(super) http: Client,
}

impl HostProcess {
    pub(super) fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::launch(data, settings, &[])
    }

    /// The same with a configuration file.
    pub(super) fn start_with(data: &Path, configuration: &str) -> Self {
        let file = data.join("host.toml");
        std::fs::write(&file, configuration).expect("written");
        Self::launch(data, &[], &[Path::new("--config"), &file])
    }

    fn launch(data: &Path, settings: &[(&str, &str)], more: &[&Path]) -> Self {
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(more);
        command.env("TASKWARDEN_AUTH__MODE", "loopback_open").env("TASKWARDEN_LOG__FILTER", "warn").envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the host starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("the host prints its address");
        let base = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("the host printed {line:?}")).to_owned();
        Self { child, base, http: Client::new() }
    }

    /// As the operating system's out-of-memory killer would do it.
    pub(super) fn kill_9(mut self) {
        self.child.kill().expect("the host can be killed");
        self.child.wait().expect("the host can be waited for");
    }

    /// As an operator would: SIGTERM; the exit code.
    pub(super) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there").success());
        self.child.wait().expect("the host can be waited for").code()
    }

    pub(super) async fn upload(&self, plugin: &str) {
        let request = self.http.post(format!("{}/v1/admin/plugins", self.base)).header("content-type", "application/wasm");
        let answer = request.body(crate::guests::component(plugin)).send().await.expect("the host answers");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    /// Submits a batch; the ids, once they are acknowledged, or nothing when the host was gone before that.
    pub(super) async fn submit(&self, tasks: &[Value]) -> Option<Vec<String>> {
        let request = self.http.post(format!("{}/v1/tasks/batch", self.base)).json(&json!({ "tasks": tasks }));
        let answer = request.send().await.ok()?;
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        let body: Value = answer.json().await.ok()?;
        let ids = body["tasks"].as_array().expect("tasks").iter();
        Some(ids.map(|task| task["id"].as_str().expect("id").to_owned()).collect())
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await.expect("the host answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap_or_default());
        answer.json().await.expect("JSON")
    }

    /// Waits until a task is over.
    pub(super) async fn ended(&self, id: &str) -> Value {
        loop {
            let task = self.get(&format!("/v1/tasks/{id}?wait=30s")).await;
            if ["succeeded", "failed", "cancelled"].contains(&task["state"].as_str().expect("state")) {
                return task;
            }
        }
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        // Gone already after kill_9 and terminate.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
