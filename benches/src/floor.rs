//! The least that SQLite must do for a queue: insert a batch, claim a batch, finish a batch, each in one transaction, with the
//! host's own settings, from one thread in the same process and nothing else.

use rusqlite::Connection;
use taskwarden::clock::{Clock as _, SystemClock};

use crate::Bench;

/// Tasks per second through insert, claim and finish in batches of `batch`.
pub(crate) fn tasks_per_second(bench: &Bench, batch: usize, tasks: usize) -> anyhow::Result<f64> {
    let folder = bench.folder(&format!("floor-{batch}"))?;
    let mut db = Connection::open(folder.join("floor.db"))?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
         CREATE TABLE ready (run_key INTEGER, seq INTEGER, payload TEXT, PRIMARY KEY (run_key, seq)) WITHOUT ROWID, STRICT;
         CREATE TABLE running (seq INTEGER PRIMARY KEY, run_key INTEGER, payload TEXT) STRICT;
         CREATE TABLE done (seq INTEGER PRIMARY KEY, run_key INTEGER, payload TEXT, result TEXT) STRICT;",
    )?;
    let clock = SystemClock::new();
    let mut seq = 0_i64;
    while usize::try_from(seq)? < tasks {
        let insert = db.transaction()?;
        {
            let mut statement = insert.prepare_cached("INSERT INTO ready VALUES (?1, ?2, ?3)")?;
            for _ in 0..batch {
                seq += 1;
                statement.execute((seq, seq, "{}"))?;
            }
        }
        insert.commit()?;

        let claim = db.transaction()?;
        let claimed: Vec<(i64, i64, String)> = {
            let mut statement = claim.prepare_cached("DELETE FROM ready WHERE (run_key, seq) IN (SELECT run_key, seq FROM ready ORDER BY run_key, seq LIMIT ?1) RETURNING run_key, seq, payload")?;
            let rows = statement.query_map([i64::try_from(batch)?], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        {
            let mut statement = claim.prepare_cached("INSERT INTO running VALUES (?1, ?2, ?3)")?;
            for (run_key, seq, payload) in &claimed {
                statement.execute((seq, run_key, payload))?;
            }
        }
        claim.commit()?;

        let finish = db.transaction()?;
        {
            let mut delete = finish.prepare_cached("DELETE FROM running WHERE seq = ?1")?;
            let mut insert = finish.prepare_cached("INSERT INTO done VALUES (?1, ?2, ?3, 'null')")?;
            for (run_key, seq, payload) in &claimed {
                delete.execute([seq])?;
                insert.execute((seq, run_key, payload))?;
            }
        }
        finish.commit()?;
    }
    Ok(seq as f64 / clock.monotonic().as_secs_f64())
}
