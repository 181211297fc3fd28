import type { Dirent } from 'node:fs'
import { join } from 'node:path'
import { isTraitscopeError, TraitscopeError } from '../../errors.js'
import { listFolder } from '../files/list-folder.js'
import { HfWeights } from '../hf/hf-weights.js'
import { isJsonObject, readJsonFile } from '../json/json.js'
import { adapterFiles, isTensorFile } from '../peft/peft.js'
import { readSafetensorsHeader } from '../safetensors/safetensors.js'
import { type CheckpointKind, folderStamp, weightsKind } from './checkpoint-folder.js'
import { adapterName, DEFAULT_ADAPTER, type FoundWeights, findWeights, pickWeights } from './find-weights.js'
import { isTrainerFolder, type StepFolder } from './step-folders.js'
import {
  highestLearningRate,
  type LogEntry,
  lossAt,
  readTrainerState,
  TRAINER_STATE,
} from './trainer-state.js'

/** One checkpoint of a run, in a folder such as `checkpoint-N`, `step_N`, `global_step_N` or `epoch_N`. */
export interface Checkpoint {
  /** N of the folder's name: optimiser steps, or epochs where torchtune counts those. */
  readonly step: number
  /** The checkpoint's own folder; of mlx-lm its tensor file. */
  readonly folder: string
  /** The folder with the weights (the checkpoint folder, or a sub folder of it) or their one file. */
  readonly path: string
  readonly kind: CheckpointKind
  /** `default`, or the name of the adapter, which PEFT saves into a sub folder of that name. */
  readonly adapterName: string
  /** `incomplete` may become complete later: the trainer may still be writing. */
  readonly state: 'complete' | 'incomplete'
  /** Why it is incomplete, in one sentence. */
  readonly reason?: string
  /** Why a complete one cannot be measured, now or later. */
  readonly fault?: TraitscopeError
  readonly epoch?: number
  /** Last training loss logged up to this step; NaN when the run has diverged. */
  readonly loss?: number
  /** Highest learning rate logged up to this step. */
  readonly learningRate?: number
  /** Changes when the files that this was told by change. */
  readonly stamp: string
}

export interface CheckpointReading {
  readonly checkpoint: Checkpoint
  /** The log of the checkpoint's own trainer_state.json, when it was read. */
  readonly log?: readonly LogEntry[]
  readonly bestModelCheckpoint?: string
  /** As the trainer's state has them. */
  readonly saveSteps?: number
  readonly maxSteps?: number
}

/** LLaMA-Factory v1 writes this empty file last, and no trainer_state.json. */
const COMPLETE_MARKER = 'CHECKPOINT_COMPLETE'
/** transformers keeps this file in the folder while it saves because it was told to end. */
const INCOMPLETE_MARKER = 'checkpoint-is-incomplete.txt'

/**
 * Decides where a checkpoint's weights are and whether it was written to its end: trainer_state.json, which trainers
 * write last, parses and names this step; adapter_config.json parses; adapter_model.safetensors, or every file of a whole
 * model's weights, has all the bytes that its header promises. Weights that no waiting makes readable (a pickle,
 * say, or several adapters without a name that tells) are complete with a fault once the trainer has ended: measuring
 * them is that error.
 *
 * Nothing in the folder is created or touched: trainers delete by the folder's modification time.
 *
 * @param options.previous an earlier verdict, returned as it is when the files have not changed since
 * @param options.adapterName the adapter to take where a checkpoint holds several
 * @throws FILE_VANISHED when the folder is deleted meanwhile. Everything else makes the checkpoint incomplete.
 */
