/** The runs of a watch as lines for a terminal. */
import { sideWords } from '../lib/detector/settled-words.js'
import { marginText } from '../lib/labels/margins/margin-words.js'
import { inPercent, percent } from '../lib/percent.js'
import type { Note, RunView } from '../lib/report/run-view.js'
import {
  cadence,
  headline,
  healthWords,
  lastPoint,
  rateText,
  type Standing,
  shortNames,
  span,
  standingWords,
} from '../lib/report/sentences.js'
import type { Step } from '../lib/trajectory/trajectory.js'
import type { Output } from './output.js'
import { sparkline } from './sparkline.js'
import { columnsOf, fitted, oneLine } from './text.js'
import { VERDICT_COLORS } from './verdicts.js'

export type Paint = Output['color']
/** Checkpoints of a row of bars: the last ones. */
const BARS = 24
const TRAIT_BARS = 8
const TRAIT = 32
/** The EM scale reaches at least this far, so that noise near zero looks like it. */
const EM_SCALE = 0.1
const NOTES = 3

const MARKS: Record<Standing, string> = { ok: '·', warn: '?', alarm: '!', 'not-comparable': 'x', none: ' ' }
const ORDER: readonly Standing[] = ['alarm', 'warn', 'not-comparable', 'none', 'ok']

export interface FrameOptions {
  /** Milliseconds since 1970. */
  now: number
  columns: number
  rows: number
  paint: Paint
  /** What is being measured now. */
  measuring?: { step: Step; fraction: number } | undefined
  /** Checkpoints of all runs that wait. */
  backlog?: number | undefined
  /** What concerns no single run. */
  notes?: readonly Note[] | undefined
}

/** The runs as lines, the gravest first; what does not fit is counted. */
export function watchFrame(views: readonly RunView[], options: FrameOptions): string[] {
  const { columns, rows, paint, measuring, backlog = 0, notes: general = [] } = options
  const names = shortNames(views.map(({ run }) => run))
  const runs = views
    .map((view, i) => ({ view, name: oneLine(names[i]!), ...headline(view) }))
    .sort((a, b) => ORDER.indexOf(a.standing) - ORDER.indexOf(b.standing))
  const now =
    measuring === undefined ? '' : `measuring step ${measuring.step}, ${percent(measuring.fraction, 0)}`
  const alarms = runs.filter(({ standing }) => standing === 'alarm').length
  const title = `${views.length} ${views.length === 1 ? 'run' : 'runs'} watched${alarms > 0 ? `, ${alarms} in alarm` : ''}${backlog > 0 ? `, ${backlog} waiting` : ''}`
  const lines = [paint('dim', spread(title, now, columns)), '']
  const notes = notesOf(runs, general, columns)
  const room = rows - lines.length - notes.length - 1
  const scales = scalesOf(views)
  const blocks = runs.map((run) => runLines(run, scales, options))
  // Traits are the first to go, those of calm runs before others.
  let left = room - blocks.reduce((sum, { head }) => sum + head.length + 1, 0)
  let shown = 0
  for (const { head, traits } of blocks) {
    // Behind a run comes a blank line, and perhaps one that counts the others.
    if (lines.length + head.length + 2 + notes.length > rows && shown > 0) break
    lines.push(...head)
    if (traits.length <= left) {
      lines.push(...traits)
      left -= traits.length
    }
    lines.push('')
    shown++
  }
  if (shown < runs.length) lines.push(paint('dim', `and ${runs.length - shown} more, none of them graver`))
  return [...lines, ...notes.map((text) => paint('dim', text))]
}

interface ShownRun {
  view: RunView
  name: string
  standing: Standing
}

interface Scales {
  em: number
  drift: number
}

function scalesOf(views: readonly RunView[]): Scales {
  const points = views.flatMap(({ points }) => points)
  const largest = (values: number[], least: number) =>
    values.reduce((max, value) => Math.max(max, value), least)
  return {
    em: largest(
      points.map(({ verdict }) => verdict?.em ?? 0),
      EM_SCALE,
    ),
    drift: largest(
      points.flatMap(({ drift }) => drift.map(Math.abs)),
      1e-9,
    ),
  }
}

