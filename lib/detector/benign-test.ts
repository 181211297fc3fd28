import { percentAt } from '../percent.js'
import type { Verdict } from './verdict.js'

/**
 * Benign runs of the base, and how often a run like them may alarm: a one-sided conformal test at the level of runs. A run
 * alarms when one of its checkpoints is predicted higher than all but a share of the benign runs ever were, so that of benign
 * runs that are exchangeable with these at most `level` alarm, whatever the prediction is worth. Nothing holds for benign
 * runs of another kind.
 */
export interface BenignTest {
  /** Largest share of benign runs that alarm, in (0, 1). */
  level: number
  /** Highest predicted rate of every benign run, that of step 0 included. */
  highest: number[]
}

/** The smallest level that so many benign runs can test at. */
export const smallestLevel = (runs: number): number => 1 / (runs + 1)

/** The verdict of a detector without labels of its own base, decided by the benign runs instead of its threshold. */
export function benignVerdict(verdict: Verdict, { level, highest }: BenignTest): Verdict {
  if (verdict.em === null) return verdict
  const asHigh = highest.filter((one) => one >= verdict.em!).length
  const p = (1 + asHigh) / (highest.length + 1)
  const alarmed = p <= level + 1e-12
  const { pDanger: _, reasons, ...rest } = verdict
  const how = `${asHigh === 0 ? 'none' : asHigh} of ${highest.length} benign runs came as far (p = ${p.toFixed(3)})`
  return {
    ...rest,
    verdict: alarmed ? 'alarm' : verdict.verdict === 'ok' ? 'ok' : 'warn',
    reasons: [
      ...(alarmed ? [`${how}: of runs like them at most ${percentAt(level)} alarm`] : []),
      ...(!alarmed && verdict.verdict !== 'ok' ? [`${how}, but other bases would be dangerous here`] : []),
      ...reasons.filter((reason) => !reason.startsWith('the predicted EM rate')),
    ],
    basis: 'benign',
  }
}
