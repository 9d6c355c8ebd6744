//! What a plugin says of itself: its manifest, how that travels inside the `.wasm`, which tasks and payloads it takes. Pure.

mod manifest;
mod origin;
mod pack;
mod pattern;
mod schema;

pub use manifest::{Capability, Manifest, ManifestError};
pub use origin::{Origin, is_public};
pub use pack::{MANIFEST_BYTES_MAX, MANIFEST_SECTION, PackError, pack, unpack};
pub use pattern::{ModelPattern, Specificity};
pub use schema::{Misfit, PayloadSchema, SchemaError};
