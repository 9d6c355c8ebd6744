//! A PostgreSQL for the length of one run: the system's own programs, a folder and a socket of its own, nothing on any port.
//!
//! A small shell guards it. It waits on a pipe that only this program holds open, so it stops the server and removes the folder whenever
//! this program is gone, however it ended.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::process;

/// Where Debian puts what is not on everybody's path.
const DEBIAN: &str = "/usr/lib/postgresql";
/// How long the server may take to start on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// `$1` is the folder, `$2` the program, the rest its arguments.
const GUARD: &str = r#"
folder=$1; shift
"$@" </dev/null >"$folder/log" 2>&1 &
server=$!
read -r _
kill -INT "$server" 2>/dev/null
wait "$server"
rm -rf "$folder"
"#;

/// What the tests need of durability is that it is there after kill -9 of any process, which the system's page cache sees to.
const TEST_SETTINGS: &str = "fsync=off\nfull_page_writes=off\nautovacuum=on\nshared_buffers=128MB\nmax_connections=400\n";
/// As an operator would find it: every commit is on the disk.
const BENCH_SETTINGS: &str = "fsync=on\nsynchronous_commit=on\nshared_buffers=1GB\nmax_wal_size=4GB\nmax_connections=100\n";

/// What it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Many small databases.
    Tests,
    /// Figures that hold elsewhere.
    Bench,
}

/// A running server.
pub(crate) struct Postgres {
    guard: Child,
    folder: PathBuf,
}

impl Postgres {
    /// Starts one.
    pub(crate) fn start(purpose: Purpose) -> anyhow::Result<Self> {
        let initdb = find("initdb").context("PostgreSQL's server programs are not installed (apt-get install postgresql)")?;
        let server = initdb.with_file_name("postgres");
        let folder = folder()?;
        let user = unprivileged()?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(&folder, Some(user), Some(group))?;
        }
        let as_user = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir("/").env_remove("PGDATA");
            if let Some((user, group)) = user {
                command.gid(group).uid(user);
            }
            command
        };
        let data = folder.join("data");
        let made = process::output(as_user(&initdb).arg("-D").arg(&data).args([
            "--username=taskwarden",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]));
        let settings = if purpose == Purpose::Bench { BENCH_SETTINGS } else { TEST_SETTINGS };
        let written = made.and_then(|_| {
            let path = data.join("postgresql.conf");
            let conf = std::fs::read_to_string(&path)?;
            Ok(std::fs::write(path, format!("{conf}\nlisten_addresses=''\nunix_socket_directories='{}'\n{settings}", folder.display()))?)
        });
        if let Err(error) = written {
            let _ = std::fs::remove_dir_all(&folder);
            return Err(error);
        }
        let guard = as_user(Path::new("/bin/sh"))
            .args(["-c", GUARD, "guard"])
            .arg(&folder)
            .arg(server)
            .arg("-D")
            .arg(&data)
            // Not in the group that Ctrl-C reaches: the guard acts when this program is gone, and not before.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("could not start PostgreSQL")?;
        let started = Self { guard, folder };
        started.wait()?;
        Ok(started)
    }

    fn wait(&self) -> anyhow::Result<()> {
        let begun = process::now();
        loop {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            if log.contains("ready to accept connections") {
                return Ok(());
            }
            if begun.elapsed() > START_MAX || log.contains("FATAL") {
                bail!("PostgreSQL did not start: {}", log.trim());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Of a database that is there for making others.
    pub(crate) fn url(&self) -> String {
        format!("postgres://taskwarden@localhost/postgres?host={}", self.folder.display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The guard's pipe closes, and it cleans up.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn find(program: &str) -> Option<PathBuf> {
    if let Some(path) = process::find(program) {
        return Some(path);
    }
    let versions = std::fs::read_dir(DEBIAN).ok()?.flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(program)).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop()
}

/// A new folder with a short name: a socket's path may not be longer than about a hundred characters.
fn folder() -> anyhow::Result<PathBuf> {
    for number in 0..1000 {
        let folder = std::env::temp_dir().join(format!("taskwarden-pg-{}-{number}", std::process::id()));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", folder.display())),
        }
    }
    bail!("cannot make a folder for PostgreSQL in {}", std::env::temp_dir().display())
}

/// The user and group to run as when this program is root, which initdb refuses to be.
fn unprivileged() -> anyhow::Result<Option<(u32, u32)>> {
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd")?;
    let ids = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).map(Some).context("there is no user postgres or nobody to run PostgreSQL as")
}
