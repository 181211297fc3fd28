import { TraitscopeError } from '../errors.js'
import { cholesky, choleskySolve, dot } from './linalg.js'
import { assertMatrix, assertTargets, type Matrix64 } from './matrix.js'

/** A linear score of unscaled features. */
export interface LinearScore {
  /** Length p. */
  weights: Float64Array
  intercept: number
}

/** What the rows of a fold come to. */
interface Fold {
  n: number
  /** Sums over rows: shape `[p]`, and of targets. */
  sum: Float64Array
  ySum: number
  /** Of rows less the mean of their group, lower triangle: shape `[p, p]`. */
  cross: Float64Array
  /** Of these with targets. */
  withY: Float64Array
}

/**
 * Ridge regressions that leave folds of rows out: rows are read once, and a fit without some folds is a sum over the others.
 * Both sides are centred within each group, so that what groups differ in is not learnt, and features are divided by their
 * spread within groups; the intercept is that of all rows fitted on. With one group this is {@link Ridge} on standardized
 * features.
 */
export class GroupedRidge {
  readonly #folds: Fold[]
  readonly #p: number

  /**
   * @param x shape `[n, p]`
   * @param y length n
   * @param groups of each row; all rows of a group are in one fold
   * @param folds of each row, from 0
   * @throws TraitscopeError SHAPE on input that is not finite
   */
  constructor(x: Matrix64, y: ArrayLike<number>, groups: readonly unknown[], folds: ArrayLike<number>) {
    assertMatrix(x, 'the input of a ridge regression by groups')
    assertTargets(y, x.rows)
    assertTargets(folds, x.rows, 'folds')
    this.#p = x.cols
    const rowsOf = new Map<unknown, number[]>()
    for (let r = 0; r < x.rows; r++) {
      const of = rowsOf.get(groups[r])
      if (of) of.push(r)
      else rowsOf.set(groups[r], [r])
    }
    const nFolds = 1 + Array.from(folds).reduce((a, b) => Math.max(a, b), 0)
    this.#folds = Array.from({ length: nFolds }, () => empty(x.cols))
    for (const rows of rowsOf.values()) addGroup(this.#folds[folds[rows[0]!]!]!, x, y, rows)
  }

  /**
   * @param alpha strength of the penalty per row, > 0
   * @param without folds that are left out
   */
  fit(alpha: number, without: readonly number[] = []): LinearScore {
    if (!(alpha > 0 && Number.isFinite(alpha)))
      throw new TraitscopeError('USAGE', `alpha must be a positive number, got ${alpha}`)
    const p = this.#p
    const { n, sum, ySum, cross, withY } = empty(p)
    let [rows, ys] = [n, ySum]
    this.#folds.forEach((fold, f) => {
      if (without.includes(f)) return
      rows += fold.n
      ys += fold.ySum
      for (let i = 0; i < p; i++) sum[i]! += fold.sum[i]!
      for (let i = 0; i < p; i++) withY[i]! += fold.withY[i]!
      for (let i = 0; i < p * p; i++) cross[i]! += fold.cross[i]!
    })
    if (rows === 0) throw new TraitscopeError('USAGE', 'every fold is left out: there is nothing to fit')
    const scale = Float64Array.from({ length: p }, (_, i) => Math.sqrt(cross[i * p + i]! / rows) || 1)
    for (let i = 0, at = 0; i < p; i++, at = i * p) {
      for (let j = 0; j <= i; j++) cross[at + j]! /= rows * scale[i]! * scale[j]!
      cross[at + i]! += alpha
      withY[i]! /= rows * scale[i]!
    }
    if (!cholesky(cross, p)) {
      throw new TraitscopeError('SHAPE', `alpha ${alpha} is too small for a ridge regression; raise it`)
    }
    const weights = choleskySolve(cross, p, withY).map((value, i) => value / scale[i]!)
    return { weights, intercept: (ys - dot(sum, weights)) / rows }
  }
}

const empty = (p: number): Fold => ({
  ...{ n: 0, sum: new Float64Array(p), ySum: 0 },
  ...{ cross: new Float64Array(p * p), withY: new Float64Array(p) },
})

function addGroup(fold: Fold, x: Matrix64, y: ArrayLike<number>, rows: readonly number[]): void {
  const p = x.cols
  const mean = new Float64Array(p)
  let yMean = 0
  for (const r of rows) {
    for (let c = 0; c < p; c++) mean[c]! += x.data[r * p + c]! / rows.length
    yMean += y[r]! / rows.length
  }
  fold.n += rows.length
  fold.ySum += yMean * rows.length
  for (let c = 0; c < p; c++) fold.sum[c]! += mean[c]! * rows.length
  const centred = new Float64Array(p)
  for (const r of rows) {
    for (let c = 0; c < p; c++) centred[c] = x.data[r * p + c]! - mean[c]!
    for (let i = 0, at = 0; i < p; i++, at = i * p) {
      const value = centred[i]!
      fold.withY[i]! += value * (y[r]! - yMean)
      for (let j = 0; j <= i; j++) fold.cross[at + j]! += value * centred[j]!
    }
  }
}

/** Score of a row. */
export const linearScore = (values: ArrayLike<number>, { weights, intercept }: LinearScore): number =>
  dot(values, weights) + intercept
