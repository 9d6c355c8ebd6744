//! The least a plugin can do, for measuring what everything around it costs. A payload that is a number asks for that many rounds of
//! integer work first, for measuring what fuel costs.
#![cfg(target_family = "wasm")]
#![expect(unsafe_code, reason = "generated bindings cross the boundary by pointers")]

mod bindings {
    wit_bindgen::generate!({ world: "executor", path: "../../../wit" });
}

use bindings::{Failure, Task};

struct Noop;

impl bindings::Guest for Noop {
    fn execute(task: Task) -> Result<Vec<u8>, Failure> {
        let rounds = std::str::from_utf8(&task.payload).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        if rounds == 0 {
            return Ok(b"null".to_vec());
        }
        Ok(work(rounds).to_string().into_bytes())
    }
}

/// Marsaglia's xorshift, whose result depends on every round.
fn work(rounds: u64) -> u64 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

bindings::export!(Noop with_types_in bindings);
