import { basename } from 'node:path'
import { EventReader, type LoggedEvent } from '../events/event-log.js'
import type { WatchedRun } from '../events/state-folder.js'
import { RunSummary } from './run-summary.js'

/** Of the past, which waits in memory for each client that reads slowly. */
const PIECE = 1 << 17

/** One run that is followed. */
interface Followed {
  summary: RunSummary
  reader: EventReader
  folder: string
}

/**
 * What somebody who listens gets: the events of one look, of one run, in order; `isAnew` where they are of another log, such as
 * after the state was removed, whose numbers begin again.
 */
export type FeedListener = (id: string, events: readonly LoggedEvent[], isAnew: boolean) => void

/**
 * Follows the logs of watched runs, whoever writes them, and tells listeners what is new. Only summaries are kept in memory;
 * whoever wants old events reads them from the log again.
 */
export class RunFeed implements AsyncDisposable {
  readonly #followed = new Map<string, Followed>()
  readonly #listeners = new Set<FeedListener>()
  readonly #list: () => Promise<readonly WatchedRun[]>
  readonly #onError: (error: unknown) => void
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined
  #isClosed = false

  /**
   * @param list the runs to follow, asked anew at every look
   * @param onError a log that cannot be read; it is tried again
   * @param everyMs between two looks, default 500
   */
  constructor(list: () => Promise<readonly WatchedRun[]>, onError: (error: unknown) => void, everyMs = 500) {
    this.#list = list
    this.#onError = onError
    const next = () => {
      if (this.#isClosed) return
      void this.look().finally(() => {
        if (!this.#isClosed) this.#timer = setTimeout(next, everyMs)
      })
    }
    next()
  }

  get runs(): RunSummary[] {
    return [...this.#followed.values()].map(({ summary }) => summary)
  }

  run(id: string): RunSummary | undefined {
    return this.#followed.get(id)?.summary
  }

  /** Calls a listener with all events that are logged from now on. @returns how to stop it */
  listen(listener: FeedListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * The events of a run after a number, from its log, in parts of about {@link PIECE} bytes.
   *
   * @param upTo number of the last one
   */
  async *history(id: string, after: number, upTo: number): AsyncGenerator<LoggedEvent[]> {
    const followed = this.#followed.get(id)
    if (!followed) return
    const reader = new EventReader(followed.folder, PIECE)
    while (reader.seq < upTo) {
      const events = await reader.next(after)
      if (events.length === 0) return
      yield events.filter(({ seq }) => seq <= upTo)
    }
  }

  /** Looks at all logs now; those who wait for it get what is new first. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#looking
  }

  async #look(): Promise<void> {
    try {
      for (const { run, folder } of await this.#list()) {
        const id = basename(folder)
        const known = this.#followed.get(id)
        const followed = known ?? {
          summary: new RunSummary(id, run),
          reader: new EventReader(folder),
          folder,
        }
        this.#followed.set(id, followed)
        await this.#read(followed).catch(this.#onError)
      }
    } catch (error) {
      this.#onError(error)
    }
  }

  async #read(followed: Followed): Promise<void> {
    for (;;) {
      const events = await followed.reader.next()
      if (events.length === 0) return
      const { id, run, seq } = followed.summary
      const isAnew = events[0]!.seq <= seq
      if (isAnew) followed.summary = new RunSummary(id, run)
      for (const event of events) followed.summary.take(event)
      for (const listener of this.#listeners) listener(id, events, isAnew)
    }
  }
}
