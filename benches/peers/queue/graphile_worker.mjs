// graphile-worker for Node with a task that does nothing: 24 at once, a local queue of 500, ends written in batches.
//     PEER_POSTGRES=postgres://… node graphile_worker.mjs JOBS
import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import pg from 'pg'
import { waits } from './probe.mjs'

const jobs = Number(process.argv[2])
const concurrentJobs = 24
const pgPool = new pg.Pool({ connectionString: process.env.PEER_POSTGRES, max: concurrentJobs + 1 })
const utils = await makeWorkerUtils({ pgPool })
await utils.migrate()
const seconds = (since) => (performance.now() - since) / 1000

let start = performance.now()
for (let first = 0; first < jobs; first += 10000) {
  await utils.addJobs(Array.from({ length: Math.min(10000, jobs - first) }, (_, at) => ({ identifier: 'nothing', payload: { id: first + at } })))
}
const added = jobs / seconds(start)

let started
start = performance.now()
await run({
  pgPool,
  noHandleSignals: true,
  logger: new Logger(() => () => {}),
  taskList: { nothing: async () => { started?.(performance.now()) } },
  preset: { worker: { concurrentJobs, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
})
for (;;) {
  const { rows } = await pgPool.query('SELECT count(*)::int AS waiting FROM graphile_worker._private_jobs')
  if (rows[0].waiting === 0) break
  await new Promise((wake) => setTimeout(wake, 20))
}
const done = jobs / seconds(start)
const probed = await waits((id, resolve) => {
  started = resolve
  return utils.addJob('nothing', { id })
})
console.log(JSON.stringify({ added_per_s: Math.round(added), done_per_s: Math.round(done), ...probed }))
process.exit(0)
