import type { LoggedEvent } from './event-log.js'
import { EVENT_SCHEMA, type WatchEvent, watchEventJson } from './watch-events.js'

/** Numbers what no log has numbered, so that whoever follows a watch sees events as a log would have them. */
export class EventNumbers {
  readonly #last = new Map<string, number>()

  /** @returns undefined for an event that is about no run */
  take(event: WatchEvent): LoggedEvent | undefined {
    const { run, time = new Date().toISOString() } = event
    if (run === undefined) return undefined
    // What could not be logged has taken a number: that of the log may come a second time.
    const seq = Math.max(event.seq ?? 0, (this.#last.get(run) ?? 0) + 1)
    this.#last.set(run, seq)
    return { ...watchEventJson(event), schemaVersion: EVENT_SCHEMA, time, run, seq } as LoggedEvent
  }
}
