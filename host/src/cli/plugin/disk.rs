//! The inputs of `plugin run`: files, read as the guest asks for them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::runtime::ports::{InputPort, InputStream, PortError, no_such_input};

/// Named files.
pub(super) struct DiskInputs(pub(super) BTreeMap<String, PathBuf>);

#[async_trait]
impl InputPort for DiskInputs {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn open(&self, name: &str) -> Result<Box<dyn InputStream>, PortError> {
        let path = self.0.get(name).ok_or_else(|| no_such_input(name, &self.names()))?;
        // Only the file's name on the host goes to the operator's eyes; the guest learns that reading failed.
        let file = File::open(path).map_err(|error| format!("the input {name:?} cannot be opened: {}", error.kind()))?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file);
        Ok(Box::new(DiskStream { file: Arc::new(file), size_bytes: metadata.map(|metadata| metadata.len()) }))
    }
}

struct DiskStream {
    file: Arc<File>,
    /// Unknown for pipes, which are read until they end.
    size_bytes: Option<u64>,
}

#[async_trait]
impl InputStream for DiskStream {
    fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    /// On a thread that may block: a pipe gives nothing for as long as its writer likes.
    async fn read(&mut self, max_bytes: u32) -> Result<Bytes, PortError> {
        let file = Arc::clone(&self.file);
        let read = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
            let mut piece = Vec::with_capacity(usize::try_from(max_bytes).unwrap_or(0));
            file.take(u64::from(max_bytes)).read_to_end(&mut piece)?;
            Ok(piece)
        });
        let piece = read.await.unwrap_or_else(|error| Err(error.into()));
        piece.map(Bytes::from).map_err(|error| format!("the input cannot be read: {}", error.kind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_in_pieces_and_a_missing_one_is_named_without_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret-place.csv");
        std::fs::write(&path, b"12345").expect("written");
        let missing = folder.path().join("secret-missing.csv");
        let inputs = DiskInputs([("series".to_owned(), path), ("gone".to_owned(), missing)].into());
        let mut stream = inputs.open("series").await.expect("opens");
        assert_eq!(stream.size_bytes(), Some(5));
        let mut pieces = Vec::new();
        for _ in 0..3 {
            pieces.push(stream.read(3).await.expect("reads"));
        }
        assert_eq!(pieces, [&b"123"[..], b"45", b""]);
        let refusal = inputs.open("gone").await.err().expect("cannot open");
        assert!(refusal.contains("gone") && !refusal.contains("secret"), "{refusal}");
    }
}
