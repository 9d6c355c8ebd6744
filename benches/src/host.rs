//! A whole host in this process, spoken to over HTTP like any other.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use reqwest::Client;
use serde_json::{Value, json};
use taskwarden::app::Host;
use taskwarden::clock::SystemClock;
use taskwarden::config::Config;

use crate::Bench;

/// The body of a batch of no-op tasks; made once, so that what is measured is the host and not the making of JSON.
pub(crate) fn batch(count: usize, priority: &str) -> Bytes {
    let task = json!({ "task_type": "noop", "payload": {}, "priority": priority });
    json!({ "tasks": vec![task; count] }).to_string().into()
}

pub(crate) struct Running {
    host: Host,
    http: Client,
    base: String,
}

impl Running {
    /// Starts a host on an empty database with the no-op plugin.
    pub(crate) async fn start(bench: &Bench, name: &str) -> anyhow::Result<Self> {
        Self::start_on(bench, name, None).await
    }

    /// The same on a database elsewhere.
    pub(crate) async fn start_on(bench: &Bench, name: &str, database: Option<&str>) -> anyhow::Result<Self> {
        let data = bench.folder(name)?;
        let environment = [
            ("TASKWARDEN_LISTEN", "127.0.0.1:0"),
            ("TASKWARDEN_AUTH__MODE", "loopback_open"),
            ("TASKWARDEN_DATA_DIR", data.to_str().context("the scratch folder's name is not UTF-8")?),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        // Settings of the host can be tried out: TASKWARDEN_RUNTIME__SLOTS=2 cargo xtask bench throughput.
        let environment = std::env::vars()
            .filter(|(name, _)| name.starts_with("TASKWARDEN_") && !name.starts_with("TASKWARDEN_TEST_"))
            .chain(environment);
        let environment = environment.chain(database.map(|url| ("TASKWARDEN_DATABASE".to_owned(), url.to_owned())));
        let host = Host::start(Config::assemble(None, environment)?, SystemClock::shared()).await?;
        let base = format!("http://{}", host.address());
        let running = Self { host, http: Client::new(), base };
        let upload = running.http.post(format!("{}/v1/admin/plugins", running.base)).header("content-type", "application/wasm");
        upload.body(bench.guest("noop")?).send().await?.error_for_status()?;
        Ok(running)
    }

    /// Submits one batch and returns once it is acknowledged.
    pub(crate) async fn submit_batch(&self, batch: Bytes) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}/v1/tasks/batch", self.base)).header("content-type", "application/json");
        request.body(batch).send().await?.error_for_status()?;
        Ok(())
    }

    /// Submits one task, waits for its end, and answers with it.
    pub(crate) async fn one(&self, priority: &str) -> anyhow::Result<Value> {
        let body = json!({ "task_type": "noop", "payload": {}, "priority": priority });
        let made: Value = self.http.post(format!("{}/v1/tasks", self.base)).json(&body).send().await?.error_for_status()?.json().await?;
        let id = made.get("id").and_then(Value::as_str).context("no id")?;
        let ended: Value = self.http.get(format!("{}/v1/tasks/{id}?wait=60s", self.base)).send().await?.error_for_status()?.json().await?;
        Ok(ended)
    }

    /// Attempts that have ended well, from the host's own counter.
    pub(crate) async fn succeeded(&self) -> anyhow::Result<u64> {
        let text = self.http.get(format!("{}/metrics", self.base)).send().await?.error_for_status()?.text().await?;
        let line =
            text.lines().find_map(|line| line.strip_prefix("taskwarden_tasks_finished_total{task_type=\"noop\",outcome=\"succeeded\"} "));
        Ok(line.map_or(Ok(0), str::parse)?)
    }

    /// Waits until `count` tasks have ended well.
    pub(crate) async fn until_succeeded(&self, count: u64) -> anyhow::Result<()> {
        while self.succeeded().await? < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Whether no-op tasks wait until told otherwise.
    pub(crate) async fn pause(&self, paused: bool) -> anyhow::Result<()> {
        let lane = json!({ "task_type": "noop", "paused": paused });
        self.http.patch(format!("{}/v1/admin/lanes", self.base)).json(&lane).send().await?.error_for_status()?;
        Ok(())
    }

    pub(crate) async fn stop(self) {
        self.host.stop().await;
    }
}
