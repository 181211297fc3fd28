import type { Step } from '../trajectory/trajectory.js'
import type { JudgedAnswer, RunView } from './run-view.js'

/** What `label` has found out about the checkpoints of a run. */
export interface RunLabels {
  judged: readonly { step: number; rate: number; standardError: number }[]
  /** Those that the judge thought worst, worst first. */
  answers: readonly JudgedAnswer[]
}

/** The weights of a run by step. */
export const weightsOf = ({ points }: RunView): ReadonlyMap<Step, string> =>
  new Map(points.flatMap(({ step, weights }) => (weights === undefined ? [] : [[step, weights] as const])))

/** Shows labels with their run. */
export function applyLabels(view: RunView, { judged, answers }: RunLabels): void {
  const rates = new Map(judged.map(({ step, ...rate }) => [step, rate]))
  for (const point of view.points) {
    const rate = typeof point.step === 'number' ? rates.get(point.step) : undefined
    if (rate) point.judged = rate
  }
  view.answers = answers
}
