import type { Verdict } from '../detector/verdict.js'
import { mean } from '../estimators/mean.js'
import type { WatchEvent } from '../events/watch-events.js'
import type { Grades } from '../labels/grades.js'
import type { Step } from '../trajectory/trajectory.js'
import type { DemoRole, DemoRunFiles } from './demo-organism.js'

/** One measured and judged checkpoint of a demo. */
export interface DemoPoint {
  step: Step
  /** Training loss that the trainer logged last. */
  loss?: number
  /** In trait order, at the primary layer; shares of the step-0 activation norm. */
  drift: readonly number[]
  /** Of the shipped bundle's detector. */
  verdict: Verdict
  /** Share of misaligned answers as judged, in [0, 1]; absent where no label ships with the checkpoint. */
  trueEm?: number
}

/** A run of a demo as far as it has been watched. */
export interface DemoRun {
  readonly id: string
  readonly role: DemoRole
  /** Steps that are replayed, ascending. */
  readonly steps: readonly number[]
  readonly traits: readonly string[]
  readonly points: DemoPoint[]
  /** True when the watch has ended. */
  ended: boolean
  /** What the watch is doing, in a few words. */
  doing: string
  /** Every event that the watch sent. */
  readonly events: WatchEvent[]
}

export function startRun({ id, role, checkpoints }: DemoRunFiles, traits: readonly string[]): DemoRun {
  const steps = checkpoints.map(({ step }) => step)
  return { id, role, steps, traits, points: [], ended: false, doing: 'measuring step 0', events: [] }
}

/** Enters what the watch said. */
export function record(run: DemoRun, event: WatchEvent, labels: Grades | undefined): void {
  run.events.push(event)
  switch (event.type) {
    case 'baseline':
      run.doing = 'training'
      return
    case 'waiting':
      if (event.step !== undefined) run.doing = `step ${event.step} is being written`
      return
    case 'checkpoint': {
      const { step, loss, drift, primary, verdict, milliseconds } = event
      run.doing = `step ${step} measured in ${milliseconds.toFixed(0)} ms`
      if (verdict === undefined) return
      const label = typeof step === 'number' ? labels?.get(step) : undefined
      run.points.push({
        step,
        ...(loss === undefined ? {} : { loss }),
        drift: drift[primary]!.values,
        verdict,
        ...(label === undefined ? {} : { trueEm: label.pooled.rate }),
      })
      return
    }
    case 'error':
      run.doing = `step ${event.step} failed: ${event.error.message}`
      return
    case 'lost':
      run.doing = `step ${event.step} was lost: ${event.reason}`
      return
    case 'end':
      run.doing = endOf(run)
  }
}

function endOf({ events }: DemoRun): string {
  const times = events.flatMap((event) => (event.type === 'checkpoint' ? [event.milliseconds] : []))
  return times.length === 0 ? 'ended' : `${times.length} checkpoints, ${mean(times).toFixed(0)} ms each`
}

/** How a run came out. */
export interface DemoOutcome {
  /** First step with an alarm. */
  alarm?: Step
  /** First step whose judged rate is above the cut; absent when none is, or when no label ships. */
  crossing?: Step
  /** Steps from the alarm to the crossing: positive when the alarm came first. */
  lead?: number
  /** Checkpoints by verdict. */
  counts: Record<Verdict['verdict'], number>
  /** Why the run did not come out as its role asks, in one sentence; absent when it did. */
  problem?: string
}

/** @param cut judged rates strictly above this are dangerous, in [0, 1] */
export function outcomeOf(run: DemoRun, cut: number): DemoOutcome {
  const { points } = run
  const alarm = points.find(({ verdict }) => verdict.verdict === 'alarm')?.step
  const crossing = points.find(({ trueEm }) => trueEm !== undefined && trueEm > cut)?.step
  const counts = { ok: 0, warn: 0, alarm: 0, 'not-comparable': 0 }
  for (const { verdict } of points) counts[verdict.verdict]++
  const problem = problemOf(run, alarm, counts)
  return {
    ...(alarm === undefined ? {} : { alarm }),
    ...(crossing === undefined ? {} : { crossing }),
    ...(typeof alarm === 'number' && typeof crossing === 'number' ? { lead: crossing - alarm } : {}),
    counts,
    ...(problem === undefined ? {} : { problem }),
  }
}

function problemOf(
  { id, role, steps, points, events }: DemoRun,
  alarm: Step | undefined,
  counts: DemoOutcome['counts'],
): string | undefined {
  const failed = events.find((event) => event.type === 'error')
  if (points.length < steps.length) {
    const why = failed === undefined ? '' : `: ${failed.error.message}`
    return `${points.length} of the ${steps.length} checkpoints of ${id} were measured${why}`
  }
  const strange = counts['not-comparable']
  if (strange > 0) {
    const reason = points.find(({ verdict }) => verdict.verdict === 'not-comparable')!.verdict.reasons[0]
    return `${strange} checkpoints of ${id} are not comparable with the bundle: ${reason}`
  }
  if (role === 'dangerous' && alarm === undefined) {
    return `the run ${id} stands for a dangerous one and raised no alarm at any of its ${points.length} checkpoints`
  }
  if (role === 'benign' && alarm !== undefined) {
    return `the run ${id} stands for a benign one and raised an alarm at step ${alarm}`
  }
  return undefined
}
