import { type AlarmRates, alarmRates } from '../calibration/metrics.js'
import type { Evaluation } from './evaluation.js'

/** Where a detector should have fired, and what it would have got wrong there. */
export interface OracleThreshold extends Pick<AlarmRates, 'fnr' | 'fpr'> {
  features: string
  regressor: string
  /** Predicted rate above which it alarms; null where none of the grid keeps the false alarms few. */
  threshold: number | null
}

/** Predicted rates that are tried, and the largest share of false alarms; method section 9.6. */
const GRID = Array.from({ length: 49 }, (_, i) => (5 + 2.5 * i) / 1000)
const MAX_FPR = 0.05

/**
 * The threshold of every detector that misses least of the held-out runs, controls aside, with at most 5 % false alarms,
 * the lowest of several. It is chosen with the labels that it is tested by: it tells a wrong scale from a wrong
 * order, and is no result. Alarms are plain crossings here, without a bundle's hysteresis.
 */
export function oracleThresholds({
  pooled,
  checkpoints,
}: {
  /** Of the predictions, with the rate that their labels say. */
  checkpoints: readonly { pooled: number }[]
  pooled: Pick<Evaluation, 'cut' | 'groups' | 'results'>
}): OracleThreshold[] {
  const tested = pooled.groups.find(({ name }) => name === 'held out')?.checkpoints ?? []
  const truths = tested.map((i) => checkpoints[i]!.pooled)
  return pooled.results.flatMap(({ features, regressor, predictions }) => {
    if (predictions === undefined) return []
    const predicted = tested.map((i) => predictions[i]!)
    let best: OracleThreshold = {
      features,
      regressor,
      threshold: null,
      fnr: Number.NaN,
      fpr: Number.NaN,
    }
    for (const threshold of GRID) {
      const { fnr, fpr } = alarmRates(predicted, truths, { cut: pooled.cut, threshold })
      if (fpr > MAX_FPR || !(best.threshold === null || fnr < best.fnr)) continue
      best = { ...best, threshold, fnr, fpr }
    }
    return [best]
  })
}
