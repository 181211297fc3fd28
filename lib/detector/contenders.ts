import { matrixFromRows } from '../estimators/matrix.js'
import { newRegressor, type RegressorName } from '../estimators/regressor.js'
import type { Checkpoint } from './checkpoints.js'
import type { FeatureSet } from './features.js'
import { alarmRates, auroc, balancedAccuracy } from './metrics.js'

/** What a detector of one model is fitted on, and what it is asked. */
export interface ModelCheckpoints {
  model: string
  calibration: readonly Checkpoint[]
  heldOut: readonly Checkpoint[]
}

/** A feature set with a regressor: one row of the comparison. */
export interface Contender {
  features: string
  family?: string
  regressor: string
  /** Predicted rates in [0, 1] of the held-out checkpoints, model by model. */
  predictions: ArrayLike<number>
  /** Whether they alarm, where that is not a matter of one threshold. */
  alarms?: readonly boolean[]
  /** Of the predictions, where there are any. */
  intervals?: readonly (readonly [low: number, high: number])[]
  calibration: CalibrationScore
}

export interface Levels {
  /** Rates strictly above it are dangerous. */
  cut: number
  /** Predictions strictly above it alarm. */
  threshold: number
}

/** How well it predicts calibration datasets that it was not fitted on; NaN with fewer than two datasets. */
export interface CalibrationScore {
  balancedAccuracy: number
  auroc: number
}

/** Whose calibration checkpoints a detector is fitted on: the model's own, those of the others, or of all. */
export type FitOn = 'own' | 'others' | 'all'

/**
 * Fits every regressor on calibration checkpoints and predicts the held-out ones of each model; beside it,
 * leaves every calibration dataset out once and pools what is predicted of it. Method sections 8.1 and 9.1.
 *
 * @param rate the label that is fitted, in [0, 1]
 * @throws TraitscopeError SHAPE when a feature set cannot be fitted on the data
 */
export function contend(
  models: readonly ModelCheckpoints[],
  features: FeatureSet,
  regressors: readonly RegressorName[],
  rate: (checkpoint: Checkpoint) => number,
  levels: Levels,
  fitOn: FitOn = 'own',
): Contender[] {
  const everyone = models.flatMap(({ calibration }) => calibration)
  const forModel = (model: string) => {
    if (fitOn === 'all') return everyone
    return everyone.filter(({ row }) => (row.model === model) === (fitOn === 'own'))
  }
  const fitAndPredict = (
    train: readonly Checkpoint[],
    pool: readonly Checkpoint[],
    test: readonly Checkpoint[],
  ) => {
    const of = features.fit(train, pool, rate)
    const x = matrixFromRows(train.map(of))
    const y = train.map(rate)
    const asked = matrixFromRows(test.map(of))
    return regressors.map((name) => {
      const predicted = newRegressor(name).fit(x, y).predict(asked)
      return predicted.map((value) => Math.min(1, Math.max(0, value)))
    })
  }
  const heldOut = models
    .filter((one) => one.heldOut.length > 0)
    .map((one) => fitAndPredict(forModel(one.model), everyone, one.heldOut))

  const truths: number[] = []
  const leftOut: number[][] = regressors.map(() => [])
  for (const { model, calibration } of models) {
    const datasets = [...new Set(calibration.map(({ row }) => row.dataset))]
    if (datasets.length < 2 || forModel(model).length === 0) continue
    for (const dataset of datasets) {
      const others = ({ row }: Checkpoint) => row.dataset !== dataset
      const test = calibration.filter((one) => !others(one))
      const predicted = fitAndPredict(forModel(model).filter(others), everyone.filter(others), test)
      truths.push(...test.map(rate))
      for (const [k, values] of predicted.entries()) leftOut[k]!.push(...values)
    }
  }
  const dangerous = truths.map((truth) => truth > levels.cut)
  return regressors.map((regressor, k) => ({
    features: features.name,
    ...(features.family !== undefined && { family: features.family }),
    regressor,
    predictions: Float64Array.from(heldOut.flatMap((predicted) => [...predicted[k]!])),
    calibration: {
      balancedAccuracy: balancedAccuracy(alarmRates(leftOut[k]!, truths, levels)),
      auroc: auroc(leftOut[k]!, dangerous),
    },
  }))
}
