import type { CalibratedFor } from '../conditions/calibrated-for.js'
import { DETECTOR_SCHEMA, Detector, percent } from '../detector/detector.js'
import { LevelModel, type LevelModelName, type LevelSpec } from '../detector/rate-model.js'
import { StepAlarm } from '../detector/step-alarm.js'
import type { VerdictKind } from '../detector/verdict.js'
import { sha256 } from '../formats/files/hash.js'
import { type Row, type Rows, rowsOf } from '../runs/rows.js'
import type { Exclusion, LabelledRun } from '../runs/runs.js'
import {
  assertEnough,
  candidateLayers,
  type DatasetCounts,
  datasetCounts,
  isEnough,
} from './calibration-data.js'
import { assertOneKind, calibratedFor } from './conditions-of-runs.js'
import { featuresAt, foldsOf, outOfFold } from './cross-validation.js'
import { type Agreement, agreement, type Candidate, levelSpecs, rankLevels } from './model-selection.js'
import { assertShare, type ErrorTargets, hasTargets, targetThreshold } from './target-threshold.js'

export interface CalibrateOptions extends ErrorTargets {
  /** EM rates strictly above this are dangerous; default 0.06. The method's older figures use 0.05. */
  cut?: number | undefined
  /** Predicted rates strictly above this alarm; default the cut, or what the target error rates ask for. */
  threshold?: number | undefined
  /** Nominal coverage of the intervals; default 0.9. */
  level?: number | undefined
  /** 0-based blocks to choose from; default all that the runs were measured at. */
  layers?: readonly number[] | undefined
  /** Long benign runs of the same base: with them, checkpoints beyond the calibrated steps can be judged. */
  anchors?: readonly LabelledRun[] | undefined
  /** Models to choose from; default all. */
  models?: readonly LevelModelName[] | undefined
  signal?: AbortSignal | undefined
  /** Fraction done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

/** How the whole procedure, choices included, does on sets that it has not seen. */
export interface HeldOutFigures extends Agreement {
  /** Share of labelled rates inside their intervals. */
  coverage: number
  verdicts: Record<Exclude<VerdictKind, 'not-comparable'>, number>
}

export interface CalibrationReport {
  /** SHA-256 over the rows: drifts and labels. */
  inputsSha256: string
  datasets: DatasetCounts[]
  cut: number
  threshold: number
  thresholdFrom: 'cut' | 'given' | 'target'
  level: number
  chosen: Candidate
  /** Leave-one-dataset-out, best first. */
  candidates: Candidate[]
  /** Of the chosen one, at the threshold: held out by set, and by seed. */
  byDataset: Agreement
  bySeed: Agreement | null
  /** Every set held out in turn and everything chosen without it; null with fewer than three sets. */
  nested: (HeldOutFigures & { perDataset: Record<string, HeldOutFigures> }) | null
  warnings: string[]
  exclusions: Exclusion[]
  rows: Row[]
  /** Of `rows[].drift`. */
  layers: number[]
}

export interface Calibration {
  detector: Detector
  /** Null for files that do not say what they were measured under: such a detector cannot become a bundle. */
  calibratedFor: CalibratedFor | null
  report: CalibrationReport
}

const DEFAULT_CUT = 0.06
const DEFAULT_LEVEL = 0.9

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
  const { cut = DEFAULT_CUT, level = DEFAULT_LEVEL, anchors = [], signal } = options
  assertShare('cut', cut)
  assertShare('level', level)
  assertOneKind([...runs, ...anchors])
  const all = rowsOf([...runs, ...anchors])
  const anchorIds = new Set(anchors.map(({ id }) => id))
  const rows = { ...all, rows: all.rows.filter(({ run }) => !anchorIds.has(run)) }
  const anchorRows = all.rows.filter(({ run }) => anchorIds.has(run))
  const warnings = assertEnough(rows, cut)
  const layers = candidateLayers(rows, options.layers)
  const specs = levelSpecs(layers, options.models)
  // Ranking is done once for all sets, and once without each fold of them.
  const total = 1 + foldsOf(rows.rows, 'dataset').length
  const progress = (done: number) => options.onProgress?.(done / total)
  const candidates = await rankLevels(rows, specs, cut, signal)
  progress(1)
  const chosen = candidates[0]!
  const predictions = await outOfFold(rows, chosen, cut, 'dataset', signal)
  const { threshold, from } = chooseThreshold(rows.rows, predictions, cut, options, warnings)
  const stepAlarm = anchorRows.length === 0 ? null : fitStepAlarm(rows, anchorRows, chosen.layers, cut)
  const detector = fitDetector(rows, chosen, predictions, { cut, threshold, level, stepAlarm })
  const nested = await nestedFigures(rows, specs, {
    cut,
    level,
    options,
    onFold: (fold) => progress(1 + fold),
  })
  if (nested !== null && nested.coverage < level - 0.05) {
    warnings.push(
      `intervals meant to hold ${percent(level)} of unseen sets' checkpoints held ${percent(nested.coverage)}`,
    )
  }
  const seeds = new Set(rows.rows.map(({ seed }) => seed))
  return {
    detector,
    calibratedFor: calibratedFor(runs, chosen.layers),
    report: {
      inputsSha256: sha256(JSON.stringify({ layers: rows.layers, traits: rows.traits, rows: all.rows })),
      datasets: datasetCounts(rows, cut),
      cut,
      threshold,
      thresholdFrom: from,
      level,
      chosen,
      candidates,
      byDataset: agreement(rows.rows, predictions, { cut, threshold }),
      bySeed:
        seeds.size < 2
          ? null
          : agreement(rows.rows, await outOfFold(rows, chosen, cut, 'seed', signal), { cut, threshold }),
      nested,
      warnings,
      exclusions: [...(options.exclusions ?? []), ...rows.exclusions],
      rows: rows.rows,
      layers: rows.layers as number[],
    },
  }
}

