// pg-boss with a handler that does nothing: batches of 500, four fetchers, fetching on while batches come back full.
//     PEER_POSTGRES=postgres://… node pg_boss.mjs JOBS
import { PgBoss } from 'pg-boss'

const jobs = Number(process.argv[2])
const boss = new PgBoss({ connectionString: process.env.PEER_POSTGRES, max: 20, supervise: false, schedule: false })
boss.on('error', (error) => console.error(error.message))
await boss.start()
await boss.createQueue('peer')
const seconds = (since) => (performance.now() - since) / 1000

let start = performance.now()
for (let first = 0; first < jobs; first += 1000) {
  await boss.insert('peer', Array.from({ length: Math.min(1000, jobs - first) }, (_, at) => ({ data: { id: first + at } })))
}
const added = jobs / seconds(start)

start = performance.now()
await boss.work('peer', { batchSize: 500, localConcurrency: 4, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true }, async () => {})
for (;;) {
  const { rows } = await boss.getDb().executeSql("SELECT count(*)::int AS done FROM pgboss.job WHERE state = 'completed'")
  if (rows[0].done >= jobs) break
  await new Promise((wake) => setTimeout(wake, 20))
}
console.log(JSON.stringify({ added_per_s: Math.round(added), done_per_s: Math.round(jobs / seconds(start)) }))
process.exit(0)
