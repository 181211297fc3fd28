import type { Step, Trajectory } from './trajectory.js'

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
      at.length === measured ? remark : `step ${at.join(', ')}: ${remark}`,
    ),
  ]
}
