import { join } from 'node:path'
import { messageOf } from '../errors.js'
import { ifThere } from '../formats/files/file-errors.js'
import { exists } from '../formats/files/file-stats.js'
import { readResponses } from '../labels/answers/label-log.js'
import { GRADES_FILE } from '../labels/label-folder.js'
import { stepsText } from './steps-text.js'
import type { TrajectoryStep } from './trajectory.js'

/**
 * What there is to say of labels that stay beside a new measurement: they may be of what was trained before at the same place, and
 * nothing later compares the two.
 *
 * @param steps as measured now
 */
export async function keptLabelRemarks(
  folder: string,
  steps: readonly Pick<TrajectoryStep, 'step' | 'adapterSha256'>[],
): Promise<string[]> {
  if (!(await exists(join(folder, GRADES_FILE)))) return []
  const stay = `the labels in ${folder} stay`
  try {
    const answers = await ifThere(readResponses(join(folder, 'responses.jsonl')))
    if (answers === undefined || answers.size === 0)
      return [`${stay}, and no answers beside them say of which weights they are`]
    const labelled = new Map([...answers.values()].map(({ step, weights }) => [step, weights]))
    const others = steps.flatMap(({ step, adapterSha256 }) =>
      step === 'final' || adapterSha256 === null || (labelled.get(step) ?? adapterSha256) === adapterSha256
        ? []
        : [step],
    )
    if (others.length === 0) return []
    return [
      `${stay}, and are of other weights than were measured at step ${stepsText(others)}: label the run again, in a folder without them`,
    ]
  } catch (error) {
    return [`${stay}, and could not be compared with what was measured: ${messageOf(error)}`]
  }
}
