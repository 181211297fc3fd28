/** What a run's state is in words: the first thing that a page, a terminal or a mail says. */

import { marginReason } from '../detector/margin-warning.js'
import { promptsWords, sideWords } from '../detector/settled-words.js'
import type { Verdict, VerdictKind } from '../detector/verdict.js'
import { median } from '../estimators/mean.js'
import { signedNats } from '../labels/margins/margin-words.js'
import { inPercent, percent, percentAt } from '../percent.js'
import type { Point, RunView } from './run-view.js'

/** How a run stands; `none` where nothing gives a verdict. */
export type Standing = VerdictKind | 'none'

export interface Headline {
  standing: Standing
  /** One sentence. */
  text: string
  /** What the alarm or warning rests on, and what a run without them was not looked at for, in sentences. */
  reasons: readonly string[]
}

/** The last measured checkpoint; undefined while there is none but step 0. */
export function lastPoint({ points }: Pick<RunView, 'points'>): Point | undefined {
  const last = points.at(-1)
  return last?.step === 0 ? undefined : last
}

/** The run in one sentence: verdict with interval and step. An alarm that stands comes before a later, better verdict. */
export function headline(view: RunView): Headline {
  const point = lastPoint(view)
  if (point === undefined && view.alarm === 'standing')
    return {
      standing: 'alarm',
      text: 'An alarm that an earlier watch raised stands; nothing is measured since.',
      reasons: [],
    }
  if (point === undefined) {
    const text =
      view.points.length === 0
        ? 'Nothing is measured yet.'
        : `No checkpoint yet${view.waiting === undefined ? '' : `: ${view.waiting}`}.`
    return { standing: 'none', text, reasons: [] }
  }
  const { step, verdict } = point
  if (verdict === undefined) {
    const reason = marginReason(point.margin)
    const drift = `drift ${percent(point.length)} of the step-0 norm at ${stepWords(step)}; without a calibrated detector there is no verdict.`
    return reason === undefined
      ? { standing: 'none', text: `D${drift.slice(1)}`, reasons: [] }
      : { standing: 'warn', text: `Warning by the margin: ${drift}`, reasons: [reason] }
  }
  const { em, reasons } = verdict
  if (verdict.verdict === 'not-comparable')
    return { standing: 'not-comparable', text: `Not comparable at ${stepWords(step)}.`, reasons }
  const rate = em === null ? marginWords(verdict) : `predicted EM ${rateText(verdict)}`
  const interval = intervalWords(verdict)
  const here = `${rate} at ${stepWords(step)}${interval}`
  const since = alarmSince(view)
  if (since === step && verdict.verdict === 'alarm')
    return { standing: 'alarm', text: `Alarm at ${stepWords(step)}: ${rate}${interval}.`, reasons }
  if (since !== undefined)
    return { standing: 'alarm', text: `Alarm since ${stepWords(since)}: ${here}.`, reasons }
  if (verdict.verdict === 'warn') return { standing: 'warn', text: `Warning: ${here}.`, reasons }
  const before = view.alarmAt === undefined ? '' : ` The alarm of ${stepWords(view.alarmAt)} is cleared.`
  // An alarm stands whatever nobody has looked at; that there is none does not.
  const { notLookedAt = [] } = verdict
  return { standing: 'ok', text: `No alarm: ${here}.${before}`, reasons: [...reasons, ...notLookedAt] }
}

/** Where benign runs decide by the margin. */
const marginWords = ({ margin }: Verdict): string =>
  margin?.pValue === undefined
    ? 'no rate is predicted'
    : `margin ${signedNats(margin.change)} nats per token, p = ${margin.pValue.toFixed(3)} among benign runs`

/** The step whose alarm stands. A trajectory has no latch: there the first alarm stands. */
function alarmSince({ alarm, alarmAt, points }: RunView): Point['step'] | undefined {
  if (alarm !== undefined) return alarm === 'raised' || alarm === 'standing' ? alarmAt : undefined
  return points.find(({ verdict }) => verdict?.verdict === 'alarm')?.step
}

export const stepWords = (step: Point['step']): string =>
  step === 'final' ? 'the final adapter' : `step ${step}`

/** A verdict in a word or two: one that rests on other models alone says so wherever it stands. */
export const verdictWords = ({ verdict, basis }: Pick<Verdict, 'verdict' | 'basis'>): string =>
  basis === 'prior' ? `${verdict}, provisional` : verdict

/** The same of a run: an alarm that stands is not taken back by a later verdict, whatever that rests on. */
export const standingWords = (standing: Standing, verdict: Verdict | undefined): string =>
  verdict?.verdict === standing ? verdictWords(verdict) : standing

/** The predicted rate, on its side of the threshold; `-` where there is none. */
export const rateText = (verdict: Pick<Verdict, 'em' | 'threshold'> | undefined): string =>
  verdict === undefined ? '-' : percentAt(verdict.threshold, verdict.em)