function runLines(
  { view, name, standing }: ShownRun,
  scales: Scales,
  { now, columns, paint }: FrameOptions,
): { head: string[]; traits: string[] } {
  const point = lastPoint(view)
  const word =
    standing === 'none'
      ? ''
      : standing === 'alarm'
        ? `ALARM${sinceWords(view)}`
        : standingWords(standing, point?.verdict)
  const where = point === undefined ? 'no checkpoint yet' : `step ${point.step}`
  const state = [word, where, ageOf(view, now)].filter((text) => text !== '').join(', ')
  const first = spread(
    `${MARKS[standing]} ${fitted(name, Math.max(8, columns - columnsOf(state) - 5))}`,
    state,
    columns,
  )
  const verdict = point?.verdict
  const bars = sparkline(
    view.points.slice(-BARS).map((one) => one.verdict?.em),
    0,
    scales.em,
  )
  const interval = verdict?.settled
    ? ` (${sideWords(verdict.settled)})`
    : verdict?.interval
      ? ` (${inPercent(verdict.interval[0])} to ${inPercent(verdict.interval[1])})`
      : ''
  const rate = verdict?.em == null ? '' : `predicted EM ${rateText(verdict)}${interval}`
  const losses = view.points.map(({ loss }) => loss ?? undefined)
  const finite = losses.filter((loss): loss is number => loss !== undefined && Number.isFinite(loss))
  const loss =
    finite.length === 0
      ? ''
      : `loss ${finite.at(-1)!.toFixed(3)} ${sparkline(losses.slice(-TRAIT_BARS), Math.min(...finite), Math.max(...finite))}`
  const margin = point?.margin ? `margin ${marginText(point.margin)}` : ''
  const told = [rate === '' ? '' : `${rate} ${bars}`, margin, loss, ...healthWords({ ...view, backlog: 0 })]
  const second = told.filter((text) => text !== '')
  const color = standing === 'none' ? undefined : VERDICT_COLORS[standing]
  return {
    head: [
      color === undefined ? first : paint(color, first),
      ...wrapped(second, columns - 2).map((line) => `  ${line}`),
      ...(view.waiting === undefined
        ? []
        : [paint('dim', `  ${fitted(oneLine(`waiting: ${view.waiting}`), columns - 2)}`)]),
    ],
    traits: point === undefined ? [] : traitLines(view, scales, columns),
  }
}

/** Items behind one another, in as many lines as they need. */
function wrapped(items: readonly string[], columns: number): string[] {
  const lines: string[] = []
  for (const item of items) {
    const longer = `${lines.at(-1)}  ${item}`
    if (lines.length > 0 && columnsOf(longer) <= columns) lines[lines.length - 1] = longer
    else lines.push(fitted(item, columns))
  }
  return lines
}

/** As many to a line as fit. */
function traitLines({ traits, points }: RunView, { drift: scale }: Scales, columns: number): string[] {
  const cells = traits.map((trait, t) => {
    const last = points.at(-1)!.drift[t]!
    const bars = sparkline(
      points.slice(-TRAIT_BARS).map(({ drift }) => Math.abs(drift[t]!)),
      0,
      scale,
    )
    const value = `${last < 0 ? '-' : '+'}${inPercent(Math.abs(last))}`.padStart(6)
    const name = fitted(oneLine(trait), TRAIT - TRAIT_BARS - 10)
    return `${name}${' '.repeat(TRAIT - TRAIT_BARS - 10 - columnsOf(name))} ${value} ${bars.padEnd(TRAIT_BARS + 2)}`
  })
  const across = Math.max(1, Math.floor((columns - 2) / TRAIT))
  return cells.flatMap((_, i) =>
    i % across === 0
      ? [
          `  ${cells
            .slice(i, i + across)
            .join('')
            .trimEnd()}`,
        ]
      : [],
  )
}

const sinceWords = ({ alarmAt }: RunView) => (alarmAt === undefined ? '' : ` since ${alarmAt}`)

function ageOf(view: RunView, now: number): string {
  if (view.ended) return `ended (${view.ended.reason})`
  const measured = Date.parse(lastPoint(view)?.time ?? '')
  const rhythm = cadence(view)
  const left = rhythm === undefined ? undefined : rhythm.dueAt - now
  return [
    Number.isFinite(measured) ? `${span(now - measured)} ago` : '',
    left === undefined ? '' : left >= 0 ? `next in ${span(left)}` : `next late by ${span(-left)}`,
  ]
    .filter((text) => text !== '')
    .join(', ')
}

/** The last events of all runs but the routine ones, newest last. */
function notesOf(runs: readonly ShownRun[], general: readonly Note[], columns: number): string[] {
  return [
    ...general.map((note) => ({ ...note, name: 'all' })),
    ...runs.flatMap(({ view, name }) => view.notes.map((note) => ({ ...note, name }))),
  ]
    .filter(({ kind }) => kind !== 'waiting')
    .sort((a, b) => ((a.time ?? '') < (b.time ?? '') ? -1 : 1))
    .slice(-NOTES)
    .map(({ time = '', name, step, text }) => {
      const where = step === undefined ? '' : ` step ${step}:`
      return fitted(oneLine(`${time.slice(11, 19)} ${name}:${where} ${text}`), columns)
    })
}

/** Left and right at the edges of a line. */
function spread(left: string, right: string, columns: number): string {
  const between = columns - columnsOf(left) - columnsOf(right)
  if (right === '') return fitted(left, columns)
  return between < 1 ? fitted(`${left} ${right}`, columns) : left + ' '.repeat(between) + right
}
