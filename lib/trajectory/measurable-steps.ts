/** Which steps of a run can be measured, and why the others cannot. */
import { basename } from 'node:path'
import { TraitscopeError } from '../errors.js'
import { checkOutputFree } from '../formats/files/atomic.js'
import { listFolder } from '../formats/files/list-folder.js'
import { someNames } from '../formats/peft/peft.js'
import type { Checkpoint } from '../formats/run/checkpoint.js'
import { type RunFolder, refuseParent, scanRunFolder, VANISHED } from '../formats/run/run-folder.js'
import { checkpointStep } from '../formats/run/step-folders.js'
import { LABEL_FILES } from '../labels/label-folder.js'
import { TRAJECTORY_FILE } from './read-trajectory.js'
import type { SkippedCheckpoint, Step } from './trajectory.js'

/** As for `measureRun`. */
export interface MeasurableOptions {
  adapterName?: string | undefined
  out?: string | undefined
  force?: boolean | undefined
  signal?: AbortSignal | undefined
}

/**
 * Refuses what `measureRun` would refuse, before directions are made or a base is opened for it: a run without anything to
 * measure or with a checkpoint that cannot be, and an output folder that is there already.
 *
 * @throws TraitscopeError as `measureRun`; FILE_EXISTS
 */
export async function checkMeasurable(
  runDir: string,
  { adapterName, out, force = false, signal }: MeasurableOptions,
): Promise<void> {
  if (out !== undefined) await checkOutputFree(out, { force, marker: TRAJECTORY_FILE, keep: LABEL_FILES })
  const found = await scanRunFolder(runDir, { adapterName, signal })
  refuseParent(found)
  await toMeasure(found, skippedOf(found))
}

/** A step that can be measured. */
export interface MeasurableStep {
  step: Step
  weights: Pick<Checkpoint, 'path' | 'kind'>
  /** Absent for the final weights. */
  checkpoint?: Checkpoint
}

/** What is incomplete, and what the trainer removed meanwhile. */
export function skippedOf(found: RunFolder): SkippedCheckpoint[] {
  const skipped = found.checkpoints
    .filter(({ state }) => state === 'incomplete')
    .map(({ step, reason = 'incomplete' }) => ({ step: step as Step, reason }))
  for (const folder of found.vanished) {
    const step = checkpointStep(basename(folder))
    if (step !== undefined) skipped.push({ step, reason: VANISHED })
  }
  return skipped
}

/** @throws where there is nothing, and for what cannot be measured */
export async function toMeasure(
  found: RunFolder,
  skipped: readonly SkippedCheckpoint[],
): Promise<MeasurableStep[]> {
  const { final } = found
  const todo: MeasurableStep[] = found.checkpoints
    .filter(({ state }) => state === 'complete')
    .map((checkpoint) => ({ step: checkpoint.step, weights: checkpoint, checkpoint }))
  if (final && final.aliasOf === undefined) todo.push({ step: 'final', weights: final })
  if (todo.length === 0) await nothingToMeasure(found, skipped)
  for (const { checkpoint } of todo) if (checkpoint?.fault) throw checkpoint.fault
  return todo
}

/** @throws FILE_INCOMPLETE, with what is there */
export async function nothingToMeasure(
  { path }: RunFolder,
  skipped: readonly SkippedCheckpoint[],
): Promise<never> {
  const why = skipped.map(({ step, reason }) => `step ${step}: ${reason}`).join('; ')
  const there = someNames((await listFolder(path, 'vanished')).map(({ name }) => name))
  throw new TraitscopeError(
    'FILE_INCOMPLETE',
    `expected at least one complete checkpoint or adapter in ${path}, found ${why || there}; ` +
      'wait for the trainer to save one, or name the folder that holds checkpoint-N',
  )
}
