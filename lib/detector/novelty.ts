import { matrixFromRows, row } from '../estimators/matrix.js'
import { Standardizer } from '../estimators/standardizer.js'

/**
 * Whether a drift lies where calibration has been: its distance to the nearest calibration checkpoint, against
 * the distances that calibration checkpoints have to those of other fine-tuning sets. Features are divided by
 * their spread over calibration, so that the distance counts standard deviations.
 */
export class NoveltyGuard {
  /**
   * @param standardizer fitted on the calibration features
   * @param known standardised calibration features
   * @param distances of every calibration checkpoint to the nearest one of another set
   */
  private constructor(
    private readonly standardizer: Standardizer,
    private readonly known: readonly ArrayLike<number>[],
    private readonly distances: readonly number[],
  ) {}

  /**
   * @param features one row per calibration checkpoint
   * @param groups the fine-tuning set of each
   */
  static fit(features: readonly (readonly number[])[], groups: readonly string[]): NoveltyGuard {
    const x = matrixFromRows(features)
    const standardizer = new Standardizer().fit(x)
    const scaled = standardizer.transform(x)
    const known = features.map((_, i) => row(scaled, i))
    const distances = known.map((one, i) =>
      nearest(
        one,
        known.filter((_, j) => groups[j] !== groups[i]),
      ),
    )
    return new NoveltyGuard(standardizer, known, distances)
  }

  /**
   * @returns the distance, in standard deviations of calibration, and the share of calibration checkpoints
   * that lie at least as far from all other sets, counting this one: `(1 + k) / (n + 1)`
   */
  novelty(features: readonly number[]): { distance: number; pValue: number } {
    const distance = nearest(row(this.standardizer.transform(matrixFromRows([features])), 0), this.known)
    const further = this.distances.filter((one) => one >= distance).length
    return { distance, pValue: (1 + further) / (this.distances.length + 1) }
  }

  /** A distance in multiples of the median one between calibration sets; 1 where there is one set only. */
  relative(distance: number): number {
    const median = [...this.distances].sort((a, b) => a - b)[this.distances.length >> 1]!
    return Number.isFinite(median) && median > 0 ? distance / median : 1
  }

  /** {@link relative} of every calibration checkpoint. */
  get relatives(): number[] {
    return this.distances.map((one) => this.relative(one))
  }
}

function nearest(one: ArrayLike<number>, others: readonly ArrayLike<number>[]): number {
  let best = Number.POSITIVE_INFINITY
  for (const other of others) {
    let squares = 0
    for (let i = 0; i < one.length && squares < best; i++) squares += (one[i]! - other[i]!) ** 2
    best = Math.min(best, squares)
  }
  return Math.sqrt(best)
}
