import { type CalibratedFor, startShift } from '../conditions/calibrated-for.js'
import { isTraitscopeError, TraitscopeError } from '../errors.js'
import { linearScore } from '../estimators/grouped-ridge.js'
import { MeanBet } from '../estimators/mean-bet.js'
import { sha256 } from '../formats/files/hash.js'
import { percentAt } from '../percent.js'
import type { Stopping, StopRule } from '../trajectory/stopping.js'
import type { Settled } from '../trajectory/trajectory.js'
import { type AlarmScore, alarmScore, notSettled } from './alarm-score.js'
import type { BenignTest } from './benign-test.js'
import type { Detector } from './detector.js'
import type { MarginTest } from './margin-test.js'
import { promptsWords, sideWords } from './settled-words.js'
import type { Verdict } from './verdict.js'

/** Between what the score of a single prompt lies. */
export interface PromptScores {
  low: number
  high: number
}

/**
 * Of a prior, where its models' trait pack is read. A ridge tells a share within 0 to 1, and prompts scatter about their mean: of the
 * 364 checkpoints of `lab/adaptive`, each told by the prior without its own base, single prompts lie within 0.09 and 1.04;
 * by the prior before, on other recipes, within -0.05 and 1.27.
 */
export const PRIOR_SCORES: PromptScores = { low: -0.5, high: 1.5 }

/** Of a `VerdictSource` what decides whether, and when, a part of the prompts is enough. */
export interface SettledBy {
  detector: Detector
  calibratedFor: Pick<CalibratedFor, 'base'>
  benign?: BenignTest | undefined
  marginTest?: MarginTest | undefined
  orderOnly?: boolean
  extrapolates?: (drift: readonly (readonly number[])[]) => string | undefined
  promptScores?: PromptScores | undefined
}

/**
 * Stops reading prompts when it is settled on which side of the threshold the predicted rate of all of them lies: whenever it stops, it
 * errs in at most `error` of checkpoints. It reads on where the prompts that were read say more than that: a warning of
 * any other kind is of all prompts.
 *
 * @param step0 projections per layer of the detector
 * @throws TraitscopeError UNSUPPORTED, with the reason, where a detector's alarm is not settled by a part
 */
export function settling(by: SettledBy, error: number, step0: readonly (readonly number[])[]): StopRule {
  assertError(error)
  const { scores, score = alarmScore(by.detector) } = settledBy(by)
  if (startShift(by.calibratedFor, step0) !== null)
    return notSettled(
      'this run starts from another model, whose distance from the base is known as a mean over all prompts',
    )
  const rule = { scores, error, identity: identityOf(by.detector, score) }
  return {
    error,
    sha256: sha256(JSON.stringify(rule)),
    begin: (count, share = 1) => new Settling(by, score, rule, count, share),
  }
}

const identityOf = ({ threshold }: Detector, score: AlarmScore) =>
  sha256(JSON.stringify([score.sha256, threshold]))

/** @throws TraitscopeError USAGE */
export function assertError(error: number): void {
  if (error > 0 && error < 0.5) return
  throw new TraitscopeError(
    'USAGE',
    `expected an error between 0 and 50 % to settle verdicts with, found ${percentAt(0.5, error)}`,
  )
}

/** @throws TraitscopeError UNSUPPORTED */
export function assertSettles(by: Pick<SettledBy, 'orderOnly'> & Partial<SettledBy>): void {
  settledBy(by)
}

/** The score and how far that of a prompt goes; the truest reason first. */
function settledBy({ detector, benign, marginTest, orderOnly, promptScores }: Partial<SettledBy>): {
  score: AlarmScore | undefined
  scores: PromptScores
} {
  if (marginTest) return notSettled('a test by the margin reads pairs of answers, whatever prompts say')
  if (benign) return notSettled('a test against benign runs is one of the highest checkpoint of a run')
  if (orderOnly)
    return notSettled('of this trait pack the prior tells the order of rates alone and raises no alarm')
  const score = detector && alarmScore(detector)
  if (promptScores) return { score, scores: promptScores }
  if (detector?.basis === 'prior') return { score, scores: PRIOR_SCORES }
  return notSettled(
    'the bundle does not say how far the score of a single prompt goes',
    'calibrate again on runs that were measured with the states of their prompts (measure -o), or measure without --settle',
  )
}

