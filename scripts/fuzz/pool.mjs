import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const WORKER = fileURLToPath(new URL('worker.mjs', import.meta.url))
/** Seconds of the worker's own CPU time that a case may take: other programs on the machine do not stretch them. */
const HANG_CPU = 5
/** What waits for ever uses no CPU; a worker that starts does so within this too. */
const HANG_MS = 60_000
const MAX_RSS = 1024 ** 3
const POLL_MS = 200
/** Outcomes that input may have; all others are findings. */
export const EXPECTED = ['ok', 'error']

/** One worker process, started again whenever a case has ended it. */
export class FuzzWorker {
  #child
  #folder
  #stderr = ''

  /** @returns `{ outcome, detail?, notes }`; outcome is ok, error, exception, crash, hang or memory */
  async run(request) {
    this.#child ??= await this.#start()
    const child = this.#child
    this.#stderr = ''
    let notes = []
    const result = await new Promise((resolve) => {
      let deadline = Date.now() + HANG_MS
      let startedAt = Number.POSITIVE_INFINITY
      const finish = (outcome) => {
        clearInterval(poll)
        child.off('message', onMessage)
        child.off('exit', onExit)
        resolve(outcome)
      }
      const onMessage = (message) => {
        if (message.started === undefined) return finish(message)
        notes = message.started
        deadline = Date.now() + HANG_MS
        startedAt = cpuSeconds(child.pid)
      }
      const onExit = (code, signal) =>
        finish({ outcome: 'crash', detail: `${signal ?? `exit ${code}`}: ${this.#stderr.slice(0, 1500)}` })
      const poll = setInterval(() => {
        const rss = residentBytes(child.pid)
        if (rss > 2 * MAX_RSS) finish({ outcome: 'memory', detail: `${(rss / 2 ** 30).toFixed(2)} GiB` })
        else if (cpuSeconds(child.pid) - startedAt > HANG_CPU || Date.now() > deadline)
          finish({ outcome: 'hang' })
      }, POLL_MS)
      child.on('message', onMessage)
      child.on('exit', onExit)
      child.send(request)
    })
    const big = result.maxRss > MAX_RSS
    const outcome = big
      ? { outcome: 'memory', detail: `${(result.maxRss / 2 ** 30).toFixed(2)} GiB` }
      : result
    if (!EXPECTED.includes(outcome.outcome)) await this.close()
    return { ...outcome, notes }
  }

  async close() {
    const child = this.#child
    this.#child = undefined
    if (child && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    if (this.#folder) rmSync(this.#folder, { recursive: true, force: true })
  }

  async #start() {
    const child = fork(WORKER, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    child.stderr.on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-4000)
    })
    const [message] = await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => {
        throw new Error(`the fuzz worker did not start: ${this.#stderr}`)
      }),
    ])
    this.#folder = message.folder
    return child
  }
}

function residentBytes(pid) {
  return Number(statistics(pid, 'statm')?.split(' ')[1] ?? 0) * 4096
}

/** Of all threads, in user and system mode; the name before them may hold spaces. Linux counts in hundredths. */
function cpuSeconds(pid) {
  const fields = statistics(pid, 'stat')?.split(') ').at(-1).split(' ')
  return fields === undefined ? 0 : (Number(fields[11]) + Number(fields[12])) / 100
}

/** Undefined where there is no such process, or no /proc. */
function statistics(pid, name) {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return undefined
  }
}
