//! The API as a client sees it: a real server on a free port, the real store on disk, a real component behind the routes. Nothing
//! runs tasks here; where a test needs a task to end, it claims and finishes it through the store.

mod admin;
mod auth;
mod blobs;
mod events;
mod findings;
mod hostile;
mod income;
mod openapi;
mod payloads;
mod published_fixtures;
mod ratings;
mod schedules;
mod serving;
mod tasks;
mod webhooks;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use taskwarden::clock::{SharedClock, SystemClock, UnixMs};
use taskwarden::event::{Bells, EventBus, EventKind};
use taskwarden::http::{ApiConfig, ApiState, AuthMode, PluginAdmin, PluginChangeError, serve};
use taskwarden::limits::Limits;
use taskwarden::metrics::Metrics;
use taskwarden::plugin::{Manifest, pack, unpack};
use taskwarden::registry::{Code, Plugin, Registry};
use taskwarden::runtime::{Runtime, RuntimeConfig};
use taskwarden::store::sqlite::{SqliteOptions, SqliteStore};
use taskwarden::store::{AdminStore as _, ClaimRequest, ClaimedTask, Finish, PluginArtifact, Store, TaskStore as _};
use taskwarden::task::{LogLevel, LogLine, Next, Outcome, Output, Receipt, TaskState};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::guests;

/// A component that answers `null`, with a manifest in it.
fn artifact(manifest: &str) -> Vec<u8> {
    static BARE: OnceLock<Vec<u8>> = OnceLock::new();
    let bare = BARE.get_or_init(|| guests::text("noop"));
    pack(bare, &Manifest::parse(manifest).expect("a good manifest")).expect("packed")
}

/// One engine for all tests: each reserves address space for its pools.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Runtime::new(RuntimeConfig { concurrent_runs: 1, ..RuntimeConfig::default() }, SystemClock::shared()).expect("an engine")
    })
}

/// What `app` does when a plugin comes in, as far as these tests need it.
struct Installer {
    registry: Arc<Registry>,
    store: Arc<SqliteStore>,
}

#[async_trait]
impl PluginAdmin for Installer {
    async fn install(&self, artifact: Bytes) -> Result<Arc<Plugin>, PluginChangeError> {
        let refused = |why: String| PluginChangeError::Refused(why);
        let manifest = unpack(&artifact).map_err(|e| refused(e.to_string()))?.ok_or_else(|| refused("no manifest".to_owned()))?;
        let compiled = runtime().compile(&artifact, Some(&manifest), u64::MAX).map_err(|e| refused(e.to_string()))?;
        let (name, version, digest) = (manifest.name.clone(), manifest.version.to_string(), compiled.digest());
        let digest_hex = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let artifact_bytes = artifact.len() as u64;
        let plugin =
            Plugin { manifest, code: Code::Component(compiled), digest_hex, artifact_bytes, grants: Arc::default(), built_in: false };
        self.registry.insert(plugin).map_err(|tie| PluginChangeError::RouteTie(tie.to_string()))?;
        self.store.put_plugin(PluginArtifact { name: name.clone(), version, digest, bytes: artifact, uploaded_at: UnixMs(0) }).await?;
        Ok(Arc::clone(self.registry.snapshot().plugin(&name).expect("just inserted")))
    }

    async fn remove(&self, name: &str) -> Result<bool, PluginChangeError> {
        self.store.remove_plugin(name).await?;
        Ok(self.registry.remove(name).expect("fewer plugins cannot tie"))
    }
}

/// A running server and everything behind it.
struct Server {
    address: SocketAddr,
    client: reqwest::Client,
    store: Arc<SqliteStore>,
    events: EventBus,
    bells: Arc<Bells>,
    clock: SharedClock,
    ready: Arc<AtomicBool>,
    shutdown: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    folder: tempfile::TempDir,
}

impl Server {
    /// Open to this machine, with plugins for `echo` tasks and, with a payload schema, for `strict` ones.
    async fn start() -> Self {
        Self::start_with(SystemClock::shared(), |_| {}).await
    }

