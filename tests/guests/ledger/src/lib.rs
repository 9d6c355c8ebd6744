//! A plugin whose effects can be counted: each attempt that gets as far as acting leaves a file of its own in the directory that was
//! granted, named by the task's idempotency key and the number of the attempt. It may have children.
#![cfg(target_family = "wasm")]
#![expect(unsafe_code, reason = "generated bindings cross the boundary by pointers")]

wit_bindgen::generate!({ path: ["../../../wit", "../wasi/wit"], world: "test:wasi/guest", generate_all });

use taskwarden::plugin::tasks;
use wasi::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

struct Ledger;

export!(Ledger);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    /// Turns of a loop before the effect, and as many after it.
    turns: u64,
    /// The task types of its children, which have nothing to do but to act.
    #[serde(default)]
    children: Vec<String>,
}

impl Guest for Ledger {
    fn execute(task: Task) -> Result<Vec<u8>, Failure> {
        let payload: Payload = serde_json::from_slice(&task.payload).map_err(|error| Failure::Invalid(error.to_string()))?;
        spin(payload.turns);
        // The key of a child has a slash in it.
        act(&format!("{}.{}", task.idempotency_key.replace('/', "-"), task.attempt)).map_err(Failure::Permanent)?;
        for (number, task_type) in payload.children.iter().enumerate() {
            submit(task_type, number).map_err(Failure::Permanent)?;
        }
        spin(payload.turns);
        Ok(task.attempt.to_string().into_bytes())
    }
}

fn submit(task_type: &str, number: usize) -> Result<String, String> {
    let payload = br#"{"turns":0}"#.to_vec();
    tasks::submit(&tasks::NewTask { task_type: task_type.to_owned(), ai_model: None, payload, key: number.to_string() })
}

fn spin(turns: u64) {
    let mut state = turns | 1;
    for _ in 0..turns {
        state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// An attempt that acts twice would be the host's fault, and is one: the file must be new.
fn act(name: &str) -> Result<(), String> {
    let (directory, _) = wasi::filesystem::preopens::get_directories().into_iter().next().ok_or("no directory was granted")?;
    let flags = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let made = directory.open_at(PathFlags::empty(), name, flags, DescriptorFlags::WRITE);
    made.map(drop).map_err(|code: ErrorCode| format!("{name}: {}", code.name()))
}
