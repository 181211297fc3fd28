/** Which checkpoints of a run are labelled. */
import { basename } from 'node:path'
import { TraitscopeError } from '../errors.js'
import type { Checkpoint } from '../formats/run/checkpoint.js'
import { type RunFolder, refuseParent, scanRunFolder, VANISHED } from '../formats/run/run-folder.js'
import type { LabelRunOptions } from './label-options.js'

/**
 * The complete checkpoints of a run that options ask for, and what is to be said of the run: also which others it has.
 *
 * @throws FILE_INCOMPLETE when there is none; as `scanRunFolder`, and what is known to be wrong with one of them
 */
export async function checkpointsOf(
  runDir: string,
  options: Pick<LabelRunOptions, 'adapterName' | 'signal' | 'steps' | 'every'>,
): Promise<{ found: RunFolder; todo: Checkpoint[]; remarks: string[] }> {
  const { adapterName, signal } = options
  const found = await scanRunFolder(runDir, { adapterName, signal })
  refuseParent(found)
  const todo = chooseSteps(
    found.checkpoints.filter(({ state }) => state === 'complete'),
    options,
  )
  if (todo.length === 0) {
    throw new TraitscopeError(
      'FILE_INCOMPLETE',
      `expected complete checkpoints in ${runDir}, found none of those; wait, or name other steps`,
    )
  }
  for (const { fault } of todo) if (fault) throw fault
  return { found, todo, remarks: [...found.remarks, ...(options.steps === undefined ? leftOut(found) : [])] }
}

/** What `measure` lists as skipped, and a final adapter of its own: labels are of checkpoints. */
function leftOut({ checkpoints, vanished, final }: RunFolder): string[] {
  return [
    ...checkpoints
      .filter(({ state }) => state === 'incomplete')
      .map(({ step, reason = 'it is incomplete' }) => `step ${step} is left out: ${reason}`),
    ...vanished.map((folder) => `${basename(folder)} is left out: ${VANISHED}`),
    ...(final && final.aliasOf === undefined
      ? [
          'the final weights are left out: they are those of no checkpoint, and checkpoints alone are labelled',
        ]
      : []),
  ]
}

/** The checkpoints that options ask for. @throws USAGE for a step that is not there */
export function chooseSteps<T extends { step: number }>(
  checkpoints: readonly T[],
  { steps, every }: Pick<LabelRunOptions, 'steps' | 'every'>,
): T[] {
  if (steps !== undefined) {
    const missing = steps.filter((step) => step !== 0 && !checkpoints.some((one) => one.step === step))
    if (missing.length > 0) {
      throw new TraitscopeError(
        'USAGE',
        `expected steps that the run has (${checkpoints.map(({ step }) => step).join(', ')}), found ${missing.join(', ')}`,
      )
    }
    return checkpoints.filter(({ step }) => steps.includes(step))
  }
  if (every !== undefined && !(Number.isInteger(every) && every >= 1))
    throw new TraitscopeError('USAGE', `expected every n-th checkpoint (--every), n from 1, found ${every}`)
  return checkpoints.filter(
    (_, i) => every === undefined || (i + 1) % every === 0 || i === checkpoints.length - 1,
  )
}
