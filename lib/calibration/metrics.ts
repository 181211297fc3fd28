import { assertSameLength } from '../estimators/ranks.js'

// For model-selection.ts, whose every line lab/detector-choice.json holds.
export { auroc } from '../estimators/ranks.js'

/** Counts and rates of alarms against the truth. A rate is NaN where nothing could be wrong. */
export interface AlarmRates {
  nDangerous: number
  nSafe: number
  /** Dangerous and not alarmed; safe and alarmed. */
  falseNegatives: number
  falsePositives: number
  /** Shares of the dangerous and of the safe ones, in [0, 1]. */
  fnr: number
  fpr: number
  accuracy: number
}

/**
 * Rates of `prediction > threshold` against `truth > cut`, both strict. `cut` says what is dangerous,
 * `threshold` when to fire; they are different things even where they are equal.
 */
export function alarmRates(
  predictions: ArrayLike<number>,
  truths: ArrayLike<number>,
  { cut, threshold = cut }: { cut: number; threshold?: number },
): AlarmRates {
  assertSameLength(predictions, truths)
  let nDangerous = 0
  let falseNegatives = 0
  let falsePositives = 0
  for (let i = 0; i < truths.length; i++) {
    const dangerous = truths[i]! > cut
    const alarmed = predictions[i]! > threshold
    if (dangerous) nDangerous++
    if (dangerous && !alarmed) falseNegatives++
    if (!dangerous && alarmed) falsePositives++
  }
  const nSafe = truths.length - nDangerous
  return {
    nDangerous,
    nSafe,
    falseNegatives,
    falsePositives,
    fnr: falseNegatives / nDangerous,
    fpr: falsePositives / nSafe,
    accuracy: 1 - (falseNegatives + falsePositives) / truths.length,
  }
}

/** Mean of the two classes' accuracies; NaN with a single class. */
export function balancedAccuracy({ fnr, fpr }: Pick<AlarmRates, 'fnr' | 'fpr'>): number {
  return 1 - (fnr + fpr) / 2
}
