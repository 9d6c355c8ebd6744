//! Fuel for the bytes that WASI moves: streams, random bytes, and files read and written at an offset.
//!
//! The calls are those of wasmtime-wasi; here they are taken over one by one, charged for and passed on. What a call moves without showing it
//! to the guest (zeroes, what is skipped, what goes from one stream to another) costs the same: the host has the work all the same.

use wasmtime::StoreContextMut;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types::{self, ErrorCode, HostDescriptor as _};
use wasmtime_wasi::p2::bindings::random::{insecure, random};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, FsResult, StreamError, StreamResult};
use wasmtime_wasi::random::WasiRandomCtx;
use wasmtime_wasi_io::bindings::wasi::io::streams;

use super::RANDOM_BYTES_MAX;
use crate::runtime::guest::Guest;
use crate::runtime::meter::{Meter, to_u64};

/// By this name and version wasmtime-wasi links it.
const FILESYSTEM: &str = "wasi:filesystem/types@0.2.12";

/// What a file read or written at an offset answers with.
type Answer<T> = (Result<T, ErrorCode>,);

/// Streams whose bytes are charged for.
struct Streams<'a> {
    table: &'a mut ResourceTable,
    meter: &'a mut Meter,
}

impl Streams<'_> {
    /// Charges for what an answer of bytes or of a number of bytes says was moved.
    fn charged<T>(&mut self, answer: StreamResult<T>, bytes: impl FnOnce(&T) -> u64) -> StreamResult<T> {
        if let Ok(moved) = &answer {
            self.meter.charge_bytes(usize::try_from(bytes(moved)).unwrap_or(usize::MAX));
        }
        answer
    }

    /// Charges for bytes that are about to be written.
    fn charge(&mut self, bytes: u64) {
        self.meter.charge_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
}

struct HasStreams;

impl HasData for HasStreams {
    type Data<'a> = Streams<'a>;
}

impl streams::Host for Streams<'_> {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        streams::Host::convert_stream_error(self.table, error)
    }
}

fn length(bytes: &[u8]) -> u64 {
    to_u64(bytes.len())
}

impl streams::HostInputStream for Streams<'_> {
    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        let answer = streams::HostInputStream::read(self.table, stream, len);
        self.charged(answer, |bytes| length(bytes))
    }

    async fn blocking_read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        let answer = streams::HostInputStream::blocking_read(self.table, stream, len).await;
        self.charged(answer, |bytes| length(bytes))
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        let answer = streams::HostInputStream::skip(self.table, stream, len);
        self.charged(answer, |skipped| *skipped)
    }

    async fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        let answer = streams::HostInputStream::blocking_skip(self.table, stream, len).await;
        self.charged(answer, |skipped| *skipped)
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostInputStream::subscribe(self.table, stream)
    }

    async fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        streams::HostInputStream::drop(self.table, stream).await
    }
}

impl streams::HostOutputStream for Streams<'_> {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        streams::HostOutputStream::check_write(self.table, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.charge(length(&bytes));
        streams::HostOutputStream::write(self.table, stream, bytes)
    }

    async fn blocking_write_and_flush(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.charge(length(&bytes));
        streams::HostOutputStream::blocking_write_and_flush(self.table, stream, bytes).await
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        self.charge(len);
        streams::HostOutputStream::write_zeroes(self.table, stream, len)
    }

    async fn blocking_write_zeroes_and_flush(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        self.charge(len);
        streams::HostOutputStream::blocking_write_zeroes_and_flush(self.table, stream, len).await
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        streams::HostOutputStream::flush(self.table, stream)
    }

    async fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        streams::HostOutputStream::blocking_flush(self.table, stream).await
    }

    fn splice(&mut self, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        let answer = streams::HostOutputStream::splice(self.table, to, from, len);
        self.charged(answer, |moved| *moved)
    }

    async fn blocking_splice(&mut self, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        let answer = streams::HostOutputStream::blocking_splice(self.table, to, from, len).await;
        self.charged(answer, |moved| *moved)
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostOutputStream::subscribe(self.table, stream)
    }

    async fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        streams::HostOutputStream::drop(self.table, stream).await
    }
}

/// Random bytes that are charged for.
struct Random<'a> {
    random: &'a mut WasiRandomCtx,
    meter: &'a mut Meter,
}

/// The call is counted here, as the other calls of WASI are where they get their context.
fn random_of(guest: &mut Guest) -> Random<'_> {
    guest.meter.count_call();
    let wasi = guest.wasi.get_or_insert_with(|| super::bare(&guest.log, &guest.clock).build());
    Random { random: wasi.random(), meter: &mut guest.meter }
}

impl Random<'_> {
    /// More than the most that one call may ask for is refused by the call itself.
    fn charge(&mut self, bytes: u64) {
        self.meter.charge_bytes(usize::try_from(bytes.min(RANDOM_BYTES_MAX)).unwrap_or(usize::MAX));
    }
}

struct HasRandom;

impl HasData for HasRandom {
    type Data<'a> = Random<'a>;
}

impl random::Host for Random<'_> {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.charge(len);
        random::Host::get_random_bytes(self.random, len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        random::Host::get_random_u64(self.random)
    }
}

impl insecure::Host for Random<'_> {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.charge(len);
        insecure::Host::get_insecure_random_bytes(self.random, len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        insecure::Host::get_insecure_random_u64(self.random)
    }
}

/// What the guest is told of a file's answer.
fn told<T>(guest: &mut Guest, answer: FsResult<T>) -> wasmtime::Result<Answer<T>> {
    match answer {
        Ok(answer) => Ok((Ok(answer),)),
        Err(error) => Ok((Err(types::Host::convert_error_code(&mut guest.filesystem(), error)?),)),
    }
}

async fn read(guest: &mut Guest, file: Resource<Descriptor>, len: u64, offset: u64) -> wasmtime::Result<Answer<(Vec<u8>, bool)>> {
    let answer = guest.filesystem().read(file, len, offset).await;
    if let Ok((bytes, _)) = &answer {
        guest.meter.charge_bytes(bytes.len());
    }
    told(guest, answer)
}

async fn write(guest: &mut Guest, file: Resource<Descriptor>, bytes: Vec<u8>, offset: u64) -> wasmtime::Result<Answer<u64>> {
    guest.meter.charge_bytes(bytes.len());
    let answer = guest.filesystem().write(file, bytes, offset).await;
    told(guest, answer)
}

/// Takes those calls over from what is linked already.
///
/// # Errors
/// When something is linked under these names that is of another kind.
pub(super) fn take_over(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    streams::add_to_linker::<_, HasStreams>(linker, |guest| {
        guest.meter.count_call();
        Streams { table: &mut guest.table, meter: &mut guest.meter }
    })?;
    random::add_to_linker::<_, HasRandom>(linker, random_of)?;
    insecure::add_to_linker::<_, HasRandom>(linker, random_of)?;
    let mut files = linker.instance(FILESYSTEM)?;
    files.func_wrap_async(
        "[method]descriptor.read",
        |mut store: StoreContextMut<'_, Guest>, (file, len, offset): (Resource<Descriptor>, u64, u64)| {
            Box::new(async move { read(store.data_mut(), file, len, offset).await })
        },
    )?;
    files.func_wrap_async(
        "[method]descriptor.write",
        |mut store: StoreContextMut<'_, Guest>, (file, bytes, offset): (Resource<Descriptor>, Vec<u8>, u64)| {
            Box::new(async move { write(store.data_mut(), file, bytes, offset).await })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
