import { basename, join } from 'node:path'
import { isTraitscopeError, TraitscopeError } from '../../errors.js'
import { listFolder } from '../files/list-folder.js'
import { HfWeights } from '../hf/hf-weights.js'
import { isJsonObject, readJsonFile } from '../json/json.js'
import { ADAPTER_CONFIG, checkFiles, tensorsFile } from '../peft/peft.js'
import { readSafetensorsHeader } from '../safetensors/safetensors.js'
import { type CheckpointKind, folderStamp, locateWeights, weightsKind } from './checkpoint-folder.js'
import { type LogEntry, lossAt, readTrainerState, TRAINER_STATE } from './trainer-state.js'

/** One `checkpoint-N` folder of a run; of torchtune `step_N` or `epoch_N`. */
export interface Checkpoint {
  /** N of the folder's name: optimiser steps, or epochs where torchtune counts those. */
  readonly step: number
  /** The checkpoint's own folder. */
  readonly folder: string
  /** The folder with the weights: the checkpoint folder, or a sub folder of it. */
  readonly path: string
  readonly kind: CheckpointKind
  /** `incomplete` may become complete later: the trainer may still be writing. */
  readonly state: 'complete' | 'incomplete'
  /** Why it is incomplete, or why a complete one cannot be measured, in one sentence. */
  readonly reason?: string
  readonly epoch?: number
  /** Last training loss logged up to this step; NaN when the run has diverged. */
  readonly loss?: number
  /** Changes when the files that this was told by change. */
  readonly stamp: string
}

export interface CheckpointReading {
  readonly checkpoint: Checkpoint
  /** The log of the checkpoint's own trainer_state.json, when it was read. */
  readonly log?: readonly LogEntry[]
  readonly bestModelCheckpoint?: string
}

const CHECKPOINT_NAME = /^(?:checkpoint-|step_|epoch_)(\d{1,15})$/
/** LLaMA-Factory v1 writes this empty file last, and no trainer_state.json. */
const COMPLETE_MARKER = 'CHECKPOINT_COMPLETE'

/**
 * N of `checkpoint-N`, or of torchtune's `step_N` and `epoch_N`; undefined for every other name, such as the staging
 * folder `tmp-checkpoint-N`.
 */
export function checkpointStep(name: string): number | undefined {
  const found = CHECKPOINT_NAME.exec(name)
  return found ? Number(found[1]) : undefined
}

/** torchtune writes no trainer_state.json; its configuration and index come after the weights. */
function isTorchtune(folder: string): boolean {
  return !basename(folder).startsWith('checkpoint-')
}

/**
 * Decides whether a checkpoint was written to its end: trainer_state.json, which trainers write last, parses and names
 * this step; adapter_config.json parses; adapter_model.safetensors, or every file of a whole model's weights, has all
 * the bytes that its header promises. Weights that no waiting makes readable (a pickle, say) are complete with a
 * reason once the trainer has ended: measuring them is the error that says so.
 *
 * Nothing in the folder is created or touched: trainers delete by the folder's modification time.
 *
 * @param previous an earlier verdict, returned as it is when the files have not changed since
 * @throws FILE_VANISHED when the folder is deleted meanwhile. Everything else makes the checkpoint incomplete.
 */
export async function readCheckpointFolder(
  folder: string,
  step: number,
  previous?: Checkpoint,
): Promise<CheckpointReading> {
  const entries = await listFolder(folder, 'vanished')
  const path = await locateWeights(folder, entries)
  const stamp = await folderStamp([folder, path])
  if (previous?.state === 'complete' && previous.path === path && previous.stamp === stamp) {
    return { checkpoint: previous }
  }
  const files = entries.map(({ name }) => name)
  const kind = await weightsKind(path)
  try {
    const fault = await checkWeights(path, kind).then(() => undefined, lastingFault)
    const reason = fault && { reason: fault.message }
    if (files.includes(COMPLETE_MARKER) || isTorchtune(folder)) {
      if (fault?.code === 'FILE_INVALID' && !files.includes(COMPLETE_MARKER)) throw fault
      return { checkpoint: { step, folder, path, kind, state: 'complete', ...reason, stamp } }
    }
    const state = await checkTrainerState(folder, files, step).catch((error: unknown) => {
      throw fault ?? error
    })
    const loss = lossAt(state.logHistory, step)
    const checkpoint: Checkpoint = {
      step,
      folder,
      path,
      kind,
      state: 'complete',
      ...reason,
      ...(state.epoch === undefined ? {} : { epoch: state.epoch }),
      ...(loss === undefined ? {} : { loss }),
      stamp,
    }
    const best = state.bestModelCheckpoint
    return {
      checkpoint,
      log: state.logHistory,
      ...(best === undefined ? {} : { bestModelCheckpoint: best }),
    }
  } catch (error) {
    if (!(error instanceof TraitscopeError) || error.code === 'FILE_VANISHED') throw error
    return { checkpoint: { step, folder, path, kind, state: 'incomplete', reason: error.message, stamp } }
  }
}

/** Passes on what may mean that the weights are still being written. */
function lastingFault(error: unknown): TraitscopeError {
  const lasting = ['UNSUPPORTED', 'FILE_INVALID', 'FILE_ACCESS'] as const
  if (error instanceof TraitscopeError && lasting.some((code) => code === error.code)) return error
  throw error
}

/**
 * Whether an error says that a checkpoint's files are going or gone, because the trainer rotates it away, and not that
 * something else is missing.
 */
export async function isRotatedAway(error: unknown, path: string): Promise<boolean> {
  if (isTraitscopeError(error, 'FILE_VANISHED')) return true
  if (!isTraitscopeError(error, 'FILE_NOT_FOUND')) return false
  try {
    await checkWeights(path, await weightsKind(path))
    return false
  } catch {
    return true
  }
}

/**
 * Checks that a folder's weight files are there and written to their end, without reading tensor data.
 *
 * @throws as `readPeftAdapter` and `HfWeights.open` do for files; what the configuration asks for is not looked at here.
 */
export async function checkWeights(folder: string, kind: CheckpointKind): Promise<void> {
  if (kind === 'model') return (await HfWeights.open(folder, 'vanished'))[Symbol.asyncDispose]()
  const names = (await listFolder(folder, 'vanished')).map(({ name }) => name)
  checkFiles(names, folder)
  const config = join(folder, ADAPTER_CONFIG)
  if (!isJsonObject(await readJsonFile(config, 'vanished'))) {
    throw new TraitscopeError('FILE_INVALID', `expected ${config} to hold a JSON object`)
  }
  await readSafetensorsHeader(join(folder, tensorsFile(names)), { missing: 'vanished' })
}

async function checkTrainerState(folder: string, files: readonly string[], step: number) {
  const path = join(folder, TRAINER_STATE)
  if (!files.includes(TRAINER_STATE)) {
    throw new TraitscopeError(
      'FILE_INCOMPLETE',
      `${folder} has no ${TRAINER_STATE} yet, which trainers write last`,
    )
  }
  const state = await readTrainerState(path, 'vanished').catch((error: unknown) => {
    if (!isTraitscopeError(error, 'FILE_INVALID')) throw error
    throw new TraitscopeError('FILE_INCOMPLETE', `${path} does not parse yet`, { cause: error })
  })
  if (state.globalStep !== step) {
    throw new TraitscopeError(
      'FILE_INCOMPLETE',
      `expected ${path} to name step ${step}, found ${state.globalStep ?? 'none'}`,
    )
  }
  return state
}
