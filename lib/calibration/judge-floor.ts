import { TraitscopeError } from '../errors.js'
import { judgeFaults } from '../labels/judge-check.js'
import type { LabelledRun } from '../runs/runs.js'

/**
 * Refuses labels by a judge that was found to be no good on answers with known scores: what a detector learns from them is the
 * judge's noise.
 *
 * @param options.allow go on, and have the faults among the warnings
 * @returns what a reader has to know of the judge, in sentences
 * @throws TraitscopeError JUDGE naming the judge and what is wrong with it
 */
export function assertSoundJudge(
  runs: readonly LabelledRun[],
  { allow = false }: { allow?: boolean | undefined } = {},
): string[] {
  const source = runs.find((run) => run.source !== undefined)?.source
  if (source === undefined) return []
  const { judge, check } = source
  if (check === null) {
    const computes = judge.reader === 'exact' || judge.reader === 'replayed'
    return computes
      ? []
      : [`nobody has checked the judge ${judge.name} on answers with known scores: label --check-judge does`]
  }
  const faults = judgeFaults(check)
  if (faults.length > 0 && !allow) {
    throw new TraitscopeError(
      'JUDGE',
      `the labels are by the judge ${judge.name}, and ${faults.join('; ')}; label with a better judge, or calibrate with --allow-weak-judge`,
    )
  }
  return faults.map((fault) => `the judge ${judge.name} is not to be relied on: ${fault}`)
}
