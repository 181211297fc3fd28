import { type OptionKinds, takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { TreeGrower } from './grow-tree.js'
import { pairwiseSum } from './linalg.js'
import { assertMatrix, assertTargets, type Matrix } from './matrix.js'
import { Mt19937 } from './mt19937.js'
import { SQUARED_ERROR } from './split-criteria.js'
import { notFitted, positiveInteger, stateOf } from './state.js'
import {
  assertTrees,
  float32Rows,
  noTrees,
  predictTree,
  sumTrees,
  TREES_FIELDS,
  type Trees,
} from './trees.js'

const NAME = 'gradient boosting'

/** Hyperparameters of boosted trees. */
export interface BoostingOptions {
  nTrees?: number
  maxDepth?: number
  /** Rows that a leaf holds at least. */
  minLeaf?: number
  /** Share of every tree that is added, > 0. */
  rate?: number
  /** Seed of NumPy's legacy generator, in [0, 2^32). It orders the columns, which decides between equal splits. */
  seed?: number
}

const OPTIONS: OptionKinds<BoostingOptions> = {
  nTrees: 'number',
  maxDepth: 'number',
  minLeaf: 'number',
  rate: 'number',
  seed: 'number',
}

/** What fitting found. */
export interface BoostingState extends Trees {
  cols: number
  /** Mean of the training targets. */
  start: number
}

/** Plain state of a {@link GradientBoosting}. */
export interface BoostingJson extends Required<BoostingOptions> {
  estimator: 'gradient-boosting'
  fitted: BoostingState | null
}

/**
 * Gradient boosting of squared loss, equal to scikit-learn 1.9's `GradientBoostingRegressor` where no column
 * holds equal values: starts at the mean, every tree fits what is left. Defaults are those of method section
 * 7.2.
 */
export class GradientBoosting {
  readonly parameters: Required<BoostingOptions>
  #fitted: BoostingState | undefined

  constructor(options: BoostingOptions = {}) {
    const own = takeOptions('GradientBoosting', options, OPTIONS)
    const { nTrees = 100, maxDepth = 3, minLeaf = 1, rate = 0.1, seed = 42 } = own
    if (!(rate > 0 && Number.isFinite(rate))) {
      throw new TraitscopeError('USAGE', `rate must be a positive number, got ${rate}`)
    }
    new Mt19937(seed) // refuses what is not a seed
    this.parameters = {
      nTrees: positiveInteger('nTrees', nTrees),
      maxDepth: positiveInteger('maxDepth', maxDepth),
      minLeaf: positiveInteger('minLeaf', minLeaf),
      rate,
      seed,
    }
  }

  /**
   * @param x shape `[n, p]`, read as float32
   * @param y length n
   * @throws TraitscopeError SHAPE on input that is not finite
   */
  fit(x: Matrix, y: ArrayLike<number>): this {
    this.#fitted = undefined
    assertMatrix(x, `the input of ${NAME}`)
    assertTargets(y, x.rows)
    const { nTrees, maxDepth, minLeaf, rate, seed } = this.parameters
    const rows = float32Rows(x, NAME)
    const shape = { maxDepth, minLeaf, maxFeatures: x.cols }
    const grower = new TreeGrower(rows, x.cols, SQUARED_ERROR, shape)
    const random = new Mt19937(seed)
    const start = pairwiseSum(Float64Array.from(y)) / x.rows
    const trees = noTrees()
    const predictions = new Float64Array(x.rows).fill(start)
    const weights = new Float64Array(x.rows).fill(1)
    for (let t = 0; t < nTrees; t++) {
      grower.grow(
        trees,
        predictions.map((prediction, r) => y[r]! - prediction),
        weights,
        random,
      )
      const root = trees.roots[t]!
      for (let r = 0; r < x.rows; r++) predictions[r]! += rate * predictTree(trees, root, rows, r * x.cols)
    }
    this.#fitted = { cols: x.cols, start, ...trees }
    return this
  }

  predict(x: Matrix): Float64Array {
    const fitted = this.#fitted ?? notFitted('GradientBoosting')
    const rows = float32Rows(x, NAME, fitted.cols)
    return sumTrees(fitted, rows, fitted.cols, fitted.start, this.parameters.rate)
  }

  toJSON(): BoostingJson {
    return {
      estimator: 'gradient-boosting',
      ...this.parameters,
      fitted: structuredClone(this.#fitted ?? null),
    }
  }

  /** Restores {@link GradientBoosting.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): GradientBoosting {
    const { parameters, fitted } = stateOf<BoostingJson, BoostingState>(json, 'gradient-boosting', {
      cols: 'number',
      start: 'number',
      ...TREES_FIELDS,
    })
    if (fitted) assertTrees(fitted, fitted.cols)
    const { nTrees, maxDepth, minLeaf, rate, seed } = parameters
    const boosting = new GradientBoosting({ nTrees, maxDepth, minLeaf, rate, seed })
    boosting.#fitted = structuredClone(fitted)
    return boosting
  }
}
