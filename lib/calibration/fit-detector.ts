import { AnswerSharesModel } from '../detector/answer-shares.js'
import { readThrough } from '../detector/contrast.js'
import { Detector } from '../detector/detector.js'
import { OWN_SETS, PRIOR_SETS, pooledThreshold } from '../detector/prior.js'
import { StepAlarm } from '../detector/step-alarm.js'
import type { Row, Rows } from '../runs/rows.js'
import { featuresAt } from './cross-validation.js'
import { fitRateModel, type Pool } from './fit-rate-model.js'
import type { Candidate } from './model-selection.js'
import { assertShare, type ErrorTargets, hasTargets, targetThreshold } from './target-threshold.js'

/** Where a threshold comes from. */
export type ThresholdFrom = 'cut' | 'given' | 'target' | 'few sets'

/** What decides about it. */
export interface ThresholdOptions extends ErrorTargets {
  threshold?: number | undefined
}

/** A detector that keeps what its intervals and its guard need. */
export function fitDetector(
  rows: Rows,
  { model, layers }: Candidate,
  predictions: ArrayLike<number>,
  {
    cut,
    threshold,
    nominalCoverage,
    stepAlarm = null,
    pool,
  }: {
    cut: number
    threshold: number
    nominalCoverage: number
    stepAlarm?: StepAlarm | null
    pool: Pool | undefined
  },
): Detector {
  const features = featuresAt(rows, rows.rows, layers)
  const labels = rows.rows.map(({ label }) => label.pooled)
  const datasets = rows.rows.map(({ dataset }) => dataset)
  // Errors on other bases count by the share of the rate that other bases tell.
  const priorWeight = (PRIOR_SETS * OWN_SETS) / (OWN_SETS + new Set(datasets).size)
  return new Detector(
    {
      traits: [...rows.traits],
      layers: [...layers],
      cut,
      threshold,
      nominalCoverage,
      horizon: Math.max(...rows.rows.map(({ step }) => step)),
      memory: {
        features,
        datasets,
        errors: labels.map(({ rate }, i) => [predictions[i]!, rate]),
        ...(pool ? { prior: pool.prior.errors(priorWeight) } : {}),
      },
    },
    fitRateModel({ model }, cut, { features, labels, datasets }, pool),
    stepAlarm,
    fitAnswerShares(rows, features, pool),
  )
}

/** How many answers would be scoreable; with other bases in contrast units. */
export function fitAnswerShares(
  { traits, rows }: Pick<Rows, 'traits' | 'rows'>,
  features: readonly (readonly number[])[],
  pool: Pool | undefined,
): AnswerSharesModel | null {
  const counts = rows.map(({ label }) => label.unscored)
  if (pool === undefined) return AnswerSharesModel.fit(features, counts, traits.length)
  const { prior, read } = pool
  return AnswerSharesModel.fit(
    [...prior.rows.map((row) => row.features), ...features.map((row) => readThrough(read, row))],
    [...prior.rows.map(({ unscored }) => unscored), ...counts],
    prior.traits.length,
    read,
  )
}

/** The alarm beyond the steps of the calibration runs. */
export function fitStepAlarm(
  rows: Rows,
  anchors: readonly Row[],
  layers: readonly number[],
  cut: number,
): StepAlarm {
  const all = [...rows.rows, ...anchors]
  const features = featuresAt(rows, all, layers)
  const last = rows.rows.flatMap(({ run }, i) => (rows.rows[i + 1]?.run === run ? [] : [features[i]!]))
  return StepAlarm.fit(
    all.map(({ step, label }, i) => ({ features: features[i]!, step, dangerous: label.pooled.rate > cut })),
    last,
  )
}

/** The firing point: given, or what target error rates on predictions of unseen sets ask for, else the cut. */
export function chooseThreshold(
  rows: readonly Row[],
  predictions: Float64Array,
  cut: number,
  options: ThresholdOptions,
  warnings: string[],
  pool: Pool | undefined,
): { threshold: number; from: ThresholdFrom } {
  const { threshold: given } = options
  if (given !== undefined) {
    assertShare('threshold', given)
    return { threshold: given, from: 'given' }
  }
  if (!hasTargets(options)) {
    if (pool === undefined) return { threshold: cut, from: 'cut' }
    const threshold = pooledThreshold(pool.prior, new Set(rows.map(({ dataset }) => dataset)).size)
    return { threshold, from: threshold === cut ? 'cut' : 'few sets' }
  }
  const truths = rows.map(({ label }) => label.pooled.rate)
  const { threshold, met } = targetThreshold(predictions, truths, cut, options)
  if (met !== 'all') {
    warnings.push(
      'no threshold meets the target error rates on unseen sets; ' +
        (met === 'none' ? 'the cut is used' : 'the one that meets the misses is used'),
    )
  }
  return { threshold, from: met === 'none' ? 'cut' : 'target' }
}
