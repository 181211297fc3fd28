import type { Matrix, Matrix64 } from './matrix.js'

/**
 * Small dense linear algebra in float64. Everything is deterministic: one fixed order of operations, no
 * threads. Sizes are those of estimators (hundreds of rows, thousands of columns), not of models.
 */

/** Sum of `a[i] * b[i]`, accumulated in float64. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

/** Euclidean norm, accumulated in float64. */
export function norm(a: ArrayLike<number>): number {
  return Math.sqrt(dot(a, a))
}

/** Cosine of the angle between two vectors, in [-1, 1]; NaN if one of them is zero. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Math.max(-1, Math.min(1, dot(a, b) / (norm(a) * norm(b))))
}

/**
 * Dot product of `n` numbers of `a` from `aStart` and of `b` from `bStart`, in four fixed lanes. For float64
 * arrays only: the engine compiles it for the types it has seen, and a second type makes every factorisation
 * several times slower.
 */
export function dotAt(a: Float64Array, aStart: number, b: Float64Array, bStart: number, n: number): number {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  const whole = n - (n % 4)
  let i = 0
  for (; i < whole; i += 4) {
    s0 += a[aStart + i]! * b[bStart + i]!
    s1 += a[aStart + i + 1]! * b[bStart + i + 1]!
    s2 += a[aStart + i + 2]! * b[bStart + i + 2]!
    s3 += a[aStart + i + 3]! * b[bStart + i + 3]!
  }
  for (; i < n; i++) s0 += a[aStart + i]! * b[bStart + i]!
  return s0 + s1 + (s2 + s3)
}

/** Gram matrix `X Xᵀ`, shape `[rows, rows]`. */
export function gram(x: Matrix): Matrix64 {
  const { rows: n, cols } = x
  const data = new Float64Array(n * n)
  // One float64 copy makes the inner loop monomorphic; float32 input costs twice as much otherwise.
  const values = x.data instanceof Float64Array ? x.data : new Float64Array(x.data)
  const put = (i: number, j: number, value: number) => {
    data[i * n + j] = value
    data[j * n + i] = value
  }
  // Two rows against two rows: every number that is loaded is used twice.
  for (let i = 0; i < n; i += 2) {
    for (let j = 0; j <= i; j += 2) {
      if (i + 1 === n) {
        put(i, j, dotAt(values, i * cols, values, j * cols, cols))
        if (j < i) put(i, j + 1, dotAt(values, i * cols, values, (j + 1) * cols, cols))
        continue
      }
      let aa = 0
      let ab = 0
      let ba = 0
      let bb = 0
      for (let c = 0, p = i * cols, q = j * cols; c < cols; c++, p++, q++) {
        const a0 = values[p]!
        const a1 = values[p + cols]!
        const b0 = values[q]!
        const b1 = values[q + cols]!
        aa += a0 * b0
        ab += a0 * b1
        ba += a1 * b0
        bb += a1 * b1
      }
      put(i, j, aa)
      put(i, j + 1, ab)
      put(i + 1, j, ba)
      put(i + 1, j + 1, bb)
    }
  }
  return { data, rows: n, cols: n }
}

/**
 * In-place Cholesky factor of a symmetric positive definite `n x n` matrix: the lower triangle becomes `L`
 * with `A = L Lᵀ`, the upper triangle is left as it was. Returns false, with the matrix half changed, if it
 * is not positive definite.
 */
export function cholesky(a: Float64Array, n: number): boolean {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      a[i * n + j] = (a[i * n + j]! - dotAt(a, i * n, a, j * n, j)) / a[j * n + j]!
    }
    const pivot = a[i * n + i]! - dotAt(a, i * n, a, i * n, i)
    if (!(pivot > 0)) return false
    a[i * n + i] = Math.sqrt(pivot)
  }
  return true
}

/** Solves `L x = b` for a factor of {@link cholesky}; returns a new vector. */
export function forwardSolve(l: Float64Array, n: number, b: ArrayLike<number>): Float64Array {
  const x = new Float64Array(b)
  for (let i = 0; i < n; i++) x[i] = (x[i]! - dotAt(l, i * n, x, 0, i)) / l[i * n + i]!
  return x
}

/** Solves `L Lᵀ x = b` for a factor of {@link cholesky}; returns a new vector. */
export function choleskySolve(l: Float64Array, n: number, b: ArrayLike<number>): Float64Array {
  const x = forwardSolve(l, n, b)
  for (let i = n - 1; i >= 0; i--) {
    x[i]! /= l[i * n + i]!
    const value = x[i]!
    for (let j = 0; j < i; j++) x[j]! -= l[i * n + j]! * value
  }
  return x
}

/**
 * Sum in the order of NumPy's `sum` on contiguous numbers: eight lanes over blocks of at most 128, halves
 * above that. For results that must equal NumPy's to the last bit.
 */
export function pairwiseSum(values: Float64Array): number {
  const n = values.length
  if (n > 128) {
    const half = (n >> 1) - ((n >> 1) % 8)
    return pairwiseSum(values.subarray(0, half)) + pairwiseSum(values.subarray(half))
  }
  const whole = n - (n % 8)
  let sum = 0
  if (whole > 0) {
    const lanes = values.slice(0, 8)
    for (let i = 8; i < whole; i++) lanes[i % 8]! += values[i]!
    const [a, b, c, d, e, f, g, h] = lanes as unknown as number[]
    sum = a! + b! + (c! + d!) + (e! + f! + (g! + h!))
  }
  for (let i = whole; i < n; i++) sum += values[i]!
  return sum
}
