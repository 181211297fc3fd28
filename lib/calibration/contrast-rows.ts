import { readThrough } from '../detector/contrast.js'
import type { Prior, PriorRow } from '../detector/prior.js'
import { contrastLayers, priorReading } from '../detector/prior-detector.js'
import type { Directions } from '../directions/directions.js'
import { TraitscopeError } from '../errors.js'
import type { Rows } from '../runs/rows.js'
import type { LabelledRun } from '../runs/runs.js'

/**
 * The matrix that a base's drifts are read through in contrast units, see `contrastReading`.
 *
 * @param layers 0-based blocks, ascending, measured in every run
 * @param traits that are read, in their order; default those of the directions
 * @throws TraitscopeError NOT_COMPARABLE for runs that do not say under which conditions they were measured, or that were
 * measured with other directions, and for depths that no block is near
 */
export function readingOf(
  runs: readonly LabelledRun[],
  layers: readonly number[],
  directions: Directions,
  depths: readonly number[],
  traits: readonly string[] = directions.traits,
): number[][] {
  const [first] = runs
  const measurement = first?.trajectory.measurement
  if (measurement === undefined || measurement.directionsSha256 !== directions.sha256) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `expected runs measured with the directions that were given (${directions.sha256.slice(0, 12)}), found ${measurement?.directionsSha256.slice(0, 12) ?? 'files that do not say'}`,
    )
  }
  const base = layers.map((layer) => ({
    layer,
    activationNorm: first!.trajectory.layers.find((one) => one.layer === layer)!.step0ActivationNorm,
  }))
  const { nLayer } = measurement.conditions.base
  return priorReading({ depths, traits }, directions, nLayer, contrastLayers(directions, base))
}

/** Labelled checkpoints of one base as a prior keeps them. */
export function priorRows(rows: Rows, read: readonly (readonly number[])[], model: number): PriorRow[] {
  return rows.rows.map(({ dataset, drift, label }) => ({
    model,
    dataset,
    features: readThrough(read, drift.flat()),
    label: label.pooled,
    ...(label.unscored && { unscored: label.unscored }),
  }))
}

/** A prior and the directions of the base, which say how far apart the poles of its traits lie. */
export interface PriorOfBase {
  prior: Prior
  directions: Directions
}
