import { TraitscopeError } from '../errors.js'
import { cholesky, choleskySolve, dot, dotAt } from './linalg.js'
import type { Matrix64 } from './matrix.js'

/**
 * Two damped Newton solvers of the same problem, scikit-learn's L2 logistic regression: minimise `1/2 |w|^2 +
 * C sum_i log(1 + exp(-y_i f_i))` with `f_i = w . x_i + b`, y in {-1, +1}, b not penalised. Strictly convex
 * in w, so both go to the rounding floor; which one is cheaper depends on the shape alone.
 */

const MAX_STEPS = 200

/** Minimiser by the rows' Gram matrix `K = X Xᵀ` (n x n), for n < p: `f = K alpha + b`, `w = Xᵀ alpha`. */
export function solveByGram(
  k: Matrix64,
  positive: ArrayLike<number>,
  c: number,
): { alpha: Float64Array; intercept: number } {
  const n = k.rows
  let alpha: Float64Array = new Float64Array(n)
  let intercept = logOdds(positive)
  let scores: Float64Array = new Float64Array(n).fill(intercept)
  let value = objective(0, scores, positive, c)
  const factor = new Float64Array(n * n)
  for (let step = 0; step < MAX_STEPS; step++) {
    // The Newton point solves [K + W^-1, 1; 1ᵀ, 0] [alpha; b] = [z; 0] with z = f + (y - p)/(p(1-p)). Scaling
    // by W^1/2 gives I + W^1/2 K W^1/2, whose eigenvalues are all >= 1, so saturated rows (W -> 0) do no
    // harm.
    const root = new Float64Array(n)
    const target = new Float64Array(n)
    for (let i = 0; i < n; i++) {
      const p = sigmoid(scores[i]!)
      root[i] = Math.sqrt(c * p * (1 - p))
      target[i] =
        root[i]! * scores[i]! + (root[i]! > 0 ? (c * residual(scores[i]!, positive[i]!)) / root[i]! : 0)
    }
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) factor[i * n + j] = root[i]! * k.data[i * n + j]! * root[j]!
      factor[i * n + i] = 1 + root[i]! * k.data[i * n + i]! * root[i]!
    }
    if (!cholesky(factor, n)) notPositiveDefinite()
    const solvedTarget = choleskySolve(factor, n, target)
    const solvedOnes = choleskySolve(factor, n, root)
    const weight = dot(root, solvedOnes)
    if (!(weight > 0)) break
    const nextIntercept = dot(root, solvedTarget) / weight
    const full = new Float64Array(n)
    for (let i = 0; i < n; i++) full[i] = root[i]! * (solvedTarget[i]! - nextIntercept * solvedOnes[i]!)

    const moved = lineSearch(value, (t) => {
      const a = blend(alpha, full, t)
      const b = intercept + t * (nextIntercept - intercept)
      const f = new Float64Array(n)
      for (let i = 0; i < n; i++) f[i] = dotAt(k.data, i * n, a, 0, n)
      const penalty = dot(a, f) / 2
      for (let i = 0; i < n; i++) f[i]! += b
      return { value: objective(penalty, f, positive, c), a, b, f }
    })
    if (moved === undefined) break
    ;({ a: alpha, b: intercept, f: scores, value } = moved)
  }
  return { alpha, intercept }
}

/** Minimiser in the primal variables, for n >= p. `x` has shape `[n, p]`. */
export function solveByFeatures(
  x: Matrix64,
  positive: ArrayLike<number>,
  c: number,
): { weights: Float64Array; intercept: number } {
  const { rows: n, cols: p } = x
  const size = p + 1
  let theta: Float64Array = new Float64Array(size)
  theta[p] = logOdds(positive)
  let scores: Float64Array = new Float64Array(n).fill(theta[p]!)
  let value = objective(0, scores, positive, c)
  for (let step = 0; step < MAX_STEPS; step++) {
    const gradient = theta.slice()
    gradient[p] = 0
    const hessian = new Float64Array(size * size)
    for (let j = 0; j < p; j++) hessian[j * size + j] = 1
    for (let i = 0; i < n; i++) {
      const pull = c * residual(scores[i]!, positive[i]!)
      const probability = sigmoid(scores[i]!)
      const curvature = c * probability * (1 - probability)
      const at = i * p
      for (let j = 0; j < p; j++) {
        const xj = x.data[at + j]!
        gradient[j]! -= pull * xj
        for (let l = 0; l <= j; l++) hessian[j * size + l]! += curvature * xj * x.data[at + l]!
        hessian[p * size + j]! += curvature * xj
      }
      gradient[p]! -= pull
      hessian[p * size + p]! += curvature
    }
    if (!cholesky(hessian, size)) break
    const direction = choleskySolve(hessian, size, gradient)
    const moved = lineSearch(value, (t) => {
      const a = theta.map((w, j) => w - t * direction[j]!)
      const f = new Float64Array(n)
      for (let i = 0; i < n; i++) f[i] = dotAt(x.data, i * p, a, 0, p) + a[p]!
      return { value: objective(dotAt(a, 0, a, 0, p) / 2, f, positive, c), a, f }
    })
    if (moved === undefined) break
    ;({ a: theta, f: scores, value } = moved)
  }
  return { weights: theta.slice(0, p), intercept: theta[p]! }
}

/** Halves the step until the objective falls; undefined when no step does, which is the rounding floor. */
function lineSearch<T extends { value: number }>(value: number, at: (t: number) => T): T | undefined {
  for (let t = 1; t > 1e-10; t /= 2) {
    const candidate = at(t)
    if (candidate.value < value) return candidate
  }
  return undefined
}

function objective(penalty: number, scores: Float64Array, positive: ArrayLike<number>, c: number): number {
  let loss = 0
  for (let i = 0; i < scores.length; i++) loss += softplus(positive[i] ? -scores[i]! : scores[i]!)
  return penalty + c * loss
}

const softplus = (z: number): number => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)))

/** 1 / (1 + exp(-z)) without overflow. */
export function sigmoid(z: number): number {
  const e = Math.exp(-Math.abs(z))
  return z >= 0 ? 1 / (1 + e) : e / (1 + e)
}

/** y - p, computed without cancellation for confident rows. */
const residual = (score: number, positive: number): number => (positive ? sigmoid(-score) : -sigmoid(score))

function logOdds(positive: ArrayLike<number>): number {
  let n = 0
  for (let i = 0; i < positive.length; i++) n += positive[i] ? 1 : 0
  return Math.log(n / (positive.length - n))
}

const blend = (from: Float64Array, to: Float64Array, t: number): Float64Array =>
  from.map((value, i) => value + t * (to[i]! - value))

function notPositiveDefinite(): never {
  throw new TraitscopeError(
    'INTERNAL',
    'the Newton system of a logistic regression was not positive definite',
  )
}
