import { checkMade, type OptionKinds, takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { norm } from '../estimators/linalg.js'
import { columnMeans, type Matrix } from '../estimators/matrix.js'
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

/**
 * Drift of the whole activation, `(h̄_s − h̄_0) / N` with h̄ the mean over prompts: shape `[nEmbd]`, no unit.
 * Its projection on unit directions is the trait drift.
 *
 * @param states shape `[nPrompts, nEmbd]` at the step
 * @param atStep0 the same prompts at step 0
 */
export function activationDrift(states: Matrix, atStep0: Matrix, step0ActivationNorm: number): Float64Array {
  if (states.cols !== atStep0.cols || states.rows !== atStep0.rows) {
    throw new TraitscopeError(
      'SHAPE',
      `expected states of the same prompts, found ${states.rows} x ${states.cols} and ${atStep0.rows} x ${atStep0.cols}`,
    )
  }
  const from = columnMeans(atStep0)
  return columnMeans(states).map((value, c) => (value - from[c]!) / step0ActivationNorm)
}

/**
 * Cohen's d of every step against step 0 per trait: `(m_s − m_0) / sqrt((v_0 + v_s) / 2)` over prompts, v
 * with ddof 1. A spread of zero gives 0 where nothing moved and ±Infinity otherwise. Method section 5.3.
 *
 * @throws TraitscopeError NOT_COMPARABLE when the file has no spreads (the reference's have none) or not this
 * layer
 */
export function cohensD(
  trajectory: Trajectory,
  options: DriftOptions = {},
): { step: Step; values: number[] }[] {
  const { projections, std } = layerOf(trajectory, options)
  if (std === undefined) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      "this trajectory has no standard deviations over prompts, which Cohen's d needs; measure the run again with traitscope",
    )
  }
  return trajectory.steps.map(({ step }, i) => ({
    step,
    values: projections[i]!.map((value, t) => {
      const moved = value - projections[0]![t]!
      return moved === 0 ? 0 : moved / Math.sqrt((std[0]![t]! ** 2 + std[i]![t]! ** 2) / 2)
    }),
  }))
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
