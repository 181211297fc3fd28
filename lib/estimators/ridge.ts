import { takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { cholesky, choleskySolve, dot, gram } from './linalg.js'
import {
  assertColumns,
  assertMatrix,
  assertTargets,
  assertWeights,
  type Matrix,
  type Matrix64,
  row,
  transpose,
} from './matrix.js'
import { notFitted, stateOf } from './state.js'

const NAME = 'a ridge regression'

/** What fitting found. */
export interface RidgeState {
  weights: number[]
  intercept: number
}

/** Plain state of a {@link Ridge}. */
export interface RidgeJson {
  estimator: 'ridge'
  alpha: number
  fitted: RidgeState | null
}

/**
 * Ridge regression as scikit-learn's `Ridge(alpha)`: `(XcᵀXc + alpha I) w = Xcᵀyc`, the intercept is not
 * penalised. Features are not standardised, so the penalty depends on their scale.
 */
export class Ridge {
  /** Strength of the penalty, > 0. */
  readonly alpha: number
  #fitted: RidgeState | undefined

  constructor(options: { alpha?: number } = {}) {
    const { alpha = 1 } = takeOptions('Ridge', options, { alpha: 'number' })
    if (!(alpha > 0 && Number.isFinite(alpha))) {
      throw new TraitscopeError('USAGE', `alpha must be a positive number, got ${alpha}`)
    }
    this.alpha = alpha
  }

  /**
   * @param x shape `[n, p]`
   * @param y length n
   * @param sampleWeights length n, >= 0, not all zero; all 1 when absent
   * @throws TraitscopeError SHAPE on input that is not finite
   */
  fit(x: Matrix, y: ArrayLike<number>, sampleWeights?: ArrayLike<number>): this {
    this.#fitted = undefined
    assertMatrix(x, `the input of ${NAME}`)
    assertTargets(y, x.rows)
    const w = sampleWeights ?? new Float64Array(x.rows).fill(1)
    assertWeights(w, x.rows)
    const means = weightedMeans(x, w)
    const yMean = weightedMeans({ data: Float64Array.from(y), rows: x.rows, cols: 1 }, w)[0]!
    // Rows times the root of their weight; then it is the unweighted problem.
    const centred = Float64Array.from(x.data, (value, i) => {
      return (value - means[i % x.cols]!) * Math.sqrt(w[Math.floor(i / x.cols)]!)
    })
    const target = Float64Array.from(y, (value, r) => (value - yMean) * Math.sqrt(w[r]!))
    const weights = solve({ data: centred, rows: x.rows, cols: x.cols }, target, this.alpha)
    this.#fitted = { weights: [...weights], intercept: yMean - dot(means, weights) }
    return this
  }

  /** Weight of every feature, length p. */
  get weights(): readonly number[] {
    return this.#state().weights
  }
  get intercept(): number {
    return this.#state().intercept
  }

  predict(x: Matrix): Float64Array {
    const { weights, intercept } = this.#state()
    assertColumns(x, NAME, weights.length)
    return Float64Array.from({ length: x.rows }, (_, r) => dot(row(x, r), weights) + intercept)
  }

  toJSON(): RidgeJson {
    return { estimator: 'ridge', alpha: this.alpha, fitted: structuredClone(this.#fitted ?? null) }
  }

  /** Restores {@link Ridge.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): Ridge {
    const { parameters, fitted } = stateOf<RidgeJson, RidgeState>(json, 'ridge', {
      weights: 'numbers',
      intercept: 'number',
    })
    const ridge = new Ridge({ alpha: parameters.alpha })
    ridge.#fitted = structuredClone(fitted)
    return ridge
  }

  #state(): RidgeState {
    return this.#fitted ?? notFitted('Ridge')
  }
}

function weightedMeans(x: Matrix, weights: ArrayLike<number>): Float64Array {
  const means = new Float64Array(x.cols)
  let total = 0
  for (let r = 0, at = 0; r < x.rows; r++) {
    total += weights[r]!
    for (let c = 0; c < x.cols; c++, at++) means[c]! += weights[r]! * x.data[at]!
  }
  return means.map((sum) => sum / total)
}

/** `(XᵀX + alpha I)⁻¹ Xᵀy`, through the smaller of the two Gram matrices. */
function solve(x: Matrix64, y: Float64Array, alpha: number): Float64Array {
  const columns = transpose(x)
  if (x.rows < x.cols) return timesVector(columns, penalised(x, y, alpha))
  return penalised(columns, timesVector(columns, y), alpha)
}

/** `(A Aᵀ + alpha I)⁻¹ b`. */
function penalised(a: Matrix64, b: Float64Array, alpha: number): Float64Array {
  const { data, rows: n } = gram(a)
  for (let i = 0; i < n; i++) data[i * n + i]! += alpha
  if (!cholesky(data, n)) {
    throw new TraitscopeError(
      'SHAPE',
      `alpha ${alpha} is too small beside the features for a ridge regression; raise it or scale the features`,
    )
  }
  return choleskySolve(data, n, b)
}

function timesVector(a: Matrix64, v: Float64Array): Float64Array {
  return Float64Array.from({ length: a.rows }, (_, r) => dot(row(a, r), v))
}
