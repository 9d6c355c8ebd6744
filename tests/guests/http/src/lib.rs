//! A plugin that sends requests, as its payload says: decently, or without end.
#![cfg(target_family = "wasm")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use taskwarden_plugin::http::Request;
use taskwarden_plugin::{Failure, Plugin, Task};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Payload {
    /// One request, and its answer.
    Send {
        method: String,
        url: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
        #[serde(default)]
        body: String,
        timeout_ms: Option<u64>,
    },
    /// The same request without end.
    Flood { url: String },
    /// Bytes without end, in one request after another.
    Upload { url: String, bytes: usize },
}

#[derive(Serialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

struct HttpGuest;

impl Plugin for HttpGuest {
    type Payload = Payload;
    type Output = Answer;

    fn execute(_task: &Task, payload: Payload) -> Result<Answer, Failure> {
        match payload {
            Payload::Send { method, url, headers, body, timeout_ms } => {
                let mut request = Request::new(&method, &url).body(body);
                for (name, value) in headers {
                    request = request.header(&name, &value);
                }
                if let Some(timeout_ms) = timeout_ms {
                    request = request.timeout(Duration::from_millis(timeout_ms));
                }
                let answer = request.send()?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                Ok(Answer {
                    status: answer.status,
                    headers: answer.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
                    body: text(&answer.body),
                })
            }
            Payload::Flood { url } => loop {
                // Whatever comes of it: a guest that attacks does not look.
                let _ = Request::get(&url).send();
            },
            Payload::Upload { url, bytes } => loop {
                let _ = Request::post(&url).body(vec![b'x'; bytes]).send();
            },
        }
    }
}

taskwarden_plugin::export!(HttpGuest);
