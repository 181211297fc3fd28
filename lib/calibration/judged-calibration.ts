import { checkEach, type OptionKinds, takeOptions } from '../arguments.js'
import type { LabelSource } from '../labels/label-source.js'
import { type Exclusion, type LabelledRun, MEASURED_RUN } from '../runs/runs.js'
import { type CalibrateOptions, type Calibration, calibrate as calibrateOnRates } from './calibrate.js'
import { assertOneKind } from './conditions-of-runs.js'
import { assertSoundJudge, sourceOf, startAboveCut } from './judge-floor.js'

/** {@link CalibrateOptions}, and what to make of the judge. */
export interface CalibrateRunsOptions extends CalibrateOptions {
  /** What the folder had beside the runs, for the report. */
  exclusions?: readonly Exclusion[]
  /** Go on although the judge of the labels fails on known answers; its faults are warnings then. */
  allowWeakJudge?: boolean | undefined
}

const OPTIONS: OptionKinds<CalibrateRunsOptions> = {
  cut: 'number',
  threshold: 'number',
  nominalCoverage: 'number',
  layers: 'numbers',
  anchors: 'list',
  models: 'strings',
  pool: 'any',
  nested: 'boolean',
  maxFnr: 'number',
  maxFpr: 'number',
  exclusions: 'list',
  allowWeakJudge: 'boolean',
  signal: 'signal',
  onProgress: 'function',
}

/** A detector, how it was found, and whose labels it repeats. */
export interface JudgedCalibration extends Calibration {
  /** Who labelled the runs; undefined where their files do not say. */
  labels: LabelSource | undefined
}

/**
 * Calibrates a detector on labelled runs of one base model: the model, its layers and the map from drift to a
 * rate are chosen by leaving out one fine-tuning set at a time, because a set that nobody has seen is what a
 * detector meets. Labels are pooled over all draws, and what is known of their noise is used. What is known of their judge
 * is among the warnings.
 *
 * @throws TraitscopeError JUDGE for labels by a judge that fails on known answers; NOT_COMPARABLE for runs of different
 * bases, conditions or judges; UNSUPPORTED when there are fewer than two sets, or too few dangerous or safe checkpoints; USAGE for
 * impossible options; ABORTED
 */
export async function calibrate(
  runs: readonly LabelledRun[],
  options: CalibrateRunsOptions = {},
): Promise<JudgedCalibration> {
  checkEach('runs', runs, MEASURED_RUN)
  const { allowWeakJudge, ...own } = takeOptions('calibrate', options, OPTIONS)
  const all = [...runs, ...(own.anchors ?? [])]
  assertOneKind(all)
  const warnings = assertSoundJudge(all, { allow: allowWeakJudge })
  const calibration = await calibrateOnRates(runs, own)
  calibration.report.warnings.push(...warnings, ...startAboveCut(all, calibration.report.cut))
  return { ...calibration, labels: sourceOf(all) }
}
