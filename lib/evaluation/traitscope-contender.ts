import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { type Calibration, calibrate } from '../calibration/calibrate.js'
import { type ErrorTargets, hasTargets } from '../calibration/target-threshold.js'
import { type Bundle, loadBundle } from '../detector/bundle.js'
import type { Detector } from '../detector/detector.js'
import type { VerdictSource } from '../detector/run-verdicts.js'
import { trajectoryVerdicts } from '../detector/trajectory-verdicts.js'
import type { Verdict } from '../detector/verdict.js'
import { isTraitscopeError, TraitscopeError } from '../errors.js'
import { describeBasis } from '../labels/label-words.js'
import type { LabelledRun } from '../runs/runs.js'
import { type CalibrationScore, type Contender, calibrationScore } from './contenders.js'
import type { LabelledCheckpoint } from './labelled-checkpoints.js'
import type { ModelRuns } from './read-models.js'

/** Name of traitscope's own detector among the feature sets. */
export const OWN_NAME = 'traitscope'

export interface OwnDetector {
  /** Per model; undefined where its calibration runs do not make one. */
  detectors: (Detector | undefined)[]
  contender: Contender | undefined
  skipped: { features: string; reason: string }[]
}

/**
 * What the bundle of every model, or a detector calibrated on its calibration runs, says of the held-out
 * checkpoints. Without a contender when some model's calibration runs do not make a detector.
 *
 * @param calibration datasets to calibrate on
 * @throws TraitscopeError NOT_COMPARABLE when the runs lack a layer that a bundle reads; the errors of
 * `loadBundle`
 */
export async function ownDetector(
  models: readonly ModelRuns[],
  calibration: readonly string[],
  {
    bundle,
    cut,
    threshold,
    maxFnr,
    maxFpr,
    signal,
  }: ErrorTargets & {
    bundle?: string | undefined
    cut?: number | undefined
    threshold?: number | undefined
    signal?: AbortSignal | undefined
  },
): Promise<OwnDetector> {
  if (bundle !== undefined && hasTargets({ maxFnr, maxFpr })) {
    throw new TraitscopeError(
      'USAGE',
      'a bundle has a threshold of its own: leave the target error rates out, or calibrate anew without it',
    )
  }
  const detectors: (Detector | undefined)[] = []
  const skipped: OwnDetector['skipped'] = []
  const verdicts: Verdict[] = []
  const unmet: string[] = []
  for (const { model, runs, heldOut } of models) {
    try {
      const fitted = runs.filter(({ dataset }) => calibration.includes(dataset))
      const calibrateAnew = async () => {
        const calibration = await calibrate(fitted, {
          ...{ cut, threshold, maxFnr, maxFpr, signal },
          // What it does on unseen sets is what is measured here.
          nested: false,
        })
        const { fnr, fpr } = calibration.report.byDataset
        if (fnr > (maxFnr ?? 1) || fpr > (maxFpr ?? 1)) unmet.push(model)
        return calibrated(calibration)
      }
      const by =
        bundle === undefined ? await calibrateAnew() : await bundleOf(await forModel(bundle, model), runs)
      detectors.push(by.detector)
      verdicts.push(...verdictsOn(by, runs, heldOut))
    } catch (error) {
      // Too little to calibrate on is a result, not a reason to go without the baselines.
      if (!isTraitscopeError(error, 'UNSUPPORTED') || bundle !== undefined) throw error
      skipped.push({ features: OWN_NAME, reason: `${model}: ${error.message}` })
      detectors.push(undefined)
    }
  }
  if (detectors.includes(undefined)) return { detectors, skipped, contender: undefined }
  const contender: Contender = {
    features: OWN_NAME,
    regressor: bundle === undefined ? 'calibrated' : 'bundle',
    predictions: verdicts.map(({ em }) => em!),
    alarms: verdicts.map(({ verdict }) => verdict === 'alarm'),
    intervals: verdicts.map(({ interval }) => interval!),
    ...(hasTargets({ maxFnr, maxFpr }) && { unmet }),
    calibration: leftOutScore(detectors as Detector[]),
  }
  return { detectors, skipped, contender }
}

/** Rates of another judge than the bundle learnt from are no truth to hold it against. */
async function bundleOf(folder: string, runs: readonly LabelledRun[]): Promise<Bundle> {
  const bundle = await loadBundle(folder)
  if (bundle.marginTest) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected a bundle that predicts rates, which are held against labels, but ${folder} alarms by the margin and predicts none; leave it out (--bundle)`,
    )
  }
  const { labels } = bundle
  const { source } = runs.find((run) => run.source !== undefined) ?? {}
  if (labels === null || source === undefined || describeBasis(labels) === describeBasis(source))
    return bundle
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected runs that are labelled as those of the bundle were, by ${describeBasis(labels)}, found labels by ${describeBasis(source)}; label them alike`,
  )
}

/** What the detectors predicted of calibration sets before they had seen them. */
function leftOutScore(detectors: readonly Detector[]): CalibrationScore {
  const pairs = detectors.flatMap(({ heldOutErrors, threshold, cut }) =>
    // Thresholds may differ between models, so predictions are compared in units of them.
    heldOutErrors.map(([predicted, truth]) => ({ predicted: (predicted / threshold) * cut, truth })),
  )
  const { cut } = detectors[0]!
  return calibrationScore(
    pairs.map(({ predicted }) => predicted),
    pairs.map(({ truth }) => truth),
    { cut, threshold: cut },
  )
}

/** Verdicts on the held-out checkpoints, in their order: run by run. */
function verdictsOn(
  by: VerdictSource,
  runs: readonly LabelledRun[],
  heldOut: readonly LabelledCheckpoint[],
): Verdict[] {
  return runs.flatMap((run) => {
    const tested = heldOut.filter(({ row }) => row.run === run.id)
    if (tested.length === 0) return []
    // Runs that were measured under other conditions are left out before, or wanted.
    const said = trajectoryVerdicts(by, run.trajectory, { allowMismatch: true })
    return tested.map(({ row }) => {
      const { verdict } = said.find(({ step }) => step === row.step)!
      if (verdict.em !== null) return verdict
      throw new TraitscopeError('NOT_COMPARABLE', `${run.id}: ${verdict.reasons.join('; ')}`)
    })
  })
}

/** A calibration as a source of verdicts. Files of the reference do not say what they were measured under. */
function calibrated({ detector, calibratedFor }: Calibration): VerdictSource {
  if (calibratedFor === null) {
    throw new TraitscopeError('UNSUPPORTED', 'its calibration runs do not say what they were measured under')
  }
  return { detector, calibratedFor, directions: { sha256: calibratedFor.directionsSha256 } }
}

/** `<path>/<model><extension>` where that exists, else `path` itself. */
export async function forModel(path: string, model: string, extension = ''): Promise<string> {
  const own = join(path, model + extension)
  return access(own).then(
    () => own,
    () => path,
  )
}
