//! The plugins inside this binary: name and artifact. Empty in a binary built by plain cargo; `cargo xtask` builds them in.

const BUILT_IN: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// Every built-in plugin, in the order in which they are loaded.
#[must_use]
pub fn built_in() -> &'static [(&'static str, &'static [u8])] {
    BUILT_IN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_webassembly_and_named_once() {
        let mut names: Vec<_> = built_in().iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), built_in().len());
        assert!(built_in().iter().all(|(_, artifact)| artifact.starts_with(b"\0asm")));
    }
}
