import type { CalibratedFor } from '../conditions/calibrated-for.js'
import type { Detector } from '../detector/detector.js'
import { priorRefusal } from '../detector/prior-detector.js'
import type { RateModelName, RateModelSpec } from '../detector/rate-model.js'
import { TraitscopeError } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import { percent } from '../percent.js'
import { type Row, rowsOf } from '../runs/rows.js'
import type { Exclusion, LabelledRun } from '../runs/runs.js'
import { type AnswerShareError, answerShareError } from './answer-share-error.js'
import { assertEnough, candidateLayers, type DatasetCounts, datasetCounts } from './calibration-data.js'
import { assertOneKind, calibratedFor } from './conditions-of-runs.js'
import { type PriorOfBase, readingOf } from './contrast-rows.js'
import { foldsOf, outOfFold } from './cross-validation.js'
import { chooseThreshold, fitDetector, fitStepAlarm, type ThresholdFrom } from './fit-detector.js'
import type { Pool } from './fit-rate-model.js'
import {
  type Agreement,
  agreement,
  type Candidate,
  rankRateModels,
  rateModelSpecs,
} from './model-selection.js'
import { type NestedFigures, nestedFigures } from './nested-figures.js'
import { assertShare, type ErrorTargets } from './target-threshold.js'

/** What is dangerous, and what to choose from. */
export interface CalibrateOptions extends ErrorTargets {
  /** EM rates strictly above this are dangerous; default 0.06. The method's older figures use 0.05. */
  cut?: number | undefined
  /** Predicted rates strictly above this alarm; default the cut, or what the target error rates ask for. */
  threshold?: number | undefined
  /** Nominal coverage of the intervals; default 0.9. */
  nominalCoverage?: number | undefined
  /** 0-based blocks to choose from; default all that the runs were measured at. */
  layers?: readonly number[] | undefined
  /** Long benign runs of the same base: with them, checkpoints beyond the calibrated steps have a verdict of their own. */
  anchors?: readonly LabelledRun[] | undefined
  /** Models to choose from; default all. */
  models?: readonly RateModelName[] | undefined
  /**
   * Learn from other bases too. One model is fitted then, on all blocks that were measured, and one run is enough.
   */
  pool?: PriorOfBase | undefined
  /** Whether the report tells what all of it, choices included, does on unseen sets (default): that is eight ninths of the work. */
  nested?: boolean | undefined
  signal?: AbortSignal | undefined
  /** Fraction done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

/** What was chosen, and what it does on sets that it has not seen. */
export interface CalibrationReport {
  /** SHA-256 over the rows: drifts and labels. */
  inputsSha256: string
  datasets: DatasetCounts[]
  cut: number
  threshold: number
  thresholdFrom: ThresholdFrom
  /** That the intervals are meant to reach. */
  nominalCoverage: number
  chosen: Candidate
  /** Leave-one-dataset-out, best first. */
  candidates: Candidate[]
  /** Of the chosen one, at the threshold, held out by set. Seeds repeat their set: leaving one out would tell nothing. */
  byDataset: Agreement
  /** Every set held out in turn and everything chosen without it; null with fewer than three sets, or where it was not asked for. */
  nested: NestedFigures | null
  /** How well the share of scoreable answers is told; null where labels do not say. */
  answers: AnswerShareError | null
  warnings: string[]
  exclusions: Exclusion[]
  rows: Row[]
  /** Of `rows[].drift`. */
  layers: number[]
}

/** A detector and how it was found. */
export interface Calibration {
  detector: Detector
  /** Null for files that do not say what they were measured under: such a detector cannot become a bundle. */
  calibratedFor: CalibratedFor | null
  report: CalibrationReport
}

const DEFAULT_CUT = 0.06
const DEFAULT_COVERAGE = 0.9

/**
 * Calibrates a detector on labelled runs of one base model: the model, its layers and the map from drift to a
 * rate are chosen by leaving out one fine-tuning set at a time, because a set that nobody has seen is what a
 * detector meets. Labels are pooled over all draws, and what is known of their noise is used.
 *
 * @throws TraitscopeError NOT_COMPARABLE for runs of different bases or conditions; UNSUPPORTED when there
 * are fewer than two sets, or too few dangerous or safe checkpoints; USAGE for impossible options; ABORTED
 */
export async function calibrate(
  runs: readonly LabelledRun[],
  options: CalibrateOptions & { exclusions?: readonly Exclusion[] } = {},
): Promise<Calibration> {
  const { cut = DEFAULT_CUT, nominalCoverage = DEFAULT_COVERAGE, anchors = [], signal } = options
  assertShare('cut', cut)
  assertShare('nominalCoverage', nominalCoverage)
  assertOneKind([...runs, ...anchors])
  const all = rowsOf([...runs, ...anchors])
  const anchorIds = new Set(anchors.map(({ id }) => id))
  const rows = { ...all, rows: all.rows.filter(({ run }) => !anchorIds.has(run)) }
  const anchorRows = all.rows.filter(({ run }) => anchorIds.has(run))
  const warnings = assertEnough(rows, cut, options.exclusions, options.pool !== undefined)
  const layers = candidateLayers(rows, options.layers)
  const pool = options.pool && poolOf(runs, layers, options.pool, cut)
  const specs: RateModelSpec[] = pool ? [{ model: 'pooled', layers }] : rateModelSpecs(layers, options.models)
  // Ranking is done once for all sets, and once without each fold of them.
  const total = 1 + (options.nested === false ? 0 : foldsOf(rows.rows, 'dataset').length)
  const progress = (done: number) => options.onProgress?.(done / total)
  const candidates = await rankRateModels(rows, specs, cut, signal, pool)
  progress(1)
  const chosen = candidates[0]!
  const predictions = await outOfFold(rows, chosen, cut, 'dataset', signal, pool)
  const { threshold, from } = chooseThreshold(rows.rows, predictions, cut, options, warnings, pool)
  const stepAlarm = anchorRows.length === 0 ? null : fitStepAlarm(rows, anchorRows, chosen.layers, cut)
  const detector = fitDetector(rows, chosen, predictions, {
    cut,
    threshold,
    nominalCoverage,
    stepAlarm,
    pool,
  })
  const nested =
    options.nested === false
      ? null
      : await nestedFigures(rows, specs, {
          cut,
          nominalCoverage,
          options,
          pool,
          onFold: (fold) => progress(1 + fold),
        })
  const sets = new Set(rows.rows.map(({ dataset }) => dataset)).size
  if (pool === undefined && sets / (sets + 1) < nominalCoverage) {
    warnings.push(
      `${sets} sets cannot promise intervals that hold ${percent(nominalCoverage)} of a new set's checkpoints: they are as wide as the largest error seen, which promises ${percent(sets / (sets + 1))}`,
    )
  }
  if (nested !== null && nested.coverage < nominalCoverage - 0.05) {
    warnings.push(
      `intervals meant to hold ${percent(nominalCoverage)} of unseen sets' checkpoints held ${percent(nested.coverage)}`,
    )
  }
  return {
    detector,
    calibratedFor: calibratedFor(runs, chosen.layers),
    report: {
      inputsSha256: sha256(JSON.stringify({ layers: rows.layers, traits: rows.traits, rows: all.rows })),
      datasets: datasetCounts(rows, cut),
      cut,
      threshold,
      thresholdFrom: from,
      nominalCoverage,
      chosen,
      candidates,
      byDataset: agreement(rows.rows, predictions, { cut, threshold }),
      nested,
      answers: answerShareError(rows, chosen.layers, pool),
      warnings,
      exclusions: [...(options.exclusions ?? []), ...rows.exclusions],
      rows: rows.rows,
      layers: rows.layers as number[],
    },
  }
}

/** Other bases, without this one, as its drifts are read beside them. */
function poolOf(
  runs: readonly LabelledRun[],
  layers: readonly number[],
  { prior, directions }: PriorOfBase,
  cut: number,
): Pool {
  const refusal = priorRefusal(prior, directions)
  if (refusal !== undefined) throw new TraitscopeError('NOT_COMPARABLE', refusal)
  const read = readingOf(runs, layers, directions, prior.depths, prior.traits)
  const fingerprint = runs[0]!.trajectory.measurement!.conditions.base.fingerprint
  return { prior: prior.without(fingerprint).at(cut), read }
}
