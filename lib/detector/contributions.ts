import type { Detector } from './detector.js'
import { RateModel } from './rate-model.js'
import type { Contribution } from './verdict.js'

/** More traits than this make more subsets than are worth it. */
const MOST_TRAITS = 12

/**
 * What every trait adds to a predicted rate: Shapley values, exact over all subsets of the traits. A trait that is left out has
 * not drifted. Whatever the model, they and the rate at no drift sum to the prediction; traits that tell the same thing
 * share it.
 */
export class Explainer {
  readonly #model: RateModel
  readonly #traits: readonly string[]
  readonly #atRest: number

  constructor(detector: Detector) {
    this.#model = RateModel.fromJSON(detector.toJSON().levelModel)
    this.#traits = detector.traits
    this.#atRest = this.#model.predict([detector.layers.flatMap(() => detector.traits.map(() => 0))])[0]!
  }

  /**
   * @param drift as `Detector.predict` takes it
   * @returns largest first; undefined for more traits than can be told apart
   */
  contributions(drift: readonly (readonly number[])[]): Contribution[] | undefined {
    const traits = this.#traits.length
    if (traits > MOST_TRAITS) return undefined
    const subsets = Array.from({ length: 2 ** traits }, (_, subset) =>
      drift.flatMap((values) => values.map((value, t) => ((subset >> t) & 1 ? value : 0))),
    )
    const rates = this.#model.predict(subsets)
    const weights = shapleyWeights(traits)
    return this.#traits
      .map((trait, t) => {
        let value = 0
        for (const subset of rates.keys()) {
          if ((subset >> t) & 1) continue
          value += weights[bits(subset)]! * (rates[subset | (1 << t)]! - rates[subset]!)
        }
        return { trait, value }
      })
      .sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
  }

  /** Rate predicted without any drift. */
  get atRest(): number {
    return this.#atRest
  }
}

/** By the size of the subset that a trait joins: `size! (n - size - 1)! / n!`. */
function shapleyWeights(n: number): number[] {
  const weights = [1 / n]
  for (let size = 1; size < n; size++) weights.push((weights[size - 1]! * size) / (n - size))
  return weights
}

function bits(subset: number): number {
  let count = 0
  for (let left = subset; left > 0; left >>= 1) count += left & 1
  return count
}
