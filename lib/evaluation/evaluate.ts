import { alarmRates } from '../calibration/metrics.js'
import { hasTargets } from '../calibration/target-threshold.js'
import { isTraitscopeError, TraitscopeError, throwIfAborted } from '../errors.js'
import { auroc, rankCorrelation } from '../estimators/ranks.js'
import type { EmCounts } from '../labels/grades.js'
import {
  CONTENDER_REGRESSORS,
  type Contender,
  contend,
  type FitOn,
  type ModelCheckpoints,
  type OperatingPoint,
} from './contenders.js'
import type { ContenderResult, EvaluateOptions, Evaluation, Figures, Group, LabelKind } from './evaluation.js'
import { mergeFamilies } from './family-means.js'
import type { FeatureSet } from './features.js'
import type { LabelledCheckpoint } from './labelled-checkpoints.js'
import { type CheckpointPrediction, clusterBootstrap, leadTimes } from './run-metrics.js'

const COUNTS: Record<LabelKind, (checkpoint: LabelledCheckpoint) => EmCounts> = {
  pooled: ({ row }) => row.label.pooled,
  single: ({ row }) => row.label.single,
}

/**
 * Compares detectors: one per model, feature set and regressor, fitted on calibration checkpoints and tested
 * on held-out ones, counts pooled over models. Method section 9.1.
 *
 * @throws TraitscopeError SHAPE without calibration or held-out checkpoints of some model
 */
export async function evaluate(
  models: readonly ModelCheckpoints[],
  featureSets: readonly FeatureSet[],
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { cut = 0.06, threshold = cut, labels = 'pooled', select = 'calibration' } = options
  const { regressors = CONTENDER_REGRESSORS, controls = [], others = [], fitOn = 'own', signal } = options
  assertSplit(models, fitOn)
  const targets = hasTargets(options) ? { maxFnr: options.maxFnr, maxFpr: options.maxFpr } : undefined
  if (targets && options.threshold !== undefined) {
    throw new TraitscopeError('USAGE', 'expected a threshold or target error rates, found both')
  }
  const counts = COUNTS[labels]
  const point: OperatingPoint = { cut, threshold }
  const heldOut = models.flatMap((one) => one.heldOut)
  const all = [...heldOut, ...models.flatMap(({ calibration }) => calibration)]
  const truths = heldOut.map((checkpoint) => counts(checkpoint).rate)
  const groups = groupsOf(heldOut, cut, controls)
  const contenders: Contender[] = [...others]
  const skipped: Evaluation['skipped'] = []
  for (const [i, features] of featureSets.entries()) {
    throwIfAborted(signal)
    options.onProgress?.(i / featureSets.length)
    const without = all.find((one) => features.lacks(one) !== undefined)
    try {
      if (without !== undefined) {
        const { run, step } = without.row
        throw new TraitscopeError('SHAPE', `${run} step ${step} has not ${features.lacks(without)}`)
      }
      contenders.push(
        ...(await contend(models, features, point, { regressors, counts, cut, targets, fitOn, signal })),
      )
    } catch (error) {
      // A baseline that does not fit the data is no reason to go without the others.
      if (!isTraitscopeError(error, 'SHAPE')) throw error
      skipped.push({ features: features.name, reason: error.message })
    }
  }
  options.onProgress?.(1)
  const results = contenders.map((contender): ContenderResult => {
    const { features, regressor, calibration, predictions, intervals } = contender
    const tested = heldOut.map(({ row: { run, step, model, dataset } }, i): IntervalPrediction => {
      const prediction = predictions[i]!
      const alarmed = contender.alarms?.[i] ?? prediction > threshold
      const cluster = options.clusters === 'run' ? run : `${model}/${dataset}`
      return { run, cluster, step, truth: truths[i]!, prediction, alarmed, interval: intervals?.[i] }
    })
    const figures = groups.map(({ checkpoints }) =>
      figuresOf(
        checkpoints.map((i) => tested[i]!),
        cut,
        options,
      ),
    )
    return {
      features,
      regressor,
      selected: false,
      calibration,
      figures,
      predictions: Array.from(predictions),
      ...(contender.alarms && { alarms: contender.alarms }),
      ...(contender.unmet && { unmet: contender.unmet }),
    }
  })
  const merged = mergeFamilies(contenders, results)
  markSelected(merged, select)
  return { cut, threshold, labels, select, fitOn, groups, results: merged, skipped }
}

