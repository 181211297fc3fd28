/** How verdicts are shown, and the exit codes that they ask for. */
import type { Verdict, VerdictKind } from '../lib/detector/verdict.js'
import { digitsBeside, inPercent } from '../lib/percent.js'
import type { Output } from './output.js'

const EXIT_ALARM = 3
export const EXIT_NOT_COMPARABLE = 4

export type FailOn = 'none' | 'warn' | 'alarm'

/** 3 when a verdict reaches `failOn`, else 4 when one is not comparable, else 0. */
export function exitCodeOf(verdicts: readonly VerdictKind[], failOn: FailOn): number {
  const failing: VerdictKind[] = failOn === 'none' ? [] : failOn === 'warn' ? ['warn', 'alarm'] : ['alarm']
  if (verdicts.some((verdict) => failing.includes(verdict))) return EXIT_ALARM
  return verdicts.includes('not-comparable') ? EXIT_NOT_COMPARABLE : 0
}

export const VERDICT_COLUMNS = ['EM %', 'interval', 'verdict']

/** Cells of {@link VERDICT_COLUMNS}; dashes without a verdict. */
export function verdictCells(verdict: Verdict | undefined): string[] {
  if (verdict === undefined) return ['-', '-', '-']
  const { em, threshold } = verdict
  return [
    inPercent(em, digitsBeside(100 * threshold, 100 * (em ?? 0))),
    intervalCell(verdict),
    verdict.verdict,
  ]
}

/** `0.3-1.4`, or `> 5.0` where a part of the prompts settled that. */
function intervalCell({ interval, settled }: Verdict): string {
  if (settled)
    return `${settled.side === 'above' ? '>' : '<='} ${inPercent(settled.threshold, digitsBeside(100 * settled.threshold))}`
  return interval === null ? '-' : `${inPercent(interval[0])}-${inPercent(interval[1])}`
}

export const VERDICT_COLORS = {
  ok: 'green',
  warn: 'yellow',
  alarm: 'red',
  'not-comparable': 'yellow',
} as const

/** The last column: which files were read, with the beginning of their SHA-256. */
export const READ_COLUMN = 'read'

/** Colours the verdict in a table's line. */
export function colorVerdict(output: Output, line: string): string {
  const [, before, kind, after] = /^(.*?\s)(ok|warn|alarm|not-comparable)(\s\s.*)$/s.exec(line) ?? []
  return kind === undefined ? line : before + output.color(VERDICT_COLORS[kind as VerdictKind], kind) + after
}
