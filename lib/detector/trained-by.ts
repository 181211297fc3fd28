import { type TrainedBy, type TrainedLike, trainedLike } from '../conditions/training.js'
import { isOtherTemplate } from '../prompts/own-template.js'
import type { AdapterSummary, RunDescription, Trajectory } from '../trajectory/trajectory.js'

/** How a measured checkpoint was trained, as far as its files say. */
export function trainedBy(
  { fullFinetune, lr }: Pick<RunDescription, 'fullFinetune' | 'lr'>,
  {
    adapter,
    remarks = [],
  }: { adapter?: AdapterSummary | undefined; remarks?: readonly string[] | undefined },
): TrainedBy {
  return {
    kind: fullFinetune && adapter === undefined ? 'all weights' : 'adapter',
    ...(adapter && {
      rank: adapter.rank,
      alpha: adapter.alpha,
      scales: adapter.scales,
      targets: adapter.targets,
    }),
    ...(lr === null ? {} : { learningRate: lr }),
    ownTemplate: remarks.some(isOtherTemplate) ? 'another' : 'same',
  }
}

/** How the checkpoints of some runs were trained. */
export function runsTrainedLike(trajectories: readonly Trajectory[]): TrainedLike {
  return trainedLike(
    trajectories.flatMap(({ run, steps }) =>
      steps.filter(({ step }) => step !== 0).map((step) => trainedBy(run, step)),
    ),
  )
}
