/** What `traitscope demo` shows: two runs side by side, or one line per checkpoint. Text only; it draws nothing. */

import type { Demo } from '../lib/demo/demo.js'
import type { DemoOutcome, DemoPoint, DemoRun } from '../lib/demo/demo-run.js'
import { formatRate } from '../lib/demo/story.js'
import type { Verdict } from '../lib/detector/verdict.js'
import { inPercent, percent } from '../lib/percent.js'
import type { Output } from './output.js'
import { sparkline } from './sparkline.js'
import { VERDICT_COLORS } from './verdicts.js'

export type Paint = Output['color']

/** Columns and rows of a frame: a title and two panels. */
export const VIEW_SIZE = { columns: 80, rows: 22 }

const PANEL = 38
const BETWEEN = '  '
const NAME = 14
const VALUE = 8
/** Checkpoints that a row of bars shows: the last ones. */
const BARS = PANEL - NAME - VALUE - 2
/** The EM scale reaches at least this far, so that noise near zero looks like it. */
const EM_SCALE = 0.2

type Segment = readonly [text: string, color?: Parameters<Paint>[0] | undefined]

const VERDICT_MARK: Record<Verdict['verdict'], string> = {
  ok: '·',
  warn: '?',
  alarm: '!',
  'not-comparable': 'x',
}

/** `31 % (22-44)`: a predicted rate with its interval; `-` where there is none. */
export function rateWithInterval({
  em,
  interval,
  threshold,
}: Pick<Verdict, 'em' | 'interval' | 'threshold'>): string {
  if (em === null) return '-'
  const bounds = interval?.map((bound) => inPercent(bound, 0)).join('-')
  const rate = formatRate(em, threshold)
  return bounds === undefined ? rate : `${rate} (${bounds})`
}

/** Both runs as they stand, 80 columns wide. */
export function demoFrame({ organism, runs, outcomes, bundle }: Demo, paint: Paint): string[] {
  const { cut } = bundle.detector
  const { nLayer, nEmbd } = bundle.calibratedFor.conditions.base
  const title = `${organism} (${nLayer} blocks, ${nEmbd} wide): two fine-tuning runs, replayed and watched live`
  const points = runs.flatMap((run) => run.points)
  const drifts = points.flatMap(({ drift }) => drift.map(Math.abs))
  const rates = points.flatMap(({ verdict, trueEm }) => [verdict.em ?? 0, trueEm ?? 0])
  const scales = { drift: Math.max(1e-9, ...drifts), em: Math.max(EM_SCALE, ...rates) }
  const panels = runs.map((run, i) => panel(run, outcomes[i]!, scales, cut))
  const rows = panels[0]!.map((_, row) => panels.map((lines) => line(lines[row]!, paint)).join(BETWEEN))
  return [paint('dim', title.slice(0, VIEW_SIZE.columns)), ...rows.map((row) => row.trimEnd())]
}

function panel(
  run: DemoRun,
  outcome: DemoOutcome,
  scales: { drift: number; em: number },
  cut: number,
): Segment[][] {
  const { points, steps, role, id } = run
  const shown = points.slice(-BARS)
  const last = points.at(-1)
  const losses = points.flatMap(({ loss }) => (loss !== undefined && Number.isFinite(loss) ? [loss] : []))
  const [low, high] = [Math.min(...losses), Math.max(...losses)]
  const bars = (of: (point: DemoPoint) => number | undefined, max: number, min = 0) =>
    sparkline(shown.map(of), min, max)
  const row = (name: string, value: string, content: string, color?: Parameters<Paint>[0]): Segment[] => [
    [name.padEnd(NAME)],
    [value.padStart(VALUE)],
    ['  '],
    [content, color],
  ]
  const verdict = last?.verdict
  return [
    [[id, 'bold']],
    [[role === 'dangerous' ? 'should raise an alarm' : 'should stay quiet', 'dim']],
    [],
    row('step', String(last?.step ?? 0), `of ${steps.at(-1)}`),
    row(
      'training loss',
      last?.loss?.toFixed(3) ?? '-',
      bars(({ loss }) => loss, high, low),
      'cyan',
    ),
    [],
    ...run.traits.map((trait, t) =>
      row(
        trait.slice(0, NAME - 1),
        signed(last?.drift[t]),
        bars(({ drift }) => Math.abs(drift[t]!), scales.drift),
        verdict && VERDICT_COLORS[verdict.verdict],
      ),
    ),
    [],
    row(
      'predicted EM',
      verdict?.em == null ? '-' : formatRate(verdict.em, verdict.threshold),
      bars(({ verdict: { em } }) => em ?? undefined, scales.em),
      'bold',
    ),
    row(
      verdict === undefined ? 'interval' : `${percent(verdict.nominalCoverage, 0)} interval`,
      '',
      verdict?.interval?.map((bound) => formatRate(bound, verdict.threshold)).join(' to ') ?? '-',
      'dim',
    ),
    row(
      'judged EM',
      last?.trueEm === undefined ? '-' : formatRate(last.trueEm, cut),
      bars(({ trueEm }) => trueEm, scales.em),
    ),
    [
      ['verdict'.padEnd(NAME)],
      [
        (verdict?.verdict ?? '-').toUpperCase().slice(0, VALUE).padStart(VALUE),
        verdict && VERDICT_COLORS[verdict.verdict],
      ],
      ['  '],
      ...shown.map(({ verdict: { verdict: kind } }): Segment => [VERDICT_MARK[kind], VERDICT_COLORS[kind]]),
    ],
    [],
    [[headline(outcome, run, cut), outcome.alarm === undefined ? 'green' : 'red']],
    [[run.doing.slice(0, PANEL), 'dim']],
  ]
}

/** Coloured, and exactly as wide as a panel. */
function line(segments: readonly Segment[], paint: Paint): string {
  let left = PANEL
  const parts = segments.map(([text, color]) => {
    const cut = text.slice(0, left)
    left -= cut.length
    return color === undefined || cut === '' ? cut : paint(color, cut)
  })
  return parts.join('') + ' '.repeat(left)
}

function signed(value: number | undefined): string {
  if (value === undefined) return '-'
  return `${value < 0 ? '-' : '+'}${Math.abs(value).toFixed(3)}`
}

/** The run in one short line: when the alarm came, by the judged rate. */
function headline({ alarm, lead, counts }: DemoOutcome, { points }: DemoRun, cut: number): string {
  if (alarm !== undefined) {
    const danger = `EM > ${formatRate(cut, cut)}`
    if (lead === undefined) return `ALARM at step ${alarm}`
    if (lead === 0) return `ALARM at ${alarm}, the first with ${danger}`
    return `ALARM at ${alarm}, ${Math.abs(lead)} steps ${lead > 0 ? 'before' : 'after'} ${danger}`
  }
  if (points.length === 0) return ''
  return counts.warn === 0
    ? 'quiet'
    : `no alarm, ${counts.warn} ${counts.warn === 1 ? 'warning' : 'warnings'}`
}
