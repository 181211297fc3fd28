import {
  type FittedForest,
  type ForestJson,
  type ForestOptions,
  fitForest,
  forestParameters,
  forestState,
  predictForest,
} from './forest.js'
import { assertBinaryLabels } from './logistic-regression.js'
import type { Matrix } from './matrix.js'
import { GINI } from './split-criteria.js'
import { notFitted } from './state.js'

const NAME = 'a random forest classifier'

/**
 * Binary random forest, equal to scikit-learn 1.9's `RandomForestClassifier` where no column holds equal
 * values: Gini impurity, floor(sqrt(p)) columns per split, n of n bootstrap rows. Defaults are those of
 * method section 9.5.
 */
export class RandomForestClassifier {
  readonly parameters: Required<ForestOptions>
  #fitted: FittedForest | undefined

  constructor(options: ForestOptions = {}) {
    this.parameters = forestParameters(options, { nTrees: 200, maxDepth: 5, minLeaf: 5, seed: 42 })
  }

  /**
   * @param x shape `[n, p]`, read as float32
   * @param labels length n, 0 or 1, both present
   * @throws TraitscopeError SHAPE on input that is not finite, other labels, or a single class
   */
  fit(x: Matrix, labels: ArrayLike<number>): this {
    this.#fitted = undefined
    assertBinaryLabels(labels, x.rows)
    const maxFeatures = Math.floor(Math.sqrt(x.cols))
    this.#fitted = fitForest(x, labels, NAME, this.parameters, GINI, maxFeatures)
    return this
  }

  /** Probability of class 1 per row, in [0, 1]: the mean of the trees' shares. */
  predictProbability(x: Matrix): Float64Array {
    return predictForest(this.#fitted ?? notFitted('RandomForestClassifier'), x, NAME)
  }

  /** Class per row, 1 where its probability is above one half. */
  predict(x: Matrix): Uint8Array {
    return Uint8Array.from(this.predictProbability(x), (p) => (p > 0.5 ? 1 : 0))
  }

  toJSON(): ForestJson<'random-forest-classifier'> {
    return {
      estimator: 'random-forest-classifier',
      ...this.parameters,
      fitted: structuredClone(this.#fitted ?? null),
    }
  }

  /** Restores {@link RandomForestClassifier.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): RandomForestClassifier {
    const { parameters, fitted } = forestState(json, 'random-forest-classifier')
    const { nTrees, maxDepth, minLeaf, seed } = parameters
    const forest = new RandomForestClassifier({ nTrees, maxDepth, minLeaf, seed })
    forest.#fitted = structuredClone(fitted)
    return forest
  }
}
