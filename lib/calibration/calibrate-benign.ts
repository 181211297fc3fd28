import type { CalibratedFor } from '../conditions/calibrated-for.js'
import { type BenignTest, smallestLevel } from '../detector/benign-test.js'
import type { BundleSummary } from '../detector/bundle.js'
import type { Detector } from '../detector/detector.js'
import { trajectoryPrior } from '../detector/prior-detector.js'
import { runsTrainedLike } from '../detector/trained-by.js'
import { trajectoryVerdicts } from '../detector/trajectory-verdicts.js'
import { TraitscopeError } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import { percent } from '../percent.js'
import type { MeasuredRun } from '../runs/runs.js'
import type { PriorOfBase } from './contrast-rows.js'
import { assertShare } from './target-threshold.js'

/** What benign runs give without a label. */
export interface BenignCalibration {
  /** That of the prior; its threshold does not decide. */
  detector: Detector
  calibratedFor: CalibratedFor
  benign: BenignTest
  report: BenignReport
}

/** What was found on the benign runs. */
export interface BenignReport {
  level: number
  /** `1 / (n + 1)`. */
  smallestLevel: number
  /** Highest predicted rate of every run, that of step 0 included. */
  runs: { run: string; checkpoints: number; highest: number }[]
  warnings: string[]
  summary: BundleSummary
}

/**
 * A test against benign runs of the base, which need no labels. What is predicted comes from other bases; what is too high
 * comes from the runs.
 *
 * @param level largest share of benign runs that may alarm, in (0, 1)
 * @throws TraitscopeError UNSUPPORTED for a level below `1 / (n + 1)`; NOT_COMPARABLE
 */
export function calibrateBenign(
  runs: readonly MeasuredRun[],
  { prior, directions }: PriorOfBase,
  level = 0.05,
): BenignCalibration {
  assertShare('level', level)
  const smallest = smallestLevel(runs.length)
  if (level < smallest - 1e-12) {
    const needed = Math.ceil(1 / level - 1e-9) - 1
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected at least ${needed} benign runs for a level of ${percent(level)}, found ${runs.length}: the smallest that they can test at is ${percent(smallest)}; measure more, or ask for that level`,
    )
  }
  const source = trajectoryPrior(prior, directions, runs[0]!.trajectory)
  const found = runs.map(({ id, trajectory }) => {
    const verdicts = trajectoryVerdicts(source, trajectory)
    const refused = verdicts.find(({ verdict }) => verdict.em === null)
    if (refused !== undefined) {
      throw new TraitscopeError(
        'NOT_COMPARABLE',
        `expected runs of one base under one set of conditions, but ${id} differs from ${runs[0]!.id}: ${refused.verdict.reasons.join('; ')}`,
      )
    }
    return {
      run: id,
      checkpoints: verdicts.length - 1,
      // Step 0 with them: of runs that move away from danger the base itself would come further, and alarm.
      highest: Math.max(...verdicts.map(({ verdict }) => verdict.em!)),
    }
  })
  const { cut, threshold } = source.detector
  const high = found.filter(({ highest }) => highest > cut)
  const warnings = [
    'nobody has judged these runs: that they are benign, and like the runs to come, is taken on trust',
    ...(high.length === 0
      ? []
      : [
          `other bases would be dangerous at the height of ${high.map(({ run }) => run).join(', ')}: judge them, since a dangerous run among the benign ones hides others`,
        ]),
  ]
  return {
    detector: source.detector,
    calibratedFor: {
      ...source.calibratedFor,
      training: runsTrainedLike(runs.map(({ trajectory }) => trajectory)),
    },
    benign: { level, highest: found.map(({ highest }) => highest).sort((a, b) => a - b) },
    report: {
      level,
      smallestLevel: smallest,
      runs: found,
      warnings,
      summary: {
        datasets: [...new Set(runs.map(({ dataset }) => dataset))],
        checkpoints: found.reduce((sum, { checkpoints }) => sum + checkpoints, 0),
        dangerous: 0,
        fnr: null,
        fpr: null,
        coverage: null,
        warnings,
        inputsSha256: sha256(JSON.stringify({ level, threshold, found })),
      },
    },
  }
}
