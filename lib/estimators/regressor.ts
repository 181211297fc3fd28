import { TraitscopeError } from '../errors.js'
import { GradientBoosting } from './gradient-boosting.js'
import type { Matrix } from './matrix.js'
import { RandomForest } from './random-forest.js'
import { Ridge } from './ridge.js'

/** What turns features into a number: the contract of every regressor here. */
export interface Regressor {
  /** Forgets the previous fit. */
  fit(x: Matrix, y: ArrayLike<number>): this
  /** One number per row; `NOT_FITTED` before `fit`. */
  predict(x: Matrix): Float64Array
  toJSON(): { estimator: RegressorName }
}

const REGRESSORS = {
  'random-forest': RandomForest,
  'gradient-boosting': GradientBoosting,
  ridge: Ridge,
}

/** Regressors by name. */
export type RegressorName = keyof typeof REGRESSORS

/** The regressors of method section 7.2. */
export const REGRESSOR_NAMES = Object.keys(REGRESSORS) as RegressorName[]

/** A regressor with the hyperparameters of method section 7.2, not fitted yet. */
export function newRegressor(name: RegressorName): Regressor {
  return new REGRESSORS[name]()
}

/** Restores the plain state of any regressor; `FILE_INVALID` when it is of none. */
export function regressorFromJSON(json: unknown): Regressor {
  const name = (json as { estimator?: unknown } | null)?.estimator
  const found = REGRESSOR_NAMES.find((one) => one === name)
  if (found) return REGRESSORS[found].fromJSON(json)
  throw new TraitscopeError(
    'FILE_INVALID',
    `expected the state of one of ${REGRESSOR_NAMES.join(', ')}, got ${JSON.stringify(name) ?? typeof json}`,
  )
}
