import {
  type BasePoint,
  type CalibratedFor,
  deviceClass,
  differences,
  startShift,
} from '../conditions/calibrated-for.js'
import { type EngineConditions, kernelsOf } from '../conditions/engine.js'
import { runsTrainedLike } from '../detector/trained-by.js'
import { TraitscopeError } from '../errors.js'
import type { LabelledRun } from '../runs/runs.js'
import type { LayerTrajectory } from '../trajectory/trajectory.js'

/**
 * What calibration runs were measured under, at some layers. Null when they do not say: files of the
 * reference.
 *
 * @throws TraitscopeError NOT_COMPARABLE naming two runs that differ
 */
export function calibratedFor(runs: readonly LabelledRun[], layers: readonly number[]): CalibratedFor | null {
  const [first] = runs
  const measurement = first?.trajectory.measurement
  if (first === undefined || measurement === undefined) return null
  const { conditions, directionsSha256, tokenIdsSha256, nPrompts, device } = measurement
  const engine = engineOf(runs)
  return {
    conditions,
    directionsSha256,
    tokenIdsSha256,
    nPrompts,
    deviceClass: deviceClass(device),
    ...(engine ? { engine } : {}),
    training: runsTrainedLike(runs.map(({ trajectory }) => trajectory)),
    base: layers.map((layer) => basePoint(first.trajectory.layers.find((one) => one.layer === layer)!)),
  }
}

/** That of the first run, with how the checkpoints of all met the base, where all say so. */
function engineOf(runs: readonly LabelledRun[]): EngineConditions | undefined {
  const engines = runs.map(({ trajectory }) => trajectory.measurement?.engine)
  const [first] = engines
  if (!first) return undefined
  const { checkpoints: _, ...rest } = first
  const met = engines.map((engine) => engine?.checkpoints)
  const all = met.every((one) => one !== undefined) ? { checkpoints: kernelsOf(met.flat()) } : {}
  return { ...rest, ...all }
}

/**
 * Throws NOT_COMPARABLE unless all runs were measured on one base under one set of conditions, and labelled by one judge:
 * drifts of different models are different things, and so are rates by different judges.
 */
export function assertOneKind(runs: readonly LabelledRun[]): void {
  const [first, ...others] = runs
  if (first === undefined) return
  const refuse = (other: LabelledRun, how: string): never => {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `expected runs of one base model under one set of conditions, but ${first.id} and ${other.id} differ: ${how}; calibrate each base on its own`,
    )
  }
  assertOneLabeller(runs)
  for (const other of others) {
    if (other.model !== first.model) refuse(other, `their folders are ${first.model} and ${other.model}`)
    const [a, b] = [first.trajectory.measurement, other.trajectory.measurement]
    if ((a === undefined) !== (b === undefined))
      refuse(other, 'one was measured by traitscope, the other was not')
    if (!a || !b) continue
    const found = { ...a, deviceClass: deviceClass(a.device), base: [] }
    const different = differences(found, b)
    if (different.length > 0) refuse(other, different.join('; '))
    const shared = first.trajectory.layers.filter(({ layer }) =>
      other.trajectory.layers.some((one) => one.layer === layer),
    )
    const step0 = shared.map(({ layer }) => {
      return other.trajectory.layers.find((one) => one.layer === layer)!.projections[0]!
    })
    if (startShift({ base: shared.map(basePoint) }, step0) !== null) {
      refuse(other, 'they start from different models: their projections at step 0 are not the same')
    }
  }
}

/**
 * Throws NOT_COMPARABLE unless all labels are by one judge, questions and rule, within a run too: the same answers were
 * 9.9 %, 5.8 % and 0.5 % misaligned to three judges.
 */
export function assertOneLabeller(runs: readonly LabelledRun[]): void {
  const known = new Map<string, string>()
  for (const { id, labels } of runs) {
    for (const { basis = 'a judge that the file does not name' } of labels.values()) {
      if (!known.has(basis)) known.set(basis, id)
    }
  }
  const [first, other] = [...known]
  if (first === undefined || other === undefined) return
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected labels of one judge, questions and rule, but those of ${first[1]} are by ${first[0]} and those of ${other[1]} by ${other[0]}; label all runs alike`,
  )
}

function basePoint({ layer, step0ActivationNorm, projections }: LayerTrajectory): BasePoint {
  return { layer: layer!, activationNorm: step0ActivationNorm, projections: [...projections[0]!] }
}
