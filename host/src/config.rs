//! Configuration: TOML, then the environment. The only module that reads the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{LimitSet, Limits};
use crate::secret::DatabaseUrl;
use crate::task::{Priority, RetryPolicy, TaskType};

/// Every setting with its default and what it means, as TOML.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// Variables of ours that are not settings of the host.
const NOT_SETTINGS: [&str; 7] = [
    "TASKWARDEN_TOKEN",
    "TASKWARDEN_SERVER",
    "TASKWARDEN_GUESTS",
    "TASKWARDEN_EMBED_DIR",
    "TASKWARDEN_BIN",
    "TASKWARDEN_TEST_POSTGRES",
    "TASKWARDEN_STRIPE_FIXTURES",
];

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is not TOML, or a key is unknown, or a value does not fit.
    #[error("{origin}: {message}; `taskwarden config print-default` shows every key")]
    Wrong {
        /// The file, or the environment.
        origin: String,
        /// What is wrong.
        message: String,
    },
}

macro_rules! section {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type,)+ }
    };
}

mod grants;
mod stripe_api;
mod stripe_webhook;

pub use grants::{DirectorySetting, HttpOriginSetting, PluginGrants};
pub use stripe_api::{StripeApiSection, StripeCheckoutSection, StripeRepairSection, StripeSyncSection};
pub use stripe_webhook::{StripeMode, StripeWebhookSection};

section! {
    /// Everything that can be configured.
    Config {
        /// Where the HTTP API listens.
        listen: SocketAddr,
        /// Where the host keeps what it must not lose.
        data_dir: PathBuf,
        /// How this host calls itself.
        host_name: String,
        /// The database that several hosts share.
        database: DatabaseUrl,
        /// How it is used.
        postgres: PostgresSection,
        /// Who may call.
        auth: Auth,
        /// The queue.
        queue: Queue,
        /// The sandboxes.
        runtime: RuntimeSection,
        /// Limits.
        limits: LimitsSection,
        /// The HTTP side.
        http: Http,
        /// Stripe.
        stripe: Stripe,
        /// The host's own log.
        log: Log,
        /// Defaults of task types.
        task_types: BTreeMap<TaskType, TaskTypeDefaults>,
        /// What plugins are granted, by name.
        plugins: BTreeMap<String, PluginGrants>,
    }
}

section! {
    /// How a shared database is used.
    PostgresSection {
        /// Connections of this host.
        connections: u32,
        /// Whether a transaction pooler stands between.
        pooled: bool,
    }
}

section! {
    /// Who may call.
    Auth {
        /// How callers prove who they are.
        mode: AuthMode,
    }
}

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// By bearer tokens.
    Tokens,
    /// Not at all; only on loopback.
    LoopbackOpen,
}

section! {
    /// The queue. Durations are in milliseconds, as the names say.
    Queue {
        /// What one step of priority is worth.
        priority_step_ms: u64,
        /// Attempts a task gets.
        max_attempts: u32,
        /// The first back-off.
        backoff_base_ms: u64,
        /// The longest back-off.
        backoff_cap_ms: u64,
        /// How often a task may be lost.
        lost_max: u32,
        /// How long a silent host keeps its tasks.
        lease_ms: u64,
        /// The longest time between two looks.
        poll_ms: u64,
        /// How many lanes there may be.
        lanes_max: u32,
        /// How many tenants there may be.
        tenants_max: u32,
        /// How long ended tasks are kept.
        retention_ms: u64,
        /// How long unused blobs are kept.
        blob_retention_ms: u64,
    }
}

section! {
    /// The sandboxes.
    RuntimeSection {
        /// Tasks at once.
        slots: u32,
        /// Tasks of priority high and critical at once beside these.
        urgent_slots: u32,
        /// Native stack of guest code.
        stack_bytes: usize,
        /// Granularity of deadlines.
        epoch_tick_ms: u64,
        /// Longest compile.
        compile_time_max_ms: u64,
        /// How far ahead of a free slot tasks are claimed.
        run_ahead_ms: u64,
        /// How long running tasks get on shutdown.
        drain_ms: u64,
    }
}

section! {
    /// Limits.
    LimitsSection {
        /// What nobody exceeds.
        ceilings: LimitSet,
    }
}

section! {
    /// The HTTP side.
    Http {
        /// Bytes of one submission.
        task_body_bytes: u64,
        /// Bytes of a batch.
        batch_body_bytes: u64,
        /// Bytes of a blob.
        blob_bytes: u64,
        /// Bytes of one file of Stripe's that is imported.
        import_bytes: u64,
        /// Requests at once.
        concurrent_requests: usize,
        /// Event streams at once.
        event_streams: usize,
        /// Events kept for clients that reconnect.
        event_ring: usize,
    }
}

