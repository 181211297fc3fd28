/** Where words go: results to stdout, progress and notes to stderr, bars and colour only where a person looks. */
import type { Terminal } from './live-view.js'

export interface Output {
  /** A line of the result, to stdout. */
  print(text: string): void
  /** One JSON document, to stdout. */
  json(value: unknown): void
  /** A remark for the person, to stderr. */
  note(text: string): void
  /** What went wrong, to stderr, however quiet. */
  error(text: string): void
  /** Starts a progress line; without a TTY it prints the label once. */
  progress(label: string, unit?: { name: string; total?: number }): ProgressLine
  /** Wraps text in a colour if stdout shows colours. */
  color(name: keyof typeof COLORS, text: string): string
  /** Stdout, where a view may be drawn: a person looks and the terminal can move its cursor. */
  readonly terminal: Terminal | undefined
}

export interface ProgressLine {
  /**
   * @param fraction done, 0 to 1
   * @param total units in all, once they are known
   */
  update(fraction: number, total?: number): void
  done(): void
}

const COLORS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const

/** `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds))
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`
}

export function createOutput(
  options: { quiet?: boolean; stdout?: Terminal; stderr?: Terminal; env?: NodeJS.ProcessEnv } = {},
): Output {
  const { quiet = false, stdout = process.stdout, stderr = process.stderr, env = process.env } = options
  const plain = env.NO_COLOR !== undefined || env.TERM === 'dumb' || env.CI !== undefined
  const moves = ({ isTTY }: Terminal) =>
    isTTY === true && env.TERM !== 'dumb' && env.CI === undefined && !quiet
  const bars = moves(stderr)
  return {
    print: (text) => void stdout.write(`${text}\n`),
    json: (value) => void stdout.write(`${JSON.stringify(value, null, 2)}\n`),
    note: (text) => {
      if (!quiet) stderr.write(`${text}\n`)
    },
    error: (text) => void stderr.write(`${text}\n`),
    terminal: moves(stdout) ? stdout : undefined,
    color: (name, text) =>
      plain || stdout.isTTY !== true ? text : `\u001b[${COLORS[name]}m${text}\u001b[0m`,
    progress(label, unit) {
      const started = performance.now()
      let shown = 0
      let total = unit?.total
      if (!bars && !quiet) stderr.write(`${label}\n`)
      const draw = (fraction: number) => {
        const seconds = (performance.now() - started) / 1000
        const rate =
          unit && total && seconds > 0.2
            ? `  ${((fraction * total) / seconds).toFixed(0)} ${unit.name}/s`
            : ''
        const left =
          fraction > 0.02 && seconds > 0.5 ? `  ${duration(seconds / fraction - seconds)} left` : ''
        const width = 20
        const filled = Math.round(fraction * width)
        const bar = `${'='.repeat(filled)}${' '.repeat(width - filled)}`
        const line = `${label} [${bar}] ${(100 * fraction).toFixed(0).padStart(3)} %${rate}${left}`
        stderr.write(`\r\u001b[2K${line.slice(0, (stderr.columns ?? 100) - 1)}`)
      }
      return {
        update(fraction, knownTotal) {
          total = knownTotal ?? total
          if (!bars) return
          const now = performance.now()
          if (fraction < 1 && now - shown < 80) return
          shown = now
          draw(fraction)
        },
        done() {
          if (bars) stderr.write('\r\u001b[2K')
        },
      }
    },
  }
}

/** Columns of text, right-aligned except the first; widths from the content. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? '').length)))
  const line = (cells: readonly string[]) =>
    widths
      .map((width, i) => (i === 0 ? (cells[i] ?? '').padEnd(width) : (cells[i] ?? '').padStart(width)))
      .join('  ')
      .trimEnd()
  return [line(header), ...rows.map(line)].join('\n')
}
