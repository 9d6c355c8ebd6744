// BullMQ with a processor that does nothing, 100 at once.
//     PEER_REDIS_PORT=… node bullmq.mjs JOBS
import { Queue, Worker } from 'bullmq'
import { waits } from './probe.mjs'

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
const probed = await waits((id, resolve) => {
  started = resolve
  return queue.add('nothing', { id }, { removeOnComplete: true })
})
console.log(JSON.stringify({ added_per_s: Math.round(added), done_per_s: Math.round(rate), ...probed }))
process.exit(0)