section! {
    /// Stripe.
    Stripe {
        /// Where its events come in.
        webhook: StripeWebhookSection,
        /// How its API is used.
        api: StripeApiSection,
        /// Reading its ledger.
        sync: StripeSyncSection,
        /// Looking for what never came.
        repair: StripeRepairSection,
        /// Sending customers to its checkout.
        checkout: StripeCheckoutSection,
    }
}

section! {
    /// The host's own log.
    Log {
        /// How lines look.
        format: LogFormat,
        /// Which lines there are.
        filter: String,
    }
}

/// How the host's log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Defaults of a task type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskTypeDefaults {
    /// For submissions that name none.
    pub priority: Priority,
    /// For submissions that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
}

impl Config {
    /// The file at `path` (if any) over the defaults, and the environment over both.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match path {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
                Some((path.display().to_string(), text))
            }
            None => None,
        };
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::assemble(file.as_ref().map(|(origin, text)| (origin.as_str(), text.as_str())), environment)
    }

    /// The same from given texts: (origin, TOML) and pairs of names and values.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn assemble(file: Option<(&str, &str)>, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut merged = parse_table("the built-in defaults", DEFAULT_TOML)?;
        if let Some((origin, text)) = file {
            merge(&mut merged, parse_table(origin, text)?);
            // Checked on its own first, so that the message blames the file and not the environment.
            build(origin, merged.clone())?;
        }
        let mut variables: Vec<_> = environment.into_iter().collect();
        variables.sort();
        for (name, value) in variables {
            let Some(path) = name.strip_prefix("TASKWARDEN_").filter(|_| !NOT_SETTINGS.contains(&name.as_str())) else { continue };
            let mut set = toml::Table::new();
            put(&mut set, &path.to_ascii_lowercase(), &value);
            merge(&mut merged, set);
            build(&name, merged.clone())?;
        }
        build("the configuration", merged)
    }

    /// The ceilings with the shipped ones where the configuration is silent.
    #[must_use]
    pub fn ceilings(&self) -> Limits {
        Limits::ceilings().overridden_by(&self.limits.ceilings)
    }

    /// How failures are retried.
    #[must_use]
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            backoff_base: Duration::from_millis(self.queue.backoff_base_ms),
            backoff_cap: Duration::from_millis(self.queue.backoff_cap_ms),
            lost_max: self.queue.lost_max,
        }
    }

    /// How many tasks run at once.
    #[must_use]
    pub fn slots(&self) -> u32 {
        match self.runtime.slots {
            0 => u32::try_from(std::thread::available_parallelism().map_or(2, usize::from)).unwrap_or(2).saturating_mul(2).max(4),
            slots => slots,
        }
    }
}

/// What a client needs to reach a host.
#[derive(Clone, Default)]
pub struct ClientEnvironment {
    /// `TASKWARDEN_SERVER`.
    pub server: Option<String>,
    /// `TASKWARDEN_TOKEN`.
    pub token: Option<String>,
}

impl ClientEnvironment {
    /// Reads both.
    #[must_use]
    pub fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one module that reads the environment")]
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { server: read("TASKWARDEN_SERVER"), token: read("TASKWARDEN_TOKEN") }
    }
}

/// Says what is wrong and in which line, and does not show the line: there may be a secret in it.
fn parse_table(origin: &str, text: &str) -> Result<toml::Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        ConfigError::Wrong { origin: origin.to_owned(), message: format!("line {line}: {}", error.message()) }
    })
}

fn build(origin: &str, table: toml::Table) -> Result<Config, ConfigError> {
    let wrong = |message: String| ConfigError::Wrong { origin: origin.to_owned(), message };
    let config: Config = table.try_into().map_err(|error: toml::de::Error| wrong(error.to_string().trim_end().to_owned()))?;
    for (name, zero) in [
        ("queue.max_attempts", config.queue.max_attempts == 0),
        ("queue.lease_ms", config.queue.lease_ms == 0),
        ("queue.poll_ms", config.queue.poll_ms == 0),
        ("runtime.epoch_tick_ms", config.runtime.epoch_tick_ms == 0),
        ("runtime.stack_bytes", config.runtime.stack_bytes < 64 * 1024),
    ] {
        if zero {
            return Err(wrong(format!("{name} is too small to work with")));
        }
    }
    if let Some(why) = config.plugins.iter().find_map(|(name, grants)| grants.wrong(name)) {
        return Err(wrong(why));
    }
    if let Some(why) = config.stripe.wrong() {
        return Err(wrong(why));
    }
    Ok(config)
}