/** `22.1 to 44.0 %`, or `above 5.0 %` where a part of the prompts settled that; `-` where there is neither. */
export function intervalText(verdict: Pick<Verdict, 'interval' | 'settled'> | undefined): string {
  if (verdict?.settled) return sideWords(verdict.settled)
  const interval = verdict?.interval
  return interval ? `${inPercent(interval[0])} to ${percent(interval[1])}` : '-'
}

/** `90 % interval 22.1 to 44.0 %`; empty where there is none. */
export function intervalFact(verdict: Pick<Verdict, 'interval' | 'settled' | 'nominalCoverage'>): string {
  const { interval, settled, nominalCoverage } = verdict
  if (settled) return `of ${promptsWords(settled)}, which settle that it is ${sideWords(settled)}`
  return interval === null ? '' : `${percent(nominalCoverage, 0)} interval ${intervalText(verdict)}`
}

const intervalWords = (verdict: Verdict): string => {
  const fact = intervalFact(verdict)
  return fact === '' ? '' : ` (${fact})`
}

/** When checkpoints come. */
export interface Cadence {
  /** Median of the last ones. */
  secondsBetween: number
  /** When the next one is due, in milliseconds since 1970. */
  dueAt: number
}

/** From how many intervals a rhythm is told, at most. */
const LAST = 8

/** The rhythm of a run that is watched; undefined when it is over or has none yet. */
export function cadence({ points, ended }: RunView): Cadence | undefined {
  if (ended) return undefined
  const times = points
    .slice(-LAST - 1)
    .filter(({ step }) => step !== 0 && step !== 'final')
    .map(({ writtenAt, time }) => Date.parse(writtenAt ?? time ?? ''))
    .filter(Number.isFinite)
  const between = times
    .slice(1)
    .map((time, i) => time - times[i]!)
    .filter((gap) => gap > 0)
  if (between.length === 0) return undefined
  const gap = median(between)
  return { secondsBetween: gap / 1000, dueAt: times.at(-1)! + gap }
}

/** How old the last measurement is and when the next one is due; undefined where nobody knows. */
export function ageWords(view: RunView, now: number): string | undefined {
  const point = lastPoint(view)
  if (view.ended) return `The watch ended ${ago(now - Date.parse(view.ended.time))} (${view.ended.reason}).`
  const age = Date.parse(point?.time ?? '')
  if (!Number.isFinite(age)) return undefined
  const measured = `Measured ${ago(now - age)}`
  const rhythm = cadence(view)
  if (rhythm === undefined) return `${measured}.`
  const left = rhythm.dueAt - now
  const due = left >= 0 ? `next due in about ${span(left)}` : `the next was due ${span(-left)} ago`
  return `${measured}, ${due}.`
}

const ago = (milliseconds: number) => (milliseconds < 1500 ? 'just now' : `${span(milliseconds)} ago`)

/** `12 s`, `4 min`, `3 h 5 min`, `2 days`. */
export function span(milliseconds: number): string {
  const s = Math.max(0, Math.round(milliseconds / 1000))
  if (s < 90) return `${s} s`
  if (s < 5400) return `${Math.round(s / 60)} min`
  if (s < 172_800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`
  return `${Math.floor(s / 86_400)} days`
}

/** What is not as it should be with the watch itself, in sentences; empty when all is well. */
export function healthWords({ lost, errors, backlog }: RunView): string[] {
  const count = (n: number, one: string, many: string) => (n === 0 ? [] : [`${n} ${n === 1 ? one : many}`])
  return [
    ...count(backlog, 'checkpoint waits', 'checkpoints wait'),
    ...count(lost, 'checkpoint was lost', 'checkpoints were lost'),
    ...count(errors, 'error', 'errors'),
  ]
}

/** The shortest ends of paths that tell runs apart; what is no absolute path is a name already. */
export function shortNames(runs: readonly string[]): string[] {
  const isPath = (run: string) => /^([\\/]|[a-z]:[\\/])/i.test(run)
  const parts = runs.map((run) => (isPath(run) ? run.split(/[\\/]+/).filter((part) => part !== '') : [run]))
  const tail = (i: number, n: number) => parts[i]!.slice(-n).join('/') || runs[i]!
  /** How many runs have each end of so many parts. */
  const counts: Map<string, number>[] = []
  const count = (end: string, n: number) => {
    if (counts[n] === undefined) {
      counts[n] = new Map()
      for (const i of runs.keys()) counts[n].set(tail(i, n), (counts[n].get(tail(i, n)) ?? 0) + 1)
    }
    return counts[n].get(end) ?? 0
  }
  return runs.map((_, i) => {
    const longest = Math.max(1, parts[i]!.length)
    // A seed alone says nothing of the data.
    let n = /^(seed|run|checkpoint)[-_]?\d*$|^out(put)?$/i.test(parts[i]!.at(-1) ?? '')
      ? Math.min(2, longest)
      : 1
    while (n < longest && count(tail(i, n), n) > 1) n++
    return tail(i, n)
  })
}
