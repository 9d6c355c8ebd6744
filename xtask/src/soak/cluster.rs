//! Hosts as real processes, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::crowd::Crowd;
use super::plan::Mishap;
use crate::client::{Client, Host, Scratch};
use crate::postgres::{Postgres, Stop};

/// The lease is short, so that a soak of seconds sees many of them end.
const LEASE_MS: u64 = 2_000;
/// A host that is stopped stays so for longer than its lease.
const PAUSE: Duration = Duration::from_millis(LEASE_MS + 1_000);

/// Where the guest writes what it did, as it sees it.
const GUEST_PATH: &str = "/ledger";

/// What a host made of a batch.
pub(super) enum Answer {
    /// The ids of its tasks, which are durable now.
    Acknowledged(Vec<String>),
    /// The database is away; whether the batch was kept is not known.
    Unavailable,
    /// The host itself is away.
    Unreachable,
}

/// How the database is away.
pub(super) enum Outage {
    /// It does not run.
    Stopped,
    /// Others have all its connections.
    Crowded(Crowd),
}

pub(super) struct Cluster {
    binary: PathBuf,
    scratch: Scratch,
    hosts: Vec<Option<Host>>,
    plugin: Vec<u8>,
    /// The server that the hosts share; nothing for a SQLite file.
    database: Option<Postgres>,
    /// Refused results of hosts that are gone; a host's own count dies with it.
    stale_before: std::cell::Cell<u64>,
}

impl Cluster {
    /// One host, or as many as are to share a server.
    pub(super) fn start_all(binary: &Path, components: &Path, hosts: usize, database: Option<Postgres>) -> anyhow::Result<Self> {
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
        let database = self.database.as_ref().map(|server| format!("database = {}\n", json!(server.url()))).unwrap_or_default();
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

    /// Submits a batch.
    ///
    /// # Errors
    /// When the host answers with anything but success or the problem that says that its database is away.
    pub(super) fn submit(&self, host: usize, batch: &[Value]) -> anyhow::Result<Answer> {
        let Some(client) = self.client(host) else { return Ok(Answer::Unreachable) };
        let Ok((status, text)) = client.try_post("/v1/tasks/batch", &json!({ "tasks": batch })) else { return Ok(Answer::Unreachable) };
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status == 503 && answer.get("code").and_then(Value::as_str) == Some("unavailable") {
            return Ok(Answer::Unavailable);
        }
        let ids = || answer.get("tasks")?.as_array()?.iter().map(|task| Some(task.get("id")?.as_str()?.to_owned())).collect();
        match ids() {
            Some(ids) => Ok(Answer::Acknowledged(ids)),
            None => bail!("a host answered a batch with {status}: {text}"),
        }
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.hosts.iter().flatten().next().context("no host is left")?.client().get(path)
    }

    pub(super) fn kill(&mut self, host: usize) -> anyhow::Result<()> {
        self.stale_before.set(self.stale_results()?);
        // Dropped, it is killed.
        drop(self.hosts.get_mut(host).and_then(Option::take));
        self.start(host)
    }

    pub(super) fn pause(&self, host: usize) -> anyhow::Result<()> {
        let Some(process) = self.hosts.get(host).and_then(Option::as_ref) else { return Ok(()) };
        process.signal("STOP")?;
        std::thread::sleep(PAUSE);
        process.signal("CONT")
    }

    /// Takes the database away from the hosts, and sees that they say so.
    pub(super) fn cut_off(&mut self, mishap: Mishap) -> anyhow::Result<Outage> {
        let server = self.database.as_mut().context("there is no server to take away")?;
        let outage = match mishap {
            Mishap::Crowd => return Ok(Outage::Crowded(Crowd::gather(&server.socket())?)),
            Mishap::DatabaseCrash => Stop::Immediate,
            _ => Stop::Fast,
        };
        server.stop(outage)?;
        for client in self.hosts.iter().flatten().map(Host::client) {
            let (lives, ready) = (client.status("/healthz")?, client.status("/readyz")?);
            ensure!((lives, ready) == (200, 503), "without a database, /healthz says {lives} and /readyz {ready}");
        }
        Ok(Outage::Stopped)
    }

    /// Gives the database back, and waits until every host has noticed.
    pub(super) fn reconnect(&mut self, outage: Outage) -> anyhow::Result<()> {
        match outage {
            Outage::Stopped => self.database.as_mut().context("there is no server to start")?.start_again()?,
            Outage::Crowded(crowd) => drop(crowd),
        }
        self.hosts.iter().flatten().try_for_each(|host| host.client().wait_until_ready())
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