class Settling implements Stopping {
  readonly #above: MeanBet
  readonly #below: MeanBet
  readonly #lower: number
  #sum: number[] = []
  #taken = 0

  constructor(
    private readonly by: SettledBy,
    private readonly score: AlarmScore,
    private readonly rule: { scores: PromptScores; error: number; identity: string },
    private readonly count: number,
    share: number,
  ) {
    const { threshold } = by.detector
    this.#lower = share * threshold
    const { low, high } = rule.scores
    this.#above = new MeanBet(count, score.boundOf(threshold), { low, high })
    this.#below = new MeanBet(count, -score.boundOf(this.#lower), { low: -high, high: -low })
  }

  take(drifts: readonly (readonly number[])[]): Settled | undefined {
    for (const drift of drifts) {
      const value = linearScore(drift, this.score)
      this.#above.take(value)
      this.#below.take(-value)
      this.#sum = drift.map((one, i) => one + (this.#sum[i] ?? 0))
      this.#taken++
    }
    const side = this.#side()
    if (side === undefined) return undefined
    const { detector } = this.by
    const { error, identity } = this.rule
    const threshold = side === 'above' ? detector.threshold : this.#lower
    return { side, threshold, error, prompts: this.#taken, of: this.count, by: identity }
  }

  /** Stopping less often than one might errs less often: what is settled has to be what the prompts that were read say, too. */
  #side(): Settled['side'] | undefined {
    const { error } = this.rule
    if (this.#above.pValue <= error) return this.#verdict().verdict === 'alarm' ? 'above' : undefined
    if (this.#below.pValue > error) return undefined
    const { verdict, em } = this.#verdict()
    return verdict === 'ok' && em! <= this.#lower ? 'below' : undefined
  }

  /** Of the prompts that were read. */
  #verdict(): Pick<Verdict, 'verdict' | 'em'> {
    const { detector, extrapolates } = this.by
    const width = detector.traits.length
    const mean = this.#sum.map((value) => value / this.#taken)
    const drift = detector.layers.map((_, l) => mean.slice(l * width, (l + 1) * width))
    const said = detector.verdict(drift)
    return said.verdict === 'ok' && extrapolates?.(drift) !== undefined
      ? { verdict: 'warn', em: said.em }
      : said
  }
}

/** The verdict on a checkpoint of which a part of the prompts was read: what was settled, and nothing that needs them all. */
export function settledVerdict(verdict: Verdict, settled: Settled, remarks: readonly string[]): Verdict {
  const { schemaVersion, em, nominalCoverage, threshold, basis, reasons } = verdict
  const { side, error } = settled
  return {
    schemaVersion,
    verdict: side === 'above' ? 'alarm' : 'ok',
    em,
    interval: null,
    nominalCoverage,
    threshold,
    novelty: null,
    reasons: [
      `${promptsWords(settled)} were read: it is settled that the predicted EM rate of all is ${sideWords(settled)}, with an error of at most ${percentAt(error)}; the rate is that of the prompts read`,
      ...reasons.filter((reason) => reason.startsWith('step ')),
      ...remarks,
    ],
    ...(basis && { basis }),
    settled,
    notLookedAt: [NOT_ALL_READ],
  }
}

const NOT_ALL_READ =
  'of a part of the prompts no interval, no probability of danger, no novelty, no kinds of answers and nothing that drove the rate is told, and what is settled holds while no prompt that was not read lies further than those of known runs: measure without --settle'

/** What a verdict is settled for; undefined for a detector of which no part of the prompts settles it. */
export function settledFor({ detector }: Pick<SettledBy, 'detector'>): string | undefined {
  try {
    return identityOf(detector, alarmScore(detector))
  } catch (error) {
    if (isTraitscopeError(error)) return undefined
    throw error
  }
}

/** Why a part of the prompts, which settled the verdict of one detector, gives none of another. */
export const settledElsewhere = (settled: Settled): string =>
  `${promptsWords(settled)} were read, until the verdict of another detector was settled; measure again`
