import { isJsonObject } from '../formats/json/json.js'
import { isFiniteNumber, isIndex, isText } from '../formats/json/json-fields.js'
import type { ContextPrompts } from './context-prompts.js'
import type { BaseMeasurement, ContextMeasurement } from './measurement.js'
import type { ContextTrajectory, LayerTrajectory, Trajectory } from './trajectory.js'

/**
 * Measurements by step, step 0 first, as trajectories by context.
 *
 * @param layers 0-based blocks of every measurement
 * @returns nothing where no context was read
 */
export function contextTrajectories(
  layers: readonly number[],
  contexts: readonly ContextPrompts[],
  base: BaseMeasurement,
  bySteps: readonly (readonly ContextMeasurement[])[],
): Pick<Trajectory, 'contexts'> {
  if (contexts.length === 0) return {}
  return {
    contexts: contexts.map(({ prompts: _, ...context }, c) => ({
      ...context,
      pass: base.contexts[c]!.tokens,
      layers: layers.map((layer, l) => ({
        layer,
        step0ActivationNorm: base.contexts[c]!.activationNorms[l]!,
        projections: [base.contexts[c]!, ...bySteps.map((step) => step[c]!)].map(
          (measured) => measured.layers[l]!.mean,
        ),
      })),
    })),
  }
}

/** @param isLayer whether a layer has the steps and traits of the trajectory */
export function areContexts(
  value: unknown,
  layers: readonly LayerTrajectory[],
  isLayer: (one: LayerTrajectory) => boolean,
): value is ContextTrajectory[] {
  if (!Array.isArray(value)) return false
  const names = new Set(value.map((one: ContextTrajectory) => one?.name))
  return (
    names.size === value.length &&
    value.every(
      (one: ContextTrajectory) =>
        isJsonObject(one) &&
        isText(one.name) &&
        ['given', 'data', 'unrelated'].includes(one.origin) &&
        [one.system, one.prefix, one.like].every((text) => text === undefined || isText(text)) &&
        (one.share === undefined || isFiniteNumber(one.share)) &&
        isIndex(one.tokens) &&
        isJsonObject(one.pass) &&
        Array.isArray(one.layers) &&
        one.layers.map((at) => at?.layer).join() === layers.map(({ layer }) => layer).join() &&
        one.layers.every(isLayer),
    )
  )
}
