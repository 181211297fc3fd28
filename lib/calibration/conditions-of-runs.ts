import {
  type BasePoint,
  type CalibratedFor,
  deviceClass,
  differences,
  startShift,
} from '../conditions/calibrated-for.js'
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
  const { conditions, directionsSha256, tokenIdsSha256, nPrompts, device, engine } = measurement
  return {
    conditions,
    directionsSha256,
    tokenIdsSha256,
    nPrompts,
    deviceClass: deviceClass(device),
    ...(engine ? { engine } : {}),
    base: layers.map((layer) => basePoint(first.trajectory.layers.find((one) => one.layer === layer)!)),
  }
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
  const labelled = basisOf(first)
  for (const other of runs) {
    const also = basisOf(other)
    if (also === labelled) continue
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `expected labels of one judge, questions and rule, but those of ${first.id} are by ${labelled} and those of ${other.id} by ${also}; label all runs alike`,
    )
  }
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

/** What a run's labels rest on; several in one file are said too. */
function basisOf({ labels }: LabelledRun): string {
  const named = [
    ...new Set([...labels.values()].map(({ basis }) => basis ?? 'a judge that the file does not name')),
  ]
  return named.join(' and ')
}

function basePoint({ layer, step0ActivationNorm, projections }: LayerTrajectory): BasePoint {
  return { layer: layer!, activationNorm: step0ActivationNorm, projections: [...projections[0]!] }
}
