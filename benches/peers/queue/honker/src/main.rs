//! honker on SQLite at `synchronous=FULL`: jobs added, then jobs claimed and acknowledged, per second, at several sizes of batch.
//!
//!     cargo run --release -- JOBS FOLDER

use std::time::Instant;

use honker::{Database, EnqueueOpts, QueueOpts};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let jobs: i64 = arguments.next().and_then(|text| text.parse().ok()).expect("the number of jobs");
    let folder = std::path::PathBuf::from(arguments.next().expect("a folder on the disk that is to be measured"));
    let mut best = (0.0_f64, 0.0_f64);
    for batch in [32, 128, 512] {
        let path = folder.join(format!("honker-{batch}.db"));
        let path = path.to_str().expect("a path in UTF-8");
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{path}{suffix}"));
        }
        let database = Database::open(path).expect("a database");
        database.with_conn(|conn| conn.execute_batch("PRAGMA synchronous=FULL")).expect("a setting");
        let queue = database.queue("peer", QueueOpts::default());
        let start = Instant::now();
        for first in (0..jobs).step_by(usize::try_from(batch).expect("a size")) {
            let transaction = database.transaction().expect("a transaction");
            for id in first..(first + batch).min(jobs) {
                queue.enqueue_tx(&transaction, &serde_json::json!({ "id": id }), EnqueueOpts::default()).expect("a job is added");
            }
            transaction.commit().expect("a commit");
        }
        let added = jobs as f64 / start.elapsed().as_secs_f64();
        let (start, mut done) = (Instant::now(), 0);
        while done < jobs {
            let ids: Vec<i64> = queue.claim_batch("worker", batch).expect("a claim").iter().map(|job| job.id).collect();
            done += queue.ack_batch(&ids, "worker").expect("an acknowledgement");
        }
        let done = jobs as f64 / start.elapsed().as_secs_f64();
        eprintln!("honker, batches of {batch}: {added:.0} added, {done:.0} done a second");
        best = (best.0.max(added), best.1.max(done));
    }
    println!("{{\"added_per_s\": {:.0}, \"done_per_s\": {:.0}}}", best.0, best.1);
}
