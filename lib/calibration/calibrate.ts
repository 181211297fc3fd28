import type { CalibratedFor } from '../conditions/calibrated-for.js'
import { Detector } from '../detector/detector.js'
import { RateModel, type RateModelName, type RateModelSpec } from '../detector/rate-model.js'
import { StepAlarm } from '../detector/step-alarm.js'
import type { VerdictKind } from '../detector/verdict.js'
import { sha256 } from '../formats/files/hash.js'
import { percent } from '../percent.js'
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
import {
  type Agreement,
  agreement,
  type Candidate,
  rankRateModels,
  rateModelSpecs,
} from './model-selection.js'
import { assertShare, type ErrorTargets, hasTargets, targetThreshold } from './target-threshold.js'

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
  signal?: AbortSignal | undefined
  /** Fraction done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

/** How the whole procedure, choices included, does on sets that it has not seen. */
export interface HeldOutFigures extends Agreement {
  /** Share of labelled rates inside their intervals; to compare with the nominal one. */
  coverage: number
  verdicts: Record<Exclude<VerdictKind, 'not-comparable'>, number>
}

/** What was chosen, and what it does on sets that it has not seen. */
export interface CalibrationReport {
  /** SHA-256 over the rows: drifts and labels. */
  inputsSha256: string
  datasets: DatasetCounts[]
  cut: number
  threshold: number
  thresholdFrom: 'cut' | 'given' | 'target'
  /** That the intervals are meant to reach. */
  nominalCoverage: number
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
  const warnings = assertEnough(rows, cut, options.exclusions)
  const layers = candidateLayers(rows, options.layers)
  const specs = rateModelSpecs(layers, options.models)
  // Ranking is done once for all sets, and once without each fold of them.
  const total = 1 + foldsOf(rows.rows, 'dataset').length
  const progress = (done: number) => options.onProgress?.(done / total)
  const candidates = await rankRateModels(rows, specs, cut, signal)
  progress(1)
  const chosen = candidates[0]!
  const predictions = await outOfFold(rows, chosen, cut, 'dataset', signal)
  const { threshold, from } = chooseThreshold(rows.rows, predictions, cut, options, warnings)
  const stepAlarm = anchorRows.length === 0 ? null : fitStepAlarm(rows, anchorRows, chosen.layers, cut)
  const detector = fitDetector(rows, chosen, predictions, { cut, threshold, nominalCoverage, stepAlarm })
  const nested = await nestedFigures(rows, specs, {
    cut,
    nominalCoverage,
    options,
    onFold: (fold) => progress(1 + fold),
  })
  if (nested !== null && nested.coverage < nominalCoverage - 0.05) {
    warnings.push(
      `intervals meant to hold ${percent(nominalCoverage)} of unseen sets' checkpoints held ${percent(nested.coverage)}`,
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
      nominalCoverage,
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
    nominalCoverage,
    stepAlarm = null,
  }: { cut: number; threshold: number; nominalCoverage: number; stepAlarm?: StepAlarm | null },
): Detector {
  const features = featuresAt(rows, rows.rows, layers)
  const labels = rows.rows.map(({ label }) => label.pooled)
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
        datasets: rows.rows.map(({ dataset }) => dataset),
        errors: labels.map(({ rate }, i) => [predictions[i]!, rate]),
      },
    },
    new RateModel(model, cut).fit(features, labels),
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

/** Chooses and fits without each set (or fold of sets, when there are many) in turn, and predicts its checkpoints. */
async function nestedFigures(
  rows: Rows,
  specs: readonly RateModelSpec[],
  {
    cut,
    nominalCoverage,
    options,
    onFold,
  }: { cut: number; nominalCoverage: number; options: CalibrateOptions; onFold: (done: number) => void },
): Promise<CalibrationReport['nested']> {
  const unseen: HeldOutPrediction[] = []
  for (const [i, fold] of foldsOf(rows.rows, 'dataset').entries()) {
    const inside = { ...rows, rows: rows.rows.filter(({ dataset }) => !fold.includes(dataset)) }
    if (!isEnough(inside, cut)) return null
    const [chosen] = await rankRateModels(inside, specs, cut, options.signal)
    const predictions = await outOfFold(inside, chosen!, cut, 'dataset', options.signal)
    const { threshold } = chooseThreshold(inside.rows, predictions, cut, options, [])
    const detector = fitDetector(inside, chosen!, predictions, { cut, threshold, nominalCoverage })
    const at = detector.layers.map((layer) => rows.layers.indexOf(layer))
    for (const row of rows.rows) {
      if (!fold.includes(row.dataset)) continue
      const { em, interval, verdict } = detector.verdict(at.map((index) => row.drift[index]!))
      // The threshold differs between folds, so predictions are compared in units of it.
      unseen.push({ row, scaled: (em! / threshold) * cut, interval: interval!, verdict })
    }
    onFold(i + 1)
  }
  const datasets = new Set(rows.rows.map(({ dataset }) => dataset))
  const perDataset = Object.fromEntries(
    [...datasets].map((dataset) => [
      dataset,
      heldOut(
        unseen.filter(({ row }) => row.dataset === dataset),
        cut,
      ),
    ]),
  )
  return { ...heldOut(unseen, cut), perDataset }
}

/** What a detector that has not seen the row's set says of it. */
interface HeldOutPrediction {
  row: Row
  scaled: number
  interval: [number, number]
  verdict: VerdictKind
}

function heldOut(unseen: readonly HeldOutPrediction[], cut: number): HeldOutFigures {
  const covered = unseen.filter(({ row, interval: [low, high] }) => {
    const { rate } = row.label.pooled
    return rate >= low && rate <= high
  })
  const count = (kind: VerdictKind) => unseen.filter(({ verdict }) => verdict === kind).length
  return {
    ...agreement(
      unseen.map(({ row }) => row),
      unseen.map(({ scaled }) => scaled),
      { cut },
    ),
    coverage: covered.length / unseen.length,
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
