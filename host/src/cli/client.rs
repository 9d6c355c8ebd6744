//! Talking to a running host over its HTTP API, for the verbs that need one.

use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::config::ClientEnvironment;

const DEFAULT_SERVER: &str = "http://127.0.0.1:7710";

/// Which host to talk to.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerArgs {
    /// The host's address [default: $TASKWARDEN_SERVER, else http://127.0.0.1:7710]
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
    /// A file that holds the token [default: $TASKWARDEN_TOKEN holds the token itself]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<std::path::PathBuf>,
}

/// A client of one host.
pub(super) struct Client {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
}

impl Client {
    /// Reads where the host is and who we are; does not connect yet.
    ///
    /// # Errors
    /// When the token file cannot be read.
    pub(super) fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        let environment = ClientEnvironment::read();
        let token = match &args.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the token file {}", path.display()))?;
                Some(text.trim().to_owned())
            }
            None => environment.token,
        };
        let server = args.server.clone().or(environment.server).unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        Ok(Self { http: reqwest::Client::builder().build()?, server: server.trim_end_matches('/').to_owned(), token })
    }

    /// A request to `path`, with the token.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.server));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request; an answer that is not a success becomes an error in the host's own words.
    ///
    /// # Errors
    /// When the host cannot be reached or says no.
    pub(super) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = request.send().await.with_context(|| {
            format!("cannot reach {}; start a host with `taskwarden serve`, or name one with --server or TASKWARDEN_SERVER", self.server)
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let problem: Value = answer.json().await.unwrap_or_default();
        let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (title, detail, code) = (text("title"), text("detail"), text("code"));
        let said = if detail.is_empty() { title } else { detail };
        let hint = if code == "unauthorized" { "; put a token in TASKWARDEN_TOKEN or name a --token-file" } else { "" };
        bail!("the host answered {status}: {said} [{code}]{hint}")
    }

    /// Uploads a file as a blob, streamed from disk; its id.
    ///
    /// # Errors
    /// When the file cannot be read or the host says no.
    pub(super) async fn upload(&self, file: &Path) -> anyhow::Result<String> {
        let opened = tokio::fs::File::open(file).await.with_context(|| format!("cannot read {}", file.display()))?;
        let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(opened, 256 * 1024));
        let request = self.request(Method::POST, "/v1/blobs").header("content-type", "application/octet-stream").body(body);
        let answer: Value = self.send(request).await?.json().await?;
        let id = answer.get("blob").and_then(Value::as_str).context("the host did not say which blob it made")?;
        Ok(id.to_owned())
    }
}
