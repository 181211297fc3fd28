import type { MeanActivations } from './mean-activations.js'
import type { MeasuredRun } from './runs.js'

/** `(h̄_s − h̄_0) / N` of one step and layer; null where the file lacks one of them. Shape `[nEmbd]`. */
export function activationDriftOf(
  { trajectory }: MeasuredRun,
  { layers, nEmbd, steps }: MeanActivations,
  layer: number | null | undefined,
  step: number,
): Float64Array | null {
  const measured =
    trajectory.layers.find((one) => one.layer === layer) ?? trajectory.layers[trajectory.primary]!
  const at = layers.indexOf(measured.layer ?? layers[0]!) * nEmbd
  const [from, to] = [steps.get(0), steps.get(step)]
  if (at < 0 || from === undefined || to === undefined) return null
  const norm = measured.step0ActivationNorm
  return Float64Array.from({ length: nEmbd }, (_, c) => (to[at + c]! - from[at + c]!) / norm)
}
