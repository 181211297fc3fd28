import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isTraitscopeError, TraitscopeError } from '../errors.js'
import { AppendLog, identityAt, identityOf } from '../formats/files/append-log.js'
import { errnoOf, fileError } from '../formats/files/file-errors.js'
import { namedPath } from '../formats/files/named-path.js'
import { EVENT_SCHEMA, type EventJson, type WatchEvent, watchEventJson } from './watch-events.js'

/** The log of a run, in the state folder of its watch. */
export const EVENTS_FILE = 'events.jsonl'

/** An event as it stands in a log. */
export type LoggedEvent = EventJson & { schemaVersion: number; time: string; run: string; seq: number }

/**
 * Everything that watches of one run have told, in a file that only grows: `events.jsonl`, a line per event, each on the disk
 * before anybody is told. One watch writes at a time; any number of readers may follow, see {@link EventReader}.
 */
export class EventLog implements AsyncDisposable {
  #log: AppendLog<LoggedEvent>
  readonly #run: string
  #seq: number
  #tail: Promise<unknown> = Promise.resolve()

  private constructor(log: AppendLog<LoggedEvent>, run: string, seq: number) {
    this.#log = log
    this.#run = run
    this.#seq = seq
  }

  /**
   * Opens the log of a run, or begins one, and repairs its end after a kill.
   *
   * @param folder the run's state folder
   * @param run the run's folder, which every event names
   * @param each called with every event of earlier watches, in order
   * @throws FILE_ACCESS when another watch writes it, or it cannot be written; FILE_INVALID for a damaged one, and for one
   * of another version
   */
  static async open(folder: string, run: string, each: (event: LoggedEvent) => void): Promise<EventLog> {
    let seq = 0
    const log = await openLog(join(folder, EVENTS_FILE), (event) => {
      seq = event.seq
      each(event)
    })
    return new EventLog(log, run, seq)
  }

  /** True when writing fails for good, until {@link reopen}. */
  get isBroken(): boolean {
    return this.#log.broken !== undefined || this.#log.isClosed
  }

