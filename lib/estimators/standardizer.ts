import { assertColumns, assertMatrix, columnMeans, type Matrix, type Matrix64 } from './matrix.js'
import { notFitted, stateOf } from './state.js'

/** What fitting found. */
export interface StandardizerState {
  mean: number[]
  scale: number[]
}

/** Plain state of a {@link Standardizer}. */
export interface StandardizerJson {
  estimator: 'standardizer'
  fitted: StandardizerState | null
}

/**
 * Centres columns and divides them by their population standard deviation, as scikit-learn's `StandardScaler`
 * does; a constant column is centred only.
 */
export class Standardizer {
  #fitted: StandardizerState | undefined

  /** @param x shape `[n, p]`. Throws `SHAPE` on input that is not finite. */
  fit(x: Matrix): this {
    this.#fitted = undefined
    assertMatrix(x, 'the input of a standardizer')
    const mean = columnMeans(x)
    const variance = new Float64Array(x.cols)
    for (let i = 0; i < x.data.length; i++) variance[i % x.cols]! += (x.data[i]! - mean[i % x.cols]!) ** 2
    const scale = Array.from(variance, (sum, c) => {
      // What rounding leaves of a constant column is no spread.
      const noise = sum * Number.EPSILON + (x.rows * mean[c]! * Number.EPSILON) ** 2
      return sum / x.rows <= noise ? 1 : Math.sqrt(sum / x.rows)
    })
    this.#fitted = { mean: [...mean], scale }
    return this
  }

  /** Column means, length p. */
  get mean(): readonly number[] {
    return this.#state().mean
  }
  /** What columns are divided by, length p: the standard deviation with ddof 0, or 1 for a constant column. */
  get scale(): readonly number[] {
    return this.#state().scale
  }

  /** Shape `[n, p]`. */
  transform(x: Matrix): Matrix64 {
    const { mean, scale } = this.#state()
    assertColumns(x, 'a standardizer', mean.length)
    const data = Float64Array.from(x.data, (value, i) => (value - mean[i % x.cols]!) / scale[i % x.cols]!)
    return { data, rows: x.rows, cols: x.cols }
  }

  toJSON(): StandardizerJson {
    return { estimator: 'standardizer', fitted: structuredClone(this.#fitted ?? null) }
  }

  /** Restores {@link Standardizer.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): Standardizer {
    const { fitted } = stateOf<StandardizerJson, StandardizerState>(json, 'standardizer', {
      mean: 'numbers',
      scale: 'numbers',
    })
    const standardizer = new Standardizer()
    standardizer.#fitted = structuredClone(fitted)
    return standardizer
  }

  #state(): StandardizerState {
    return this.#fitted ?? notFitted('Standardizer')
  }
}
