import { setImmediate } from 'node:timers/promises'
import { alarmRates, balancedAccuracy } from '../calibration/metrics.js'
import { type ErrorTargets, targetThreshold } from '../calibration/target-threshold.js'
import { stabilized, unstabilized } from '../detector/label-noise.js'
import { RateModel } from '../detector/rate-model.js'
import { throwIfAborted } from '../errors.js'
import { matrixFromRows } from '../estimators/matrix.js'
import { auroc } from '../estimators/ranks.js'
import { newRegressor, REGRESSOR_NAMES, type RegressorName } from '../estimators/regressor.js'
import type { EmCounts } from '../labels/grades.js'
import type { FeatureSet } from './features.js'
import type { LabelledCheckpoint } from './labelled-checkpoints.js'

/** What a detector of one model is fitted on, and what it is asked. */
export interface ModelCheckpoints {
  model: string
  calibration: readonly LabelledCheckpoint[]
  heldOut: readonly LabelledCheckpoint[]
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
  /** Models where no threshold keeps the target error rates on left-out calibration datasets. */
  unmet?: readonly string[]
  /** Of the predictions, where there are any. */
  intervals?: readonly (readonly [low: number, high: number])[]
  calibration: CalibrationScore
}

export interface OperatingPoint {
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
 * What features are fitted with: the method's regressors, and traitscope's own recipe, a forest and a ridge with a target that
 * saturates, weights by answers and a far range, so that a baseline is not beaten by the recipe alone.
 */
export const CONTENDER_REGRESSORS = [...REGRESSOR_NAMES, 'recipe'] as const
/** One of {@link CONTENDER_REGRESSORS}. */
export type ContenderRegressor = (typeof CONTENDER_REGRESSORS)[number]

/** How features are fitted: with what, on which label, and on whose checkpoints. */
export interface Fitting {
  regressors: readonly ContenderRegressor[]
  /** The label that is fitted. */
  counts: (checkpoint: LabelledCheckpoint) => EmCounts
  /** Where the recipe's target saturates; EM rates above it are dangerous. */
  cut: number
  /** Move every model's threshold until its left-out calibration datasets keep these; see {@link targetThreshold}. */
  targets?: ErrorTargets | undefined
  fitOn?: FitOn | undefined
  signal?: AbortSignal | undefined
}

/**
 * Fits every regressor on calibration checkpoints and predicts the held-out ones of each model; beside it,
 * leaves every calibration dataset out once and pools what is predicted of it. Method sections 9.1 and 9.4.
 *
 * @throws TraitscopeError SHAPE when a feature set cannot be fitted on the data; ABORTED
 */
export async function contend(
  models: readonly ModelCheckpoints[],
  features: FeatureSet,
  point: OperatingPoint,
  fitting: Fitting,
): Promise<Contender[]> {
  const everyone = models.flatMap(({ calibration }) => calibration)
  const heldOut: Float64Array[][] = []
  for (const one of models) {
    if (one.heldOut.length === 0) continue
    heldOut.push(
      await fitAndPredict(features, fitting, fittedFor(models, one, fitting), everyone, one.heldOut),
    )
  }
  const leftOut = await leaveDatasetsOut(models, features, fitting)
  const { targets } = fitting
  const tested = [...models.keys()].filter((m) => models[m]!.heldOut.length > 0)
  const byTarget = (k: number, wanted: ErrorTargets) => {
    const chosen = tested.map((m) =>
      targetThreshold(leftOut[m]!.predicted[k]!, leftOut[m]!.truths, point.cut, wanted),
    )
    return {
      alarms: chosen.flatMap(({ threshold }, i) => Array.from(heldOut[i]![k]!, (value) => value > threshold)),
      unmet: tested.filter((_, i) => chosen[i]!.met !== 'all').map((m) => models[m]!.model),
    }
  }
  return fitting.regressors.map((regressor, k) => ({
    features: features.name,
    ...(features.family !== undefined && { family: features.family }),
    regressor,
    predictions: Float64Array.from(heldOut.flatMap((predicted) => [...predicted[k]!])),
    ...(targets && byTarget(k, targets)),
    calibration: calibrationScore(
      leftOut.flatMap(({ predicted }) => predicted[k]!),
      leftOut.flatMap(({ truths }) => truths),
      point,
    ),
  }))
}

/** What is predicted of one model's calibration checkpoints by fits that have not seen their datasets. */
export interface LeftOutPredictions {
  truths: number[]
  /** Per regressor, in [0, 1]. */
  predicted: number[][]
}

/** Leaves every calibration dataset of every model out in turn; nothing of a model with fewer than two datasets. */
export async function leaveDatasetsOut(
  models: readonly ModelCheckpoints[],
  features: FeatureSet,
  fitting: Fitting,
): Promise<LeftOutPredictions[]> {
  const everyone = models.flatMap(({ calibration }) => calibration)
  const found: LeftOutPredictions[] = []
  for (const model of models) {
    const one: LeftOutPredictions = { truths: [], predicted: fitting.regressors.map(() => []) }
    found.push(one)
    const pool = fittedFor(models, model, fitting)
    const datasets = [...new Set(model.calibration.map(({ row }) => row.dataset))]
    if (datasets.length < 2 || pool.length === 0) continue
    for (const dataset of datasets) {
      const others = ({ row }: LabelledCheckpoint) => row.dataset !== dataset
      const test = model.calibration.filter((checkpoint) => !others(checkpoint))
      const predicted = await fitAndPredict(
        features,
        fitting,
        pool.filter(others),
        everyone.filter(others),
        test,
      )
      one.truths.push(...test.map((checkpoint) => fitting.counts(checkpoint).rate))
      for (const [k, values] of predicted.entries()) one.predicted[k]!.push(...values)
    }
  }
  return found
}

/** Balanced accuracy and AUROC of predictions of left-out checkpoints. */
export function calibrationScore(
  predicted: readonly number[],
  truths: readonly number[],
  point: OperatingPoint,
): CalibrationScore {
  return {
    balancedAccuracy: balancedAccuracy(alarmRates(predicted, truths, point)),
    auroc: auroc(
      predicted,
      truths.map((truth) => truth > point.cut),
    ),
  }
}

/** Calibration checkpoints that a model's detector is fitted on. */
function fittedFor(
  models: readonly ModelCheckpoints[],
  { model }: ModelCheckpoints,
  { fitOn = 'own' }: Fitting,
): LabelledCheckpoint[] {
  const wanted = (other: string) => fitOn === 'all' || (other === model) === (fitOn === 'own')
  return models.filter((one) => wanted(one.model)).flatMap(({ calibration }) => calibration)
}

/** Per regressor the predictions of `test`. A fit takes up to a tenth of a second: the caller's other work comes between. */
async function fitAndPredict(
  features: FeatureSet,
  { regressors, counts, cut, signal }: Fitting,
  train: readonly LabelledCheckpoint[],
  pool: readonly LabelledCheckpoint[],
  test: readonly LabelledCheckpoint[],
): Promise<Float64Array[]> {
  const of = features.fit(train, pool, (checkpoint) => counts(checkpoint).rate)
  const [fitted, asked] = [train.map(of), test.map(of)]
  const x = matrixFromRows(fitted)
  const y = train.map((checkpoint) => counts(checkpoint).rate)
  const found = new Map<ContenderRegressor, Float64Array>()
  const plain = async (name: RegressorName) => {
    throwIfAborted(signal)
    await setImmediate()
    const predicted = newRegressor(name).fit(x, y).predict(matrixFromRows(asked))
    found.set(
      name,
      predicted.map((value) => Math.min(1, Math.max(0, value))),
    )
  }
  for (const name of regressors) if (name !== 'recipe') await plain(name)
  if (regressors.includes('recipe')) {
    if (!found.has('random-forest')) await plain('random-forest')
    const ridge = new RateModel('ridge', cut).fit(fitted, train.map(counts)).predict(asked)
    const forest = found.get('random-forest')!
    found.set(
      'recipe',
      ridge.map((rate, i) => unstabilized((stabilized(rate) + stabilized(forest[i]!)) / 2)),
    )
  }
  return regressors.map((name) => found.get(name)!)
}
