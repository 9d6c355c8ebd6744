//! What a plugin says of itself: its manifest, how that travels inside the `.wasm`, and which tasks it takes. Pure.

mod manifest;
mod pack;
mod pattern;

pub use manifest::{Capability, Manifest, ManifestError};
pub use pack::{MANIFEST_BYTES_MAX, MANIFEST_SECTION, PackError, pack, unpack};
pub use pattern::{ModelPattern, Specificity};
