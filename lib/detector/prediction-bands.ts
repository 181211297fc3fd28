import { stabilized, unstabilized } from './label-noise.js'

/** Share of the fine-tuning sets, those with the nearest predictions, whose errors make an interval. */
const NEIGHBOUR_SHARE = 1 / 3
/** Fewer sets than this say too little, so more distant ones are added. */
const FEWEST_SETS = 12
/** How fast errors grow with the distance from calibration, in multiples of its median. */
const GROWTH = 0.3

/** A prediction by a detector that had not seen the set, and what the label was. */
export interface HeldOutError {
  predicted: number
  actual: number
  /** Fine-tuning set. */
  group: string
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
  group: string
  weight: number
}

/**
 * Errors of predictions held out by set, from which the error of a new prediction is told. A new run is a new set, so
 * sets are what is counted: split-conformal at the level of sets, each with one vote whatever its checkpoints, and one more
 * for the new set, whose error may be any. Errors are larger where rates are high, so the sets that vote are those with the
 * nearest predictions; and larger far from calibration, so they are divided by a spread that grows with the distance.
 *
 * Errors are taken on the scale of `stabilized` and include the labels' own noise: the interval is for a rate that would be
 * measured, not for the mean of the model. The coverage that is reached on sets left out is reported beside the nominal one.
 */
export class PredictionBands {
  readonly #errors: readonly PredictionError[]

  constructor(errors: readonly HeldOutError[]) {
    this.#errors = errors.map(({ predicted, actual, group, weight = 1, distance = 1 }) => ({
      predicted: stabilized(predicted),
      error: (stabilized(actual) - stabilized(predicted)) / spread(distance),
      group,
      weight,
    }))
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
    const needed = coverage * (1 + sizes.reduce((sum, { vote }) => sum + vote, 0))
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
    let above = 0
    let all = 0
    for (const { error, vote } of this.#near(z)) {
      if (z + error * spread(distance) > stabilized(cut)) above += vote
      all += vote
    }
    return all === 0 ? 0.5 : above / all
  }

  /** The errors of the nearest sets; those of a set share its vote. */
  #near(z: number): { error: number; vote: number }[] {
    const weights = new Map(this.#errors.map(({ group, weight }) => [group, weight]))
    const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0)
    const wanted = Math.max(FEWEST_SETS, NEIGHBOUR_SHARE * total)
    const nearest = [...this.#errors].sort((a, b) => Math.abs(a.predicted - z) - Math.abs(b.predicted - z))
    const counts = new Map<string, number>()
    let taken = 0
    const near: PredictionError[] = []
    for (const one of nearest) {
      const seen = counts.get(one.group)
      if (seen === undefined) {
        if (taken >= wanted - 1e-9) break
        taken += one.weight
      }
      counts.set(one.group, (seen ?? 0) + 1)
      near.push(one)
    }
    return near.map(({ error, group, weight }) => ({ error, vote: weight / counts.get(group)! }))
  }
}

/** How much larger errors are at a distance than those next to calibration. */
const spread = (distance: number): number => 1 + GROWTH * (Number.isFinite(distance) ? distance : 1)
