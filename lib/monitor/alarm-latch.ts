import type { Verdict } from '../detector/verdict.js'
import type { AlarmState } from '../events/watch-events.js'

/** What it goes by. */
export type LatchInput = Pick<Verdict, 'verdict' | 'em' | 'threshold' | 'settled' | 'margin'>

/** An alarm is cleared by rates this far below the threshold... */
export const CLEAR_SHARE = 0.75
/** ...at this many checkpoints in a row. */
const CLEAR_AFTER = 2

/**
 * Keeps an alarm from flickering when predictions hover about the threshold: the first alarm raises it at once,
 * and only clearly lower predictions, twice in a row, clear it.
 */
export class AlarmLatch {
  #on: boolean
  #calm = 0

  /** @param on whether it stands already */
  constructor(on = false) {
    this.#on = on
  }

  /** Takes the verdicts of a run in order. One that is not comparable changes nothing. */
  next({ verdict, settled, ...by }: LatchInput): AlarmState {
    const { value, threshold } = decidedBy(by)
    if (verdict === 'alarm') {
      const raised = !this.#on
      this.#on = true
      this.#calm = 0
      return raised ? 'raised' : 'standing'
    }
    if (!this.#on) return 'quiet'
    const calm = CLEAR_SHARE * threshold
    // Of a part of the prompts a rate below is one that was settled to be.
    const isCalm = value !== null && value < calm && (settled === undefined || settled.threshold <= calm)
    if (value !== null) this.#calm = isCalm ? this.#calm + 1 : 0
    if (this.#calm < CLEAR_AFTER) return 'standing'
    this.#on = false
    this.#calm = 0
    return 'cleared'
  }
}

/** The rate, or where benign runs decide by the margin, that. */
function decidedBy({ em, threshold, margin }: Pick<LatchInput, 'em' | 'threshold' | 'margin'>) {
  return em === null && margin?.threshold !== undefined
    ? { value: margin.change, threshold: margin.threshold }
    : { value: em, threshold }
}
