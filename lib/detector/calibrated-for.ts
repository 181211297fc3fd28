import type { Conditions } from '../directions/directions.js'
import { TraitscopeError } from '../errors.js'
import { norm } from '../estimators/linalg.js'
import { mismatchesBetween } from '../trajectory/comparable.js'
import type { LayerTrajectory, MeasurementRecord } from '../trajectory/trajectory.js'
import type { LabelledRun } from './runs.js'

/** Where the untouched base lies at one layer. */
export interface BasePoint {
  layer: number
  /** N: mean over prompts of ‖h‖ at step 0, native activation units. */
  activationNorm: number
  /** Raw projections at step 0, in trait order. */
  projections: number[]
}

/** Everything that must be the same when a detector judges as it was when its calibration runs were measured. */
export interface CalibratedFor {
  conditions: Conditions
  /** Identity of the directions that the runs were measured with. */
  directionsSha256: string
  /** SHA-256 over the token ids of the evaluation prompts. */
  tokenIdsSha256: string
  nPrompts: number
  /** Kernels differ between the two by more than a drift may be off. */
  deviceClass: 'cpu' | 'gpu'
  /** At the detector's layers, in its order. */
  base: BasePoint[]
}

/** What a measurement says of itself, as far as it can be compared. */
export type MeasuredUnder = Pick<
  MeasurementRecord,
  'conditions' | 'directionsSha256' | 'tokenIdsSha256' | 'device'
>

export const deviceClass = (device: string): 'cpu' | 'gpu' => (device === 'cpu' ? 'cpu' : 'gpu')

/**
 * Sentences on every way in which a measurement differs from what a detector was calibrated for; empty when
 * it can be judged.
 */
export function differences(
  calibrated: CalibratedFor,
  measured: MeasuredUnder,
  accepted: readonly string[] = [],
): string[] {
  const different = mismatchesBetween(
    calibrated.conditions,
    measured.conditions,
    'the detector was calibrated',
  )
  const check = (what: string, a: string, b: string) => {
    if (a !== b) different.push(`${what} is ${b}, but the detector was calibrated with ${a}`)
  }
  check(
    'the tokenization of the prompts',
    calibrated.tokenIdsSha256.slice(0, 12),
    measured.tokenIdsSha256.slice(0, 12),
  )
  check('the device', calibrated.deviceClass, deviceClass(measured.device))
  if (![calibrated.directionsSha256, ...accepted].includes(measured.directionsSha256)) {
    check(
      'the set of directions',
      calibrated.directionsSha256.slice(0, 12),
      measured.directionsSha256.slice(0, 12),
    )
  }
  return different
}

/** Longest shift of step 0 that repeated measurements of one base may show, in step-0 norms. */
const BASE_TOLERANCE = 0.005

/**
 * How far a run's own step 0 lies from the calibrated base, per layer: `(P(0) − P_base(0)) / N_base`. Null
 * when it is the base. A run that starts from a misaligned model shows here, and only here: its drift cannot
 * see what happened before.
 */
export function startShift(
  calibrated: Pick<CalibratedFor, 'base'>,
  step0: readonly (readonly number[])[],
): number[][] | null {
  const shift = calibrated.base.map(({ activationNorm, projections }, l) =>
    projections.map((value, t) => (step0[l]![t]! - value) / activationNorm),
  )
  return shift.some((values) => norm(values) > BASE_TOLERANCE) ? shift : null
}

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
  return {
    conditions,
    directionsSha256,
    tokenIdsSha256,
    nPrompts,
    deviceClass: deviceClass(device),
    base: layers.map((layer) => basePoint(first.trajectory.layers.find((one) => one.layer === layer)!)),
  }
}

/**
 * Throws NOT_COMPARABLE unless all runs were measured on one base under one set of conditions: drifts of
 * different models are different things.
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

function basePoint({ layer, step0ActivationNorm, projections }: LayerTrajectory): BasePoint {
  return { layer: layer!, activationNorm: step0ActivationNorm, projections: [...projections[0]!] }
}
