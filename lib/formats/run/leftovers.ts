import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { weightPaths } from './alias.js'
import type { Checkpoint } from './checkpoint.js'
import type { FinalWeights } from './final-weights.js'
import type { LogEntry } from './trainer-state.js'

interface Found {
  checkpoints: readonly Checkpoint[]
  final: FinalWeights | undefined
}

/** A sentence on final weights that an earlier run seems to have left: older than the last checkpoint and those of none. */
export async function oldFinal({ checkpoints, final }: Found): Promise<string[]> {
  const last = checkpoints.findLast(({ state }) => state === 'complete')
  if (!final || final.aliasOf !== undefined || !last || !(await isOlder(final, last))) return []
  return [
    `the final weights are older than ${basename(last.folder)} and those of no checkpoint: they may be left over from an earlier run`,
  ]
}

/** The remark on a checkpoint whose log has another loss at a step than the run's. */
export function otherLog({ folder }: Pick<Checkpoint, 'folder'>, step: number): string {
  return `the log of ${basename(folder)} has another loss at step ${step} than the run's log: one of them may be left over from an earlier run`
}

/** The first step at which two logs have different losses. Of one run the shorter log is the beginning of the longer. */
export function contradiction(log: readonly LogEntry[], other: readonly LogEntry[]): number | undefined {
  const losses = new Map(other.map(({ step, loss }) => [step, loss]))
  return log.find(({ step, loss }) => {
    const same = losses.get(step)
    return loss !== undefined && same !== undefined && !Object.is(loss, same)
  })?.step
}

/** By the step that the run's own state names, else by the times of the files. */
async function isOlder(final: FinalWeights, last: Checkpoint): Promise<boolean> {
  if (final.step !== undefined) return final.step < last.step
  const [end, checkpoint] = await Promise.all([final.path, last.path].map(writtenAt))
  return end !== undefined && checkpoint !== undefined && end < checkpoint
}

/** Undefined for files that are going or gone. */
async function writtenAt(path: string): Promise<number | undefined> {
  try {
    const stats = await Promise.all((await weightPaths(path)).map((file) => stat(file)))
    return Math.max(...stats.map(({ mtimeMs }) => mtimeMs))
  } catch {
    return undefined
  }
}
