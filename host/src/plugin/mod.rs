//! What a plugin says of itself: its manifest, how that travels inside the `.wasm`, and which tasks it takes. Pure.

mod manifest;
mod pattern;

pub use manifest::{Capability, Manifest, ManifestError};
pub use pattern::{ModelPattern, Specificity};
