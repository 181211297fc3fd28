import { checkMade, Made, takeOptions } from '../arguments.js'
import type { FileHash } from '../formats/files/hash.js'
import { trajectoryMargins } from '../trajectory/margin-trajectory.js'
import { type Step, TRAJECTORY, type Trajectory, type TrajectoryStep } from '../trajectory/trajectory.js'
import { contextReadings } from './conditional.js'
import { tellMargin } from './margin-test.js'
import { RunVerdicts, type VerdictSource } from './run-verdicts.js'
import { trainedBy } from './trained-by.js'
import { notComparable, type Verdict } from './verdict.js'

/** What a verdict is on. */
export interface StepVerdict {
  step: Step
  verdict: Verdict
  /** As in {@link TrajectoryStep}. */
  files?: FileHash[]
  remarks?: string[]
}

const VERDICT_SOURCE = new Made<VerdictSource>(
  'a bundle, or what priorVerdictSource or trajectoryPrior gives',
  'detector',
)

/**
 * A verdict per step of a measured run, step 0 included. Of a run that was measured under other conditions than the detector was
 * calibrated for, every verdict is `not-comparable` and says why; with `allowMismatch` the differences are reasons of verdicts.
 */
export function trajectoryVerdicts(
  by: VerdictSource,
  trajectory: Trajectory,
  options: { allowMismatch?: boolean | undefined } = {},
): StepVerdict[] {
  checkMade(by, VERDICT_SOURCE)
  checkMade(trajectory, TRAJECTORY)
  const own = takeOptions('trajectoryVerdicts', options, { allowMismatch: 'boolean' })
  const { detector } = by
  const layers = detector.layers.map((layer) => trajectory.layers.find((one) => one.layer === layer))
  const missing = detector.layers.filter((_, l) => layers[l] === undefined)
  const others = trajectory.traits.join() !== detector.traits.join()
  if (missing.length > 0 || others) {
    const reason = others
      ? `the run was measured on the traits ${trajectory.traits.join(', ')}, but the detector reads ${detector.traits.join(', ')}`
      : `the run was not measured at layer ${missing.join(', ')}, which the detector reads`
    return trajectory.steps.map((one) => ({ ...onStep(one), verdict: notComparable(detector, [reason]) }))
  }
  const at = (i: number) => layers.map((layer) => layer!.projections[i]!)
  const amplifiedAt = (i: number) =>
    (trajectory.strengths ?? []).map((one) => ({
      strength: one.strength,
      projections: layers.map((layer) => one.layers[trajectory.layers.indexOf(layer!)]!.projections[i]!),
    }))
  const norms = layers.map((layer) => layer!.step0ActivationNorm)
  const inContexts = contextReadings(trajectory, detector.layers)
  const byCategoryAt = (i: number) => trajectory.categories && layers.map((layer) => layer!.categories![i]!)
  const verdicts = new RunVerdicts(by, trajectory.measurement, at(0), {
    ...own,
    noiseFloor: trajectory.noiseFloor,
    categories: trajectory.categories && { of: trajectory.categories, step0: byCategoryAt(0)! },
  })
  const margins = trajectoryMargins(trajectory)
  const verdictOn = (one: TrajectoryStep, i: number): Verdict =>
    verdicts.verdict(
      one.step,
      at(i),
      norms,
      i === 0 ? [] : amplifiedAt(i),
      i === 0 ? undefined : trainedBy(trajectory.run, one),
      i === 0 ? undefined : inContexts?.[i - 1]?.readings,
      i === 0 ? undefined : byCategoryAt(i),
      one.settled,
    )
  // Of step 0 a margin is 0 and no news, unless benign runs decide by it.
  const tell = (verdict: Verdict, i: number): Verdict =>
    i === 0 && !by.marginTest ? verdict : tellMargin(verdict, margins?.[i], by, trajectory.margin)
  return trajectory.steps.map((one, i) => ({ ...onStep(one), verdict: tell(verdictOn(one, i), i) }))
}

function onStep({ step, files, remarks }: TrajectoryStep): Omit<StepVerdict, 'verdict'> {
  return { step, ...(files ? { files } : {}), ...(remarks ? { remarks } : {}) }
}
