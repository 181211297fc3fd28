/** Where a run is against the calibration's background. */
import type { Backdrop, Point, RunView } from './run-view.js'

/** Whether a drift lies outside the benign runs' band at its step; undefined where nobody knows. */
export function outsideBand(
  backdrop: Backdrop | undefined,
  view: RunView,
  trait: number,
  { step, drift }: Point,
): string | undefined {
  const benign = behind(backdrop, view)?.benign
  if (!benign || step === 'final') return undefined
  const edges = bandAt(benign.steps, benign.traits[trait]!, step)
  if (edges === undefined) return undefined
  const value = drift[trait]!
  return value < edges[0] || value > edges[1] ? 'outside the benign band' : 'inside the benign band'
}

/** The band's edges at a step, straight between the calibration's; undefined beyond them. */
export function bandAt(
  steps: readonly number[],
  edges: readonly (readonly [number, number])[],
  step: number,
): [number, number] | undefined {
  const after = steps.findIndex((one) => one >= step)
  if (after === -1) return undefined
  if (steps[after] === step) return [...edges[after]!]
  if (after === 0) return undefined
  const [a, b] = [steps[after - 1]!, steps[after]!]
  const share = (step - a) / (b - a)
  const between = (i: 0 | 1) => edges[after - 1]![i] + share * (edges[after]![i] - edges[after - 1]![i])
  return [between(0), between(1)]
}

/** The calibration's background, if it was drawn at the layer and traits that the run is shown at. */
export function behind(
  backdrop: Backdrop | undefined,
  { layer, traits }: Pick<RunView, 'layer' | 'traits'>,
): Backdrop | undefined {
  if (backdrop?.layer !== layer || backdrop?.traits.join() !== traits.join()) return undefined
  return backdrop
}