export async function readCheckpointFolder(
  { path: folder, step }: StepFolder,
  options: { previous?: Checkpoint | undefined; adapterName?: string | undefined } = {},
): Promise<CheckpointReading> {
  const { previous, adapterName: wanted } = options
  const entries = isTensorFile(folder) ? [] : await listFolder(folder, 'vanished')
  const names = entries.map(({ name }) => name)
  const { weights, fault: unclear } = await chooseWeights(folder, entries, wanted)
  const { path, kind } = weights
  const stamp = await folderStamp([folder, path])
  // Which adapter is meant depends on the other checkpoints too.
  const isKnown = previous?.state === 'complete' && previous.fault?.code !== 'AMBIGUOUS'
  if (isKnown && previous.path === path && previous.stamp === stamp) return { checkpoint: previous }
  const one = { step, folder, path, kind, adapterName: adapterName(weights), stamp }
  try {
    if (names.includes(INCOMPLETE_MARKER)) {
      throw new TraitscopeError(
        'FILE_INCOMPLETE',
        `${folder} holds ${INCOMPLETE_MARKER}: the trainer is still saving it, or was killed while it did`,
      )
    }
    const fault = unclear ?? (await checkWeights(path, kind).then(() => undefined, lastingFault))
    const faulty = fault && { fault }
    if (names.includes(COMPLETE_MARKER) || !isTrainerFolder(folder)) {
      if (fault?.code === 'FILE_INVALID' && !names.includes(COMPLETE_MARKER)) throw fault
      return { checkpoint: { ...one, state: 'complete', ...faulty } }
    }
    const state = await checkTrainerState(folder, names, step).catch((error: unknown) => {
      throw fault ?? error
    })
    const loss = lossAt(state.logHistory, step)
    const learningRate = highestLearningRate(state.logHistory, step)
    const checkpoint: Checkpoint = {
      ...one,
      state: 'complete',
      ...faulty,
      ...(state.epoch === undefined ? {} : { epoch: state.epoch }),
      ...(loss === undefined ? {} : { loss }),
      ...(learningRate === undefined ? {} : { learningRate }),
    }
    const { bestModelCheckpoint, saveSteps, maxSteps } = state
    return {
      checkpoint,
      log: state.logHistory,
      ...(bestModelCheckpoint === undefined ? {} : { bestModelCheckpoint }),
      ...(saveSteps === undefined ? {} : { saveSteps }),
      ...(maxSteps === undefined ? {} : { maxSteps }),
    }
  } catch (error) {
    if (!(error instanceof TraitscopeError) || error.code === 'FILE_VANISHED') throw error
    return { checkpoint: { ...one, state: 'incomplete', reason: error.message } }
  }
}

/** Where the weights are, and why it is not clear which are meant. */
async function chooseWeights(
  folder: string,
  entries: readonly Dirent[],
  wanted: string | undefined,
): Promise<{ weights: FoundWeights; fault?: TraitscopeError }> {
  const own: FoundWeights = { name: DEFAULT_ADAPTER, path: folder, kind: 'adapter' }
  if (isTensorFile(folder)) return { weights: own }
  const found = await findWeights(folder, entries)
  try {
    return { weights: pickWeights(found, folder, wanted) ?? own }
  } catch (error) {
    if (!(error instanceof TraitscopeError)) throw error
    return { weights: { ...own, kind: found[0]?.kind ?? 'adapter' }, fault: error }
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
 * Checks that weight files are there and written to their end, without reading tensor data.
 *
 * @throws as `readPeftAdapter` and `HfWeights.open` do for files; what the configuration asks for is not looked at here.
 */
export async function checkWeights(path: string, kind: CheckpointKind): Promise<void> {
  if (kind === 'model') return (await HfWeights.open(path, 'vanished'))[Symbol.asyncDispose]()
  const { config, tensors } = await adapterFiles(path, 'vanished')
  if (!isJsonObject(await readJsonFile(config, 'vanished'))) {
    throw new TraitscopeError('FILE_INVALID', `expected ${config} to hold a JSON object`)
  }
  await readSafetensorsHeader(tensors, { missing: 'vanished' })
}

async function checkTrainerState(folder: string, files: readonly string[], step: number) {
  const path = join(folder, TRAINER_STATE)
  if (!files.includes(TRAINER_STATE)) {
    throw new TraitscopeError(
      'FILE_INCOMPLETE',
      `${folder} has no ${TRAINER_STATE} yet, which trainers write last; of a loop of your own that writes none, call it step_N, or put an empty file ${COMPLETE_MARKER} into it last`,
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
