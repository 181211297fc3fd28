import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../formats/files/atomic.js'
import { errnoOf, fileError } from '../formats/files/file-errors.js'
import { sha256 } from '../formats/files/hash.js'
import type { Point, RunView } from '../report/run-view.js'
import { shortNames } from '../report/sentences.js'
import { appendWhole, begunAnew, isAsLeft } from './append-whole.js'
import { maskedCrc32c } from './crc32c.js'
import { type Exporter, figuresOf, NO_STEP } from './exporter.js'

/** Before every name, so that a trainer's own charts stay apart. */
const PREFIX = 'traitscope'

interface OpenFile {
  path: string
  file: FileHandle
}

/**
 * Scalars as event files of TensorBoard, a folder per run: `TFRecord`s of `Event` messages, written here byte by byte since
 * five fields are all that is needed. A new file is begun each time, as TensorBoard expects of a writer that was restarted.
 */
export class TensorBoardExporter implements Exporter {
  readonly name = 'TensorBoard'
  readonly #files = new Map<string, OpenFile>()

  readonly #now: () => number
  readonly #again: boolean

  /**
   * @param options.now milliseconds since 1970; the time of checkpoints that have none
   * @param options.again whole runs: what earlier files have of them from their first step on counts no more
   */
  constructor(
    private readonly folder: string,
    { now = Date.now, again = false }: { now?: () => number; again?: boolean } = {},
  ) {
    this.#now = now
    this.#again = again
  }

  /** @throws FILE_ACCESS */
  async checkpoint(view: RunView, point: Point): Promise<string | undefined> {
    const { step } = point
    if (step === 'final') return NO_STEP
    const before = this.#files.get(view.run)
    const isGone = before !== undefined && !(await isAsLeft(before.file, before.path))
    if (isGone) {
      this.#files.delete(view.run)
      await before.file.close()
    }
    const { file } = this.#files.get(view.run) ?? (await this.#open(view.run, step))
    const time = Date.parse(point.time ?? point.writtenAt ?? '')
    const seconds = (Number.isFinite(time) ? time : this.#now()) / 1000
    const values = Object.entries(figuresOf(view, point)).map(([name, value]) =>
      delimited(1, concat([delimited(1, text(`${PREFIX}/${name}`)), fixed32(2, value)])),
    )
    const event = concat([fixed64(1, seconds), varintField(2, step), delimited(5, concat(values))])
    await appendWhole(file, record(event))
    return isGone ? begunAnew(before.path) : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const files = [...this.#files.values()]
    this.#files.clear()
    for (const { file } of files) {
      await file.sync()
      await file.close()
    }
  }

  async #open(run: string, step: number): Promise<OpenFile> {
    const folder = join(this.folder, folderName(run))
    const seconds = this.#now() / 1000
    const stem = `events.out.tfevents.${Math.floor(seconds)}.traitscope`
    let opened: OpenFile | undefined
    try {
      await makeFolder(folder)
      opened = await firstFree(folder, stem)
      const { file } = opened
      await appendWhole(file, record(concat([fixed64(1, seconds), delimited(3, text('brain.Event:2'))])))
      // Two values of one step are drawn as a line that turns back: a session that starts takes the place of what came later.
      if (this.#again) {
        const started = delimited(7, varintField(1, 1))
        await appendWhole(file, record(concat([fixed64(1, seconds), varintField(2, step), started])))
      }
      this.#files.set(run, opened)
      return opened
    } catch (error) {
      await opened?.file.close()
      throw fileError(error, folder)
    }
  }
}

/** Two runs of one name are told apart by what they are known by. */
function folderName(run: string): string {
  const name = shortNames([run])[0]!
    .replaceAll(/[^\w.-]/g, '_')
    .replace(/^\.+/, '_')
  return `${name.slice(0, 80)}-${sha256(run).slice(0, 8)}`
}

async function firstFree(folder: string, stem: string): Promise<OpenFile> {
  for (let i = 0; ; i++) {
    try {
      const path = join(folder, `${stem}.${i}`)
      return { path, file: await open(path, 'ax') }
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error
    }
  }
}

/** Length, its checksum, the bytes, their checksum; all little-endian. */
function record(bytes: Uint8Array): Uint8Array {
  const head = new DataView(new ArrayBuffer(12))
  head.setBigUint64(0, BigInt(bytes.length), true)
  head.setUint32(8, maskedCrc32c(new Uint8Array(head.buffer, 0, 8)), true)
  const tail = new DataView(new ArrayBuffer(4))
  tail.setUint32(0, maskedCrc32c(bytes), true)
  return concat([new Uint8Array(head.buffer), bytes, new Uint8Array(tail.buffer)])
}

const concat = (parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts)
const text = (content: string): Uint8Array => Buffer.from(content, 'utf8')

/** Seven bits a byte, the low ones first. */
function varint(value: number): Uint8Array {
  const bytes: number[] = []
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128)
  return Uint8Array.from([...bytes, value])
}

/** A field's number with the kind of what follows. */
const key = (field: number, wire: 0 | 1 | 2 | 5) => varint(field * 8 + wire)
const varintField = (field: number, value: number) => concat([key(field, 0), varint(value)])
const delimited = (field: number, bytes: Uint8Array) => concat([key(field, 2), varint(bytes.length), bytes])

function fixed64(field: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return concat([key(field, 1), bytes])
}

function fixed32(field: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return concat([key(field, 5), bytes])
}
