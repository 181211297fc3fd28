import { isJsonObject } from '../formats/json/json.js'
import type { Detector } from './detector.js'
import { RateModel } from './rate-model.js'
import type { CategoryContribution, Contribution } from './verdict.js'

/** More traits or categories than this make more subsets than are worth it. */
const MOST_PARTS = 12

/**
 * What every trait, or category of prompts, adds to a predicted rate: Shapley values, exact over all subsets of them. One that is left
 * out has not drifted. Whatever the model, they and the rate at no drift sum to the prediction; traits that tell the same thing
 * share it.
 */
export class Explainer {
  readonly #model: RateModel
  readonly #traits: readonly string[]
  /** Indices of the traits that the model looks at. */
  readonly #read: readonly number[]
  readonly #atRest: number

  constructor(detector: Detector) {
    this.#model = RateModel.fromJSON(detector.toJSON().levelModel)
    this.#traits = detector.traits
    this.#read = traitsRead(this.#model, detector.traits.length)
    this.#atRest = this.#model.predict([detector.layers.flatMap(() => detector.traits.map(() => 0))])[0]!
  }

  /**
   * @param drift as `Detector.predict` takes it
   * @returns largest first; undefined for more traits than can be told apart
   */
  contributions(drift: readonly (readonly number[])[]): Contribution[] | undefined {
    const parts = this.#read.map((trait) =>
      drift.flatMap((values) => values.map((value, t) => (t === trait ? value : 0))),
    )
    const values = this.#shapley(parts)
    return values && largestFirst(values.map((value, i) => ({ trait: this.#traits[this.#read[i]!]!, value })))
  }

  /**
   * The same by category of prompts: the drift is the mean over them, so that each brings a part of it.
   *
   * @param parts per category its part of the drift, as `Detector.predict` takes it; they sum to the drift
   */
  byCategory(
    parts: readonly { category: string; drift: readonly (readonly number[])[] }[],
  ): CategoryContribution[] | undefined {
    const values = this.#shapley(parts.map(({ drift }) => drift.flat()))
    return values && largestFirst(values.map((value, c) => ({ category: parts[c]!.category, value })))
  }

  /** What every part of a drift adds to the rate that their sum is predicted. */
  #shapley(parts: readonly (readonly number[])[]): number[] | undefined {
    if (parts.length === 0 || parts.length > MOST_PARTS) return undefined
    const subsets = Array.from({ length: 2 ** parts.length }, (_, subset) =>
      parts[0]!.map((_, i) => parts.reduce((sum, part, p) => ((subset >> p) & 1 ? sum + part[i]! : sum), 0)),
    )
    const rates = this.#model.predict(subsets)
    const weights = shapleyWeights(parts.length)
    return parts.map((_, p) => {
      let value = 0
      for (const subset of rates.keys()) {
        if ((subset >> p) & 1) continue
        value += weights[bits(subset)]! * (rates[subset | (1 << p)]! - rates[subset]!)
      }
      return value
    })
  }

  /** Rate predicted without any drift. */
  get atRest(): number {
    return this.#atRest
  }
}

/** All, but where other bases alone are learned from those that they were measured on. */
function traitsRead(model: RateModel, traits: number): number[] {
  const all = Array.from({ length: traits }, (_, t) => t)
  const reads = model.toJSON().members.map((member) => (isJsonObject(member) ? member.read : undefined))
  if (!reads.every((read): read is number[][] => Array.isArray(read))) return all
  return all.filter((t) =>
    reads.some((read) => read.some((row) => row.some((weight, i) => i % traits === t && weight !== 0))),
  )
}

const largestFirst = <One extends { value: number }>(all: One[]): One[] =>
  all.sort((a, b) => Math.abs(b.value) - Math.abs(a.value))

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
