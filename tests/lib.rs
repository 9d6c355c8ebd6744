//! The tests live in `it/`. Here the documents are read: what they show as Rust compiles, but for fragments marked `ignore`.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/plugin-authors.md")]
struct PluginAuthors;
