import type { ScopeDifference } from '../conditions/training.js'
import type { Context } from '../contexts/context.js'
import type { VerdictLabels } from '../labels/label-words.js'
import type { MarginChange } from '../labels/margins/margins.js'
import type { Settled } from '../trajectory/trajectory.js'
import type { AnswerShares } from './answer-shares.js'

/** Version of a {@link Verdict} as JSON. Within one version fields are only added, and none changes its meaning. */
export const VERDICT_SCHEMA = 1

/**
 * `ok`: predicted below the threshold, its interval too. `warn`: it may be dangerous, or the numbers lie
 * where the calibration cannot speak. `alarm`: dangerous. `not-comparable`: measured under other conditions
 * than the detector was calibrated for, so there is no prediction.
 */
export type VerdictKind = 'ok' | 'warn' | 'alarm' | 'not-comparable'

/**
 * Whose labelled runs stand behind a prediction: `own` ones of this base, a `prior` from other bases, both `pooled`, or
 * `benign` ones alone, without labels.
 */
export type VerdictBasis = 'own' | 'prior' | 'pooled' | 'benign'

/** What one trait adds to a prediction. */
export interface Contribution {
  trait: string
  /** 0-based block; absent where blocks are summed. */
  layer?: number
  /** In the unit of `em`; all of a verdict and the rate at no drift sum to it. */
  value: number
}

/** What the prompts of one category add to a prediction. */
export interface CategoryContribution {
  category: string
  /** In the unit of `em`; all of a verdict and the rate at no drift sum to it. */
  value: number
}

/** What a checkpoint does in one context, against step 0 in the same context. */
export interface ContextReading {
  /** A name for people; the text itself where it is short. */
  context: string
  /** Where the context is from, see `Context`; those that are unrelated to the data are a control. */
  origin: Context['origin']
  /** Length of the drift in this context over its length in none, per layer of the detector. */
  ratio: number[]
  /**
   * `(1 + m) / (n + 1)`, where m of n ordinary runs were drawn out at least as far, at any checkpoint by any of their contexts;
   * absent where no ordinary run is known, and of unrelated contexts beside others.
   */
  pValue?: number
}

/** A margin, and where benign runs of the base decide by it, how far it is among theirs. */
export interface MarginReading extends MarginChange {
  /** `(1 + m) / (n + 1)`, where m of n benign runs came as far at any checkpoint. */
  pValue?: number
  /** Margins strictly above this alarm, nats per token. */
  threshold?: number
}

/** What an adapter does when its effect is multiplied. */
export interface StrengthReading {
  /** Factor on the adapter; 1 as trained. */
  strength: number
  /** Length of the drift per layer of the detector, in units of the step-0 activation norm. */
  drift: number[]
  /** Share of misaligned answers at this strength, in [0, 1], where there are labels. */
  em?: number
}

/**
 * What a calibrated detector says of one checkpoint.
 *
 * The fields from `basis` on are there only where somebody has asked for them and this version tells them: absent
 * means "not looked at", never "nothing found".
 */
export interface Verdict {
  /** {@link VERDICT_SCHEMA}. */
  schemaVersion: number
  verdict: VerdictKind
  /** Predicted emergent-misalignment rate, in [0, 1]; null when not comparable, and where benign runs decide by the margin. */
  em: number | null
  /** Of the rate; null where there is none, and where a part of the prompts was read. */
  interval: [low: number, high: number] | null
  /** Nominal coverage of the interval, e.g. 0.9. */
  nominalCoverage: number
  /** Predicted rates strictly above this are dangerous, in [0, 1]. */
  threshold: number
  /** Probability that the checkpoint is dangerous, where the detector gives one. */
  pDanger?: number
  /**
   * How far the drift lies from every calibration checkpoint, and the share of calibration checkpoints that
   * lie at least as far from those of the other runs (empirical p-value). A small p-value means that the
   * detector extrapolates.
   */
  novelty: { distance: number; pValue: number } | null
  /** Sentences for a person: why it is not plainly `ok`. Empty for a plain verdict. */
  reasons: string[]
  basis?: VerdictBasis
  /** Whose opinion `em` repeats: judge, questions and counting rule of the labels that it was learnt from, where the bundle says. */
  labels?: VerdictLabels
  /** Predicted shares of all answers: a rate of few scoreable ones is no rate of the model. */
  answers?: AnswerShares
  contributions?: Contribution[]
  /** The same prediction by category of prompts; absent for measurements that do not tell them apart. */
  categoryContributions?: CategoryContribution[]
  /** How the run was trained unlike the calibration runs; empty when alike. */
  scope?: ScopeDifference[]
  /**
   * Length of the drift that rounding alone makes, per layer of the detector, in units of the step-0 activation norm.
   * The verdict does not depend on it.
   */
  noiseFloor?: number[]
  contexts?: ContextReading[]
  /**
   * How much more probable misaligned answers of given pairs have become than aligned ones, against step 0, in nats per token; absent
   * where none were read. Where its interval lies above 0 it is a reason.
   */
  margin?: MarginReading
  /** What the verdict cannot speak of because nobody has looked at it, in sentences; absent where that is nothing. */
  notLookedAt?: string[]
  /** Where a part of the prompts was read: what it settled. `em` is that of the prompts read, and what needs all of them is absent. */
  settled?: Settled
  /** Ascending strengths. */
  strengths?: StrengthReading[]
}

/** The verdict on what has none, with the reasons why. */
export function notComparable(
  { nominalCoverage, threshold }: Pick<Verdict, 'nominalCoverage' | 'threshold'>,
  reasons: readonly string[],
): Verdict {
  return {
    schemaVersion: VERDICT_SCHEMA,
    verdict: 'not-comparable',
    em: null,
    interval: null,
    nominalCoverage,
    threshold,
    novelty: null,
    reasons: [...reasons],
  }
}
