"""procrastinate with a task that does nothing, 20 at once.

    PEER_POSTGRES=postgres://… python procrastinate_peer.py JOBS
"""

import asyncio
import json
import logging
import os
import sys
import time

import procrastinate

logging.disable(logging.CRITICAL)
JOBS = int(sys.argv[1])
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["PEER_POSTGRES"], min_size=4, max_size=20))


@app.task(name="nothing")
async def nothing(number):
    pass


async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        start = time.perf_counter()
        for first in range(0, JOBS, 1000):
            await nothing.batch_defer_async(*[{"number": number} for number in range(first, min(first + 1000, JOBS))])
        added = time.perf_counter() - start
        start = time.perf_counter()
        await app.run_worker_async(wait=False, concurrency=20, install_signal_handlers=False)
        print(json.dumps({"added_per_s": round(JOBS / added), "done_per_s": round(JOBS / (time.perf_counter() - start))}))


asyncio.run(main())
