import { TraitscopeError } from '../errors.js'
import { alarmRates } from './metrics.js'

/** Error rates, shares in (0, 1), that the threshold is moved for. */
export interface ErrorTargets {
  /** Largest share of missed dangerous checkpoints over unseen sets; lowers the threshold until it holds. */
  maxFnr?: number | undefined
  /** Largest share of false alarms over unseen sets; raises the threshold until it holds. */
  maxFpr?: number | undefined
}

export interface TargetThreshold {
  threshold: number
  /** `misses`: only `maxFnr` could be met. `none`: the threshold is the cut. */
  met: 'all' | 'misses' | 'none'
}

/** Whether a threshold is asked for by error rates at all. */
export const hasTargets = ({ maxFnr, maxFpr }: ErrorTargets): boolean =>
  maxFnr !== undefined || maxFpr !== undefined

/**
 * The threshold nearest to the cut at which predictions of unseen sets, in [0, 1], keep the error rates within their targets.
 *
 * @param truths rates in [0, 1], dangerous strictly above `cut`
 * @throws TraitscopeError USAGE for a target outside (0, 1)
 */
export function targetThreshold(
  predictions: ArrayLike<number>,
  truths: ArrayLike<number>,
  cut: number,
  { maxFnr, maxFpr }: ErrorTargets,
): TargetThreshold {
  assertShare('maxFnr', maxFnr)
  assertShare('maxFpr', maxFpr)
  const ratesAt = (threshold: number) => alarmRates(predictions, truths, { cut, threshold })
  const values = [...new Set(Array.from(predictions))].sort((a, b) => a - b)
  // Half way between neighbouring predictions: the same rates, and room on both sides.
  const points = [cut, ...values.slice(1).map((value, i) => (value + values[i]!) / 2)]
    .filter((at) => at > 0 && at < 1)
    .sort((a, b) => a - b)
  const fitting = points.filter((at) => {
    const { fnr, fpr } = ratesAt(at)
    return fnr <= (maxFnr ?? 1) && fpr <= (maxFpr ?? 1)
  })
  if (fitting.length === 0) {
    const fallback =
      maxFnr !== undefined ? points.filter((at) => ratesAt(at).fnr <= maxFnr).at(-1) : undefined
    return fallback === undefined ? { threshold: cut, met: 'none' } : { threshold: fallback, met: 'misses' }
  }
  // As near to the cut as the targets allow.
  const nearest = fitting.reduce((a, b) => (Math.abs(b - cut) < Math.abs(a - cut) ? b : a))
  return { threshold: nearest, met: 'all' }
}

/** Throws `USAGE` unless a share that was given lies in (0, 1). */
export function assertShare(name: string, value: number | undefined): void {
  if (value !== undefined && !(value > 0 && value < 1)) {
    throw new TraitscopeError('USAGE', `${name} must be a share between 0 and 1, found ${value}`)
  }
}
