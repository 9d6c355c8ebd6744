// How long jobs that are added one by one to an idle worker wait for their start.

const PROBES = 300

/** `add(id, started)` adds one job, whose handler calls `started` with the time. Milliseconds: `{ p50_ms, p99_ms }`. */
export async function waits(add) {
  const found = []
  for (let id = 0; id < PROBES; id++) {
    const added = performance.now()
    let started
    const start = new Promise((resolve) => { started = resolve })
    await add(id, started)
    found.push((await start) - added)
    await new Promise((wake) => setTimeout(wake, 5))
  }
  found.sort((a, b) => a - b)
  const at = (share) => Number(found[Math.floor(found.length * share)].toFixed(1))
  return { p50_ms: at(0.5), p99_ms: at(0.99) }
}
