//! A plugin that calls WASI as an ordinary program would: files below what it was granted (and above it), printing, leaving,
//! waiting, asking for the network. The payload says which.
#![cfg(target_family = "wasm")]
#![expect(unsafe_code, reason = "generated bindings cross the boundary by pointers")]

wit_bindgen::generate!({ path: ["../../../wit", "wit"], world: "test:wasi/guest", generate_all });

use wasi::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

struct WasiGuest;

export!(WasiGuest);

#[derive(serde::Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Payload {
    /// Which directories there are.
    Directories {},
    /// The text of a file below the first directory.
    Read { path: String },
    /// Makes a file below the first directory.
    Write { path: String, text: String },
    /// Makes a symbolic link below the first directory.
    Link { to: String, path: String },
    /// Prints to standard output and standard error.
    Print { text: String },
    /// Prints without end.
    PrintFlood {},
    /// Leaves in the middle.
    Exit { ok: bool },
    /// Environment and arguments.
    Environment {},
    /// Seconds since 1970.
    Now {},
    /// Waits for an hour.
    Sleep {},
    /// How many random bytes it got.
    Random { bytes: u64 },
    /// Moves so many bytes in one of the ways there are, with a file named `moved` below the first directory; looks at none of them.
    Move { how: String, bytes: u64 },
    /// Looks up a host's address.
    Resolve { name: String },
}

impl Guest for WasiGuest {
    fn execute(task: Task) -> Result<Vec<u8>, Failure> {
        let payload: Payload = serde_json::from_slice(&task.payload).map_err(|error| Failure::Invalid(error.to_string()))?;
        let said = follow(payload).map_err(Failure::Permanent)?;
        serde_json::to_vec(&said).map_err(|error| Failure::Permanent(error.to_string()))
    }
}

fn follow(payload: Payload) -> Result<serde_json::Value, String> {
    let refused = |code: ErrorCode| code.name().to_owned();
    Ok(match payload {
        Payload::Directories {} => {
            wasi::filesystem::preopens::get_directories().into_iter().map(|(_, name)| name).collect::<Vec<_>>().into()
        }
        Payload::Read { path } => {
            let flags = DescriptorFlags::READ;
            let file = root()?.open_at(PathFlags::SYMLINK_FOLLOW, &path, OpenFlags::empty(), flags).map_err(refused)?;
            String::from_utf8_lossy(&file.read(65_536, 0).map_err(refused)?.0).into_owned().into()
        }
        Payload::Write { path, text } => {
            let flags = DescriptorFlags::WRITE;
            let file = root()?.open_at(PathFlags::SYMLINK_FOLLOW, &path, OpenFlags::CREATE, flags).map_err(refused)?;
            file.write(text.as_bytes(), 0).map_err(refused)?.into()
        }
        Payload::Link { to, path } => {
            root()?.symlink_at(&to, &path).map_err(refused)?;
            true.into()
        }
        Payload::Print { text } => {
            let streams = [wasi::cli::stdout::get_stdout(), wasi::cli::stderr::get_stderr()];
            for stream in &streams {
                stream.blocking_write_and_flush(text.as_bytes()).map_err(|_| "the stream is closed".to_owned())?;
            }
            true.into()
        }
        Payload::PrintFlood {} => {
            let stream = wasi::cli::stdout::get_stdout();
            loop {
                stream.blocking_write_and_flush(&[b'a'; 4_096]).map_err(|_| "the stream is closed".to_owned())?;
            }
        }
        Payload::Exit { ok } => {
            wasi::cli::exit::exit(if ok { Ok(()) } else { Err(()) });
            "exit returned".into()
        }
        Payload::Environment {} => {
            let all = (wasi::cli::environment::get_environment().len(), wasi::cli::environment::get_arguments().len());
            vec![all.0, all.1].into()
        }
        Payload::Now {} => wasi::clocks::wall_clock::now().seconds.into(),
        Payload::Sleep {} => {
            wasi::clocks::monotonic_clock::subscribe_duration(3_600_000_000_000).block();
            true.into()
        }
        Payload::Random { bytes } => wasi::random::random::get_random_bytes(bytes).len().into(),
        Payload::Move { how, bytes } => {
            let file = root()?.open_at(PathFlags::empty(), "moved", OpenFlags::CREATE, DescriptorFlags::READ | DescriptorFlags::WRITE);
            moved(&file.map_err(refused)?, &how, bytes)?.into()
        }
        Payload::Resolve { name } => {
            let network = wasi::sockets::instance_network::instance_network();
            match wasi::sockets::ip_name_lookup::resolve_addresses(&network, &name) {
                Ok(_) => "resolved".into(),
                Err(code) => return Err(code.name().to_owned()),
            }
        }
    })
}

fn root() -> Result<Descriptor, String> {
    let first = wasi::filesystem::preopens::get_directories().into_iter().next();
    first.map(|(directory, _)| directory).ok_or_else(|| "no directory was granted".to_owned())
}

/// What the standard allows in one blocking write.
const CHUNK: u64 = 4_096;

/// The most that is moved in one way.
const BYTES_MAX: usize = 64 << 10;

/// How many bytes were moved.
fn moved(file: &Descriptor, how: &str, bytes: u64) -> Result<u64, String> {
    let (code, closed) = (|code: ErrorCode| code.name().to_owned(), |_| "the stream is closed".to_owned());
    let (from, to) = (file.read_via_stream(0).map_err(code)?, file.write_via_stream(0).map_err(code)?);
    let in_chunks = |step: &dyn Fn(u64) -> Result<u64, String>| {
        let mut done = 0;
        while done < bytes {
            done += step((bytes - done).min(CHUNK))?;
        }
        Ok(done)
    };
    // As large whatever is asked for, so that making it costs the same.
    let zeroes = vec![0; BYTES_MAX];
    let some = |len: u64| zeroes.get(..usize::try_from(len).unwrap_or(usize::MAX)).ok_or("too much for one move");
    match how {
        "write" => file.write(some(bytes)?, 0).map_err(code),
        "read" => Ok(file.read(bytes, 0).map_err(code)?.0.len() as u64),
        "write stream" => in_chunks(&|len| to.blocking_write_and_flush(some(len)?).map_err(closed).map(|()| len)),
        "write zeroes" => in_chunks(&|len| to.blocking_write_zeroes_and_flush(len).map_err(closed).map(|()| len)),
        "read stream" => in_chunks(&|len| Ok(from.blocking_read(len).map_err(closed)?.len() as u64)),
        "skip" => in_chunks(&|len| from.blocking_skip(len).map_err(closed)),
        "splice" => in_chunks(&|len| to.blocking_splice(&from, len).map_err(closed)),
        "random" => Ok(wasi::random::random::get_random_bytes(bytes).len() as u64),
        other => Err(format!("there is no way {other:?} to move bytes")),
    }
}
