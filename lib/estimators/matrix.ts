import { TraitscopeError } from '../errors.js'

/**
 * A dense row-major matrix: row `r` starts at `data[r * cols]`. Hidden states come as float32, results as
 * float64.
 */
export interface Matrix {
  readonly data: Float32Array | Float64Array
  readonly rows: number
  readonly cols: number
}

/** A {@link Matrix} in float64, which every estimator computes in. */
export interface Matrix64 extends Matrix {
  readonly data: Float64Array
}

/** Row `r` as a view, not a copy. */
export function row(matrix: Matrix, r: number): Float32Array | Float64Array {
  return matrix.data.subarray(r * matrix.cols, (r + 1) * matrix.cols)
}

/** Rows of equal length as a float64 matrix; `SHAPE` when their lengths differ. */
export function matrixFromRows(rows: readonly ArrayLike<number>[]): Matrix64 {
  const cols = rows[0]?.length ?? 0
  const data = new Float64Array(rows.length * cols)
  for (const [r, values] of rows.entries()) {
    if (values.length !== cols) {
      throw new TraitscopeError(
        'SHAPE',
        `expected rows of ${cols} numbers, but row ${r} has ${values.length}`,
      )
    }
    data.set(values, r * cols)
  }
  return { data, rows: rows.length, cols }
}

/** The rows with the given indices, in that order, in float64. */
export function selectRows(matrix: Matrix, indices: ArrayLike<number>): Matrix64 {
  const data = new Float64Array(indices.length * matrix.cols)
  for (let i = 0; i < indices.length; i++) data.set(row(matrix, indices[i]!), i * matrix.cols)
  return { data, rows: indices.length, cols: matrix.cols }
}

/** The rows of `a`, then those of `b`, which is as wide, in float64. */
export function stackRows(a: Matrix, b: Matrix): Matrix64 {
  const data = new Float64Array(a.data.length + b.data.length)
  data.set(a.data)
  data.set(b.data, a.data.length)
  return { data, rows: a.rows + b.rows, cols: a.cols }
}

/** The transposed matrix, in float64. */
export function transpose({ data, rows, cols }: Matrix): Matrix64 {
  const out = new Float64Array(rows * cols)
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) out[c * rows + r] = data[r * cols + c]!
  }
  return { data: out, rows: cols, cols: rows }
}

/** Mean of the rows, shape `[cols]`, accumulated in float64. */
export function columnMeans(matrix: Matrix): Float64Array {
  const { data, rows, cols } = matrix
  const means = new Float64Array(cols)
  for (let r = 0, at = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++, at++) means[c]! += data[at]!
  }
  for (let c = 0; c < cols; c++) means[c]! /= rows
  return means
}

/**
 * Throws `SHAPE` unless the matrix holds what it says: `rows x cols` finite numbers, at least `minRows` rows.
 */
export function assertMatrix(matrix: Matrix, name: string, minRows = 1): void {
  const { data, rows, cols } = matrix ?? {}
  if (typeof data?.length !== 'number') {
    throw new TraitscopeError(
      'SHAPE',
      `expected ${name} as a matrix { data, rows, cols }, row-major, found ${Array.isArray(matrix) ? 'an array' : typeof matrix}`,
    )
  }
  if (!(Number.isInteger(rows) && Number.isInteger(cols) && cols > 0 && data.length === rows * cols)) {
    throw new TraitscopeError(
      'SHAPE',
      `${name} says it is ${rows} x ${cols} but holds ${data.length} numbers; data must be row-major and complete`,
    )
  }
  if (rows < minRows) {
    throw new TraitscopeError('SHAPE', `${name} needs at least ${minRows} rows, got ${rows}`)
  }
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i])) {
      const where = `row ${Math.floor(i / cols)}, column ${i % cols}`
      throw new TraitscopeError('SHAPE', `${name} must be finite, but ${where} is ${data[i]}`)
    }
  }
}

/** {@link assertMatrix} for data given to a fitted estimator: also throws `SHAPE` unless it has `cols` columns. */
export function assertColumns(x: Matrix, name: string, cols: number): void {
  assertMatrix(x, `the input of ${name}`, 0)
  if (x.cols !== cols) {
    throw new TraitscopeError('SHAPE', `${name} was fitted on ${cols} columns, got ${x.cols}`)
  }
}

/** Throws `SHAPE` unless there are `rows` finite targets. */
export function assertTargets(y: ArrayLike<number>, rows: number, name = 'targets'): void {
  if (y.length !== rows) throw new TraitscopeError('SHAPE', `expected ${rows} ${name}, got ${y.length}`)
  for (let i = 0; i < rows; i++) {
    if (!Number.isFinite(y[i])) {
      throw new TraitscopeError('SHAPE', `${name} must be finite, but number ${i} is ${y[i]}`)
    }
  }
}

/** Throws `SHAPE` unless there are n finite weights >= 0, not all zero. */
export function assertWeights(weights: ArrayLike<number>, n: number): void {
  assertTargets(weights, n, 'sample weights')
  let largest = 0
  for (let i = 0; i < n; i++) {
    if (weights[i]! < 0) {
      throw new TraitscopeError(
        'SHAPE',
        `sample weights must not be negative, but number ${i} is ${weights[i]}`,
      )
    }
    largest = Math.max(largest, weights[i]!)
  }
  if (largest === 0) throw new TraitscopeError('SHAPE', 'at least one sample weight must be above 0')
}
