import type { Matrix64 } from '../../lib/estimators/matrix.js'
import { uniform } from './golden.js'

/** One case of the tree ensembles in lab/golden_estimators.py. */
export interface TreeCase {
  name: string
  seed: number
  rows: number
  cols: number
  /** Columns that hold 0.25 everywhere. */
  constant: number[]
  options: { n_estimators?: number; max_depth?: number; min_samples_leaf?: number }
  y: number[]
  /** scikit-learn's answers on `fresh(case)`. */
  predictions: number[]
}

export function training({ seed, rows, cols, constant }: TreeCase): Matrix64 {
  const x = uniform(seed, rows, cols, 1)
  for (const column of constant) {
    for (let r = 0; r < rows; r++) x.data[r * cols + column] = 0.25
  }
  return x
}

export const fresh = ({ seed, cols }: TreeCase): Matrix64 => uniform(seed + 1000, 40, cols, 1)

/** The case's hyperparameters by our names; absent ones stay at the default. */
export function options({ options: { n_estimators, max_depth, min_samples_leaf } }: TreeCase) {
  return {
    ...(n_estimators && { nTrees: n_estimators }),
    ...(max_depth && { maxDepth: max_depth }),
    ...(min_samples_leaf && { minLeaf: min_samples_leaf }),
  }
}
