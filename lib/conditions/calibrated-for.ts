import { norm } from '../estimators/linalg.js'
import { CALIBRATED, mismatch, mismatchesBetween } from './comparable.js'
import type { Conditions } from './conditions.js'
import { type EngineConditions, engineMismatches } from './engine.js'
import type { TrainedLike } from './training.js'

/** Where the untouched base lies at one layer. */
export interface BasePoint {
  layer: number
  /** N: mean over prompts of ‖h‖ at step 0, native activation units. */
  activationNorm: number
  /** Raw projections at step 0, in trait order. */
  projections: number[]
}

/** Everything that must be the same when a detector reads a run as it was when its calibration runs were measured. */
export interface CalibratedFor {
  conditions: Conditions
  /** Identity of the directions that the runs were measured with. */
  directionsSha256: string
  /** SHA-256 over the token ids of the evaluation prompts. */
  tokenIdsSha256: string
  nPrompts: number
  /** Kernels differ between the two by more than a drift may be off. */
  deviceClass: 'cpu' | 'gpu'
  /** Absent in bundles of earlier versions: not recorded, and not compared. */
  engine?: EngineConditions | undefined
  /** How the calibration runs were trained; absent in bundles of earlier versions, and then not looked at. */
  training?: TrainedLike | undefined
  /** At the detector's layers, in its order. */
  base: BasePoint[]
}

/** What a measurement says of itself, as far as it can be compared. */
export interface MeasuredUnder {
  conditions: Conditions
  directionsSha256: string
  /** SHA-256 over the token ids of the evaluation prompts. */
  tokenIdsSha256: string
  /** `cpu`, or the name of the GPU that held blocks. */
  device: string
  /** Absent in files of earlier versions. */
  engine?: EngineConditions | undefined
}

export const deviceClass = (device: string): 'cpu' | 'gpu' => (device === 'cpu' ? 'cpu' : 'gpu')

/**
 * Sentences on every way in which a measurement differs from what a detector was calibrated for; empty when
 * it can have a verdict.
 */
export function differences(
  calibrated: CalibratedFor,
  measured: MeasuredUnder,
  accepted: readonly string[] = [],
): string[] {
  const check = mismatch(CALIBRATED)
  const hashes = (key: 'tokenIdsSha256' | 'directionsSha256') =>
    [calibrated[key].slice(0, 12), measured[key].slice(0, 12)] as const
  const isAccepted = [calibrated.directionsSha256, ...accepted].includes(measured.directionsSha256)
  return [
    ...mismatchesBetween(calibrated.conditions, measured.conditions, CALIBRATED),
    ...check('the tokenization of the prompts', ...hashes('tokenIdsSha256')),
    ...check('the device', calibrated.deviceClass, deviceClass(measured.device)),
    ...engineMismatches(calibrated.engine, measured.engine),
    ...(isAccepted ? [] : check('the set of directions', ...hashes('directionsSha256'))),
  ]
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
