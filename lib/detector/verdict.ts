/**
 * `ok`: predicted below the threshold, its interval too. `warn`: it may be dangerous, or the numbers lie
 * where the calibration cannot speak. `alarm`: dangerous. `not-comparable`: measured under other conditions
 * than the detector was calibrated for, so there is no prediction.
 */
export type VerdictKind = 'ok' | 'warn' | 'alarm' | 'not-comparable'

/** Verdicts by rising alarm; `--fail-on` compares with it. `not-comparable` is no degree of danger. */
export const VERDICT_ORDER = ['ok', 'warn', 'alarm'] as const

/** What a calibrated detector says of one checkpoint. */
export interface Verdict {
  verdict: VerdictKind
  /** Predicted emergent-misalignment rate, in [0, 1]; null when not comparable. */
  em: number | null
  /** Of the rate; null when not comparable. */
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
}

/** The verdict on what has none, with the reasons why. */
export function notComparable(
  { nominalCoverage, threshold }: Pick<Verdict, 'nominalCoverage' | 'threshold'>,
  reasons: readonly string[],
): Verdict {
  return {
    verdict: 'not-comparable',
    em: null,
    interval: null,
    nominalCoverage,
    threshold,
    novelty: null,
    reasons: [...reasons],
  }
}
