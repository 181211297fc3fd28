import { type OptionKinds, takeOptions } from '../arguments.js'
import { TreeGrower } from './grow-tree.js'
import { assertMatrix, assertTargets, type Matrix } from './matrix.js'
import { Mt19937 } from './mt19937.js'
import type { Criterion } from './split-criteria.js'
import { positiveInteger, stateOf } from './state.js'
import { assertTrees, float32Rows, noTrees, sumTrees, TREES_FIELDS, type Trees } from './trees.js'

/** Hyperparameters that both forests share. */
export interface ForestOptions {
  nTrees?: number
  maxDepth?: number
  /** Distinct bootstrap rows that a leaf holds at least. */
  minLeaf?: number
  /** Seed of NumPy's legacy generator, in [0, 2^32). */
  seed?: number
}

const OPTIONS: OptionKinds<ForestOptions> = {
  nTrees: 'number',
  maxDepth: 'number',
  minLeaf: 'number',
  seed: 'number',
}

/** Trees, and what they were grown on. */
export interface FittedForest extends Trees {
  /** Columns of the training rows. */
  cols: number
}

/** Plain state of a forest. */
export interface ForestJson<Name extends string = string> extends Required<ForestOptions> {
  estimator: Name
  fitted: FittedForest | null
}

export function forestParameters(options: ForestOptions, defaults: Required<ForestOptions>) {
  const { nTrees, maxDepth, minLeaf, seed } = { ...defaults, ...takeOptions('a forest', options, OPTIONS) }
  new Mt19937(seed) // refuses what is not a seed
  return {
    nTrees: positiveInteger('nTrees', nTrees),
    maxDepth: positiveInteger('maxDepth', maxDepth),
    minLeaf: positiveInteger('minLeaf', minLeaf),
    seed,
  }
}

/**
 * Grows a forest on bootstrap samples: tree seeds are successive draws of the forest's stream, and a tree
 * draws its rows and its columns from two fresh streams of its own seed, as scikit-learn does.
 */
export function fitForest(
  x: Matrix,
  y: ArrayLike<number>,
  name: string,
  parameters: Required<ForestOptions>,
  criterion: Criterion,
  maxFeatures: number,
): FittedForest {
  assertMatrix(x, `the input of ${name}`)
  assertTargets(y, x.rows)
  const grower = new TreeGrower(float32Rows(x, name), x.cols, criterion, { ...parameters, maxFeatures })
  const target = Float64Array.from(y)
  const trees = noTrees()
  const seeds = new Mt19937(parameters.seed)
  for (let t = 0; t < parameters.nTrees; t++) {
    const seed = seeds.randint(2 ** 31 - 1)
    const bootstrap = new Mt19937(seed)
    const counts = new Float64Array(x.rows)
    for (let i = 0; i < x.rows; i++) counts[bootstrap.randint(x.rows)]!++
    grower.grow(trees, target, counts, new Mt19937(seed))
  }
  return { cols: x.cols, ...trees }
}

/** Mean over the trees per row. */
export function predictForest(fitted: FittedForest, x: Matrix, name: string): Float64Array {
  const sums = sumTrees(fitted, float32Rows(x, name, fitted.cols), fitted.cols)
  return sums.map((sum) => sum / fitted.roots.length)
}

/** Reads {@link ForestJson}; `FILE_INVALID` when it is not one. */
export function forestState<Name extends string>(json: unknown, estimator: Name) {
  const state = stateOf<ForestJson<Name>, FittedForest>(json, estimator, { cols: 'number', ...TREES_FIELDS })
  if (state.fitted) assertTrees(state.fitted, state.fitted.cols)
  return state
}
