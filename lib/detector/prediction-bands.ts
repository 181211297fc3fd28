import { stabilized, unstabilized } from './label-noise.js'

/** Share of the fine-tuning sets, those with the nearest predictions, whose errors make an interval. */
const NEIGHBOUR_SHARE = 1 / 5
/** Fewer sets than this say too little, so more distant ones are added. */
const FEWEST_SETS = 12
/** Fewer sets than this cannot tell at which level intervals hold. */
const LEVEL_SETS = 15
/** How fast errors grow with the distance from calibration, in multiples of its median. */
const GROWTH = 0.3

/** A prediction by a detector that had not seen the set, and what the label was. */
export interface HeldOutError {
  predicted: number
  actual: number
  /** Fine-tuning set. */
  group: string
  /** Of a set of another base: the base. */
  base?: string
  /** Of the set beside the others; default 1. */
  weight?: number
  /** Distance from the calibration of other sets, in multiples of the median one; default 1. */
  distance?: number
}

/** A {@link HeldOutError} on the scale of `stabilized`. */
interface PredictionError {
  predicted: number
  /** Label minus prediction, in units of {@link spread}. */
  error: number
  /** Number of its set. */
  set: number
}

/**
 * Errors of predictions held out by set, from which the error of a new prediction is told. A new run is a new set, so
 * sets are what is counted: split-conformal at the level of sets, each with one vote whatever its checkpoints, and one more
 * for the new set, whose error may be any. Errors are larger where rates are high, so the sets that vote are those with the
 * nearest predictions; and larger far from calibration, so they are divided by a spread that grows with the distance.
 *
 * Checkpoints of a set share its vote and are no copies of each other, and those of other bases err by base: counted so, intervals
 * hold more than they should, or less. So the level that the votes have to reach is told by the sets themselves: each is
 * left out in turn, one of another base with all of that base, and the level is the one at which the others' intervals hold the
 * nominal share.
 *
 * Errors are taken on the scale of `stabilized` and include the labels' own noise: the interval is for a rate that would be
 * measured, not for the mean of the model. The coverage that is reached on sets left out is reported beside the nominal one.
 */
export class PredictionBands {
  /** Ascending by prediction. */
  readonly #errors: readonly PredictionError[]
  /** Of every set: its weight, and how many errors it has. */
  readonly #weights: number[] = []
  readonly #counts: number[] = []
  /** Of every set: a number of its base where it is another one, else of the set alone. */
  readonly #bases: number[] = []
  readonly #levels = new Map<number, number>()

  constructor(errors: readonly HeldOutError[]) {
    const sets = new Map<string, number>()
    const bases = new Map<string, number>()
    const all = errors.map(({ predicted, actual, group, base = group, weight = 1, distance = 1 }) => {
      const set = sets.get(group) ?? sets.size
      sets.set(group, set)
      bases.set(base, bases.get(base) ?? bases.size)
      this.#bases[set] = bases.get(base)!
      this.#weights[set] = weight
      this.#counts[set] = (this.#counts[set] ?? 0) + 1
      const z = stabilized(predicted)
      return { predicted: z, error: (stabilized(actual) - z) / spread(distance), set }
    })
    this.#errors = all.sort((a, b) => a.predicted - b.predicted)
  }

  /**
   * Interval of the rate, symmetric on the stabilised scale. With too few sets for the coverage it is as wide as the
   * largest error that was seen near.
   *
   * @param coverage nominal coverage in (0, 1)
   * @param distance from calibration, see {@link HeldOutError}
   */
  interval(predicted: number, coverage: number, distance = 1): [low: number, high: number] {
    const z = stabilized(predicted)
    const near = this.#near(z)
    if (near.length === 0) return [0, 1]
    const sizes = near
      .map(({ error, vote }) => ({ size: Math.abs(error), vote }))
      .sort((a, b) => a.size - b.size)
    const needed = this.#level(coverage) * (1 + votesOf(near))
    let votes = 0
    const reached = sizes.find(({ vote }) => {
      votes += vote
      return votes >= needed - 1e-9
    })
    const size = (reached ?? sizes.at(-1)!).size * spread(distance)
    return [unstabilized(z - size), unstabilized(z + size)]
  }

  /** Probability that the rate is above `cut`: the share of the near errors that would carry it there. */
  probabilityAbove(predicted: number, cut: number, distance = 1): number {
    const z = stabilized(predicted)
    const near = this.#near(z)
    if (near.length === 0) return 0.5
    const limit = stabilized(cut)
    return votesOf(near.filter(({ error }) => z + error * spread(distance) > limit)) / votesOf(near)
  }

  /** Share of the votes, that of the new set among them, which an interval has to reach. */
  #level(coverage: number): number {
    if (sumOf(this.#weights) < LEVEL_SETS) return coverage
    const known = this.#levels.get(coverage) ?? this.#levelThatHolds(coverage)
    this.#levels.set(coverage, known)
    return known
  }

  #levelThatHolds(coverage: number): number {
    // At any level above its rank the interval of the other sets holds an error.
    const ranks = this.#errors
      .map(({ predicted, error, set }) => {
        const near = this.#near(predicted, this.#bases[set])
        const smaller = near.filter((other) => Math.abs(other.error) < Math.abs(error))
        return { rank: votesOf(smaller) / (1 + votesOf(near)), vote: this.#vote(set) }
      })
      .sort((a, b) => a.rank - b.rank)
    const needed = coverage * sumOf(this.#weights)
    let held = 0
    const last = ranks.find(({ vote }) => {
      held += vote
      return held >= needed - 1e-9
    })
    return ranks.find(({ rank }) => rank > last!.rank)?.rank ?? 1
  }

  /** The errors of the nearest sets, of which those of one base may be left out; those of a set share its vote. */
  #near(z: number, without?: number): { error: number; vote: number }[] {
    const errors = this.#errors
    const total = sumOf(this.#weights.filter((_, set) => this.#bases[set] !== without))
    const wanted = Math.max(FEWEST_SETS, NEIGHBOUR_SHARE * total)
    const counts = new Float64Array(this.#weights.length)
    const near: PredictionError[] = []
    let taken = 0
    let above = firstAtLeast(errors, z)
    let below = above - 1
    while (below >= 0 || above < errors.length) {
      const down =
        below >= 0 && (above >= errors.length || z - errors[below]!.predicted <= errors[above]!.predicted - z)
      const one = errors[down ? below-- : above++]!
      if (this.#bases[one.set] === without) continue
      if (counts[one.set] === 0) {
        if (taken >= wanted - 1e-9) break
        taken += this.#weights[one.set]!
      }
      counts[one.set]!++
      near.push(one)
    }
    return near.map(({ error, set }) => ({ error, vote: this.#weights[set]! / counts[set]! }))
  }

  /** What one error counts where all of its set are there. */
  #vote(set: number): number {
    return this.#weights[set]! / this.#counts[set]!
  }
}

/** How much larger errors are at a distance than those next to calibration. */
const spread = (distance: number): number => 1 + GROWTH * (Number.isFinite(distance) ? distance : 1)

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)
const votesOf = (errors: readonly { vote: number }[]): number =>
  errors.reduce((sum, { vote }) => sum + vote, 0)

/** Index of the first error whose prediction is not below `z`; their number where there is none. */
function firstAtLeast(errors: readonly PredictionError[], z: number): number {
  let [from, to] = [0, errors.length]
  while (from < to) {
    const middle = (from + to) >> 1
    if (errors[middle]!.predicted < z) from = middle + 1
    else to = middle
  }
  return from
}
