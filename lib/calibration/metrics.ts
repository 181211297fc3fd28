import { TraitscopeError } from '../errors.js'

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

/**
 * Probability that a dangerous checkpoint is predicted higher than a safe one, ties counting half; NaN with a
 * single class.
 *
 * @param dangerous one truth per prediction
 */
export function auroc(predictions: ArrayLike<number>, dangerous: ArrayLike<boolean>): number {
  assertSameLength(predictions, dangerous)
  const ranks = midRanks(predictions)
  let positives = 0
  let sum = 0
  for (let i = 0; i < ranks.length; i++) {
    if (!dangerous[i]) continue
    positives++
    sum += ranks[i]!
  }
  return (sum - (positives * (positives + 1)) / 2) / (positives * (ranks.length - positives))
}

/** Ranks from 1, equal values sharing the mean of theirs. */
export function midRanks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a]! - values[b]!)
  const ranks = new Float64Array(values.length)
  for (let from = 0; from < order.length; ) {
    let to = from + 1
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++
    for (let i = from; i < to; i++) ranks[order[i]!] = (from + 1 + to) / 2
    from = to
  }
  return ranks
}

function assertSameLength(predictions: ArrayLike<unknown>, truths: ArrayLike<unknown>): void {
  if (predictions.length !== truths.length) {
    throw new TraitscopeError('SHAPE', `expected ${truths.length} predictions, found ${predictions.length}`)
  }
}