/// Puts `over` on top of `base`, section by section.
fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Sets `a__b__c` to a value: TOML if it reads as TOML, else the text itself.
fn put(table: &mut toml::Table, path: &str, value: &str) {
    match path.split_once("__") {
        Some((section, rest)) => {
            let mut inner = toml::Table::new();
            put(&mut inner, rest, value);
            table.insert(section.to_owned(), toml::Value::Table(inner));
        }
        None => {
            let parsed = format!("value = {value}").parse::<toml::Table>().ok().and_then(|mut parsed| parsed.remove("value"));
            table.insert(path.to_owned(), parsed.unwrap_or_else(|| toml::Value::String(value.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limit;

    fn from(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::assemble(Some(("test.toml", file)), environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_printed_default_is_the_default_and_names_every_limit() {
        let config = from("", &[]).expect("defaults");
        assert_eq!(config.ceilings(), Limits::ceilings());
        for limit in Limit::ALL {
            assert!(config.limits.ceilings.get(*limit).is_some(), "{limit} is missing from [limits.ceilings]");
        }
        assert_eq!(config.task_types.len(), 3);
        assert!(config.slots() >= 4);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = from(
            "[queue]\npoll_ms = 7\nlease_ms = 9",
            &[("TASKWARDEN_QUEUE__POLL_MS", "8"), ("TASKWARDEN_HOST_NAME", "a b"), ("PATH", "x")],
        );
        let config = config.expect("good");
        assert_eq!((config.queue.poll_ms, config.queue.lease_ms, config.host_name.as_str()), (8, 9, "a b"));
    }

    #[test]
    fn bodies_of_events_are_kept_for_ever_or_long_enough_to_be_processed() {
        let with = |ms: u64| from(&format!("[stripe.webhook]\nbody_retention_ms = {ms}"), &[]);
        assert_eq!(from("", &[]).expect("good").stripe.webhook.body_retention_ms, 0);
        assert!(with(604_800_000).is_ok());
        assert!(with(604_799_999).expect_err("too short").contains("seven days"));
    }

    #[test]
    fn secrets_come_from_either_and_are_in_no_message() {
        let file = "[stripe.webhook]\nsecrets = [\"whsec_a\", \"whsec_b\"]";
        assert_eq!(from(file, &[]).expect("good").stripe.webhook.secrets.0.len(), 2);
        let config = from("", &[("TASKWARDEN_STRIPE__WEBHOOK__SECRETS", "whsec_deep")]).expect("good");
        assert_eq!(config.stripe.webhook.secrets.0.len(), 1);
        assert!(!format!("{config:?}").contains("deep"));
        for (file, environment) in [
            ("[stripe.webhook]\nsecrets = [\"whsec_deep ]", vec![]),
            ("[stripe.webhook]\nsecrets = { a = \"whsec_deep\" }", vec![]),
            ("[stripe.webhook]\nsecrets = [\"whsec_deep\\n\"]", vec![]),
            ("", vec![("TASKWARDEN_STRIPE__WEBHOOK__SECRETS", " whsec_deep")]),
            ("", vec![("TASKWARDEN_STRIPE__WEBHOOK__SECRETS", "[\"whsec_deep\", 7]")]),
        ] {
            let refusal = from(file, &environment).expect_err(file);
            assert!(!refusal.contains("deep"), "{refusal}");
        }
    }

    #[test]
    fn a_database_url_is_kept_and_never_shown() {
        let config = from("", &[("TASKWARDEN_DATABASE", "postgres://u:hunter2@db/x")]).expect("good");
        assert_eq!(config.database.expose(), Some("postgres://u:hunter2@db/x"));
        let shown = format!("{config:?} {}", toml::to_string(&config).expect("it can be written"));
        assert!(!shown.contains("hunter2"), "{shown}");
        for bad in
            ["database = \"mysql://u:hunter2@db/x\"", "database = \"postgres://u:hunter2@db/x", "database = \"postgres://u:hunter2 @db\""]
        {
            let refusal = from(bad, &[]).expect_err(bad);
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
        assert_eq!(from("database = \"\"", &[]).expect("good").database.expose(), None);
    }

    #[test]
    fn unknown_keys_and_bad_values_are_named_with_their_origin() {
        for (file, environment, words) in [
            ("colour = 1", vec![], ["test.toml", "colour"]),
            ("[limits.ceilings]\nfeul = 1", vec![], ["test.toml", "feul"]),
            ("[queue]\nmax_attempts = 0", vec![], ["test.toml", "queue.max_attempts"]),
            ("[plugins.a]\nhttp = [{ origin = \"http://127.0.0.1:1\" }]", vec![], ["plugins.a.http", "private_addresses = true"]),
            ("[plugins.a]\nhttp = [{ origin = \"https://a.example/x\" }]", vec![], ["test.toml", "without a path"]),
            ("[plugins.a]\nchild_task_types = [\"a b\"]", vec![], ["test.toml", "\"*\" stands for every task type"]),
            ("", vec![("TASKWARDEN_LISTEM", "127.0.0.1:1")], ["TASKWARDEN_LISTEM", "listem"]),
            ("", vec![("TASKWARDEN_LISTEN", "nowhere")], ["TASKWARDEN_LISTEN", "socket address"]),
        ] {
            let refusal = from(file, &environment).expect_err(words[1]);
            assert!(words.iter().all(|word| refusal.contains(word)), "{refusal}");
        }
    }
}
