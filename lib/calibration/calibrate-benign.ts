import type { CalibratedFor } from '../conditions/calibrated-for.js'
import { type BenignTest, smallestLevel } from '../detector/benign-test.js'
import type { BundleSummary } from '../detector/bundle.js'
import type { Detector } from '../detector/detector.js'
import type { MarginTest } from '../detector/margin-test.js'
import { marginReason } from '../detector/margin-warning.js'
import { trajectoryPrior } from '../detector/prior-detector.js'
import { runsTrainedLike } from '../detector/trained-by.js'
import { trajectoryVerdicts } from '../detector/trajectory-verdicts.js'
import { TraitscopeError } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import type { MarginPairs } from '../labels/margins/margin-pairs.js'
import type { MarginChange } from '../labels/margins/margins.js'
import { percentAt } from '../percent.js'
import type { MeasuredRun } from '../runs/runs.js'
import { trajectoryMargins } from '../trajectory/margin-trajectory.js'
import type { Trajectory } from '../trajectory/trajectory.js'
import type { PriorOfBase } from './contrast-rows.js'
import { assertShare } from './target-threshold.js'

/** What benign runs give without a label. */
export interface BenignCalibration {
  /** That of the prior; its threshold does not decide. */
  detector: Detector
  calibratedFor: CalibratedFor
  /** One of the two: by what the prior predicts, or by the margin. */
  benign?: BenignTest
  marginTest?: MarginTest
  /** SHA-256 of the file of pairs that the margin is by. */
  pairsSha256?: string
  report: BenignReport
}

/** What was found on the benign runs. */
export interface BenignReport {
  level: number
  /** `1 / (n + 1)`. */
  smallestLevel: number
  /** What runs are told by. */
  by: 'predicted EM' | 'margin'
  /** Highest predicted rate of every run, or its highest margin in nats per token; that of step 0 included. */
  runs: { run: string; checkpoints: number; highest: number }[]
  warnings: string[]
  summary: BundleSummary
}

/**
 * A test against benign runs of the base, which need no labels. What is predicted comes from other bases; what is too high
 * comes from the runs.
 *
 * @param level largest share of benign runs that may alarm, in (0, 1)
 * @param pairs tells runs by the margin of these pairs instead, which they were measured with: nothing is predicted then
 * @throws TraitscopeError UNSUPPORTED for a level below `1 / (n + 1)`; NOT_COMPARABLE, also for runs that were measured with other pairs or none
 */
export function calibrateBenign(
  runs: readonly MeasuredRun[],
  { prior, directions }: PriorOfBase,
  level = 0.05,
  pairs?: Pick<MarginPairs, 'sha256'>,
): BenignCalibration {
  assertShare('level', level)
  const smallest = smallestLevel(runs.length)
  if (level < smallest - 1e-12) {
    const needed = Math.ceil(1 / level - 1e-9) - 1
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected at least ${needed} benign runs for a level of ${percentAt(level)}, found ${runs.length}: the smallest that they can test at is ${percentAt(level, smallest)}; measure more, or ask for that level`,
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
    const margins = pairs && marginsBy(pairs, id, trajectory)
    // Step 0 with them: of runs that move away from danger the base itself would come further, and alarm.
    const reached = margins?.map(({ change }) => change) ?? verdicts.map(({ verdict }) => verdict.em!)
    return { run: id, checkpoints: verdicts.length - 1, highest: Math.max(...reached), margins }
  })
  const { cut, threshold } = source.detector
  const test = { level, highest: found.map(({ highest }) => highest).sort((a, b) => a - b) }
  const identities = new Set(runs.flatMap(({ trajectory }) => (pairs ? trajectory.margin!.identity : [])))
  if (identities.size > 1) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      'expected runs that were asked the same, found the same pairs in different tokens; measure them again with one template',
    )
  }
  const [identity] = identities
  const high = found.filter(({ highest, margins }) =>
    margins ? margins.some((one) => marginReason(one) !== undefined) : highest > cut,
  )
  const what = pairs
    ? 'misaligned answers have become more probable, with the whole interval above 0, in'
    : 'other bases would be dangerous at the height of'
  const numbered = runs.flatMap(({ trajectory }) => trajectory.steps.map(({ step }) => Number(step)))
  const longest = Math.max(...numbered.filter(Number.isFinite))
  const warnings = [
    'nobody has judged these runs: that they are benign, and like the runs to come, is taken on trust',
    ...(high.length === 0
      ? []
      : [
          `${what} ${high.map(({ run }) => run).join(', ')}: judge them, since a dangerous run among the benign ones hides others`,
        ]),
    `${longest > 0 ? `the longest of these runs ends at step ${longest}` : 'these runs do not tell their steps'}, and harmless training goes further the longer it lasts: of longer runs more may alarm than the level says`,
  ]
  return {
    detector: source.detector,
    calibratedFor: {
      ...source.calibratedFor,
      training: runsTrainedLike(runs.map(({ trajectory }) => trajectory)),
    },
    ...(identity === undefined
      ? { benign: test }
      : { marginTest: { ...test, identity }, pairsSha256: pairs!.sha256 }),
    report: {
      level,
      smallestLevel: smallest,
      by: pairs ? 'margin' : 'predicted EM',
      runs: found.map(({ margins: _, ...run }) => run),
      warnings,
      summary: {
        datasets: [...new Set(runs.map(({ dataset }) => dataset))],
        checkpoints: found.reduce((sum, { checkpoints }) => sum + checkpoints, 0),
        dangerous: 0,
        fnr: null,
        fpr: null,
        coverage: null,
        warnings,
        inputsSha256: sha256(JSON.stringify({ level, threshold, found, identity })),
      },
    },
  }
}

/** The margins of a run by step. @throws TraitscopeError NOT_COMPARABLE naming a run that was asked something else, or nothing */
function marginsBy(
  { sha256 }: Pick<MarginPairs, 'sha256'>,
  run: string,
  trajectory: Trajectory,
): MarginChange[] {
  const margins = trajectoryMargins(trajectory)
  if (margins && trajectory.margin!.sha256 === sha256) return margins
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected runs that were measured with these pairs of answers, but ${run} was measured with ${margins ? `others (${trajectory.margin!.file})` : 'none'}; measure it again with --margin and these`,
  )
}
