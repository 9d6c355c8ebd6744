//! The entry points of the fuzz targets over their seeds: what a fuzzer once had to find stays found, and the targets cannot rot.

#[expect(unreachable_pub, reason = "the fuzz targets use the same file from a crate of their own")]
mod entries;

use std::path::Path;

/// Runs an entry point over every seed of a target.
fn over_seeds(target: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut seeds = 0;
    for file in std::fs::read_dir(&folder).expect("seeds") {
        let path = file.expect("a file").path();
        println!("{}", path.display());
        entry(&std::fs::read(&path).expect("readable"));
        seeds += 1;
    }
    assert!(seeds > 0, "{} is empty", folder.display());
}

#[test]
fn signature_headers() {
    over_seeds("signature_header", entries::signature_header);
}

#[test]
fn stripe_events() {
    over_seeds("stripe_event", entries::stripe_event);
}

#[test]
fn stripe_files() {
    over_seeds("stripe_file", entries::stripe_file);
}

#[test]
fn reconciled_files() {
    over_seeds("reconcile_csv", entries::reconcile_csv);
}
