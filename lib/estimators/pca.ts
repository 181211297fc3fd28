import { takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { dot } from './linalg.js'
import { assertColumns, assertMatrix, columnMeans, type Matrix, type Matrix64 } from './matrix.js'
import { notFitted, positiveInteger, stateOf } from './state.js'
import { flipSigns, svd } from './svd.js'

/** What fitting found. */
export interface PcaState {
  mean: number[]
  components: number[][]
  singularValues: number[]
  explainedVariance: number[]
  explainedVarianceRatio: number[]
}

/** Plain state of a {@link Pca}. */
export interface PcaJson {
  estimator: 'pca'
  nComponents: number | null
  fitted: PcaState | null
}

/**
 * Principal components by exact SVD of the column-centred rows. Signs and figures are those of scikit-learn's
 * `PCA(svd_solver='full')`: the entry of largest magnitude of every component is positive, variances divide
 * by n - 1.
 */
export class Pca {
  /** How many components to keep; all of `min(rows, cols)` when undefined. */
  readonly nComponents: number | undefined
  #fitted: PcaState | undefined

  constructor(options: { nComponents?: number } = {}) {
    const { nComponents } = takeOptions('Pca', options, { nComponents: 'number' })
    this.nComponents = nComponents === undefined ? undefined : positiveInteger('nComponents', nComponents)
  }

  /**
   * @param x shape `[n, p]`, n >= 2. Throws `SHAPE` on non-finite input or when more components than rows are
   * asked.
   */
  fit(x: Matrix): this {
    this.#fitted = undefined
    assertMatrix(x, 'the input of PCA', 2)
    const available = Math.min(x.rows, x.cols)
    const kept = this.nComponents ?? available
    if (kept > available) {
      throw new TraitscopeError(
        'SHAPE',
        `${kept} components asked of ${x.rows} x ${x.cols} numbers; at most ${available} exist`,
      )
    }
    const mean = columnMeans(x)
    const centred = Float64Array.from(x.data, (value, i) => value - mean[i % x.cols]!)
    const decomposition = svd({ data: centred, rows: x.rows, cols: x.cols })
    flipSigns(decomposition)
    const variances = Array.from(decomposition.values, (s) => (s * s) / (x.rows - 1))
    const total = variances.reduce((sum, v) => sum + v, 0)
    const { right } = decomposition
    this.#fitted = {
      mean: [...mean],
      components: Array.from({ length: kept }, (_, i) => [
        ...right.data.subarray(i * x.cols, (i + 1) * x.cols),
      ]),
      singularValues: [...decomposition.values.subarray(0, kept)],
      explainedVariance: variances.slice(0, kept),
      explainedVarianceRatio: variances.slice(0, kept).map((v) => (total > 0 ? v / total : 0)),
    }
    return this
  }

  /** Column means, length p. */
  get mean(): readonly number[] {
    return this.#state().mean
  }
  /** Unit components as rows, largest variance first; a direction without variance is a zero row. */
  get components(): readonly (readonly number[])[] {
    return this.#state().components
  }
  get singularValues(): readonly number[] {
    return this.#state().singularValues
  }
  /** Variance along every component, ddof 1. */
  get explainedVariance(): readonly number[] {
    return this.#state().explainedVariance
  }
  /** Share of the total variance of every component, in [0, 1]. */
  get explainedVarianceRatio(): readonly number[] {
    return this.#state().explainedVarianceRatio
  }

  /** Coordinates of rows in the components, shape `[n, nComponents]`. */
  transform(x: Matrix): Matrix64 {
    const { mean, components } = this.#state()
    assertColumns(x, 'PCA', mean.length)
    const data = new Float64Array(x.rows * components.length)
    for (let r = 0, at = 0; r < x.rows; r++) {
      const centred = Float64Array.from(mean, (m, c) => x.data[r * x.cols + c]! - m)
      for (const component of components) data[at++] = dot(centred, component)
    }
    return { data, rows: x.rows, cols: components.length }
  }

  toJSON(): PcaJson {
    return {
      estimator: 'pca',
      nComponents: this.nComponents ?? null,
      fitted: structuredClone(this.#fitted ?? null),
    }
  }

  /** Restores {@link Pca.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): Pca {
    const { parameters, fitted } = stateOf<PcaJson, PcaState>(json, 'pca', {
      mean: 'numbers',
      components: 'rows',
      singularValues: 'numbers',
      explainedVariance: 'numbers',
      explainedVarianceRatio: 'numbers',
    })
    const { nComponents } = parameters
    const pca = new Pca(nComponents === null ? {} : { nComponents })
    pca.#fitted = structuredClone(fitted)
    return pca
  }

  #state(): PcaState {
    return this.#fitted ?? notFitted('PCA')
  }
}
