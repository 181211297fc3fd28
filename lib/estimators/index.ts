/// <reference types="node" preserve="true" />
/** `traitscope/estimators`: the regressors and scalers that detectors are made of, equal to scikit-learn's. */
// biome-ignore-all assist/source/organizeImports: the order is that of docs/api.md

// ## Regressors
// From features to a rate.

export { Ridge } from './ridge.js'
export { PlsRegression } from './pls-regression.js'
export { RandomForest } from './random-forest.js'
export { GradientBoosting } from './gradient-boosting.js'
export { Isotonic } from './isotonic.js'
export { regressorFromJSON } from './regressor.js'
export type { Matrix, Matrix64 } from './matrix.js'
export type { Regressor, RegressorName } from './regressor.js'
export type { RidgeJson, RidgeState } from './ridge.js'
export type { PlsJson, PlsState } from './pls-regression.js'
export type { FittedForest, ForestJson, ForestOptions } from './forest.js'
export type { BoostingJson, BoostingOptions, BoostingState } from './gradient-boosting.js'
export type { Trees } from './trees.js'
export type { IsotonicJson, IsotonicState } from './isotonic.js'

// ## Classifiers
// From features to a probability.

export { LogisticRegression } from './logistic-regression.js'
export { RandomForestClassifier } from './random-forest-classifier.js'
export type { LogisticJson, LogisticState } from './logistic-regression.js'

// ## Transformations
// Of features, before something is fitted on them.

export { Standardizer } from './standardizer.js'
export { Pca } from './pca.js'
export type { StandardizerJson, StandardizerState } from './standardizer.js'
export type { PcaJson, PcaState } from './pca.js'