  /**
   * Opens the file again, or makes it anew where it was removed, moved or emptied. Numbers go on.
   *
   * @returns whether it was made anew, and how many events are in it beyond the last one that was appended: their appending has
   * failed, but not before they were written
   * @throws FILE_VANISHED when another file has its name, or somebody else has written to it; as {@link open}
   */
  async reopen(): Promise<{ anew: boolean; found: number }> {
    const { path, identity, broken } = this.#log
    const there = await identityAt(path)
    const isOther = there !== undefined && there.identity !== identity
    const isLost = isTraitscopeError(broken, 'FILE_VANISHED')
    // An empty file holds nothing of anybody: whoever rotates logs leaves one.
    if (there && !there.isEmpty) {
      if (isOther)
        throw new TraitscopeError(
          'FILE_VANISHED',
          `expected ${path} to be as it was left, found another file`,
        )
      if (isLost) throw broken
    }
    await this.#log.close()
    const before = this.#seq
    this.#log = await openLog(path, ({ seq }) => {
      this.#seq = Math.max(this.#seq, seq)
    })
    return { anew: there === undefined || isOther || isLost, found: this.#seq - before }
  }

  get path(): string {
    return this.#log.path
  }

  /** Logs an event and returns it with its number. @throws as `AppendLog.append`; the event is not logged then */
  append<E extends WatchEvent>(event: E): Promise<E & { seq: number; time: string; run: string }> {
    const append = this.#tail.then(async () => {
      const stamp = { time: event.time ?? new Date().toISOString(), run: this.#run, seq: this.#seq + 1 }
      const stamped = { ...event, ...stamp }
      await this.#log.append(watchEventJson(stamped) as LoggedEvent)
      this.#seq = stamp.seq
      return stamped
    })
    this.#tail = append.catch(() => {})
    return append
  }

  async close(): Promise<void> {
    await this.#tail
    await this.#log.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

const openLog = (path: string, each: (event: LoggedEvent) => void) =>
  AppendLog.open<LoggedEvent>(path, { key: () => undefined, parse: parseEvent, each })

/** @throws FILE_INVALID for what is no event of this version. */
function parseEvent(value: object, where: string): LoggedEvent {
  const { type, seq, time, run, schemaVersion } = value as Partial<LoggedEvent>
  if (schemaVersion !== undefined && schemaVersion !== EVENT_SCHEMA) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected events of version ${EVENT_SCHEMA} in ${where}, found version ${String(schemaVersion)}: move the log away, or watch with another --state`,
    )
  }
  if (
    typeof type === 'string' &&
    Number.isSafeInteger(seq) &&
    typeof time === 'string' &&
    typeof run === 'string'
  )
    return value as LoggedEvent
  throw new TraitscopeError('FILE_INVALID', `expected an event with type, seq, time and run in ${where}`)
}

const PIECE = 1 << 20

/**
 * Reads a log that somebody else may be writing. Each {@link next} gives what has come since the one before; an event that
 * is still being written comes with the next one. Nothing is kept in memory but the place.
 */
export class EventReader {
  #offset = 0
  #seq = 0
  #identity: string | undefined
  readonly path: string

  /**
   * @param folder the run's state folder
   * @param pieceBytes of the log at a time, more only for a longer line
   */
  constructor(
    folder: string,
    private readonly pieceBytes = PIECE,
  ) {
    this.path = join(namedPath(folder, "a run's state"), EVENTS_FILE)
  }

  /** Number of the last event that was given; 0 before the first. */
  get seq(): number {
    return this.#seq
  }

  /**
   * The events since the last call, at most about a megabyte of them: call again until there is none.
   *
   * @param after leaves out events up to this number, e.g. what a client has seen already
   * @throws FILE_ACCESS; FILE_INVALID naming the line that is no event
   */
  async next(after = 0): Promise<LoggedEvent[]> {
    for (;;) {
      const events = await this.#read()
      if (events.length === 0) return []
      const news = events.filter(({ seq }) => seq > after)
      if (news.length > 0) return news
    }
  }

  async #read(): Promise<LoggedEvent[]> {
    const bytes = await this.#bytes()
    const end = bytes.lastIndexOf(10) + 1
    const lines = bytes.toString('utf8', 0, end).split('\n').slice(0, -1)
    const events = lines.filter((line) => line !== '').map((line) => eventIn(line, this.path))
    this.#offset += end
    this.#seq = events.at(-1)?.seq ?? this.#seq
    return events
  }

  /** From where the last whole line ended. */
  async #bytes(): Promise<Buffer> {
    try {
      // Of a thousand logs few have grown since the last look: this is a third of what opening them costs.
      const there = await stat(this.path, { bigint: true })
      if (identityOf(there) === this.#identity && Number(there.size) === this.#offset) return Buffer.alloc(0)
      const file = await open(this.path, 'r')
      try {
        const found = await file.stat({ bigint: true })
        // Begun anew: what was given before is in no file any more.
        if (identityOf(found) !== this.#identity || found.size < this.#offset) this.#offset = 0
        this.#identity = identityOf(found)
        const left = Number(found.size) - this.#offset
        if (left === 0) return Buffer.alloc(0)
        for (let length = Math.min(left, this.pieceBytes); ; length *= 2) {
          const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, this.#offset)
          if (bytesRead < length || buffer.includes(10)) return buffer.subarray(0, bytesRead)
        }
      } finally {
        await file.close()
      }
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return Buffer.alloc(0)
      throw fileError(error, this.path)
    }
  }
}

function eventIn(line: string, path: string): LoggedEvent {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    value = undefined
  }
  if (typeof value === 'object' && value !== null) return parseEvent(value, path)
  throw new TraitscopeError(
    'FILE_INVALID',
    `expected a JSON object on every line of ${path}, found ${JSON.stringify(line.slice(0, 40))}`,
  )
}
