//! The example objects that Stripe publishes beside the specification of its API, one of each kind. The file is Stripe's and no part of this
//! project: whoever has it names it, and the tests called `published_fixtures` run over it.

use serde_json::{Map, Value};

/// Names the file.
const FILE: &str = "TASKWARDEN_STRIPE_FIXTURES";

/// The objects, by their kind.
pub(crate) fn resources() -> Map<String, Value> {
    let path = std::env::var_os(FILE).unwrap_or_else(|| {
        panic!("{FILE} is the path of Stripe's fixtures3.json, from the folder openapi of the repository stripe/openapi; `cargo xtask test` leaves these tests out where it is not set")
    });
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{FILE} names {}: {error}", path.display()));
    let mut file: Map<String, Value> = serde_json::from_str(&text).expect("a JSON object");
    match file.remove("resources") {
        Some(Value::Object(resources)) => resources,
        other => panic!("{} has no object `resources`, but {other:?}", path.display()),
    }
}
