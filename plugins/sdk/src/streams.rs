//! Named byte streams in and out, as `std::io` knows them.

use std::io::{self, BufRead, Read, Write};

use crate::Failure;
use crate::host::{calls, trouble};

/// How much is asked of the host, or handed to it, in one call: each call costs fuel, each byte costs memory.
const CHUNK_BYTES: usize = 256 * 1024;

/// One input, read from front to back. Already buffered.
pub struct Input {
    reader: calls::Reader,
    chunk: Vec<u8>,
    used: usize,
}

/// The names of the task's inputs. Needs the capability `inputs`.
#[must_use]
pub fn input_names() -> Vec<String> {
    calls::input_names()
}

/// Opens the input called `name`. Needs the capability `inputs`.
///
/// # Errors
/// [`Failure::Invalid`] when the task came without it; [`Failure::Transient`] when the host has it and could not open it.
pub fn input(name: &str) -> Result<Input, Failure> {
    match calls::open(name) {
        Ok(reader) => Ok(Input { reader, chunk: Vec::new(), used: 0 }),
        Err(_) if !calls::input_names().iter().any(|known| known == name) => {
            Err(Failure::invalid(format!("the task has no input {name:?}; submit it with --input {name}=FILE")))
        }
        Err(reason) => Err(Failure::transient(format!("input {name:?}: {reason}"))),
    }
}

impl Input {
    /// Its size in bytes, where the host knows it in advance.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.reader.size()
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used >= self.chunk.len() {
            let max = u32::try_from(CHUNK_BYTES).unwrap_or(u32::MAX);
            self.chunk = self.reader.read(max).map_err(trouble)?;
            self.used = 0;
        }
        Ok(self.chunk.get(self.used..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.used = self.used.saturating_add(amount).min(self.chunk.len());
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut ready = self.fill_buf()?;
        let count = ready.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// One output, written from front to back. Buffered: call [`Output::finish`], or at least `flush`, to hear of errors.
pub struct Output {
    writer: calls::Writer,
    pending: Vec<u8>,
}

/// Starts the output called `name` (1 to 128 of `A-Z a-z 0-9 . _ -`), such as `("scores.csv", "text/csv")`. Needs the capability `outputs`.
///
/// # Errors
/// [`Failure::Permanent`] when the name is taken or not allowed.
pub fn output(name: &str, media_type: &str) -> Result<Output, Failure> {
    let writer = calls::create(name, media_type).map_err(|e| Failure::permanent(format!("output {name:?}: {e}")))?;
    Ok(Output { writer, pending: Vec::new() })
}

impl Output {
    /// Hands over what is still buffered.
    ///
    /// # Errors
    /// When the host could not keep it.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len().saturating_add(bytes.len()) > CHUNK_BYTES {
            self.flush()?;
        }
        if bytes.len() >= CHUNK_BYTES {
            self.writer.write(bytes).map_err(trouble)?;
        } else {
            self.pending.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.writer.write(&pending).map_err(trouble)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; those who care call `finish`.
        let _ = self.flush();
    }
}
