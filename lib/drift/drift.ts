import { checkMade, type OptionKinds, takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { norm } from '../estimators/linalg.js'
import { type LayerTrajectory, type Step, TRAJECTORY, type Trajectory } from '../trajectory/trajectory.js'

/** How far one checkpoint has moved from the base model. */
export interface DriftStep {
  step: Step
  /**
   * `(P_t(s) − P_t(0)) / N` per trait in trait order; no unit (shares of the step-0 activation norm), signed.
   */
  values: number[]
  /** Euclidean length of `values`. */
  norm: number
}

/** Where to read drift. */
export interface DriftOptions {
  /** 0-based block; default the trajectory's primary layer. */
  layer?: number | undefined
  /** Factor on the adapter; default 1, as trained. */
  strength?: number | undefined
}

const OPTIONS: OptionKinds<DriftOptions> = { layer: 'number', strength: 'number' }

/**
 * Drift of every step at one layer: the detector's features. Step 0 is all zero. Method section 5.2.
 *
 * @throws TraitscopeError NOT_COMPARABLE when the trajectory was not measured at `layer` or `strength`
 */
export function drift(trajectory: Trajectory, options: DriftOptions = {}): DriftStep[] {
  checkMade(trajectory, TRAJECTORY)
  const { projections, step0ActivationNorm } = layerOf(trajectory, takeOptions('drift', options, OPTIONS))
  return trajectory.steps.map(({ step }, i) =>
    driftStep(step, projections[i]!, projections[0]!, step0ActivationNorm),
  )
}

/**
 * Drift of one measurement.
 *
 * @param projections raw projections at the step, per trait
 * @param atStep0 the same at step 0
 * @param step0ActivationNorm N, in the units of the projections
 */
export function driftStep(
  step: Step,
  projections: readonly number[],
  atStep0: readonly number[],
  step0ActivationNorm: number,
): DriftStep {
  const values = projections.map((value, t) => (value - atStep0[t]!) / step0ActivationNorm)
  return { step, values, norm: norm(values) }
}

function layerOf(trajectory: Trajectory, { layer, strength = 1 }: DriftOptions): LayerTrajectory {
  const strengths = [{ strength: 1, layers: trajectory.layers }, ...(trajectory.strengths ?? [])]
  const layers = strengths.find((one) => one.strength === strength)?.layers
  if (layers === undefined) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `the trajectory was measured at strength ${strengths.map((one) => one.strength).join(', ')}, not at ${strength}`,
    )
  }
  if (layer === undefined) return layers[trajectory.primary]!
  const found = layers.find((one) => one.layer === layer)
  if (found) return found
  const measured = trajectory.layers.map((one) => one.layer ?? 'an unnamed one').join(', ')
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `the trajectory was measured at layer ${measured}, not at ${layer}`,
  )
}
