import { TraitscopeError } from '../errors.js'
import { dotAt } from './linalg.js'
import { type Matrix, type Matrix64, transpose } from './matrix.js'

/** Thin singular value decomposition `X = U diag(s) Vᵀ` with `k = min(rows, cols)` values, largest first. */
export interface Svd {
  /** Left singular vectors as ROWS, shape `[k, rows]`. */
  readonly left: Matrix64
  /** Singular values, descending, non-negative. */
  readonly values: Float64Array
  /** Right singular vectors as ROWS, shape `[k, cols]`. */
  readonly right: Matrix64
}

/** Below this, beside entries of about 1, a column is zero: its square would be lost in underflow. */
const TINY = 1e-140

/**
 * Exact thin SVD: Householder QR of the tall orientation, then one-sided Jacobi on the small triangle. Jacobi
 * is used for its accuracy (singular vectors good to rounding over their gap) and because it needs no shifts
 * or deflation. Vectors of zero singular values are zero rows. Signs are arbitrary; {@link flipSigns} fixes
 * them.
 */
export function svd(x: Matrix): Svd {
  const wide = x.rows < x.cols
  const k = Math.min(x.rows, x.cols)
  const length = Math.max(x.rows, x.cols)
  // The k vectors of the short side, each `length` long: rows of X when wide, its columns otherwise.
  const vectors = wide ? new Float64Array(x.data) : transpose(x).data
  // A power of two, so that scaling is exact; squares of the entries must not underflow or overflow.
  const unit = 2 ** Math.floor(Math.log2(vectors.reduce((max, v) => Math.max(max, Math.abs(v)), 0) || 1))
  for (let i = 0; i < vectors.length; i++) vectors[i]! /= unit
  const reflectors = qr(vectors, k, length)

  // X (tall orientation) = Q R. Jacobi turns the rows of R into s_i * z_i, so that R = W diag(s) Zᵀ.
  const triangle = new Float64Array(k * k)
  for (let column = 0; column < k; column++) {
    for (let r = 0; r <= column; r++) triangle[r * k + column] = vectors[column * length + r]!
  }
  for (let r = 0; r < k; r++) triangle[r * k + r] = reflectors.diagonal[r]!
  const rotations = jacobi(triangle, k)

  const values = new Float64Array(k)
  for (let i = 0; i < k; i++) values[i] = Math.sqrt(dotAt(triangle, i * k, triangle, i * k, k))
  const order = Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b)
  const long = new Float64Array(k * length)
  const short = new Float64Array(k * k)
  const floor = values[order[0] ?? 0]! * Number.EPSILON * length
  for (const [rank, i] of order.entries()) {
    if (!(values[i]! > floor)) continue
    for (let c = 0; c < k; c++) short[rank * k + c] = triangle[i * k + c]! / values[i]!
    for (let c = 0; c < k; c++) long[rank * length + c] = rotations[i * k + c]!
    applyQ(vectors, reflectors.beta, k, length, long, rank * length)
  }
  const sorted = Float64Array.from(order, (i) => values[i]! * unit)
  const longMatrix = { data: long, rows: k, cols: length }
  const shortMatrix = { data: short, rows: k, cols: k }
  return wide
    ? { left: shortMatrix, values: sorted, right: longMatrix }
    : { left: longMatrix, values: sorted, right: shortMatrix }
}

/**
 * Makes the entry of largest magnitude of every right singular vector positive (the first one on ties) and
 * flips the left vector along: the convention of scikit-learn's PCA (`svd_flip(...,
 * u_based_decision=False)`).
 */
export function flipSigns({ left, right }: Svd): void {
  for (let i = 0; i < right.rows; i++) {
    let largest = 0
    for (let c = 0; c < right.cols; c++) {
      const value = right.data[i * right.cols + c]!
      if (Math.abs(value) > Math.abs(largest)) largest = value
    }
    if (largest >= 0) continue
    for (let c = 0; c < right.cols; c++) right.data[i * right.cols + c]! *= -1
    for (let c = 0; c < left.cols; c++) left.data[i * left.cols + c]! *= -1
  }
}

/**
 * Householder QR of the `length x k` matrix whose columns are the rows of `vectors`. The reflector of column
 * j stays in row j from index j on; entries before j are the strict upper triangle of R.
 */
function qr(vectors: Float64Array, k: number, length: number) {
  const beta = new Float64Array(k)
  const diagonal = new Float64Array(k)
  for (let j = 0; j < k; j++) {
    const at = j * length + j
    const size = Math.sqrt(dotAt(vectors, at, vectors, at, length - j))
    if (size < TINY) continue
    diagonal[j] = vectors[at]! > 0 ? -size : size
    vectors[at]! -= diagonal[j]!
    beta[j] = 2 / dotAt(vectors, at, vectors, at, length - j)
    for (let c = j + 1; c < k; c++) reflect(vectors, at, beta[j]!, vectors, c * length + j, length - j)
  }
  return { beta, diagonal }
}

function reflect(v: Float64Array, vAt: number, beta: number, x: Float64Array, xAt: number, n: number): void {
  const scale = beta * dotAt(v, vAt, x, xAt, n)
  for (let i = 0; i < n; i++) x[xAt + i]! -= scale * v[vAt + i]!
}

/** `x <- Q x`, the reflectors of {@link qr} applied last to first. */
function applyQ(
  v: Float64Array,
  beta: Float64Array,
  k: number,
  length: number,
  x: Float64Array,
  xAt: number,
) {
  for (let j = k - 1; j >= 0; j--) reflect(v, j * length + j, beta[j]!, x, xAt + j, length - j)
}

/**
 * One-sided Jacobi: rotates pairs of rows of `a` (n x n, in place) until all are orthogonal. Returns the
 * rotations as rows: `a_out = J a_in` with J orthogonal; row i of J belongs to row i of `a_out`.
 */
function jacobi(a: Float64Array, n: number): Float64Array {
  const j = new Float64Array(n * n)
  for (let i = 0; i < n; i++) j[i * n + i] = 1
  const scale = Math.sqrt(dotAt(a, 0, a, 0, a.length))
  const negligible = (scale * Number.EPSILON) ** 2
  const tolerance = Number.EPSILON * Math.sqrt(n)
  for (let sweep = 0; sweep < 60; sweep++) {
    let rotated = false
    for (let p = 0; p < n - 1; p++) {
      for (let q = p + 1; q < n; q++) {
        const alpha = dotAt(a, p * n, a, p * n, n)
        const gamma = dotAt(a, q * n, a, q * n, n)
        const mixed = dotAt(a, p * n, a, q * n, n)
        // Rows that are rounding noise beside the largest one never settle; their vectors are reported as
        // zero anyway.
        if (Math.abs(mixed) <= tolerance * Math.sqrt(alpha * gamma) || Math.min(alpha, gamma) <= negligible)
          continue
        rotated = true
        const zeta = (gamma - alpha) / (2 * mixed)
        const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta))
        const cos = 1 / Math.sqrt(1 + t * t)
        rotate(a, p * n, q * n, n, cos, cos * t)
        rotate(j, p * n, q * n, n, cos, cos * t)
      }
    }
    if (!rotated) return j
  }
  throw new TraitscopeError(
    'INTERNAL',
    `the singular value decomposition of a ${n} x ${n} matrix did not converge`,
  )
}

function rotate(a: Float64Array, p: number, q: number, n: number, cos: number, sin: number): void {
  for (let i = 0; i < n; i++) {
    const x = a[p + i]!
    const y = a[q + i]!
    a[p + i] = cos * x - sin * y
    a[q + i] = sin * x + cos * y
  }
}
