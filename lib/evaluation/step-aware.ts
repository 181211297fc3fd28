import { alarmRates } from '../calibration/metrics.js'
import { dot, norm } from '../estimators/linalg.js'
import { LogisticRegression } from '../estimators/logistic-regression.js'
import { type Matrix64, matrixFromRows } from '../estimators/matrix.js'
import { mean, variance } from '../estimators/mean.js'
import { RandomForestClassifier } from '../estimators/random-forest-classifier.js'
import { Standardizer } from '../estimators/standardizer.js'
import { firstAxis } from './features.js'
import type { LabelledCheckpoint } from './labelled-checkpoints.js'

/** What a step-aware alarm reads: drift alone cannot tell a long benign run from a short dangerous one. */
const STEP_AWARE = ['scalar+step', '7D+step', '7D+step forest'] as const
/** Alarms that know the step. */
export type StepAwareKind = (typeof STEP_AWARE)[number]

/** A long run that is known to be benign joins the calibration; every anchor makes one fold. */
export interface StepAwareData {
  model: string
  calibration: readonly LabelledCheckpoint[]
  anchors: readonly (readonly LabelledCheckpoint[])[]
  test: readonly LabelledCheckpoint[]
}

/** Mean and population standard deviation over the folds. */
export interface FoldMean {
  mean: number
  deviation: number
}

/** How one kind of alarm does on one long set of one model; NaN (null in JSON) where nothing could be wrong. */
export interface StepAwareResult {
  model: string
  dataset: string
  kind: StepAwareKind
  folds: number
  fnr: FoldMean
  fpr: FoldMean
  /** Largest probability of danger, mean over the folds. */
  maxProbability: number
  /** First step that alarms in any run, per fold; null where none does. */
  onsets: (number | null)[]
}

const ALARM_PROBABILITY = 0.5

/**
 * Alarms for runs far longer than the calibration: a classifier of drift AND step, fitted on all calibration
 * checkpoints and one long benign anchor run at a time. Alarm when the probability of danger is above one
 * half. Method section 9.5.
 *
 * @param traits trait order of the drifts
 * @param cut EM rate above which a checkpoint is dangerous
 */
export function stepAware(
  models: readonly StepAwareData[],
  traits: readonly string[],
  cut: number,
): StepAwareResult[] {
  const axis = firstAxis(
    models.flatMap(({ calibration }) => calibration),
    traits,
  )
  return models.flatMap(({ model, calibration, anchors, test }) =>
    STEP_AWARE.flatMap((kind) => {
      const folds = anchors.map((anchor) => {
        const runs = new Set(anchor.map(({ row }) => row.run))
        const tested = test.filter(({ row }) => !runs.has(row.run))
        return { tested, probabilities: predict(kind, [...calibration, ...anchor], tested, axis, cut) }
      })
      const datasets = [...new Set(test.map(({ row }) => row.dataset))]
      return datasets.map((dataset) => resultOf(model, dataset, kind, folds, cut))
    }),
  )
}

interface Fold {
  tested: readonly LabelledCheckpoint[]
  probabilities: Float64Array
}

function resultOf(
  model: string,
  dataset: string,
  kind: StepAwareKind,
  folds: readonly Fold[],
  cut: number,
): StepAwareResult {
  const own = folds.map(({ tested, probabilities }) => {
    const at = [...tested.keys()].filter((i) => tested[i]!.row.dataset === dataset)
    const truths = at.map((i) => tested[i]!.row.label.pooled.rate)
    const predicted = at.map((i) => probabilities[i]!)
    const alarmed = at.filter((i) => probabilities[i]! > ALARM_PROBABILITY).map((i) => tested[i]!.row.step)
    return {
      rates: alarmRates(predicted, truths, { cut, threshold: ALARM_PROBABILITY }),
      highest: Math.max(0, ...predicted),
      onset: alarmed.length > 0 ? Math.min(...alarmed) : null,
    }
  })
  return {
    model,
    dataset,
    kind,
    folds: folds.length,
    fnr: overFolds(own.map(({ rates }) => rates.fnr)),
    fpr: overFolds(own.map(({ rates }) => rates.fpr)),
    maxProbability: overFolds(own.map(({ highest }) => highest)).mean,
    onsets: own.map(({ onset }) => onset),
  }
}

function overFolds(values: readonly number[]): FoldMean {
  return { mean: mean(values), deviation: Math.sqrt(variance(values, 0)) }
}

/** Probability of danger of every test checkpoint; 0 when the training rows are of one class. */
function predict(
  kind: StepAwareKind,
  train: readonly LabelledCheckpoint[],
  test: readonly LabelledCheckpoint[],
  axis: readonly number[],
  cut: number,
): Float64Array {
  const labels = train.map(({ row }) => (row.label.pooled.rate > cut ? 1 : 0))
  if (test.length === 0 || new Set(labels).size < 2) return new Float64Array(test.length)
  const rows = (checkpoints: readonly LabelledCheckpoint[]): Matrix64 =>
    matrixFromRows(checkpoints.map((one) => features(kind, one, axis)))
  if (kind === '7D+step forest') {
    return new RandomForestClassifier().fit(rows(train), labels).predictProbability(rows(test))
  }
  const standardizer = new Standardizer().fit(rows(train))
  const regression = new LogisticRegression().fit(standardizer.transform(rows(train)), labels)
  return regression.predictProbability(standardizer.transform(rows(test)))
}

/** Drift in hundredths of the step-0 norm, the step, and drift per step. */
function features(
  kind: StepAwareKind,
  { drift, row: { step } }: LabelledCheckpoint,
  axis: readonly number[],
): number[] {
  if (kind === 'scalar+step') {
    const along = 100 * Math.abs(dot(drift, axis))
    return [along, step, along / step]
  }
  return [...drift.map((value) => 100 * value), step, (100 * norm(drift)) / step]
}
