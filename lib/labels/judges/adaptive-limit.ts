import { abortedError, TraitscopeError } from '../../errors.js'

/** How many calls may run at once against somebody else's limit. */
export interface LimitOptions {
  /** Calls at once to begin with, and at most. */
  start?: number | undefined
  most?: number | undefined
  /** Pause after a refusal that does not say how long, in ms. */
  coolDownMs?: number | undefined
}

/**
 * How many calls run at once against somebody else's limit: twice as many after every round that went well until the first
 * refusal, one more afterwards; a refusal takes a fifth away and pauses all, once per episode.
 */
export class AdaptiveLimit {
  readonly #most: number
  readonly #coolDownMs: number
  #allowed: number
  #running = 0
  #well = 0
  #isSlowStart = true
  #pausedUntil = 0
  #waiting: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined

  constructor({ start = 8, most = 64, coolDownMs = 15_000 }: LimitOptions = {}) {
    if (!(Number.isInteger(most) && most >= 1))
      throw new TraitscopeError('USAGE', `expected at least one call at once (--judge-calls), found ${most}`)
    this.#most = most
    this.#allowed = Math.min(start, most)
    this.#coolDownMs = coolDownMs
  }

  /** Calls that may run at once now. */
  get allowed(): number {
    return Math.floor(this.#allowed)
  }

  /** Waits for a place, runs the call, and gives the place back. */
  async run<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#enter(signal)
    try {
      return await call()
    } finally {
      this.#running--
      this.#wake()
    }
  }

  /** A call went well. */
  succeeded(): void {
    if (++this.#well < this.allowed) return
    this.#well = 0
    this.#allowed = Math.min(this.#most, this.#isSlowStart ? 2 * this.#allowed : this.#allowed + 1)
    this.#wake()
  }

  /** A call was refused for being one too many. @param retryAfterMs as the other side says */
  refused(retryAfterMs?: number): void {
    const now = performance.now()
    const pause = retryAfterMs ?? this.#coolDownMs
    // Calls that were under way when the first was refused are the same episode.
    if (now >= this.#pausedUntil) {
      this.#isSlowStart = false
      this.#well = 0
      this.#allowed = Math.max(1, 0.8 * this.#allowed)
    }
    this.#pausedUntil = Math.max(this.#pausedUntil, now + pause)
  }

  /** The other side says that nothing is left for now: no call begins before. */
  pause(ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, performance.now() + ms)
  }

  async #enter(signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      if (signal?.aborted) throw abortedError(signal)
      if (this.#running < this.allowed && performance.now() >= this.#pausedUntil) break
      await new Promise<void>((resolve) => {
        const go = () => {
          signal?.removeEventListener('abort', go)
          resolve()
        }
        signal?.addEventListener('abort', go, { once: true })
        this.#waiting.push(go)
        this.#wake()
      })
    }
    this.#running++
  }

  #wake(): void {
    const left = this.#pausedUntil - performance.now()
    if (left > 0) {
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        this.#wake()
      }, left)
      return
    }
    const ready = this.#waiting.splice(0, Math.max(0, this.allowed - this.#running))
    for (const go of ready) go()
  }
}
