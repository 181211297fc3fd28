import { asTraitscopeError, TraitscopeError } from '../errors.js'
import { EventLog } from '../events/event-log.js'
import { type WatchEvent, watchEventJson } from '../events/watch-events.js'
import type { Step } from '../trajectory/trajectory.js'
import { RunMemory } from './run-memory.js'

/** Gets every event once it is logged; fulfilled when it has been dealt with. */
export type Tell = (event: WatchEvent) => Promise<void>

/**
 * What a watch of a run says: each event is logged, then remembered, then passed on, so that nobody is told what a kill would
 * undo. What is no news is not said again.
 */
export class RunJournal {
  readonly #log: EventLog | undefined
  /** Events that could not be logged yet. */
  readonly #unlogged: WatchEvent[] = []
  /** What was said last, by what it was about. */
  readonly #said = new Map<string, string>()
  lost = 0

  private constructor(
    readonly run: string,
    readonly memory: RunMemory,
    log: EventLog | undefined,
    private readonly pass: Tell,
  ) {
    this.#log = log
  }

  /**
   * @param state folder of the log; undefined for none
   * @throws TraitscopeError as `EventLog.open`
   */
  static async open(
    run: string,
    state: string | undefined,
    { conditions, tell }: { conditions: string; tell: Tell },
  ): Promise<RunJournal> {
    const memory = new RunMemory(conditions)
    const log = state === undefined ? undefined : await EventLog.open(state, run, (one) => memory.apply(one))
    return new RunJournal(run, memory, log, tell)
  }

  async tell(event: WatchEvent): Promise<void> {
    if (event.type === 'lost') this.lost++
    const stamped: WatchEvent = { ...event, time: new Date().toISOString(), run: this.run }
    const logged = (await this.#append(stamped)) ?? stamped
    this.memory.apply(watchEventJson(logged))
    await this.pass(logged)
  }

  async lose(step: Step, reason: string, adapterSha256?: string): Promise<void> {
    await this.tell({ type: 'lost', step, reason, ...(adapterSha256 && { adapterSha256 }) })
  }

  /** Says once that something fails, and again when it fails otherwise. */
  async fail(about: Step | 'look' | 'secure', error: TraitscopeError, retryMs?: number): Promise<void> {
    const of = about === 'look' || about === 'secure' ? {} : { step: about }
    if (!this.isNews(`error ${about}`, error.message)) return
    await this.tell({ type: 'error', ...of, error, ...(retryMs === undefined ? {} : { retryMs }) })
  }

  /** Whether something else was said about this, or nothing; it counts as said then. */
  isNews(about: string, what: string): boolean {
    if (this.#said.get(about) === what) return false
    this.#said.set(about, what)
    return true
  }

  /** What was said about this is over: the same would be news again. True when something was. */
  isOver(about: string): boolean {
    return this.#said.delete(about)
  }

  /** Logs what could not be logged, such as on a full disk. */
  async catchUp(): Promise<void> {
    while (this.#log && this.#unlogged.length > 0) {
      try {
        await this.#log.append(this.#unlogged[0]!)
        this.#unlogged.shift()
      } catch {
        return
      }
    }
    this.isOver('log')
  }

  async #append(event: WatchEvent): Promise<WatchEvent | undefined> {
    if (this.#log === undefined) return undefined
    await this.catchUp()
    try {
      if (this.#unlogged.length === 0) return await this.#log.append(event)
      this.#unlogged.push(event)
    } catch (cause) {
      this.#unlogged.push(event)
      const { code, message } = asTraitscopeError(cause, `writing ${this.#log.path}`)
      if (!this.isNews('log', code)) return undefined
      const why = `events cannot be logged, and a watch that begins anew would not know of them: ${message}`
      const error = new TraitscopeError(code, why, { cause })
      await this.pass({ type: 'error', error, time: new Date().toISOString(), run: this.run })
    }
    return undefined
  }

  async close(): Promise<void> {
    await this.catchUp()
    await this.#log?.close()
  }
}
