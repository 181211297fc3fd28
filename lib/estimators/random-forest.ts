import {
  type FittedForest,
  type ForestJson,
  type ForestOptions,
  fitForest,
  forestParameters,
  forestState,
  predictForest,
} from './forest.js'
import type { Matrix } from './matrix.js'
import { SQUARED_ERROR } from './split-criteria.js'
import { notFitted } from './state.js'

const NAME = 'a random forest'

/**
 * Random forest regression, equal to scikit-learn 1.9's `RandomForestRegressor` where no column holds equal
 * values: squared error, every column tried at every split, n of n bootstrap rows. Predictions depend on the
 * order of the training rows, and not on the scale of the features. Defaults are those of method section 7.2.
 */
export class RandomForest {
  readonly parameters: Required<ForestOptions>
  #fitted: FittedForest | undefined

  constructor(options: ForestOptions = {}) {
    this.parameters = forestParameters(options, { nTrees: 100, maxDepth: 5, minLeaf: 5, seed: 42 })
  }

  /**
   * @param x shape `[n, p]`, read as float32
   * @param y length n
   * @throws TraitscopeError SHAPE on input that is not finite
   */
  fit(x: Matrix, y: ArrayLike<number>): this {
    this.#fitted = undefined
    this.#fitted = fitForest(x, y, NAME, this.parameters, SQUARED_ERROR, x.cols)
    return this
  }

  /** Mean of the trees per row, within the range of the training targets. */
  predict(x: Matrix): Float64Array {
    return predictForest(this.#fitted ?? notFitted('RandomForest'), x, NAME)
  }

  toJSON(): ForestJson<'random-forest'> {
    return {
      estimator: 'random-forest',
      ...this.parameters,
      fitted: structuredClone(this.#fitted ?? null),
    }
  }

  /** Restores {@link RandomForest.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): RandomForest {
    const { parameters, fitted } = forestState(json, 'random-forest')
    const { nTrees, maxDepth, minLeaf, seed } = parameters
    const forest = new RandomForest({ nTrees, maxDepth, minLeaf, seed })
    forest.#fitted = structuredClone(fitted)
    return forest
  }
}
