import { TraitscopeError } from '../errors.js'
import { dot, dotAt, norm } from './linalg.js'
import { assertMatrix, assertTargets, type Matrix64 } from './matrix.js'

/** A linear score of unscaled features. */
export interface LinearScore {
  /** Length p. */
  weights: Float64Array
  intercept: number
}

/** Of the residual, against the right side: far below what a choice between penalties sees. */
const TOLERANCE = 1e-10

/**
 * Ridge regressions that leave folds of rows out, at several penalties at once. Both sides are centred within each group, so that what
 * groups differ in is not learnt, and features are divided by their spread within groups, both of the rows that are fitted on alone; the
 * intercept is that of all rows fitted on. With one group this is {@link Ridge} on standardized features.
 *
 * Solved by Lanczos' method, which takes two products with the rows per step and few steps under a penalty that is worth having: no
 * matrix of features by features is made, so features may be many.
 */
export class GroupedRidge {
  /** Rows less the mean of their group: shape `[n, p]`, and targets. */
  readonly #x: Float64Array
  readonly #y: Float64Array
  /** What was taken off each. */
  readonly #means: Map<unknown, { x: Float64Array; y: number }>
  readonly #groups: readonly unknown[]
  readonly #folds: ArrayLike<number>
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
    this.#x = Float64Array.from(x.data)
    this.#y = Float64Array.from(y)
    this.#groups = groups
    this.#folds = folds
    this.#means = this.#centre()
  }

  #centre(): Map<unknown, { x: Float64Array; y: number }> {
    const p = this.#p
    const means = new Map<unknown, { x: Float64Array; y: number; n: number }>()
    this.#groups.forEach((group, r) => {
      const of = means.get(group) ?? { x: new Float64Array(p), y: 0, n: 0 }
      means.set(group, of)
      of.n++
      of.y += this.#y[r]!
      for (let c = 0; c < p; c++) of.x[c]! += this.#x[r * p + c]!
    })
    for (const of of means.values()) {
      of.y /= of.n
      for (let c = 0; c < p; c++) of.x[c]! /= of.n
    }
    this.#groups.forEach((group, r) => {
      const of = means.get(group)!
      this.#y[r]! -= of.y
      for (let c = 0; c < p; c++) this.#x[r * p + c]! -= of.x[c]!
    })
    return means
  }

  /**
   * @param alphas strengths of the penalty per row, > 0
   * @param without folds that are left out
   * @returns a fit per penalty
   */
  fit(alphas: readonly number[], without: readonly number[] = []): LinearScore[] {
    for (const alpha of alphas) {
      if (!(alpha > 0 && Number.isFinite(alpha)))
        throw new TraitscopeError('USAGE', `alpha must be a positive number, got ${alpha}`)
    }
    const p = this.#p
    const rows = [...this.#groups.keys()].filter((r) => !without.includes(this.#folds[r]!))
    if (rows.length === 0)
      throw new TraitscopeError('USAGE', 'every fold is left out: there is nothing to fit')
    const scale = this.#spread(rows)
    // Zᵀy / n and the product with ZᵀZ / n, Z being the scaled rows.
    const right = new Float64Array(p)
    for (const r of rows) addRow(right, this.#y[r]!, this.#x, r * p)
    for (let c = 0; c < p; c++) right[c]! /= rows.length * scale[c]!
    const times = (v: Float64Array): Float64Array => {
      const unscaled = v.map((value, c) => value / scale[c]!)
      const out = new Float64Array(p)
      for (const r of rows) addRow(out, dotAt(this.#x, r * p, unscaled, 0, p), this.#x, r * p)
      for (let c = 0; c < p; c++) out[c]! /= rows.length * scale[c]!
      return out
    }
    const sum = new Float64Array(p)
    let ySum = 0
    for (const r of rows) {
      const mean = this.#means.get(this.#groups[r])!
      for (let c = 0; c < p; c++) sum[c]! += mean.x[c]!
      ySum += mean.y
    }
    return solveShifted(times, right, alphas).map((solution) => {
      const weights = solution.map((value, c) => value / scale[c]!)
      return { weights, intercept: (ySum - dot(sum, weights)) / rows.length }
    })
  }

  /** Of each feature within groups; 1 where it does not vary. */
  #spread(rows: readonly number[]): Float64Array {
    const p = this.#p
    const squares = new Float64Array(p)
    for (const r of rows) for (let c = 0; c < p; c++) squares[c]! += this.#x[r * p + c]! ** 2
    return squares.map((value) => Math.sqrt(value / rows.length) || 1)
  }
}

function addRow(to: Float64Array, times: number, rows: Float64Array, at: number): void {
  for (let c = 0; c < to.length; c++) to[c]! += times * rows[at + c]!
}

/**
 * Solves `(A + shift I) x = b` for several shifts in one space of Krylov, its basis kept orthogonal, for a symmetric A without
 * negative eigenvalues.
 *
 * @param times the product with A
 * @param shifts > 0
 */
function solveShifted(
  times: (v: Float64Array) => Float64Array,
  b: Float64Array,
  shifts: readonly number[],
): Float64Array[] {
  const length = norm(b)
  if (length === 0) return shifts.map(() => new Float64Array(b.length))
  const hardest = Math.min(...shifts)
  const basis = [b.map((value) => value / length)]
  const diagonal: number[] = []
  const beside: number[] = []
  for (;;) {
    const w = times(basis.at(-1)!)
    diagonal.push(dot(w, basis.at(-1)!))
    // Twice is enough: rounding leaves components along earlier directions.
    for (let pass = 0; pass < 2; pass++) for (const v of basis) addRow(w, -dot(w, v), v, 0)
    const next = norm(w)
    const last = Math.abs(tridiagonal(diagonal, beside, hardest, length).at(-1)!)
    if (basis.length === b.length || next * last <= TOLERANCE * length) break
    beside.push(next)
    basis.push(w.map((value) => value / next))
  }
  return shifts.map((shift) => {
    const x = new Float64Array(b.length)
    const along = tridiagonal(diagonal, beside, shift, length)
    for (const [i, v] of basis.entries()) addRow(x, along[i]!, v, 0)
    return x
  })
}

/** `(T + shift I) y = first e₁` for a symmetric tridiagonal T. */
function tridiagonal(
  diagonal: readonly number[],
  beside: readonly number[],
  shift: number,
  first: number,
): number[] {
  const pivots: number[] = []
  const y: number[] = []
  for (const [i, value] of diagonal.entries()) {
    const factor = i === 0 ? 0 : beside[i - 1]! / pivots[i - 1]!
    pivots.push(value + shift - factor * (beside[i - 1] ?? 0))
    y.push(i === 0 ? first : -factor * y[i - 1]!)
  }
  for (let i = y.length - 1; i >= 0; i--) {
    y[i] = (y[i]! - (i === y.length - 1 ? 0 : beside[i]! * y[i + 1]!)) / pivots[i]!
  }
  return y
}

/** Score of a row. */
export const linearScore = (values: ArrayLike<number>, { weights, intercept }: LinearScore): number =>
  dot(values, weights) + intercept
