//! A disk that is full.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::process::HostProcess;

/// Room for a database and compiled plugins, and little more.
const DISK: &str = "size=48m";

/// A small disk in memory, mounted for as long as this lives.
struct Disk(tempfile::TempDir);

impl Disk {
    /// Nothing where this process may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the host that used it may be on its way out.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Takes what room is left.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    let piece = vec![0; 1 << 16];
    while std::io::Write::write_all(&mut file, &piece).is_ok() {}
}

async fn post(host: &HostProcess, path: &str, body: Vec<u8>) -> (u16, Value) {
    let request = host.http.post(format!("{}{path}", host.base)).header("content-type", "application/json");
    let answer = request.body(body).send().await.expect("the host answers");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_507_until_there_is_room_and_costs_nothing_that_was_acknowledged() {
    let Some(disk) = Disk::mount() else {
        eprintln!("left out: this process may not mount a disk that it could fill");
        return;
    };
    let host = HostProcess::start(disk.path(), &[("TASKWARDEN_LOG__FILTER", "off")]);
    host.upload("echo").await;
    let filler = disk.path().join("filler");
    fill(&filler);
    // The log of the database has some room left of its own; what fits there is taken, and what is taken is kept.
    let task =
        |n: u32| json!({ "task_type": "echo", "run_at": "2099-01-01T00:00:00Z", "payload": { "n": n, "padding": "x".repeat(500_000) } });
    let mut acknowledged = Vec::new();
    let problem = loop {
        let n = u32::try_from(acknowledged.len()).expect("few");
        match post(&host, "/v1/tasks", task(n).to_string().into_bytes()).await {
            (201, body) => acknowledged.push(body["id"].as_str().expect("an id").to_owned()),
            (status, problem) => break (status, problem),
        }
    };
    assert_eq!((problem.0, problem.1["code"].as_str()), (507, Some("storage_full")), "{}", problem.1);
    assert_eq!(post(&host, "/v1/blobs", vec![b'x'; 4 << 20]).await.0, 507);
    assert_eq!(host.get("/healthz").await["status"], "ok");
    std::fs::remove_file(&filler).expect("room again");
    let (status, body) = post(&host, "/v1/tasks", task(1_000_000).to_string().into_bytes()).await;
    assert_eq!(status, 201, "{body}");
    for id in &acknowledged {
        assert_eq!(host.get(&format!("/v1/tasks/{id}")).await["state"], "scheduled");
    }
    assert_eq!(host.terminate(), Some(0));
}
