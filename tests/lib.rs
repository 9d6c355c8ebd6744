//! Nothing to see: the tests live in `it/`.
