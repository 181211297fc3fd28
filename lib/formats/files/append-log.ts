import { constants, type FileHandle, mkdir, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { syncFolder } from './atomic.js'
import { errnoOf, fileError } from './file-errors.js'
import { claim } from './file-lock.js'
import { withFile } from './read-whole.js'

export interface LogOptions<T> {
  /** What a record is about: of several with one key the last counts. Without a key it is written, and not kept in memory. */
  key: (record: T) => string | undefined
  /** Checks what a line holds. @throws a TraitscopeError for what is no record; `where` names file and line. */
  parse: (value: object, where: string) => T
  /** Called with every record that is found at opening, in order. */
  each?: ((record: T) => void) | undefined
}

/**
 * Records in a file of JSON lines that only grows: what a long job has done, so that the next one goes on from there.
 *
 * `append` is fulfilled when the record is on the disk; records that come while others are being written share one
 * sync. A process may be killed at any byte: what was fulfilled is there, and of the rest at most the beginning of a
 * line, which the next `open` removes. One process writes at a time; a second one is refused.
 */
export class AppendLog<T extends object> implements AsyncDisposable {
  readonly #file: FileHandle
  readonly #options: LogOptions<T>
  readonly #release: () => Promise<void>
  readonly #records: Map<string, T>
  #size: number
  #broken: unknown
  #waiting: Waiting<T>[] = []
  #flushing: Promise<void> | undefined
  #closed: Promise<void> | undefined
  readonly path: string
  /** Device and inode of the file. */
  readonly identity: string
  /** Bytes of an unfinished record that a killed process had left and that are gone now; 0 for none. */
  readonly repaired: number

  private constructor(parts: OpenedLog<T>) {
    this.path = parts.path
    this.identity = parts.identity
    this.#file = parts.file
    this.#options = parts.options
    this.#release = parts.release
    this.#records = parts.records
    this.#size = parts.size
    this.repaired = parts.repaired
  }

  /**
   * Opens a log, or makes one with the folders above it, and repairs its end.
   *
   * @throws FILE_ACCESS when another process writes it, or it cannot be written; FILE_INVALID naming the line that is no
   * record, and for a file that is no log: nothing is removed from it then
   */
  static async open<T extends object>(path: string, options: LogOptions<T>): Promise<AppendLog<T>> {
    let file: FileHandle | undefined
    let release: (() => Promise<void>) | undefined
    try {
      await mkdir(dirname(path), { recursive: true })
      file = await open(path, constants.O_RDWR | constants.O_CREAT | APPEND)
      const identity = identityOf(await file.stat({ bigint: true }))
      release = await claim(`log ${identity}`)
      if (!release) {
        throw new TraitscopeError(
          'FILE_ACCESS',
          `expected to be the only writer of ${path}, found another one at work; wait until it has ended, or name another place`,
        )
      }
      const { records, end, size, unended } = await scan(file, path, options)
      if (end < size) await file.truncate(end)
      if (unended) await writeAt(file, Buffer.from('\n'), end)
      if (end < size || unended) await file.sync()
      await syncFolder(dirname(path))
      const repaired = size - end
      const parts = { path, identity, file, options, release, records, repaired }
      return new AppendLog({ ...parts, size: end + Number(unended) })
    } catch (error) {
      await release?.()
      await file?.close()
      throw fileError(error, path)
    }
  }

  /** The last record of every key, in the order in which the keys came first; those without a key are not among them. */
  get records(): ReadonlyMap<string, T> {
    return this.#records
  }

  /** Why nothing but opening it anew may help: the disk has failed in the middle of a record, or the file is not as it was left. */
  get broken(): unknown {
    return this.#broken
  }

  get isClosed(): boolean {
    return this.#closed !== undefined
  }

  /**
   * Adds a record. It counts, and is among `records`, when the promise is fulfilled; when it is rejected it does not,
   * and the log is as it was.
   *
   * @throws FILE_ACCESS when it cannot be written, a full disk for one: it may be tried again; FILE_VANISHED when the
   * file was removed, replaced or written by somebody else, which nothing but opening it anew helps
   */
  append(record: T): Promise<void> {
    return new Promise((resolve, reject) => {
      const entry = { key: this.#options.key(record), line: `${JSON.stringify(record)}\n` }
      if (this.#closed) throw new TraitscopeError('USAGE', `expected an open log, found ${this.path} closed`)
      this.#waiting.push({ record, ...entry, resolve, reject })
      this.#flushing ??= this.#flush()
    })
  }

  /** Waits for what is being written, then gives the file up; idempotent. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#flushing
      await this.#file.close()
      await this.#release()
    })()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#write(Buffer.from(batch.map(({ line }) => line).join('')))
        for (const { key, record, resolve } of batch) {
          if (key !== undefined) this.#records.set(key, record)
          resolve()
        }
      } catch (error) {
        const failure = fileError(error, this.path)
        for (const { reject } of batch) reject(failure)
      }
    }
    this.#flushing = undefined
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#broken) throw this.#broken
    const { size, nlink } = await this.#file.stat()
    // Whoever rotates logs gives this file another name, and readers would follow an old one.
    const isThere = nlink > 0 && (await identityAt(this.path))?.identity === this.identity
    if (size !== this.#size || !isThere) {
      this.#broken = new TraitscopeError(
        'FILE_VANISHED',
        `expected ${this.path} to be as it was left, found it ${isThere ? 'changed by somebody else' : 'removed, moved or replaced'}; open it again`,
      )
      throw this.#broken
    }
    try {
      await writeAt(this.#file, bytes, this.#size)
      await this.#file.datasync()
      this.#size += bytes.length
    } catch (error) {
      // A full disk may have taken a part. What cannot be taken back leaves the file in a state that nobody knows.
      await this.#file.truncate(this.#size).catch(() => {
        this.#broken = error
      })
      if (errnoOf(error) === 'EIO') this.#broken = error
      throw error
    }
  }
}

/**
 * The records of a log that somebody else may be writing: nothing is changed, and an unfinished record at the end is
 * left out.
 *
 * @throws FILE_NOT_FOUND; FILE_INVALID naming the line that is no record
 */
export async function readLog<T extends object>(
  path: string,
  options: LogOptions<T>,
): Promise<ReadonlyMap<string, T>> {
  return withFile(path, 'absent', async (file) => (await scan(file, path, options)).records)
}

/** What has a name now; undefined where nothing has. */
export async function identityAt(path: string): Promise<{ identity: string; isEmpty: boolean } | undefined> {
  try {
    const found = await stat(path, { bigint: true })
    return { identity: identityOf(found), isEmpty: found.size === 0n }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw fileError(error, path)
  }
}

/** A file, whatever its name. */
export const identityOf = ({ dev, ino }: { dev: bigint; ino: bigint }): string => `${dev}:${ino}`

interface Waiting<T> {
  key: string | undefined
  record: T
  line: string
  resolve: () => void
  reject: (error: unknown) => void
}

interface OpenedLog<T> {
  path: string
  identity: string
  file: FileHandle
  options: LogOptions<T>
  release: () => Promise<void>
  records: Map<string, T>
  size: number
  repaired: number
}

interface Scanned<T> {
  records: Map<string, T>
  /** Bytes up to the end of the last whole record, and of the file. */
  end: number
  size: number
  /** True when the last whole record lacks its line end. */
  unended: boolean
}

/** Where others write too, against the rules, their records survive. On Windows it would rule out cutting the end off. */
const APPEND = process.platform === 'win32' ? 0 : constants.O_APPEND

async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
  }
}

/** An unfinished record; anything else without a line end was not written by us. */
const BEGUN = /^\{("|$)/

async function scan<T extends object>(
  file: FileHandle,
  path: string,
  { key, parse, each }: LogOptions<T>,
): Promise<Scanned<T>> {
  const records = new Map<string, T>()
  const found: Scanned<T> = { records, end: 0, size: 0, unended: false }
  let number = 0
  for await (const { bytes, ended } of lines(file)) {
    const where = `line ${++number} of ${path}`
    found.size += bytes.length + Number(ended)
    const value = objectIn(bytes)
    if (value === undefined && !ended && (BEGUN.test(bytes.toString('latin1')) || isZero(bytes))) break
    if (value === undefined && !(ended && bytes.length === 0)) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected a JSON object in ${where}, found ${JSON.stringify(bytes.toString('utf8', 0, 40))}; it was edited or damaged, mend or move it`,
      )
    }
    if (value !== undefined) {
      const record = parse(value, where)
      const about = key(record)
      if (about !== undefined) records.set(about, record)
      each?.(record)
    }
    found.end = found.size
    found.unended = !ended
  }
  return found
}

/** Lines without their ends; the last one may not have one. */
async function* lines(file: FileHandle): AsyncGenerator<{ bytes: Buffer; ended: boolean }> {
  const chunk = Buffer.alloc(1 << 20)
  let parts: Buffer[] = []
  for (let position = 0; ; ) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, position)
    if (bytesRead === 0) break
    position += bytesRead
    let from = 0
    for (let at = chunk.indexOf(10); at >= 0 && at < bytesRead; at = chunk.indexOf(10, from)) {
      yield { bytes: Buffer.concat([...parts, chunk.subarray(from, at)]), ended: true }
      parts = []
      from = at + 1
    }
    if (from < bytesRead) parts.push(Buffer.from(chunk.subarray(from, bytesRead)))
  }
  if (parts.length > 0) yield { bytes: Buffer.concat(parts), ended: false }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })

function objectIn(bytes: Uint8Array): object | undefined {
  try {
    const value: unknown = JSON.parse(UTF8.decode(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** A machine that lost its power may have kept the length of a file and not its bytes. */
const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)