/**
 * Throws `SHAPE` unless every model has calibration and held-out checkpoints, or, where detectors are fitted on several
 * models, one of both; `USAGE` when there are no other models to fit on.
 */
export function assertSplit(models: readonly ModelCheckpoints[], fitOn: FitOn = 'own'): void {
  for (const { model, calibration, heldOut } of models) {
    const [fitted, tested] = [calibration.length, heldOut.length]
    if (fitOn === 'own' ? fitted > 0 && tested > 0 : fitted + tested > 0) continue
    throw new TraitscopeError(
      'SHAPE',
      `expected calibration and held-out checkpoints of ${model}, found ${fitted} and ${tested}`,
    )
  }
  const tested = models.filter(({ heldOut }) => heldOut.length > 0)
  const alone = ({ model }: ModelCheckpoints) =>
    !models.some((other) => other.model !== model && other.calibration.length > 0)
  if (tested.length === 0) throw new TraitscopeError('SHAPE', 'expected held-out checkpoints, found none')
  if (fitOn === 'others' && tested.some(alone)) {
    throw new TraitscopeError('USAGE', 'fitting on other models needs runs of at least two, found one')
  }
}

interface IntervalPrediction extends CheckpointPrediction {
  interval?: readonly [low: number, high: number] | undefined
}

/** All figures of predictions against the truth; `cut` says what is dangerous. */
function figuresOf(
  tested: readonly IntervalPrediction[],
  cut: number,
  bootstrap: { draws?: number | undefined; seed?: number | undefined } = {},
): Figures {
  const truths = tested.map(({ truth }) => truth)
  const alarms = tested.map(({ alarmed }) => (alarmed ? 1 : 0))
  const { fnr, fpr } = clusterBootstrap(tested, cut, bootstrap)
  const withInterval = tested.filter(({ interval }) => interval !== undefined)
  const held = withInterval.filter(({ interval, truth }) => interval![0] <= truth && truth <= interval![1])
  return {
    ...alarmRates(alarms, truths, { cut, threshold: 0.5 }),
    fnrInterval: fnr,
    fprInterval: fpr,
    auroc: auroc(
      tested.map(({ prediction }) => prediction),
      truths.map((truth) => truth > cut),
    ),
    rankCorrelation: rankCorrelation(
      tested.map(({ truth }) => truth),
      tested.map(({ prediction }) => prediction),
    ),
    lead: leadTimes(tested, cut),
    ...(withInterval.length > 0 && { coverage: held.length / withInterval.length }),
  }
}

/** The benchmark as a whole, its sets that become dangerous alone, the controls, and every set. */
function groupsOf(heldOut: readonly LabelledCheckpoint[], cut: number, controls: readonly string[]): Group[] {
  const group = (name: string, wanted: (checkpoint: LabelledCheckpoint) => boolean): Group => {
    const checkpoints = [...heldOut.keys()].filter((i) => wanted(heldOut[i]!))
    return { name, checkpoints, runs: new Set(checkpoints.map((i) => heldOut[i]!.row.run)).size }
  }
  const datasets = [...new Set(heldOut.map(({ row }) => row.dataset))]
  const benchmark = datasets.filter((dataset) => !controls.includes(dataset))
  // A single draw puts some checkpoint of every set above the cut.
  const dangerous = benchmark.filter((dataset) =>
    heldOut.some(({ row }) => row.dataset === dataset && row.label.pooled.rate > cut),
  )
  return [
    group('held out', ({ row }) => benchmark.includes(row.dataset)),
    group('dangerous sets', ({ row }) => dangerous.includes(row.dataset)),
    group('controls', ({ row }) => controls.includes(row.dataset)),
    ...datasets.map((dataset) => group(dataset, ({ row }) => row.dataset === dataset)),
  ].filter(({ checkpoints }) => checkpoints.length > 0)
}

function markSelected(results: ContenderResult[], select: 'calibration' | 'held-out'): void {
  const value = ({ calibration, figures }: ContenderResult): [number, number] =>
    select === 'calibration'
      ? [calibration.balancedAccuracy, calibration.auroc]
      : [-figures[0]!.fnr, figures[0]!.accuracy]
  for (const name of new Set(results.map(({ features }) => features))) {
    const rivals = results.filter(({ features }) => features === name)
    const better = (a: ContenderResult, b: ContenderResult) => {
      const [first, second] = [value(a), value(b)]
      return first[0] - second[0] || first[1] - second[1]
    }
    rivals.reduce((best, one) => (better(one, best) > 0 ? one : best)).selected = true
  }
}
