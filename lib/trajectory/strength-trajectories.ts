import type { BaseMeasurement, StrengthMeasurement } from './measurement.js'
import type { Projection } from './project.js'
import type { Trajectory } from './trajectory.js'

/** The projections of one layer by step, as a trajectory has them. */
export const layerColumns = (projections: readonly Projection[]) => ({
  projections: projections.map(({ mean }) => mean),
  std: projections.map(({ std }) => std),
})

/**
 * Measurements by step, step 0 first, as trajectories by strength.
 *
 * @param layers 0-based blocks of every measurement
 * @returns nothing where no strength was read
 */
export function strengthTrajectories(
  layers: readonly number[],
  base: BaseMeasurement,
  [, ...bySteps]: readonly (readonly StrengthMeasurement[])[],
): Pick<Trajectory, 'strengths'> {
  const strengths = (bySteps[0] ?? []).map(({ strength }, s) => ({
    strength,
    layers: layers.map((layer, l) => ({
      layer,
      step0ActivationNorm: base.activationNorms[l]!,
      ...layerColumns([base.layers[l]!, ...bySteps.map((step) => step[s]!.layers[l]!)]),
    })),
    stateChange: [layers.map(() => 0), ...bySteps.map((step) => step[s]!.stateChange)],
  }))
  return strengths.length === 0 ? {} : { strengths }
}
