// BullMQ with a processor that does nothing, 100 at once.
//     PEER_REDIS_PORT=… node bullmq.mjs JOBS
import { Queue, Worker } from 'bullmq'

const jobs = Number(process.argv[2])
const connection = { host: '127.0.0.1', port: Number(process.env.PEER_REDIS_PORT), maxRetriesPerRequest: null }
const queue = new Queue('peer', { connection })
await queue.obliterate({ force: true })
const seconds = (since) => (performance.now() - since) / 1000

let start = performance.now()
for (let first = 0; first < jobs; first += 1000) {
  await queue.addBulk(Array.from({ length: Math.min(1000, jobs - first) }, (_, at) => ({
    name: 'nothing', data: { id: first + at }, opts: { removeOnComplete: true },
  })))
}
const added = jobs / seconds(start)

start = performance.now()
let done = 0
let started
await new Promise((all) => {
  const worker = new Worker('peer', async () => { started?.(performance.now()) }, { connection, concurrency: 100 })
  worker.on('completed', () => { if (++done >= jobs) all() })
})
const rate = jobs / seconds(start)
// One by one, to the idle worker.
const waits = []
for (let id = 0; id < 300; id++) {
  const added = performance.now()
  const start = new Promise((resolve) => { started = resolve })
  await queue.add('nothing', { id }, { removeOnComplete: true })
  waits.push((await start) - added)
  await new Promise((wake) => setTimeout(wake, 5))
}
waits.sort((a, b) => a - b)
const [p50, p99] = [0.5, 0.99].map((share) => Number(waits[Math.floor(waits.length * share)].toFixed(1)))
console.log(JSON.stringify({ added_per_s: Math.round(added), done_per_s: Math.round(rate), p50_ms: p50, p99_ms: p99 }))
process.exit(0)
