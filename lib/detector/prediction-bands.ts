import { stabilized, unstabilized } from './label-noise.js'

/** Share of the calibration rows, the nearest in predicted rate, whose errors make an interval. */
const NEIGHBOUR_SHARE = 0.4

/**
 * Errors of out-of-fold predictions, from which the error of a new prediction is told: cross-conformal
 * prediction, made local. Errors are larger where rates are high, so the interval at a prediction comes from
 * the calibration rows with the nearest predictions. Errors are taken on the scale of `stabilized` and
 * include the labels' own noise: the interval is for a rate that would be measured, not for the model's mean.
 *
 * The guarantee of such intervals (coverage of at least the nominal level) needs a new run to be like the
 * calibration runs. A new fine-tuning set is not; predictions held out by set come nearest to that, and the
 * coverage that they reach is reported beside the nominal one.
 */
export class PredictionBands {
  /** @param errors predicted rate and true rate of calibration rows, held out by set */
  constructor(private readonly errors: readonly { predicted: number; actual: number }[]) {}

  /** Rates that a new checkpoint of this prediction may turn out to have, ascending. */
  outcomes(predicted: number): number[] {
    const z = stabilized(predicted)
    const count = Math.max(1, Math.ceil(NEIGHBOUR_SHARE * this.errors.length))
    return this.errors
      .map((error) => ({ at: stabilized(error.predicted), z: stabilized(error.actual) }))
      .sort((a, b) => Math.abs(a.at - z) - Math.abs(b.at - z))
      .slice(0, count)
      .map((error) => unstabilized(z + error.z - error.at))
      .sort((a, b) => a - b)
  }

  /**
   * Interval of the rate: `[0, ...` or `..., 1]` where there are too few errors for the level.
   *
   * @param level nominal coverage in (0, 1)
   */
  interval(predicted: number, level: number): [low: number, high: number] {
    const outcomes = this.outcomes(predicted)
    const tail = (1 - level) / 2
    const below = Math.floor(tail * (outcomes.length + 1)) - 1
    const above = Math.ceil((1 - tail) * (outcomes.length + 1)) - 1
    return [Math.min(predicted, outcomes[below] ?? 0), Math.max(predicted, outcomes[above] ?? 1)]
  }

  /** Share of the outcomes above `cut`: the probability that the checkpoint is dangerous. */
  probabilityAbove(predicted: number, cut: number): number {
    const outcomes = this.outcomes(predicted)
    return outcomes.filter((rate) => rate > cut).length / outcomes.length
  }

  toJSON(): [predicted: number, actual: number][] {
    return this.errors.map(({ predicted, actual }) => [predicted, actual])
  }
}
