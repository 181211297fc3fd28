import { takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { dot, norm } from './linalg.js'
import {
  assertColumns,
  assertMatrix,
  assertTargets,
  columnMeans,
  type Matrix,
  type Matrix64,
  row,
} from './matrix.js'
import { notFitted, positiveInteger, stateOf } from './state.js'

const NAME = 'a PLS regression'

/** What fitting found. */
export interface PlsState {
  mean: number[]
  /** `W (PᵀW)⁻¹` as rows, shape `[nComponents, p]`. */
  rotations: number[][]
  /** Target's slope on every component. */
  loadings: number[]
  intercept: number
}

/** Plain state of a {@link PlsRegression}. */
export interface PlsJson {
  estimator: 'pls-regression'
  nComponents: number
  fitted: PlsState | null
}

/**
 * Partial least squares on one target (PLS1, NIPALS): components of the centred, unscaled features that covary
 * most with what is left of the target. Equal to scikit-learn's `PLSRegression(scale=False)`, its signs
 * included: the entry of largest magnitude of every weight vector is positive.
 */
export class PlsRegression {
  readonly nComponents: number
  #fitted: PlsState | undefined

  constructor(options: { nComponents?: number } = {}) {
    const { nComponents = 7 } = takeOptions('PlsRegression', options, { nComponents: 'number' })
    this.nComponents = positiveInteger('nComponents', nComponents)
  }

  /**
   * @param x shape `[n, p]`, n >= 2
   * @param y length n
   * @throws TraitscopeError SHAPE on input that is not finite, or when fewer components than asked explain
   * all that the features can
   */
  fit(x: Matrix, y: ArrayLike<number>): this {
    this.#fitted = undefined
    assertMatrix(x, `the input of ${NAME}`, 2)
    assertTargets(y, x.rows)
    const { rows, cols } = x
    const mean = columnMeans(x)
    const left: Matrix64 = { data: Float64Array.from(x.data, (v, i) => v - mean[i % cols]!), rows, cols }
    const intercept = columnMeans({ data: Float64Array.from(y), rows, cols: 1 })[0]!
    const residual = Float64Array.from(y, (value) => value - intercept)
    const floor = 10 * Number.EPSILON * norm(left.data) * norm(residual)

    const rotations: Float64Array[] = []
    const xLoadings: Float64Array[] = []
    const loadings: number[] = []
    for (let k = 0; k < this.nComponents; k++) {
      const weights = timesTransposed(left, residual)
      const size = norm(weights)
      if (!(size > floor)) {
        throw new TraitscopeError(
          'SHAPE',
          `${this.nComponents} PLS components asked, but ${k} already explain all that the features can; ask for fewer`,
        )
      }
      const largest = weights.reduce((max, w) => (Math.abs(w) > Math.abs(max) ? w : max), 0)
      for (let c = 0; c < cols; c++) weights[c]! /= largest < 0 ? -size : size
      const scores = Float64Array.from({ length: rows }, (_, r) => dot(row(left, r), weights))
      const squares = dot(scores, scores)
      const loading = timesTransposed(left, scores).map((value) => value / squares)
      const slope = dot(scores, residual) / squares
      for (let r = 0; r < rows; r++) {
        residual[r]! -= slope * scores[r]!
        for (let c = 0; c < cols; c++) left.data[r * cols + c]! -= scores[r]! * loading[c]!
      }
      // Column k of W (PᵀW)⁻¹: PᵀW has a unit diagonal and zeros below it.
      const rotation = weights.slice()
      for (const [j, earlier] of rotations.entries()) {
        const overlap = dot(xLoadings[j]!, weights)
        for (let c = 0; c < cols; c++) rotation[c]! -= overlap * earlier[c]!
      }
      rotations.push(rotation)
      xLoadings.push(loading)
      loadings.push(slope)
    }
    this.#fitted = { mean: [...mean], rotations: rotations.map((r) => [...r]), loadings, intercept }
    return this
  }

  /** Scores of rows on the components, shape `[n, nComponents]`. */
  transform(x: Matrix): Matrix64 {
    const { mean, rotations } = this.#state()
    assertColumns(x, NAME, mean.length)
    const data = new Float64Array(x.rows * rotations.length)
    for (let r = 0, at = 0; r < x.rows; r++) {
      const centred = Float64Array.from(row(x, r), (value, c) => value - mean[c]!)
      for (const rotation of rotations) data[at++] = dot(centred, rotation)
    }
    return { data, rows: x.rows, cols: rotations.length }
  }

  predict(x: Matrix): Float64Array {
    const { loadings, intercept } = this.#state()
    const scores = this.transform(x)
    return Float64Array.from({ length: x.rows }, (_, r) => dot(row(scores, r), loadings) + intercept)
  }

  toJSON(): PlsJson {
    return {
      estimator: 'pls-regression',
      nComponents: this.nComponents,
      fitted: structuredClone(this.#fitted ?? null),
    }
  }

  /** Restores {@link PlsRegression.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): PlsRegression {
    const { parameters, fitted } = stateOf<PlsJson, PlsState>(json, 'pls-regression', {
      mean: 'numbers',
      rotations: 'rows',
      loadings: 'numbers',
      intercept: 'number',
    })
    const pls = new PlsRegression({ nComponents: parameters.nComponents })
    pls.#fitted = structuredClone(fitted)
    return pls
  }

  #state(): PlsState {
    return this.#fitted ?? notFitted('PlsRegression')
  }
}

/** `Xᵀ v`. */
function timesTransposed(x: Matrix64, v: Float64Array): Float64Array {
  const out = new Float64Array(x.cols)
  for (let r = 0, at = 0; r < x.rows; r++) {
    for (let c = 0; c < x.cols; c++, at++) out[c]! += v[r]! * x.data[at]!
  }
  return out
}
