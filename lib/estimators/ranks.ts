import { TraitscopeError } from '../errors.js'
import { cosine } from './linalg.js'

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

/**
 * Probability that a value of the positive class is higher than one of the other, ties counting half; NaN with a single class.
 *
 * @param positive one truth per value
 */
export function auroc(values: ArrayLike<number>, positive: ArrayLike<boolean>): number {
  assertSameLength(values, positive)
  const ranks = midRanks(values)
  let positives = 0
  let sum = 0
  for (let i = 0; i < ranks.length; i++) {
    if (!positive[i]) continue
    positives++
    sum += ranks[i]!
  }
  return (sum - (positives * (positives + 1)) / 2) / (positives * (ranks.length - positives))
}

/** Spearman's: the correlation of mid ranks; NaN where one side is constant. */
export function rankCorrelation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assertSameLength(a, b)
  const centred = (values: ArrayLike<number>) =>
    midRanks(values).map((rank) => rank - (values.length + 1) / 2)
  return cosine(centred(a), centred(b))
}

export function assertSameLength(values: ArrayLike<unknown>, truths: ArrayLike<unknown>): void {
  if (values.length !== truths.length) {
    throw new TraitscopeError('SHAPE', `expected ${truths.length} predictions, found ${values.length}`)
  }
}
