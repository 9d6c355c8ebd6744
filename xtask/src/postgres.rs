//! A PostgreSQL for the length of one run: the system's own programs, a folder and a socket of its own, nothing on any port.
//!
//! A small shell guards it. It waits on a pipe that only this program holds open, so it stops the server and removes the folder whenever
//! this program is gone, however it ended.

use std::io::{Read as _, Write as _};
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

/// `$1` is the folder, `$2` the program, the rest its arguments. It does what it is told line by line: the name of a signal stops the
/// server, `start` starts it again. The end of its input is the end of everything.
const GUARD: &str = r#"
folder=$1; shift
start() { "$@" </dev/null >>"$folder/log" 2>&1 & server=$!; }
stop() { kill -"$1" "$server" 2>/dev/null; wait "$server"; }
start "$@"
while read -r word; do
    case $word in
        start) start "$@" ;;
        *) stop "$word"; echo stopped ;;
    esac
done
stop INT
rm -rf "$folder"
"#;

/// What the tests need of durability is that it is there after kill -9 of any process, which the system's page cache sees to.
const TEST_SETTINGS: &str = "fsync=off\nfull_page_writes=off\nautovacuum=on\nshared_buffers=128MB\nmax_connections=400\n";
/// As an operator would find it: every commit is on the disk.
const BENCH_SETTINGS: &str = "fsync=on\nsynchronous_commit=on\nshared_buffers=1GB\nmax_wal_size=4GB\nmax_connections=100\n";
/// So few connections that clients can hold all of them, and none kept back.
const SOAK_SETTINGS: &str = "fsync=off\nfull_page_writes=off\nshared_buffers=64MB\nmax_connections=64\nsuperuser_reserved_connections=0\n";

/// What it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Many small databases.
    Tests,
    /// Figures that hold elsewhere.
    Bench,
    /// To be stopped, started and crowded.
    Soak,
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Clients are cut off, what they had begun is rolled back, and everything is written.
    Fast,
    /// As if the power had gone: the next start recovers from the log.
    Immediate,
}

/// A running server.
pub(crate) struct Postgres {
    guard: Child,
    folder: PathBuf,
    /// How often it was started; its log says so as often that it is ready.
    starts: usize,
}

impl Postgres {
    /// Starts one.
    pub(crate) fn start(purpose: Purpose) -> anyhow::Result<Self> {
        let initdb = find_or_install("initdb")?;
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
        let settings = match purpose {
            Purpose::Tests => TEST_SETTINGS,
            Purpose::Bench => BENCH_SETTINGS,
            Purpose::Soak => SOAK_SETTINGS,
        };
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
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start PostgreSQL")?;
        let mut started = Self { guard, folder, starts: 1 };
        started.wait()?;
        Ok(started)
    }

    /// Stops the server and returns once it is gone.
    pub(crate) fn stop(&mut self, how: Stop) -> anyhow::Result<()> {
        self.tell(match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        })?;
        // The guard answers one line.
        let answer = self.guard.stdout.as_mut().context("the guard has no output")?;
        let mut line = [0; "stopped\n".len()];
        answer.read_exact(&mut line).context("the guard is gone")
    }

    /// Starts the server again and returns once it takes connections.
    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        self.starts += 1;
        self.tell("start")?;
        self.wait()
    }

    fn tell(&mut self, word: &str) -> anyhow::Result<()> {
        let guard = self.guard.stdin.as_mut().context("the guard has no input")?;
        writeln!(guard, "{word}").context("the guard is gone")
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let begun = process::now();
        loop {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            if log.matches("ready to accept connections").count() >= self.starts {
                return Ok(());
            }
            // Clients that come too early are told so with a FATAL of their own; at the first start there are none.
            if begun.elapsed() > START_MAX || (self.starts == 1 && log.contains("FATAL")) {
                bail!("PostgreSQL did not start: {}", log.trim());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
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

/// A machine on which this program may install packages gets what is missing.
fn find_or_install(program: &str) -> anyhow::Result<PathBuf> {
    const MISSING: &str = "PostgreSQL's server programs are not installed (apt-get install postgresql)";
    if let Some(path) = find(program) {
        return Ok(path);
    }
    let apt = process::find("apt-get").context(MISSING)?;
    if !is_root()? {
        bail!("{MISSING}, and only root may do that");
    }
    eprintln!("xtask: {MISSING}; installing them");
    let get = |words: &[&str]| {
        let mut command = Command::new(&apt);
        // Nobody answers questions here.
        command.args(["--quiet", "--yes"]).args(words).env("DEBIAN_FRONTEND", "noninteractive");
        process::output(&mut command)
    };
    let install = || get(&["install", "--no-install-recommends", "postgresql"]);
    // The lists of packages may be missing or old.
    if install().is_err() {
        get(&["update"]).and_then(|_| install()).context("PostgreSQL could not be installed")?;
    }
    find(program).with_context(|| format!("PostgreSQL was installed and {program} is still not there"))
}

fn is_root() -> anyhow::Result<bool> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
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
    if !is_root()? {
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_postgres_server_starts_stops_and_leaves_nothing() {
        let mut server = match Postgres::start(Purpose::Soak) {
            Ok(server) => server,
            Err(error) => {
                eprintln!("left out: {error:#}");
                return;
            }
        };
        let listens = |server: &Postgres| UnixStream::connect(server.socket()).is_ok();
        assert!(listens(&server));
        for how in [Stop::Fast, Stop::Immediate] {
            server.stop(how).expect("stopped");
            assert!(!listens(&server), "{how:?}");
            server.start_again().expect("started");
            assert!(listens(&server), "{how:?}");
        }
        let folder = server.folder.clone();
        drop(server);
        assert!(!folder.exists());
    }
}
