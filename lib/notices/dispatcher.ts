import { setTimeout as sleep } from 'node:timers/promises'
import { type Channel, Undelivered } from './channel.js'
import { isAtLeast, type Notice, type NoticeLevel } from './notice.js'

/** How the delivery of a notice ended. */
export interface Delivery {
  notice: Notice
  channel: string
  isDelivered: boolean
  tries: number
  /** Why it was not delivered. */
  reason?: string
}

export interface DispatcherOptions {
  /** Notices below this level are not sent; default `warn`. */
  least?: NoticeLevel | undefined
  /** Called once for a notice that did not go through at first and is tried again. */
  onDelay?: ((delay: Omit<Delivery, 'isDelivered' | 'tries'>) => void) | undefined
  /** Called when it is settled, in the order of each channel. */
  onDelivery?: ((delivery: Delivery) => void) | undefined
  /** The first pause between two tries, in ms, default 2000; each further one is twice as long, up to five minutes. */
  retryMs?: number | undefined
}

const LONGEST_PAUSE_MS = 300_000

/**
 * Sends notices through channels, each channel its own in order, and never makes the watch wait: a channel that is down holds
 * back its own notices alone.
 */
export class Dispatcher {
  readonly #channels: readonly Channel[]
  readonly #options: DispatcherOptions
  readonly #stop = new AbortController()
  readonly #queues: Promise<void>[]
  #hurry = new AbortController()

  constructor(channels: readonly Channel[], options: DispatcherOptions = {}) {
    this.#channels = channels
    this.#options = options
    this.#queues = channels.map(() => Promise.resolve())
  }

  /** @param isWanted of a notice that is not for everybody: for whom it is */
  send(notice: Notice, isWanted: (channel: Channel) => boolean = () => true): void {
    if (!isAtLeast(notice.level, this.#options.least ?? 'warn')) return
    this.#through(notice, (channel) => isWanted(channel) && channel.accepts?.(notice) !== false)
  }

  /** Sends it to a trainer alone. */
  request(notice: Notice): void {
    this.#through(notice, (channel) => channel.requests?.(notice) === true)
  }

  #through(notice: Notice, isWanted: (channel: Channel) => boolean): void {
    for (const [i, channel] of this.#channels.entries()) {
      // Asked when its turn comes: what it takes may hang on how the one before ended.
      this.#queues[i] = this.#queues[i]!.then(() =>
        isWanted(channel) ? this.#deliver(channel, notice) : undefined,
      )
    }
  }

  /**
   * Waits until all is settled; what is left after so long is given up, and said. A channel that minds no signal takes its own time
   * over the notice that it has.
   */
  async close(graceMs = 15_000): Promise<void> {
    // Whoever ends does not wait for long pauses: one more try each.
    this.#hurry.abort()
    const timer = setTimeout(() => this.#stop.abort(), graceMs)
    await Promise.all(this.#queues)
    clearTimeout(timer)
  }

  async #deliver(channel: Channel, notice: Notice): Promise<void> {
    let pause = this.#options.retryMs ?? 2000
    for (let tries = 1; ; tries++) {
      const failure = await this.#try(channel, notice)
      const settled = { notice, channel: channel.name, tries }
      if (failure === undefined) return this.#options.onDelivery?.({ ...settled, isDelivered: true })
      const isLast = failure.isFinal || tries >= channel.tries || this.#hurry.signal.aborted
      if (isLast || this.#stop.signal.aborted) {
        return this.#options.onDelivery?.({ ...settled, isDelivered: false, reason: failure.message })
      }
      if (tries === 1) this.#options.onDelay?.({ notice, channel: channel.name, reason: failure.message })
      const asked = Math.min(failure.retryAfterMs ?? pause, LONGEST_PAUSE_MS)
      await sleep(asked, undefined, { signal: this.#hurry.signal, ref: true }).catch(() => {})
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
    }
  }

  async #try(channel: Channel, notice: Notice): Promise<Undelivered | undefined> {
    if (this.#stop.signal.aborted) return new Undelivered('the watch has ended', { isFinal: true })
    try {
      await channel.send(notice, this.#stop.signal)
      return undefined
    } catch (error) {
      return error instanceof Undelivered ? error : new Undelivered((error as Error).message)
    }
  }
}
