import { takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { judgeFaults } from '../labels/judges/judge-check.js'
import type { LabelSource } from '../labels/label-source.js'
import { percentAt } from '../percent.js'
import type { LabelledRun } from '../runs/runs.js'

/** Who labelled runs of one judge: the words of a run that knows how good the judge is, where there is one. */
export function sourceOf(runs: readonly LabelledRun[]): LabelSource | undefined {
  const sources = runs.flatMap(({ source }) => source ?? [])
  return sources.find(({ check }) => check !== null) ?? sources[0]
}

/**
 * Refuses labels by a judge that was found to be no good on answers with known scores: what a detector learns from them is the
 * judge's noise. One check that it fails is enough, whatever other runs say of it.
 *
 * @param runs all by one judge
 * @param options.allow go on, and have the faults among the warnings
 * @returns what a reader has to know of the judge, in sentences
 * @throws TraitscopeError JUDGE naming the judge and what is wrong with it
 */
export function assertSoundJudge(
  runs: readonly LabelledRun[],
  options: { allow?: boolean | undefined } = {},
): string[] {
  const { allow = false } = takeOptions('assertSoundJudge', options, { allow: 'boolean' })
  const source = sourceOf(runs)
  if (source === undefined) return []
  const { judge, check } = source
  if (check === null) {
    const computes = judge.reader === 'exact' || judge.reader === 'replayed'
    return computes
      ? []
      : [`nobody has checked the judge ${judge.name} on answers with known scores: label --check-judge does`]
  }
  const checks = runs.flatMap((run) => run.source?.check ?? [])
  const faults = [...new Set(checks.flatMap(judgeFaults))]
  if (faults.length > 0 && !allow) {
    throw new TraitscopeError(
      'JUDGE',
      `the labels are by the judge ${judge.name}, and ${faults.join('; ')}; label with a better judge, or calibrate with --allow-weak-judge (allowWeakJudge)`,
    )
  }
  return faults.map((fault) => `the judge ${judge.name} is not to be relied on: ${fault}`)
}

/**
 * Says where the labels call the base itself dangerous. A cut means something on the scale of the judge alone: one that counts too much
 * makes every checkpoint dangerous, and a detector of such labels alarms whatever the training does.
 *
 * @param cut rates above this are dangerous, in [0, 1]
 */
export function startAboveCut(runs: readonly LabelledRun[], cut: number): string[] {
  const rates = runs.flatMap(({ labels }) => {
    const start = labels.get(0)?.pooled
    return start === undefined || start.nScoreable === 0 ? [] : [start.nMisaligned / start.nScoreable]
  })
  if (rates.length === 0) return []
  const least = Math.min(...rates)
  if (least <= cut) return []
  return [
    `by these labels the base answers ${percentAt(cut, least)} misaligned before any training, which is above the cut of ${percentAt(cut)}: every checkpoint is dangerous then; look at those answers, and choose --cut above that rate, or another judge`,
  ]
}
