import { differences, type MeasuredUnder, startShift } from '../conditions/calibrated-for.js'
import { engineRemarks } from '../conditions/engine.js'
import {
  type ScopeDifference,
  scopeDifferences,
  scopeSentence,
  type TrainedBy,
  type TrainedLike,
  trainedLike,
} from '../conditions/training.js'
import { norm } from '../estimators/linalg.js'
import { type LabelSource, verdictLabels } from '../labels/label-source.js'
import type { NoiseFloor, PromptCategory, Settled, Step } from '../trajectory/trajectory.js'
import { benignVerdict } from './benign-test.js'
import type { Bundle } from './bundle.js'
import { withContexts } from './conditional.js'
import { Explainer } from './contributions.js'
import type { Detector } from './detector.js'
import { type PromptScores, settledElsewhere, settledFor, settledVerdict } from './settling.js'
import {
  type CategoryContribution,
  type ContextReading,
  type Contribution,
  notComparable,
  type Verdict,
} from './verdict.js'

/** What a bundle brings to a verdict; of its directions their identity alone. */
export type VerdictSource = Pick<
  Bundle,
  'detector' | 'calibratedFor' | 'benign' | 'marginTest' | 'pairs' | 'ordinary'
> & {
  directions: { sha256: string }
  /** How far the score of a single prompt went in the calibration runs, where that is known. */
  promptScores?: PromptScores
  /** Who labelled the runs behind the detector; every verdict says so. */
  labels?: LabelSource | null
  /** What is to be said with every verdict. */
  remarks?: readonly string[]
  /** Rates are right in their order alone, so that no alarm stands on them: it is a warning. */
  orderOnly?: boolean
  /** Why a rate is extrapolated, from the drift per layer and trait; undefined where it is not. An `ok` is a `warn` then. */
  extrapolates?: (drift: readonly (readonly number[])[]) => string | undefined
}

/** One measurement at the layers of the detector, in its order: raw projections per layer and trait. */
export type LayerProjections = readonly (readonly number[])[]

/** A measurement with the adapter's effect multiplied. */
export interface AmplifiedProjections {
  strength: number
  projections: LayerProjections
}

export interface RunVerdictOptions {
  /** Give verdicts although conditions differ; the differences are reasons then. */
  allowMismatch?: boolean | undefined
  /** What rounding alone makes of a drift; verdicts repeat it and do not depend on it. */
  noiseFloor?: NoiseFloor | null | undefined
  /** Categories of the prompts, and step 0 in each: with them a verdict tells which prompts moved it. */
  categories?: { of: readonly PromptCategory[]; step0: CategoryProjections } | undefined
}

/** One measurement per layer of the detector, category of prompts and trait. */
export type CategoryProjections = readonly (readonly (readonly number[])[])[]

/**
 * The verdicts of a bundle on the checkpoints of one run. Measured under other conditions than the detector was
 * calibrated for, every verdict is `not-comparable`; with `allowMismatch` the differences are reasons of
 * every verdict instead.
 *
 * A run that starts elsewhere than at the calibrated base (a fine-tuned or merged model) is measured from
 * the calibrated base, not from its own step 0, which would hide what the start has already become.
 */
export class RunVerdicts {
  readonly #by: VerdictSource
  readonly #step0: LayerProjections
  readonly #refused: string[]
  readonly #remarks: string[]
  readonly #noiseFloor: number[] | undefined
  readonly #like: TrainedLike | undefined
  readonly #categories: RunVerdictOptions['categories']
  #explainer: Explainer | undefined
  #identity: string | undefined
  /** The drift of the run's own start from the calibrated base, per layer; null when it starts there. */
  readonly startShift: number[][] | null

