//! Clients of PostgreSQL that hold a connection each and do nothing with it, so that there is none left for the hosts. As much of the
//! protocol as that takes: <https://www.postgresql.org/docs/current/protocol-flow.html>.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// Version 3.0 of the protocol.
const PROTOCOL: u32 = 3 << 16;
/// A server with more connections than this was not set up to be crowded.
const CROWD_MAX: usize = 200;
const CUT_OFF: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'taskwarden'\0";

/// Gone, with their connections, when dropped.
pub(super) struct Crowd(Vec<UnixStream>);

impl Crowd {
    /// Takes every connection there is, cuts off the hosts, and takes what they had as well, as far as it is quicker than they are.
    pub(super) fn gather(socket: &Path) -> anyhow::Result<Self> {
        let mut crowd = Self(Vec::new());
        crowd.fill(socket)?;
        if let Some(first) = crowd.0.first_mut() {
            send(first, Some(b'Q'), CUT_OFF.as_bytes())?;
            // Ready after the start, and ready after the query.
            wait_until_ready(first)?;
            wait_until_ready(first)?;
        }
        crowd.fill(socket)?;
        Ok(crowd)
    }

    /// How many connections it holds.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn fill(&mut self, socket: &Path) -> anyhow::Result<()> {
        while let Some(connection) = connect(socket)? {
            self.0.push(connection);
            ensure!(self.len() <= CROWD_MAX, "the database takes more than {CROWD_MAX} connections");
        }
        Ok(())
    }
}

/// A connection, unless there are too many.
fn connect(socket: &Path) -> anyhow::Result<Option<UnixStream>> {
    let mut connection = UnixStream::connect(socket).context("PostgreSQL does not listen")?;
    let mut start = PROTOCOL.to_be_bytes().to_vec();
    start.extend_from_slice(b"user\0taskwarden\0database\0postgres\0application_name\0crowd\0\0");
    send(&mut connection, None, &start)?;
    match receive(&mut connection)? {
        // Authentication is done.
        (b'R', _) => Ok(Some(connection)),
        (b'E', text) if text.windows(6).any(|field| field == b"C53300") => Ok(None),
        (kind, text) => bail!("PostgreSQL answered {:?}: {}", char::from(kind), String::from_utf8_lossy(&text)),
    }
}

fn wait_until_ready(connection: &mut UnixStream) -> anyhow::Result<()> {
    loop {
        match receive(connection)? {
            (b'Z', _) => return Ok(()),
            (b'E', text) => bail!("PostgreSQL answered {}", String::from_utf8_lossy(&text)),
            _ => {}
        }
    }
}

/// A message: its kind, which the first one of all does not have, its length with the length itself, and what it says.
fn send(connection: &mut UnixStream, kind: Option<u8>, body: &[u8]) -> anyhow::Result<()> {
    let length = u32::try_from(body.len() + 4)?;
    let message: Vec<u8> = kind.into_iter().chain(length.to_be_bytes()).chain(body.iter().copied()).collect();
    Ok(connection.write_all(&message)?)
}

fn receive(connection: &mut UnixStream) -> anyhow::Result<(u8, Vec<u8>)> {
    let (mut kind, mut length) = ([0], [0; 4]);
    connection.read_exact(&mut kind)?;
    connection.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length))?.checked_sub(4).context("a message shorter than its own length")?;
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    let [kind] = kind;
    Ok((kind, body))
}
