//! `taskwarden submit`: one task to a running host.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::arguments::{name_and_value, payload};
use super::client::{Client, ServerArgs};
use super::show;

/// Arguments of `taskwarden submit`.
#[derive(Debug, Args)]
pub(super) struct SubmitArgs {
    /// What kind of work it is
    #[arg(long, value_name = "TYPE")]
    task_type: String,
    /// The AI model it is meant for
    #[arg(long, value_name = "MODEL")]
    ai_model: Option<String>,
    /// critical, high, normal, low or background [default: the task type's]
    #[arg(long)]
    priority: Option<String>,
    /// The payload: JSON, or @FILE to read it from a file
    #[arg(long, value_name = "JSON|@FILE")]
    payload: Option<String>,
    /// A file to upload and hand to the plugin under a name; may be repeated
    #[arg(long = "input", value_name = "NAME=FILE", value_parser = name_and_value)]
    inputs: Vec<(String, String)>,
    /// A limit lower than would hold anyway; may be repeated
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = name_and_value)]
    limits: Vec<(String, String)>,
    /// A label to find it by; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// For whom it is
    #[arg(long)]
    tenant: Option<String>,
    /// Repeating a submission with the same key does not repeat the task
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    run_at: Option<String>,
    /// Attempts it gets
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Wait for the end, show progress, print the result; the exit code is 0 only when it succeeded
    #[arg(long)]
    wait: bool,
    /// Print the task as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// The body of the request.
#[derive(Serialize)]
struct Body {
    #[serde(flatten)]
    fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
}

/// Submits, and waits if asked to.
///
/// # Errors
/// When the host cannot be reached or refuses.
pub(super) fn run(args: SubmitArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(submit(args))
}

async fn submit(args: SubmitArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.server)?;
    let body = body(&client, &args).await?;
    let task: Value = client.send(client.request(Method::POST, "/v1/tasks").json(&body)).await?.json().await?;
    let id = text(&task, "id").context("the host did not say which task it made")?.to_owned();
    if !args.wait {
        if args.json {
            println!("{}", serde_json::to_string_pretty(&task)?);
        } else {
            println!("{id}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let task = wait(&client, &id).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&task)?);
    } else {
        show::ended_task(&task);
    }
    Ok(if text(&task, "state") == Some("succeeded") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn body(client: &Client, args: &SubmitArgs) -> anyhow::Result<Body> {
    let payload = args.payload.as_deref().map(payload).transpose()?;
    let mut body = Map::new();
    body.insert("task_type".to_owned(), json!(args.task_type));
    let optional = [
        ("ai_model", &args.ai_model),
        ("priority", &args.priority),
        ("tenant", &args.tenant),
        ("idempotency_key", &args.idempotency_key),
        ("run_at", &args.run_at),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(attempts) = args.max_attempts {
        body.insert("max_attempts".to_owned(), json!(attempts));
    }
    if !args.tags.is_empty() {
        body.insert("tags".to_owned(), json!(args.tags));
    }
    let mut limits = Map::new();
    for (name, value) in &args.limits {
        let Ok(value) = value.parse::<u64>() else { bail!("--limit {name}={value}: the value is a whole number") };
        limits.insert(name.clone(), json!(value));
    }
    if !limits.is_empty() {
        body.insert("limits".to_owned(), Value::Object(limits));
    }
    let mut inputs = Map::new();
    for (name, file) in &args.inputs {
        let blob = client.upload(&PathBuf::from(file)).await?;
        inputs.insert(name.clone(), json!({ "blob": blob }));
    }
    if !inputs.is_empty() {
        body.insert("inputs".to_owned(), Value::Object(inputs));
    }
    Ok(Body { fields: body, payload })
}

/// Waits for a final state; draws the guest's own progress reports meanwhile.
async fn wait(client: &Client, id: &str) -> anyhow::Result<Value> {
    let bar = ProgressBar::new(1000);
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{bar:40}] {percent:>3}% {elapsed} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message("waiting for a slot");
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let ended = tokio::select! {
        ended = long_poll(client, id) => ended,
        // Without the events there is no progress to draw, but the task can still be waited for.
        () = follow(client, id, &bar) => long_poll(client, id).await,
    };
    bar.finish_and_clear();
    ended
}

async fn long_poll(client: &Client, id: &str) -> anyhow::Result<Value> {
    loop {
        let request = client.request(Method::GET, &format!("/v1/tasks/{id}?wait=30s"));
        let task: Value = client.send(request).await?.json().await?;
        if matches!(text(&task, "state"), Some("succeeded" | "failed" | "cancelled")) {
            return Ok(task);
        }
    }
}

/// Draws events until the stream ends.
async fn follow(client: &Client, id: &str, bar: &ProgressBar) {
    let request = client.request(Method::GET, &format!("/v1/events?task={id}")).header("accept", "text/event-stream");
    let Ok(answer) = client.send(request).await else { return };
    let mut chunks = answer.bytes_stream();
    let mut rest = String::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        rest.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((line, after)) = rest.split_once('\n') {
            if let Some(event) = line.strip_prefix("data:").and_then(|data| serde_json::from_str::<Value>(data.trim()).ok()) {
                draw(&event, bar);
            }
            rest = after.to_owned();
        }
    }
}

fn draw(event: &Value, bar: &ProgressBar) {
    if let Some(fraction) = event.get("fraction").and_then(Value::as_f64) {
        // Within 0 to 1000 once clamped.
        bar.set_position((fraction.clamp(0.0, 1.0) * 1000.0) as u64);
        bar.set_message(text(event, "note").unwrap_or_default().to_owned());
    } else if let Some(state) = text(event, "state") {
        bar.set_message(state.to_owned());
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}
