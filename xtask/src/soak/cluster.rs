//! Hosts as real processes, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::plan::Mishap;
use crate::client::{Client, Host, Scratch};

/// The lease is short, so that a soak of seconds sees many of them end.
const LEASE_MS: u64 = 2_000;
/// A host that is stopped stays so for longer than its lease.
const PAUSE: Duration = Duration::from_millis(LEASE_MS + 1_000);

/// Where the guest writes what it did, as it sees it.
const GUEST_PATH: &str = "/ledger";

pub(super) struct Cluster {
    binary: PathBuf,
    scratch: Scratch,
    hosts: Vec<Option<Host>>,
    plugin: Vec<u8>,
    /// Of the database that the hosts share; nothing for a SQLite file.
    database: Option<String>,
    /// Refused results of hosts that are gone; a host's own count dies with it.
    stale_before: std::cell::Cell<u64>,
}

impl Cluster {
    /// One host, or as many as are to share the database at a URL.
    pub(super) fn start_all(binary: &Path, components: &Path, hosts: usize, database: Option<String>) -> anyhow::Result<Self> {
        let path = components.join("ledger.wasm");
        let plugin = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let scratch = Scratch::new(if database.is_some() { "soak-postgres" } else { "soak-sqlite" })?;
        fs::create_dir_all(scratch.path().join("effects"))?;
        let nobody_yet = (0..hosts).map(|_| None).collect();
        let stale_before = std::cell::Cell::new(0);
        let mut cluster = Self { binary: binary.to_owned(), scratch, hosts: nobody_yet, plugin, database, stale_before };
        cluster.recover()?;
        Ok(cluster)
    }

    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    fn configuration(&self, name: &str) -> String {
        // Values of TOML are written as JSON writes them.
        let effects = json!(self.scratch.path().join("effects"));
        let database = self.database.as_ref().map(|url| format!("database = {}\n", json!(url))).unwrap_or_default();
        format!(
            "host_name = \"{name}\"\n{database}[auth]\nmode = \"loopback_open\"\n\n[queue]\nlease_ms = {LEASE_MS}\nlost_max = 1000\n\n[runtime]\nslots = 2\n\n[log]\nfilter = \"error\"\n\n\
             [plugins.ledger]\ndirectories = [{{ host_path = {effects}, guest_path = \"{GUEST_PATH}\", writable = true }}]\n"
        )
    }

    fn start(&mut self, number: usize) -> anyhow::Result<()> {
        let name = format!("host-{number}");
        let host = Host::start(&self.binary, &self.scratch, &name, &self.configuration(&name))?;
        host.client().install(&self.plugin)?;
        if let Some(place) = self.hosts.get_mut(number) {
            *place = Some(host);
        }
        Ok(())
    }

    fn client(&self, number: usize) -> Option<&Client> {
        self.hosts.get(number)?.as_ref().map(Host::client)
    }

    /// Submits a batch; the ids once they are acknowledged, nothing when the host could not be reached.
    pub(super) fn submit(&self, host: usize, batch: &[Value]) -> Option<Vec<String>> {
        let answer = self.client(host)?.post("/v1/tasks/batch", &json!({ "tasks": batch })).ok()?;
        let tasks = answer.get("tasks")?.as_array()?;
        tasks.iter().map(|task| Some(task.get("id")?.as_str()?.to_owned())).collect()
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.hosts.iter().flatten().next().context("no host is left")?.client().get(path)
    }

    pub(super) fn suffer(&mut self, mishap: Mishap, host: usize) -> anyhow::Result<()> {
        match mishap {
            Mishap::Kill => {
                self.stale_before.set(self.stale_results()?);
                // Dropped, it is killed.
                drop(self.hosts.get_mut(host).and_then(Option::take));
                self.start(host)
            }
            Mishap::Pause => {
                let Some(process) = self.hosts.get(host).and_then(Option::as_ref) else { return Ok(()) };
                process.signal("STOP")?;
                std::thread::sleep(PAUSE);
                process.signal("CONT")
            }
        }
    }

    /// Everybody is there again.
    pub(super) fn recover(&mut self) -> anyhow::Result<()> {
        let gone: Vec<usize> = self.hosts.iter().enumerate().filter(|(_, host)| host.is_none()).map(|(number, _)| number).collect();
        gone.into_iter().try_for_each(|number| self.start(number))
    }

    /// The attempts that acted, by the key of their task.
    pub(super) fn effects(&self) -> anyhow::Result<BTreeMap<String, BTreeSet<u64>>> {
        let mut effects: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for entry in fs::read_dir(self.scratch.path().join("effects"))? {
            let name = entry?.file_name().into_string().ok().context("an effect whose name is not UTF-8")?;
            let (key, attempt) = name.rsplit_once('.').with_context(|| format!("{name} is no effect"))?;
            effects.entry(key.to_owned()).or_default().insert(attempt.parse()?);
        }
        Ok(effects)
    }

    /// Results that came after their lease was lost and were refused, as far as the hosts that counted them could be asked.
    pub(super) fn stale_results(&self) -> anyhow::Result<u64> {
        let mut all = self.stale_before.get();
        for host in self.hosts.iter().flatten() {
            let metrics = host.client().text("/metrics")?;
            let counted = metrics.lines().find_map(|line| line.strip_prefix("taskwarden_results_stale_total "));
            all += counted.map_or(Ok(0), str::parse)?;
        }
        Ok(all)
    }
}
