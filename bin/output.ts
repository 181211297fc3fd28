/** Where words go: results to stdout, progress and notes to stderr, bars and colour only where a person looks. */
import type { Terminal } from './live-view.js'
import { type Color, columnsOf, fitted, oneLine, painted, plain, rendered, safeJson } from './text.js'

export interface Output {
  /** A line of the result, or several, to stdout. Control characters of names are shown, not sent, line ends too. */
  print(text: string | readonly string[]): void
  /** What other programs read, to stdout: as it is, but where a person looks as {@link print} shows it. */
  data(text: string): void
  /** One JSON document, to stdout. */
  json(value: unknown): void
  /** One JSON value on a line of its own, to stdout. */
  jsonLine(value: unknown): void
  /** A note for the person, to stderr. */
  note(text: string): void
  /**
   * What a reader of the numbers has to know, to stderr, however quiet; only a quiet command that prints one JSON document
   * leaves it to that.
   */
  remark(text: string): void
  /** What went wrong, to stderr, however quiet. */
  error(text: string): void
  /** Several lines that went wrong, such as a stack, to stderr. */
  errorLines(text: string): void
  /**
   * Starts a progress line: a bar that is redrawn where a person looks, else the label, and every ten seconds or more where the
   * work is. Whatever else is written meanwhile gets lines of its own.
   */
  progress(label: string, options?: ProgressOptions): ProgressLine
  /** Does some work with a progress line, which ends with it, whatever its end. */
  during<T>(
    label: string,
    work: (update: ProgressLine['update']) => Promise<T>,
    options?: ProgressOptions,
  ): Promise<T>
  /** Marks text to be shown in a colour where stdout has colours. */
  color(name: Color, text: string): string
  /** Stdout, where a view may be drawn: a person looks and the terminal can move its cursor. */
  readonly terminal: Terminal | undefined
}

export interface ProgressOptions {
  /** What is counted, e.g. prompts, and how many there are. */
  unit?: string
  total?: number
  /** Where nobody sees a bar: say the label at once (default), or only if it takes ten seconds. */
  announce?: boolean
}

export interface ProgressLine {
  /**
   * @param fraction done, 0 to 1
   * @param total units in all, once they are known
   */
  update(fraction: number, total?: number): void
  done(): void
}

/** A bar that is on its stream's last line now. */
const openBars = new WeakMap<Terminal, { redraw(): void; hidden: boolean }>()

/** Streams that have JSON of a command's own. */
const hasJson = new WeakSet<Terminal>()

/** Whether a command has printed JSON: its result, or what it has of it. */
export const hasPrintedJson = (stream: Terminal = process.stdout): boolean => hasJson.has(stream)

const BAR_MS = 80
const TICK_MS = 1000
/** How often work says where it is when nobody sees a bar: ever more rarely, so that the log of a day can be read. */
const SAY_MS = { first: 10_000, share: 1 / 50, most: 60_000 }
/** Of a line, whatever the terminal has more: beyond that it is hard to read. */
const WIDEST = 80

/** `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`
}

/** Takes an open bar off the screen, so that what comes next starts a line of its own. */
export function clearBar(stream: Terminal = process.stderr): void {
  const bar = openBars.get(stream)
  if (bar === undefined || bar.hidden) return
  bar.hidden = true
  stream.write('\r\u001b[2K')
}

/** As {@link clearBar}, and also for the `^C` that a terminal shows: what comes next begins at the edge. */
export function clearLine(stream: Terminal = process.stderr, env: NodeJS.ProcessEnv = process.env): void {
  clearBar(stream)
  if (stream.isTTY === true && env.TERM !== 'dumb') stream.write('\r\u001b[2K')
}

