import type { Dirent } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { isTraitscopeError, TraitscopeError, throwIfAborted } from '../../errors.js'
import { listFolder } from '../files/list-folder.js'
import { checkFiles } from '../peft/peft.js'
import {
  type Checkpoint,
  type CheckpointReading,
  checkpointStep,
  readCheckpointFolder,
} from './checkpoint.js'
import { type CheckpointKind, folderStamp } from './checkpoint-folder.js'
import { type FinalWeights, findAlias, findFinal } from './final-weights.js'
import { type LogEntry, readTrainerState, TRAINER_STATE, type TrainerState } from './trainer-state.js'

export type { Checkpoint, CheckpointKind, FinalWeights, LogEntry }

/** A fine-tuning run as its trainer left it on disk, so far. */
export interface RunFolder {
  readonly path: string
  /** A run's root, a single `checkpoint-N` folder, or a folder that is itself an adapter or a whole model. */
  readonly kind: 'run' | 'checkpoint' | CheckpointKind
  /** Ascending steps. */
  readonly checkpoints: readonly Checkpoint[]
  readonly final?: FinalWeights
  /** The longest log known: of the root's trainer_state.json, else of the last checkpoint's. */
  readonly logHistory: readonly LogEntry[]
  /** Folders that disappeared during the scan: the trainer rotated them away. */
  readonly vanished: readonly string[]
}

/** How to look at a run. */
export interface ScanOptions {
  /** An earlier scan of the same folder: checkpoints whose files have not changed are not read again. */
  previous?: RunFolder
  signal?: AbortSignal
}

/** Enough to hide the latency of a network file system. */
const CONCURRENCY = 8

/**
 * Looks at a run's folder without changing anything in it. A folder that is itself a checkpoint, an adapter or a model
 * is accepted: the last two have no checkpoints, only `final`.
 *
 * @throws FILE_NOT_FOUND when there is no such folder, ABORTED.
 */
export async function scanRunFolder(dir: string, options: ScanOptions = {}): Promise<RunFolder> {
  const path = resolve(dir)
  const entries = await listFolder(path, 'absent')
  const steps = checkpointFolders(path, entries)
  const ownStep = checkpointStep(basename(path))
  if (ownStep !== undefined && steps.length === 0) return scanCheckpoint(path, ownStep, options)

  refusePickle(path, entries, steps.length)
  const { readings, vanished } = await readAll(steps, options)
  const state = await rootState(path, entries)
  const checkpoints = readings.map(({ checkpoint }) => checkpoint)
  const found = await findFinal(path, entries, checkpoints[0]?.kind)
  const best =
    state?.bestModelCheckpoint ?? readings.findLast((one) => one.bestModelCheckpoint)?.bestModelCheckpoint
  const final =
    found === undefined
      ? undefined
      : await describeFinal(found, checkpoints, { best, state, previous: options.previous })
  return {
    path,
    kind: steps.length === 0 && final?.path === path ? final.kind : 'run',
    checkpoints,
    ...(final ? { final } : {}),
    logHistory: longestLog([
      state?.logHistory,
      ...readings.map(({ log }) => log),
      options.previous?.logHistory,
    ]),
    vanished,
  }
}

async function scanCheckpoint(path: string, step: number, options: ScanOptions): Promise<RunFolder> {
  const previous = options.previous?.checkpoints[0]
  const { checkpoint, log } = await readCheckpointFolder(path, step, previous)
  const logHistory = log ?? options.previous?.logHistory ?? []
  return { path, kind: 'checkpoint', checkpoints: [checkpoint], logHistory, vanished: [] }
}

/** `checkpoint-010` and `checkpoint-10` are one step; the plain spelling is the trainer's. */
function checkpointFolders(root: string, entries: readonly Dirent[]): { folder: string; step: number }[] {
  const byStep = new Map<number, string>()
  for (const entry of entries) {
    const step = checkpointStep(entry.name)
    if (step === undefined || !(entry.isDirectory() || entry.isSymbolicLink())) continue
    if (!byStep.has(step) || entry.name === `checkpoint-${step}`) byStep.set(step, join(root, entry.name))
  }
  return [...byStep].map(([step, folder]) => ({ folder, step })).sort((a, b) => a.step - b.step)
}

async function readAll(
  folders: readonly { folder: string; step: number }[],
  options: ScanOptions,
): Promise<{ readings: CheckpointReading[]; vanished: string[] }> {
  const previous = new Map(options.previous?.checkpoints.map((checkpoint) => [checkpoint.step, checkpoint]))
  const readings: (CheckpointReading | undefined)[] = new Array(folders.length)
  const vanished: string[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < folders.length) {
      throwIfAborted(options.signal)
      const index = next++
      const { folder, step } = folders[index]!
      try {
        readings[index] = await readCheckpointFolder(folder, step, previous.get(step))
      } catch (error) {
        if (!isTraitscopeError(error, 'FILE_VANISHED')) throw error
        vanished.push(folder)
      }
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  return { readings: readings.filter((one) => one !== undefined), vanished: vanished.sort() }
}

async function rootState(root: string, entries: readonly Dirent[]): Promise<TrainerState | undefined> {
  if (!entries.some(({ name }) => name === TRAINER_STATE)) return undefined
  try {
    return await readTrainerState(join(root, TRAINER_STATE), 'vanished')
  } catch (error) {
    // Half-written, or a file of that name by somebody else: the checkpoints have logs of their own.
    if (error instanceof TraitscopeError) return undefined
    throw error
  }
}

async function describeFinal(
  { path, kind }: Pick<FinalWeights, 'path' | 'kind'>,
  checkpoints: readonly Checkpoint[],
  known: { best: string | undefined; state: TrainerState | undefined; previous: RunFolder | undefined },
): Promise<FinalWeights> {
  const stamp = await folderStamp([path])
  const before = known.previous?.final
  const unchanged =
    before?.path === path && before.stamp === stamp && sameStamps(known.previous!.checkpoints, checkpoints)
  const aliasOf = unchanged ? before.aliasOf : await findAlias(path, checkpoints, known.best)
  const step = known.state?.globalStep
  return {
    path,
    kind,
    ...(aliasOf === undefined ? {} : { aliasOf }),
    ...(step === undefined ? {} : { step }),
    stamp,
  }
}

function sameStamps(a: readonly Checkpoint[], b: readonly Checkpoint[]): boolean {
  return (
    a.length === b.length && a.every(({ step, stamp }, i) => b[i]!.step === step && b[i]!.stamp === stamp)
  )
}

/** A folder with nothing but a pickle will never have anything to measure; waiting for more would be silence. */
function refusePickle(root: string, entries: readonly Dirent[], checkpoints: number): void {
  const names = entries.map(({ name }) => name)
  if (checkpoints === 0 && names.includes('adapter_model.bin')) checkFiles(names, root)
}

/** The last of the longest by final step: a later log of a resumed run replaces an earlier one. */
function longestLog(logs: readonly (readonly LogEntry[] | undefined)[]): readonly LogEntry[] {
  let longest: readonly LogEntry[] = []
  for (const log of logs) if (log && (log.at(-1)?.step ?? -1) > (longest.at(-1)?.step ?? -1)) longest = log
  return longest
}
