import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { makeFolder } from '../formats/files/atomic.js'
import { fileError } from '../formats/files/file-errors.js'
import { csvLine } from '../report/csv.js'
import type { Point, RunView } from '../report/run-view.js'
import { appendWhole, begunAnew, isAsLeft } from './append-whole.js'
import { type Exporter, figuresOf } from './exporter.js'

const BEFORE = [
  'run',
  'step',
  'time',
  'written_at',
  'verdict',
  'predicted_em',
  'predicted_em_low',
  'predicted_em_high',
  'prompts_read',
]
const LENGTH = ['judged_em', 'loss', 'drift_length']

/** The columns of a table of runs with these traits, strengths and margins, which stay as they are while it grows. */
function csvHeader(views: readonly RunView[]): string[] {
  const strengths = views.flatMap(({ points }) =>
    points.flatMap(({ strengths = [] }) => strengths.map(({ strength }) => `drift_length_at_${strength}`)),
  )
  const margins = views.some(({ points }) => points.some(({ margin }) => margin))
    ? ['margin', 'margin_low', 'margin_high']
    : []
  const traits = views.flatMap(({ traits }) => traits.map((trait) => `drift_${trait}`))
  return [...BEFORE, ...LENGTH, ...new Set(traits), ...new Set(strengths), ...margins]
}

/** A checkpoint as one line, in the columns of a header. */
function csvRow(header: readonly string[], view: RunView, point: Point): string {
  const cells: Record<string, string | number | undefined> = {
    run: shown(view.run),
    step: point.step,
    time: point.time,
    written_at: point.writtenAt,
    verdict: point.verdict?.verdict,
    ...figuresOf(view, point),
  }
  return csvLine(header.map((name) => (Object.hasOwn(cells, name) ? (cells[name] ?? null) : null)))
}

/** A table that begins with one of these is computed by spreadsheets; an apostrophe before it makes it text. */
const shown = (name: string): string => (/^[=+\-@\t\r]/.test(name) ? `'${name}` : name)

/** A checkpoint as a flat object: figures, and what a program may want to know beside them. */
function jsonRecord(view: RunView, point: Point): object {
  const { step, time, writtenAt, verdict } = point
  return {
    run: view.run,
    step,
    ...(time !== undefined && { time }),
    ...(writtenAt !== undefined && { written_at: writtenAt }),
    ...(verdict && { verdict: verdict.verdict, reasons: verdict.reasons }),
    ...figuresOf(view, point),
  }
}

/** Whole tables. */
export function csvTable(views: readonly RunView[]): string {
  const header = csvHeader(views)
  const rows = views.flatMap((view) => view.points.map((point) => csvRow(header, view, point)))
  return `${[csvLine(header), ...rows].join('\n')}\n`
}

export function jsonLines(views: readonly RunView[]): string {
  return views
    .flatMap((view) => view.points.map((point) => `${JSON.stringify(jsonRecord(view, point))}\n`))
    .join('')
}

/**
 * A CSV file that grows by a line per checkpoint, whole lines only. The columns are those of the first run; a file that is there
 * goes on if it has the same ones.
 */
export class CsvExporter implements Exporter {
  readonly name = 'CSV'
  #opened: Promise<{ file: FileHandle; header: string[] }> | undefined

  constructor(private readonly path: string) {}

  /** @throws FILE_ACCESS; FILE_EXISTS for a file with other columns */
  async checkpoint(view: RunView, point: Point): Promise<string | undefined> {
    // Columns are known once a checkpoint has come; step 0 is none, and zero in all of them.
    if (point.step === 0) return undefined
    const isGone = this.#opened !== undefined && !(await isAsLeft((await this.#opened).file, this.path))
    if (isGone) await this[Symbol.asyncDispose]()
    this.#opened ??= this.#open(csvHeader([view]))
    const { file, header } = await this.#opened.catch((error) => {
      this.#opened = undefined
      throw error
    })
    await appendWhole(file, `${csvRow(header, view, point)}\n`)
    if (isGone) return begunAnew(this.path)
    const left = Object.keys(figuresOf(view, point)).filter((name) => !header.includes(name))
    return left.length === 0 ? undefined : `${this.path} has no column for ${left.join(', ')} of ${view.run}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined)
    await opened?.file.close()
    this.#opened = undefined
  }

  async #open(header: string[]): Promise<{ file: FileHandle; header: string[] }> {
    let file: FileHandle | undefined
    try {
      await makeFolder(dirname(this.path))
      file = await open(this.path, 'a+')
      const there = (await file.read(Buffer.alloc(1 << 16), 0, 1 << 16, 0)) as {
        buffer: Buffer
        bytesRead: number
      }
      const [first] = there.buffer.toString('utf8', 0, there.bytesRead).split('\n')
      if (there.bytesRead === 0) await appendWhole(file, `${csvLine(header)}\n`)
      else if (first !== csvLine(header)) {
        throw new TraitscopeError(
          'FILE_EXISTS',
          `expected ${this.path} to be absent or to have the columns of this run, found others; name another file`,
        )
      } else if (!(await endsLine(file))) await appendWhole(file, '\n')
      return { file, header }
    } catch (error) {
      await file?.close()
      throw error instanceof TraitscopeError ? error : fileError(error, this.path)
    }
  }
}

/** An editor, or a kill, may have left a last line without its end: another row behind it would be part of it. */
async function endsLine(file: FileHandle): Promise<boolean> {
  const { size } = await file.stat()
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
  return buffer.toString() === '\n'
}