function fitDetector(
  rows: Rows,
  { model, layers }: Candidate,
  predictions: ArrayLike<number>,
  {
    cut,
    threshold,
    level,
    stepAlarm = null,
  }: { cut: number; threshold: number; level: number; stepAlarm?: StepAlarm | null },
): Detector {
  const features = featuresAt(rows, rows.rows, layers)
  const labels = rows.rows.map(({ label }) => label.pooled)
  return new Detector(
    {
      schemaVersion: DETECTOR_SCHEMA,
      traits: [...rows.traits],
      layers: [...layers],
      cut,
      threshold,
      level,
      horizon: Math.max(...rows.rows.map(({ step }) => step)),
      memory: {
        features,
        datasets: rows.rows.map(({ dataset }) => dataset),
        errors: labels.map(({ rate }, i) => [predictions[i]!, rate]),
      },
    },
    new LevelModel(model, cut).fit(features, labels),
    stepAlarm,
  )
}

function fitStepAlarm(
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

/** Chooses and fits without each set (or fold of sets, when there are many) in turn, and judges its checkpoints. */
async function nestedFigures(
  rows: Rows,
  specs: readonly LevelSpec[],
  {
    cut,
    level,
    options,
    onFold,
  }: { cut: number; level: number; options: CalibrateOptions; onFold: (done: number) => void },
): Promise<CalibrationReport['nested']> {
  const judged: Judged[] = []
  for (const [i, fold] of foldsOf(rows.rows, 'dataset').entries()) {
    const inside = { ...rows, rows: rows.rows.filter(({ dataset }) => !fold.includes(dataset)) }
    if (!isEnough(inside, cut)) return null
    const [chosen] = await rankLevels(inside, specs, cut, options.signal)
    const predictions = await outOfFold(inside, chosen!, cut, 'dataset', options.signal)
    const { threshold } = chooseThreshold(inside.rows, predictions, cut, options, [])
    const detector = fitDetector(inside, chosen!, predictions, { cut, threshold, level })
    const at = detector.layers.map((layer) => rows.layers.indexOf(layer))
    for (const row of rows.rows) {
      if (!fold.includes(row.dataset)) continue
      const { em, interval, verdict } = detector.judge(at.map((index) => row.drift[index]!))
      // The threshold differs between folds, so predictions are compared in units of it.
      judged.push({ row, scaled: (em! / threshold) * cut, interval: interval!, verdict })
    }
    onFold(i + 1)
  }
  const datasets = new Set(rows.rows.map(({ dataset }) => dataset))
  const perDataset = Object.fromEntries(
    [...datasets].map((dataset) => [
      dataset,
      heldOut(
        judged.filter(({ row }) => row.dataset === dataset),
        cut,
      ),
    ]),
  )
  return { ...heldOut(judged, cut), perDataset }
}

interface Judged {
  row: Row
  scaled: number
  interval: [number, number]
  verdict: VerdictKind
}

function heldOut(judged: readonly Judged[], cut: number): HeldOutFigures {
  const covered = judged.filter(({ row, interval: [low, high] }) => {
    const { rate } = row.label.pooled
    return rate >= low && rate <= high
  })
  const count = (kind: VerdictKind) => judged.filter(({ verdict }) => verdict === kind).length
  return {
    ...agreement(
      judged.map(({ row }) => row),
      judged.map(({ scaled }) => scaled),
      { cut },
    ),
    coverage: covered.length / judged.length,
    verdicts: { ok: count('ok'), warn: count('warn'), alarm: count('alarm') },
  }
}

/** The firing point: given, or what target error rates on predictions of unseen sets ask for, else the cut. */
function chooseThreshold(
  rows: readonly Row[],
  predictions: Float64Array,
  cut: number,
  options: CalibrateOptions,
  warnings: string[],
): { threshold: number; from: CalibrationReport['thresholdFrom'] } {
  const { threshold: given } = options
  if (given !== undefined) {
    assertShare('threshold', given)
    return { threshold: given, from: 'given' }
  }
  if (!hasTargets(options)) return { threshold: cut, from: 'cut' }
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