    async fn start_with(clock: SharedClock, edit: impl FnOnce(&mut ApiConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("tasks.db"), SqliteOptions::default()).await.expect("a store");
        let store = Arc::new(store);
        let registry = Arc::new(Registry::default());
        let plugins = Arc::new(Installer { registry: Arc::clone(&registry), store: Arc::clone(&store) });
        for manifest in [ECHO, STRICT] {
            plugins.install(artifact(manifest).into()).await.expect("installed");
        }
        let mut config = ApiConfig { auth: AuthMode::LoopbackOpen, ..ApiConfig::default() };
        config.stripe.secrets = vec![webhooks::secret("whsec_test_secret")];
        edit(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (events, bells, ready) = (EventBus::new(64), Arc::new(Bells::default()), Arc::new(AtomicBool::new(true)));
        let state = ApiState {
            store: Arc::clone(&store) as Arc<dyn Store>,
            registry,
            plugins,
            checkouts: None,
            events: events.clone(),
            bells: Arc::clone(&bells),
            clock: clock.clone(),
            metrics: Arc::new(Metrics::new()),
            config: Arc::new(config),
            ready: Arc::clone(&ready),
        };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, state, shutdown.clone()));
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { address, client, store, events, bells, clock, ready, shutdown, serving, folder }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::GET, path).send().await.expect("an answer")).await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        Reply::of(self.request(Method::POST, path).json(body).send().await.expect("an answer")).await
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Reply {
        Reply::of(self.request(method, path).json(body).send().await.expect("an answer")).await
    }

    /// Submits an `echo` task and gives its id back.
    async fn submit(&self, body: &Value) -> String {
        let reply = self.post("/v1/tasks", body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.body["id"].as_str().expect("an id").to_owned()
    }

    /// Takes the next task, as a host would.
    async fn claim(&self) -> ClaimedTask {
        let now = self.clock.now();
        self.store.heartbeat("h", now, now.plus(Duration::from_secs(60))).await.expect("alive");
        let request = ClaimRequest { host: "h".into(), now, max_tasks: 1, urgent_only: false };
        self.store.claim(request).await.expect("claimed").tasks.pop().expect("a task is ready")
    }

    /// Ends a task, as a host would, and says so.
    async fn finish(&self, task: &ClaimedTask, outcome: Outcome) {
        let state = self.record_end(task, outcome).await;
        let kind = EventKind::State { state, attempt: task.attempt, outcome: Some(outcome) };
        self.events.publish(self.clock.now(), task.id, &task.lane.task_type, task.lane.ai_model.as_ref(), kind);
    }

    /// Ends a task and says nothing.
    async fn record_end(&self, task: &ClaimedTask, outcome: Outcome) -> TaskState {
        let now = self.clock.now();
        let succeeded = outcome == Outcome::Succeeded;
        let state = if succeeded { TaskState::Succeeded } else { TaskState::Failed };
        let output = |name: &str, media_type: &str, bytes: &[u8]| Output {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            bytes: bytes.into(),
        };
        let finish = Finish {
            claim: task.claim,
            outcome,
            next: Next::Final(state),
            started_at: now,
            finished_at: now,
            result: succeeded.then(|| r#"{"n":  1}"#.into()),
            error: (!succeeded).then(|| "it went wrong".to_owned()),
            receipt: receipt(),
            service: taskwarden::task::fair::Service::from_micros(1),
            logs: vec![LogLine {
                at_ms: now,
                level: LogLevel::Info,
                message: "working".to_owned(),
                fields: vec![("n".into(), "1".into())],
            }],
            children: vec![],
            outputs: if succeeded { vec![output("page", "text/html", b"<script>"), output("table", "text/csv", b"a,b\n")] } else { vec![] },
        };
        self.store.finish(vec![finish]).await.expect("finished");
        state
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.expect("no panic").expect("an orderly end");
        self.store.close().await;
    }
}

fn receipt() -> Receipt {
    Receipt {
        fuel_used: 7,
        memory_peak_bytes: 65_536,
        queue_ms: 1,
        run_ms: 2,
        host_calls: 3,
        input_bytes: 4,
        output_bytes: 5,
        http_requests: 0,
        http_bytes: 0,
        child_tasks: 0,
        plugin: "echo".to_owned(),
        plugin_version: "1.0.0".to_owned(),
        plugin_digest: "00".repeat(32),
        host: "h".to_owned(),
        limits: Limits::defaults(),
    }
}

const ECHO: &str = "name = \"echo\"\nversion = \"1.0.0\"\ntask_types = [\"echo\", \"self_improvement\"]\n[limits]\nfuel = 5000\n";
const STRICT: &str = "name = \"strict\"\nversion = \"2.1.0\"\ntask_types = [\"strict\"]\nai_models = [\"claude-*\"]\n\
    [payload_schema]\ntype = \"object\"\nrequired = [\"n\"]\nproperties.n.type = \"integer\"\n";

/// An answer, read to its end.
struct Reply {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Reply {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.expect("a whole body");
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        Self { status, headers, body }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// That this is a problem document with this status, code and field.
    #[track_caller]
    fn is_problem(&self, status: u16, code: &str, field: Option<&str>) {
        assert_eq!((self.status, self.body["code"].as_str(), self.body["field"].as_str()), (status, Some(code), field), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(self.body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{}", self.body);
    }
}

fn echo() -> Value {
    json!({"task_type": "echo"})
}
