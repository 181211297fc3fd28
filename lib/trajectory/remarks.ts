import { stepsText } from './steps-text.js'
import type { Step, Trajectory, TrajectoryStep } from './trajectory.js'

/**
 * What a trajectory's measurement left out, found different or left over, in sentences: on the run, then on its steps; a
 * sentence that holds for some steps names them.
 */
export function remarksOf({ measurement, steps }: Trajectory): string[] {
  const bySteps = new Map<string, Step[]>()
  for (const { step, remarks = [] } of steps) {
    for (const remark of remarks) bySteps.set(remark, [...(bySteps.get(remark) ?? []), step])
  }
  const measured = steps.filter(({ step }) => step !== 0).length
  return [
    ...(measurement?.remarks ?? []),
    ...[...bySteps].map(([remark, at]) =>
      at.length === measured ? remark : `step ${stepsText(at)}: ${remark}`,
    ),
  ]
}

/** A sentence on steps that share their weights: a frozen adapter, or a copy in place of a checkpoint. */
export function equalWeights(steps: readonly TrajectoryStep[]): string[] {
  const bySha256 = new Map<string, Step[]>()
  for (const { step, adapterSha256 } of steps) {
    if (adapterSha256 !== null) bySha256.set(adapterSha256, [...(bySha256.get(adapterSha256) ?? []), step])
  }
  return [...bySha256.values()]
    .filter((same) => same.length > 1)
    .map((same) => `steps ${stepsText(same)} have the same weights`)
}

/** Sentences on steps that were saved with other settings than the first: a run that was resumed, or an edited file. */
export function otherSettings(steps: readonly TrajectoryStep[]): string[] {
  const adapters = steps.flatMap(({ step, adapter }) => (adapter ? [{ step, adapter }] : []))
  return (['ranks', 'scales', 'targets'] as const).flatMap((what) => {
    const stepsBy = new Map<string, Step[]>()
    for (const { step, adapter } of adapters) {
      const has = adapter[what].join(', ')
      stepsBy.set(has, [...(stepsBy.get(has) ?? []), step])
    }
    if (stepsBy.size < 2) return []
    const named = [...stepsBy].map(
      ([has, at]) => `${has} at step${at.length === 1 ? '' : 's'} ${stepsText(at)}`,
    )
    return [`the adapters of this run differ in their ${what}: ${named.join('; ')}`]
  })
}
