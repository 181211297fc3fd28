import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const WORKER = fileURLToPath(new URL('worker.mjs', import.meta.url))
const HANG_MS = 5000
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
      let deadline = Date.now() + 6 * HANG_MS
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
      }
      const onExit = (code, signal) =>
        finish({ outcome: 'crash', detail: `${signal ?? `exit ${code}`}: ${this.#stderr.slice(0, 1500)}` })
      const poll = setInterval(() => {
        const rss = residentBytes(child.pid)
        if (rss > 2 * MAX_RSS) finish({ outcome: 'memory', detail: `${(rss / 2 ** 30).toFixed(2)} GiB` })
        else if (Date.now() > deadline) finish({ outcome: 'hang' })
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
  const path = `/proc/${pid}/statm`
  if (!existsSync(path)) return 0
  try {
    return Number(readFileSync(path, 'utf8').split(' ')[1]) * 4096
  } catch {
    return 0
  }
}
