import { asTraitscopeError, TraitscopeError } from '../errors.js'
import { EventLog } from '../events/event-log.js'
import { type WatchEvent, watchEventJson } from '../events/watch-events.js'
import type { Step } from '../trajectory/trajectory.js'
import { RunMemory } from './run-memory.js'

/** Events that wait for a disk; of more, only what a later watch cannot find out again. */
const MOST_UNLOGGED = 1000

/** Gets every event once it is logged; fulfilled when it has been dealt with. */
export type Tell = (event: WatchEvent) => Promise<void>

/**
 * What a watch of a run says: each event is logged, then remembered, then passed on, so that nobody is told what a kill would
 * undo. What is no news is not said again.
 */
export class RunJournal {
  #log: EventLog | undefined
  /** Events that are not logged yet. */
  #unlogged: WatchEvent[] = []
  /** How many of them there may be. */
  #room = MOST_UNLOGGED
  /** Events that will never be logged. */
  #dropped = 0
  /** What says so. */
  #told: WatchEvent | undefined
  #tail: Promise<unknown> = Promise.resolve()
  /** What was said last, by what it was about. */
  readonly #said = new Map<string, string>()
  #baseline: WatchEvent | undefined
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
    const stamped: WatchEvent = { ...event, ...this.#stamp() }
    if (event.type === 'baseline') this.#baseline = event
    const logged = (await this.#append(stamped)) ?? stamped
    this.memory.apply(watchEventJson(logged))
    await this.pass(logged)
  }

  async lose(step: Step, reason: string, adapterSha256?: string): Promise<void> {
    await this.tell({ type: 'lost', step, reason, ...(adapterSha256 && { adapterSha256 }) })
  }

  /** Says once that something fails, and again when it fails otherwise. */
  async fail(about: Step | 'look', error: TraitscopeError, retryMs?: number): Promise<void> {
    const of = about === 'look' ? {} : { step: about }
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
    if (this.#unlogged.length > 0) await this.#append()
  }

  /** One after the other. @returns the event as it is logged; undefined when it is not */
  #append(event?: WatchEvent): Promise<WatchEvent | undefined> {
    const done = this.#tail.then(async () => {
      if (this.#log === undefined) return undefined
      if (this.#unlogged.length >= this.#room) await this.#dropSome()
      if (event) this.#unlogged.push(event)
      return this.#write()
    })
    this.#tail = done.catch(() => {})
    return done
  }

  /**
   * A disk that stays full must not fill the memory too. Kept are the first event, which may have been written all the same, what
   * conditions the others are of, and what is still secured; checkpoints whose events are dropped are measured again by a later watch.
   */
  async #dropSome(): Promise<void> {
    const [first, ...waiting] = this.#unlogged
    const held = new Set(this.memory.secured.map(({ folder }) => folder))
    const kept = waiting.filter(
      (event) => event.type === 'baseline' || (event.type === 'secured' && held.has(event.folder)),
    )
    this.#dropped += waiting.filter((event) => event !== this.#told && !kept.includes(event)).length
    const why = `${this.#dropped} events could not be logged and are kept no longer: a watch that begins later measures again what they told of`
    const isFirst = this.#told === undefined
    this.#told = { type: 'error', error: new TraitscopeError('FILE_ACCESS', why), ...this.#stamp() }
    this.#unlogged = [first!, this.#told, ...kept]
    this.#room = Math.max(MOST_UNLOGGED, 2 * this.#unlogged.length)
    if (isFirst) await this.pass(this.#told)
  }

  /** @returns the last of those that wait; undefined when some still do */
  async #write(): Promise<WatchEvent | undefined> {
    let last: WatchEvent | undefined
    for (let mended = false; this.#log && this.#unlogged.length > 0; ) {
      try {
        last = await this.#log.append(this.#unlogged[0]!)
        this.#unlogged.shift()
      } catch (cause) {
        if (mended || !(await this.#mend(this.#log, cause))) return undefined
        mended = true
      }
    }
    this.isOver('log')
    if (this.#told) [this.#told, this.#dropped, this.#room] = [undefined, 0, MOST_UNLOGGED]
    return last
  }

  /** What is done about a log that cannot be written. @returns whether it can be now */
  async #mend(log: EventLog, cause: unknown): Promise<boolean> {
    let failure = asTraitscopeError(cause, `writing ${log.path}`)
    try {
      if (log.isBroken) {
        const { anew, found } = await log.reopen()
        this.#unlogged.splice(0, found)
        if (anew) await this.#beginAnew(log.path)
        return true
      }
    } catch (again) {
      failure = asTraitscopeError(again, `opening ${log.path}`)
    }
    const { code, message } = failure
    const isOver = code === 'FILE_VANISHED'
    if (isOver) {
      this.#log = undefined
      this.#unlogged = []
      await log.close()
    }
    if (!this.isNews('log', code)) return false
    const what = isOver ? 'events are logged no more' : 'events cannot be logged'
    const why = `${what}, and a watch that begins anew would not know of them: ${message}`
    await this.pass({ type: 'error', error: new TraitscopeError(code, why, { cause }), ...this.#stamp() })
    return false
  }

  /** A log that was removed begins with what a watch must know that finds it. */
  async #beginAnew(path: string): Promise<void> {
    const { resumed, secured } = this.memory
    const why = `${path} was removed, moved or emptied while the watch ran: it is begun anew, and a watch that begins later measures again what stood there alone`
    const event: WatchEvent = {
      type: 'error',
      error: new TraitscopeError('FILE_VANISHED', why),
      ...this.#stamp(),
    }
    const baseline = this.#baseline && { ...this.#baseline, ...(resumed && { resumed }), ...this.#stamp() }
    this.#unlogged.unshift(event, ...(baseline ? [baseline] : []), ...secured)
    await this.pass(event)
  }

  #stamp() {
    return { time: new Date().toISOString(), run: this.run }
  }

  async close(): Promise<void> {
    try {
      await this.catchUp()
      await this.#tail
    } finally {
      await this.#log?.close()
    }
  }
}