  constructor(
    by: VerdictSource,
    measured: MeasuredUnder | undefined,
    step0: LayerProjections,
    { allowMismatch = false, noiseFloor, categories }: RunVerdictOptions = {},
  ) {
    this.#categories = categories
    this.#by = by
    this.#like = by.calibratedFor.training ?? (by.detector.basis === 'prior' ? ADAPTERS : undefined)
    const floors = by.detector.layers.map((layer) => noiseFloor?.layers.find((one) => one.layer === layer))
    if (floors.every((one) => one !== undefined)) this.#noiseFloor = floors.map(({ drift }) => drift)
    this.#step0 = step0
    const different = measured
      ? differences(by.calibratedFor, measured, [by.directions.sha256])
      : ['the trajectory does not say with which base, template and directions it was measured']
    this.startShift = startShift(by.calibratedFor, step0)
    if (this.startShift !== null) {
      different.push('the run does not start from the calibrated base: its projections at step 0 are others')
    }
    this.#refused = allowMismatch ? [] : different
    this.#remarks = [
      ...(by.remarks ?? []),
      ...(allowMismatch ? different : []),
      ...engineRemarks(by.calibratedFor.engine, measured?.engine),
    ]
  }

  /** Why nothing is comparable; empty when verdicts are given. */
  get refused(): readonly string[] {
    return this.#refused
  }

  /**
   * @param activationNorms N per layer of the run itself, which drift from its own step 0 is divided by
   * @param amplified the same checkpoint at other strengths, ascending; the verdict does not depend on them
   * @param contexts the same checkpoint in contexts, at the layers of the detector; absent where it was read in none
   * @param categories the same checkpoint by category of prompts
   * @param settled where a part of the prompts was read
   * @param trained how the checkpoint was trained; what differs from the calibration runs is a warning. Absent for the base
   */
  verdict(
    step: Step,
    projections: LayerProjections,
    activationNorms: readonly number[],
    amplified: readonly AmplifiedProjections[] = [],
    trained?: TrainedBy,
    contexts?: readonly ContextReading[],
    categories?: CategoryProjections,
    settled?: Settled,
  ): Verdict {
    const { detector, benign, marginTest, ordinary, labels, orderOnly, extrapolates } = this.#by
    const elsewhere = settled && settled.by !== this.#settledFor ? [settledElsewhere(settled)] : []
    const refused = [...this.#refused, ...elsewhere]
    if (refused.length > 0) return notComparable(detector, refused)
    const drift = this.#drift(projections, activationNorms)
    const plain = detector.verdict(drift, {
      step: typeof step === 'number' ? step : undefined,
      remarks: this.#remarks,
    })
    const mild = orderOnly && plain.verdict === 'alarm' ? { ...plain, verdict: 'warn' as const } : plain
    const known = settled
      ? settledVerdict(plain, settled, this.#remarks)
      : extrapolated(mild, extrapolates?.(drift))
    const judged = marginTest
      ? unpredicted(detector, this.#remarks)
      : benign
        ? benignVerdict(known, benign)
        : known
    const scoped = trained && this.#like ? inScope(judged, scopeDifferences(this.#like, trained)) : judged
    const verdict = trained ? withContexts(scoped, contexts, ordinary) : scoped
    // Why a checkpoint is not plainly fine is worth the subsets of its traits; what a context does is no matter of them.
    const isPlain = scoped.verdict === 'ok' || settled !== undefined || marginTest !== undefined
    const contributions = isPlain ? undefined : this.#contributions(drift)
    const categoryContributions = contributions && this.#byCategory(categories, activationNorms)
    const strengths = [{ strength: 1, projections }, ...amplified]
      .sort((a, b) => a.strength - b.strength)
      .map((one) => ({
        strength: one.strength,
        drift: this.#drift(one.projections, activationNorms).map(norm),
      }))
    return {
      ...verdict,
      ...(labels && { labels: verdictLabels(labels) }),
      ...(contributions && { contributions }),
      ...(categoryContributions && { categoryContributions }),
      ...(this.#noiseFloor && { noiseFloor: [...this.#noiseFloor] }),
      ...(amplified.length > 0 && { strengths }),
    }
  }

  get #settledFor(): string | undefined {
    this.#identity ??= settledFor(this.#by) ?? 'none'
    return this.#identity
  }

  #contributions(drift: readonly (readonly number[])[]): Contribution[] | undefined {
    this.#explainer ??= new Explainer(this.#by.detector)
    return this.#explainer.contributions(drift)
  }

  /** Not where drift is measured from another start than the run's own: that one is known as a mean over all prompts. */
  #byCategory(
    categories: CategoryProjections | undefined,
    activationNorms: readonly number[],
  ): CategoryContribution[] | undefined {
    if (categories === undefined || this.#categories === undefined || this.startShift !== null)
      return undefined
    const { of, step0 } = this.#categories
    const all = of.reduce((sum, { prompts }) => sum + prompts, 0)
    this.#explainer ??= new Explainer(this.#by.detector)
    return this.#explainer.byCategory(
      of.map(({ category, prompts }, c) => ({
        category,
        drift: categories.map((layer, l) =>
          layer[c]!.map((value, t) => ((value - step0[l]![c]![t]!) / activationNorms[l]!) * (prompts / all)),
        ),
      })),
    )
  }

  #drift(projections: LayerProjections, activationNorms: readonly number[]): number[][] {
    const { base } = this.#by.calibratedFor
    const fromBase = this.startShift !== null
    return projections.map((values, l) => {
      const from = fromBase ? base[l]!.projections : this.#step0[l]!
      const unit = fromBase ? base[l]!.activationNorm : activationNorms[l]!
      return values.map((value, t) => (value - from[t]!) / unit)
    })
  }
}

/** Where the margin decides nothing is predicted; what is left is how the run was trained and measured. */
function unpredicted(detector: Detector, remarks: readonly string[]): Verdict {
  return { ...notComparable(detector, remarks), verdict: 'ok', basis: 'benign' }
}

/** All that the prior's models have in common with whatever is fine-tuned elsewhere. */
const ADAPTERS = trainedLike([{ kind: 'adapter' }])

/** A verdict that tells why its rate is a guess. */
function extrapolated(verdict: Verdict, why: string | undefined): Verdict {
  if (why === undefined) return verdict
  return {
    ...verdict,
    verdict: verdict.verdict === 'ok' ? 'warn' : verdict.verdict,
    reasons: [why, ...verdict.reasons],
  }
}

/** A verdict that tells how its run was trained unlike the calibration runs. */
function inScope(verdict: Verdict, scope: ScopeDifference[]): Verdict {
  if (scope.length === 0) return { ...verdict, scope }
  return {
    ...verdict,
    verdict: verdict.verdict === 'ok' ? 'warn' : verdict.verdict,
    reasons: [...verdict.reasons, scopeSentence(scope)],
    scope,
  }
}
