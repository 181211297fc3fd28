import { stabilized, unstabilized } from './label-noise.js'

/** Share of the calibration rows, the nearest in predicted rate, whose errors make an interval. */
const NEIGHBOUR_SHARE = 0.25

/** An out-of-fold prediction and its label, on the scale of `stabilized`. */
interface PredictionError {
  predicted: number
  /** Label minus prediction. */
  error: number
}

/**
 * Errors of predictions held out by set, from which the error of a new prediction is told: split-conformal
 * intervals, made local. Errors are larger where rates are high, so the interval at a prediction comes from the
 * calibration rows with the nearest predictions. Errors are taken on the scale of `stabilized` and include the
 * labels' own noise: the interval is for a rate that would be measured, not for the mean of the model.
 *
 * Such intervals cover at least the nominal share when a new run is like the calibration runs. A new
 * fine-tuning set is not; predictions held out by set come nearest to that, and the coverage that they reach is
 * reported beside the nominal one.
 */
export class PredictionBands {
  readonly #errors: readonly PredictionError[]

  /** @param pairs predicted and labelled rate of calibration rows */
  constructor(pairs: readonly (readonly [predicted: number, actual: number])[]) {
    this.#errors = pairs.map(([predicted, actual]) => ({
      predicted: stabilized(predicted),
      error: stabilized(actual) - stabilized(predicted),
    }))
  }

  /**
   * Interval of the rate, symmetric on the stabilised scale; `[0, 1]` where there are too few errors for the
   * coverage.
   *
   * @param coverage nominal coverage in (0, 1)
   */
  interval(predicted: number, coverage: number): [low: number, high: number] {
    const z = stabilized(predicted)
    const sizes = this.#near(z)
      .map(({ error }) => Math.abs(error))
      .sort((a, b) => a - b)
    const size = sizes[Math.ceil(coverage * (sizes.length + 1)) - 1]
    return size === undefined ? [0, 1] : [unstabilized(z - size), unstabilized(z + size)]
  }

  /** Probability that the rate is above `cut`: the share of the near errors that would carry it there. */
  probabilityAbove(predicted: number, cut: number): number {
    const z = stabilized(predicted)
    const near = this.#near(z)
    return near.filter(({ error }) => z + error > stabilized(cut)).length / near.length
  }

  #near(z: number): readonly PredictionError[] {
    const count = Math.max(1, Math.ceil(NEIGHBOUR_SHARE * this.#errors.length))
    return [...this.#errors]
      .sort((a, b) => Math.abs(a.predicted - z) - Math.abs(b.predicted - z))
      .slice(0, count)
  }
}
