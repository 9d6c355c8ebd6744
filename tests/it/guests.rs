//! The guests that the tests run: components built by `cargo xtask plugins`, and small ones written as text.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use taskwarden::limits::{Limit, LimitSet, Limits};
use taskwarden::runtime::ports::{MemoryInputs, Ports};
use taskwarden::runtime::{Grants, Job};
use taskwarden::task::TaskId;
use tokio_util::sync::CancellationToken;

/// A built component, such as `echo`.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("TASKWARDEN_GUESTS").map_or_else(beside_this_program, PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test`, which builds the guests first", path.display()))
}

/// `<target>/wasm`, seen from `<target>/debug/deps/it-…`.
fn beside_this_program() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    program.ancestors().nth(3).expect("it lies in a target folder").join("wasm")
}

/// A guest written as text. A core module is given the section that says which world it is for, as `wit-bindgen` would.
pub(crate) fn text(name: &str) -> Vec<u8> {
    let path = root().join("tests/guests/wat").join(name).with_extension("wat");
    from_text(&std::fs::read_to_string(path).expect("the guest's text"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The same from the text itself.
pub(crate) fn from_text(text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    if text.lines().any(|line| line.starts_with("(module")) {
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_dir(root().join("wit")).expect("good WIT");
        let world = resolve.select_world(&[package], Some("executor")).expect("the world");
        wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8).expect("embedded");
    }
    module
}

/// A job with everything at its default.
pub(crate) fn job(payload: &str) -> Job {
    Job {
        id: TaskId::new(),
        task_type: "test".parse().expect("a type"),
        ai_model: None,
        attempt: 1,
        max_attempts: 3,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        idempotency_key: None,
        limits: Limits::defaults(),
        grants: Arc::new(Grants::default()),
        ports: Ports::in_memory(MemoryInputs::default()),
        cancel: CancellationToken::new(),
    }
}

/// The default limits with some replaced.
pub(crate) fn limits(replaced: &[(Limit, u64)]) -> Limits {
    Limits::defaults().overridden_by(&LimitSet(replaced.iter().copied().collect()))
}