export function createOutput(
  options: {
    quiet?: boolean
    /** The command prints one JSON document, which holds its remarks. */
    json?: boolean
    stdout?: Terminal
    stderr?: Terminal
    env?: NodeJS.ProcessEnv
  } = {},
): Output {
  const {
    quiet = false,
    json = false,
    stdout = process.stdout,
    stderr = process.stderr,
    env = process.env,
  } = options
  const colorless = env.NO_COLOR !== undefined || env.TERM === 'dumb' || env.CI !== undefined
  const colors = !colorless && stdout.isTTY === true
  const moves = ({ isTTY }: Terminal) =>
    isTTY === true && env.TERM !== 'dumb' && env.CI === undefined && !quiet
  const bars = moves(stderr)
  const toStdout = (text: string) => {
    if (stdout.isTTY === true) clearBar(stderr) // the same screen
    stdout.write(`${text}\n`)
  }
  const toJson = (value: unknown, indent?: number) => {
    hasJson.add(stdout)
    toStdout(safeJson(value, indent))
  }
  const toStderr = (text: string) => {
    clearBar(stderr)
    stderr.write(`${text}\n`)
  }
  const progress = (label: string, { unit, total, announce = true }: ProgressOptions = {}): ProgressLine => {
    if (quiet) return { update: () => {}, done: () => {} }
    const name = oneLine(label)
    const state: Progress = { started: performance.now(), fraction: undefined, unit, total }
    if (!bars && announce) toStderr(name)
    let shown = 0
    let over = false
    const bar = {
      hidden: true,
      redraw() {
        shown = performance.now()
        bar.hidden = false
        stderr.write(`\r\u001b[2K${barLine(name, state, Math.min(stderr.columns ?? WIDEST, WIDEST) - 1)}`)
      },
    }
    if (bars) openBars.set(stderr, bar)
    let timer: NodeJS.Timeout
    const say = () => {
      toStderr(`${name}: ${plainProgress(state)}`)
      wait()
    }
    const wait = () => {
      const wanted = SAY_MS.share * (performance.now() - state.started)
      timer = setTimeout(say, Math.min(SAY_MS.most, Math.max(SAY_MS.first, wanted))).unref()
    }
    if (bars) timer = setInterval(bar.redraw, TICK_MS).unref()
    else wait()
    return {
      update(fraction, total) {
        if (over) return
        state.fraction = fraction
        state.total = total ?? state.total
        if (bars && (fraction >= 1 || performance.now() - shown >= BAR_MS)) bar.redraw()
      },
      done() {
        over = true
        clearInterval(timer)
        if (openBars.get(stderr) !== bar) return
        clearBar(stderr)
        openBars.delete(stderr)
      },
    }
  }
  return {
    print: (text) => {
      const lines = typeof text === 'string' ? [text] : text
      toStdout(lines.map((line) => rendered(line, colors)).join('\n'))
    },
    data: (text) => (stdout.isTTY === true ? toStdout(plain(text.trimEnd())) : stdout.write(text)),
    json: (value) => toJson(value, 2),
    jsonLine: (value) => toJson(value),
    note: (text) => {
      if (!quiet) toStderr(sentence(text))
    },
    remark: (text) => {
      if (!(quiet && json)) toStderr(sentence(`remark: ${text}`))
    },
    error: (text) => toStderr(sentence(text)),
    errorLines: (text) => toStderr(plain(text)),
    terminal: moves(stdout) ? stdout : undefined,
    color: (name, text) => (colors ? painted(name, text) : text),
    progress,
    async during(label, work, options) {
      const line = progress(label, options)
      try {
        return await work(line.update)
      } finally {
        line.done()
      }
    },
  }
}

/** One line, whatever a parser's message or a name holds. */
const sentence = (text: string): string => oneLine(text.trim().replace(/\s*\n\s*/g, ' '))

interface Progress {
  started: number
  /** Undefined until something is known. */
  fraction: number | undefined
  unit: string | undefined
  total: number | undefined
}

/** Seconds so far, and those that are left if it goes on like this; undefined too early to tell. */
function times({ started, fraction }: Progress): { seconds: number; left: number | undefined } {
  const seconds = (performance.now() - started) / 1000
  const known = fraction !== undefined && fraction > 0.02 && seconds > 0.5
  return { seconds, left: known ? seconds / fraction - seconds : undefined }
}

/** `40 %, 12 of 30 runs, 2 min 0 s so far, 3 min 0 s left`. */
function plainProgress(state: Progress): string {
  const { seconds, left } = times(state)
  const { fraction, unit, total } = state
  const parts = [`${duration(seconds)} so far`]
  if (fraction !== undefined && unit && total) {
    parts.unshift(`${Math.floor(fraction * total + 1e-9)} of ${Math.round(total)} ${unit}`)
  }
  if (fraction !== undefined) parts.unshift(`${Math.floor(100 * fraction)} %`)
  if (left !== undefined) parts.push(`${duration(left)} left`)
  return parts.join(', ')
}

const BAR = { most: 20, least: 6 }

/** Label, bar, share, rate and time left in so many columns; what has no room goes, from the rate to the label. */
function barLine(label: string, state: Progress, columns: number): string {
  const { seconds, left } = times(state)
  const { fraction, unit, total } = state
  if (fraction === undefined) {
    const so = seconds < 1 ? '' : `  ${duration(seconds)}`
    return fitted(label, columns - so.length) + so
  }
  const share = ` ${(100 * fraction).toFixed(0).padStart(3)} %`
  const time = left === undefined ? '' : `  ${duration(left)} left`
  const rate =
    unit && total && seconds > 0.2 ? `  ${((fraction * total) / seconds).toFixed(0)} ${unit}/s` : ''
  const least = Math.min(columnsOf(label), 16)
  const room = (end: string) => columns - least - end.length
  const end = [share + rate + time, share + time, share].find((text) => room(text) >= BAR.least + 3) ?? share
  // The bar gets what label and figures leave, and the label what the bar leaves.
  const free = columns - columnsOf(label) - end.length - 3
  const width = Math.min(BAR.most, Math.max(free, room(end) - 3 >= BAR.least ? BAR.least : 0))
  if (width < BAR.least) return fitted(label, Math.max(0, columns - end.length)) + end.slice(0, columns)
  const filled = Math.round(fraction * width)
  const bar = ` [${'='.repeat(filled)}${' '.repeat(width - filled)}]`
  return fitted(label, columns - bar.length - end.length) + bar + end
}

/** Columns of text, right-aligned except the first; widths from the content. One line per row, the header first. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = [header, ...rows].map((row) => header.map((_, i) => oneLine(row[i] ?? '')))
  const widths = header.map((_, i) => Math.max(...cells.map((row) => columnsOf(row[i]!))))
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => {
        const blank = ' '.repeat(widths[i]! - columnsOf(cell))
        return i === 0 ? cell + blank : blank + cell
      })
      .join('  ')
      .trimEnd()
  return cells.map(line)
}
