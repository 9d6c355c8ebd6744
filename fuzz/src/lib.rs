//! What the fuzz targets run. The same functions run over `seeds/` as an ordinary test, so that they cannot rot.

#[path = "../../tests/it/fuzzed/entries.rs"]
mod entries;

pub use entries::{reconcile_csv, signature_header, stripe_event, stripe_file};
