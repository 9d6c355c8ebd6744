"""The same join and the same classes with DuckDB: loads both files, joins by the charge, classifies, counts.

    python3 benches/peers/reconcile_duckdb.py FOLDER [--threads N] [--write]

With --write it also writes what the plugin writes: one file of breaks and one of matches, sorted.
"""

import argparse
import json
import pathlib
import resource
import time

import duckdb

CLASSIFY = """
CREATE TABLE classified AS
WITH numbered AS (
    SELECT *, row_number() OVER (PARTITION BY id ORDER BY created, source, amount) AS nth FROM stripe
), joined AS (
    SELECT l.source AS left_source, s.source AS right_source, s.id, l.amount AS left_amount, s.amount AS right_amount,
           l.fee AS left_fee, s.fee AS right_fee, s.net
    FROM ledger l FULL OUTER JOIN (SELECT * FROM numbered WHERE nth = 1) s ON l.source = s.source
)
SELECT *, CASE
    WHEN right_source IS NULL THEN 'missing_in_stripe'
    WHEN left_source IS NULL THEN 'missing_in_ledger'
    WHEN net <> right_amount - right_fee THEN 'net_mismatch'
    WHEN abs(right_amount - left_amount) = 1 THEN 'rounding'
    WHEN right_amount > left_amount THEN 'amount_over'
    WHEN right_amount < left_amount THEN 'amount_under'
    WHEN right_fee <> left_fee THEN 'fee_mismatch'
    ELSE 'matched' END AS class
FROM joined
UNION ALL
SELECT NULL, source, id, NULL, amount, NULL, fee, net, 'duplicate_in_stripe' FROM numbered WHERE nth > 1
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--threads", type=int)
    arguments.add_argument("--write", action="store_true")
    arguments = arguments.parse_args()
    begun = time.perf_counter()
    database = duckdb.connect()
    if arguments.threads:
        database.execute(f"SET threads TO {arguments.threads}")
    for name in ("ledger", "stripe"):
        database.execute(f"CREATE TABLE {name} AS SELECT * FROM read_csv('{arguments.folder / name}.csv', header = true)")
    loaded = time.perf_counter()
    database.execute(CLASSIFY)
    counts = dict(database.execute("SELECT class, count(*) FROM classified GROUP BY class").fetchall())
    joined = time.perf_counter()
    if arguments.write:
        for name, condition in (("breaks", "class <> 'matched'"), ("matches", "class = 'matched'")):
            target = arguments.folder / f"duckdb-{name}.csv"
            order = "coalesce(left_source, right_source)"
            database.execute(f"COPY (SELECT * FROM classified WHERE {condition} ORDER BY {order}) TO '{target}' (HEADER)")
    written = time.perf_counter()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "load_s": loaded - begun, "join_s": joined - loaded, "write_s": written - joined, "total_s": written - begun,
        "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024, "counts": counts,
    }))


if __name__ == "__main__":
    main()
