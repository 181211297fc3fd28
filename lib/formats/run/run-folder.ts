import type { Dirent } from 'node:fs'
import { basename, join } from 'node:path'
import { Made, type OptionKinds, takeOptions } from '../../arguments.js'
import { isTraitscopeError, TraitscopeError, throwIfAborted } from '../../errors.js'
import { listFolder } from '../files/list-folder.js'
import { namedPath } from '../files/named-path.js'
import { checkFiles } from '../peft/peft.js'
import { findAlias } from './alias.js'
import { type Checkpoint, type CheckpointReading, readCheckpointFolder } from './checkpoint.js'
import { type CheckpointKind, folderStamp } from './checkpoint-folder.js'
import { type FinalWeights, findFinal, nameOf } from './final-weights.js'
import { oldFinal } from './leftovers.js'
import { listRuns, type NestedRun, nestedRuns } from './nested-runs.js'
import { RunLogs } from './run-logs.js'
import { checkpointStep, type StepFolder, stepFolders } from './step-folders.js'
import { type LogEntry, readTrainerState, TRAINER_STATE, type TrainerState } from './trainer-state.js'

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
  /**
   * Runs, adapters and models in sub folders that are no part of the run, such as the adapter that training began with.
   * When the folder is no run itself, all that lie below it.
   */
  readonly beside: readonly NestedRun[]
  /** What of it is not measured, and what seems left over from another run, in sentences. */
  readonly remarks: readonly string[]
}

/** How to look at a run. */
export interface ScanOptions {
  /** The adapter to take where there are several, by PEFT's name; `default` is the one in the folder itself. */
  adapterName?: string | undefined
  /** An earlier scan of the same folder: checkpoints whose files have not changed are not read again. */
  previous?: RunFolder | undefined
  signal?: AbortSignal | undefined
}

const SCAN_OPTIONS: OptionKinds<ScanOptions> = {
  adapterName: 'string',
  previous: new Made('an earlier scan by scanRunFolder', 'checkpoints'),
  signal: 'signal',
}

/** Why one of {@link RunFolder.vanished} is passed over. */
export const VANISHED =
  'it disappeared while the folder was read: it was rotated away, or a link leads to nothing'

/** Enough to hide the latency of a network file system. */
const CONCURRENCY = 8

/**
 * Looks at a run's folder without changing anything in it. A folder that is itself a checkpoint, an adapter or a model
 * is accepted: the last two have no checkpoints, only `final`.
 *
 * @throws FILE_NOT_FOUND when there is no such folder, AMBIGUOUS when several runs or adapters could be meant, USAGE for the
 * name of an adapter that is not there, ABORTED.
 */
export async function scanRunFolder(dir: string, options: ScanOptions = {}): Promise<RunFolder> {
  const own = takeOptions('scanRunFolder', options, SCAN_OPTIONS)
  const path = namedPath(dir, 'a run')
  const entries = await listFolder(path, 'absent')
  const steps = stepFolders(path, entries)
  const ownStep = checkpointStep(basename(path))
  if (ownStep !== undefined && steps.length === 0) return scanCheckpoint(path, ownStep, own)

  refusePickle(path, entries, steps.length)
  const state = await rootState(path, entries)
  const logs = new RunLogs(state?.logHistory)
  const { readings, vanished } = await readAll(steps, logs, own)
  logs.keep(own.previous?.logHistory)
  const checkpoints = sameAdapter(readings.map(({ checkpoint }) => checkpoint))
  const best =
    state?.bestModelCheckpoint ?? readings.findLast((one) => one.bestModelCheckpoint)?.bestModelCheckpoint
  const found = await findFinal(path, entries, checkpoints, own.adapterName)
  const final =
    found === undefined
      ? undefined
      : await describeFinal(found, checkpoints, { best, state, previous: own.previous })
  const isEmpty = steps.length === 0 && final === undefined
  const below = await nestedRuns(path, isEmpty ? undefined : 1)
  const beside = below.filter((one) => final === undefined || join(path, one.path) !== final.path)
  return {
    path,
    kind: steps.length === 0 && final?.path === path ? final.kind : 'run',
    checkpoints,
    ...(final ? { final } : {}),
    logHistory: logs.longest,
    vanished,
    beside,
    remarks: [
      ...(isEmpty || beside.length === 0
        ? []
        : [`not measured, since it is no part of this run: ${listRuns(beside)}`]),
      ...readings.flatMap(({ remark }) => remark ?? []),
      ...(await oldFinal({ checkpoints, final })),
    ],
  }
}

async function scanCheckpoint(path: string, step: number, options: ScanOptions): Promise<RunFolder> {
  const { adapterName } = options
  const previous = options.previous?.checkpoints[0]
  const { checkpoint, log } = await readCheckpointFolder({ path, step }, { previous, adapterName })
  const logHistory = log ?? options.previous?.logHistory ?? []
  return {
    path,
    kind: 'checkpoint',
    checkpoints: [checkpoint],
    logHistory,
    vanished: [],
    beside: [],
    remarks: [],
  }
}

/** Whether there is nothing to measure, complete or not. */
export function isEmptyRun({ checkpoints, final }: RunFolder): boolean {
  return checkpoints.length === 0 && final === undefined
}

/**
 * Refuses a folder that is no run itself but has some below it.
 *
 * @throws AMBIGUOUS naming them
 */
export function refuseParent(found: RunFolder): void {
  if (!isEmptyRun(found) || found.beside.length === 0) return
  const numbered = found.beside.filter(({ path, kind }) => kind !== 'run' && /^[^/]*\d$/.test(path))
  throw new TraitscopeError(
    'AMBIGUOUS',
    `${found.path} holds no checkpoint and no weights of its own, but ${listRuns(found.beside)}: name one of them${numbered.length > 1 ? ', or call those that are checkpoints of one run step_N' : ''}`,
  )
}

/** A checkpoint that holds another adapter than the first has that as its fault. */
function sameAdapter(checkpoints: readonly Checkpoint[]): Checkpoint[] {
  const name = nameOf(checkpoints)
  return checkpoints.map((one): Checkpoint => {
    const fault = one.state === 'complete' && !one.fault ? otherAdapter(one, name) : undefined
    return fault ? { ...one, fault } : one
  })
}

/** One run trains one adapter: why a checkpoint is none of a run whose first one holds the adapter of that name. */
export function otherAdapter(
  { folder, adapterName }: Checkpoint,
  name: string | undefined,
): TraitscopeError | undefined {
  if (adapterName === name) return undefined
  return new TraitscopeError(
    'AMBIGUOUS',
    `${folder} holds the adapter ${adapterName}, but the checkpoints before it ${name}; say which one with --adapter-name NAME`,
  )
}

/** What is kept of a reading. */
interface Read extends Pick<CheckpointReading, 'checkpoint' | 'bestModelCheckpoint'> {
  remark?: string | undefined
}

/** The last one first, whose log is the longest as a rule: the others are compared with it and let go. */
async function readAll(
  folders: readonly StepFolder[],
  logs: RunLogs,
  options: ScanOptions,
): Promise<{ readings: Read[]; vanished: string[] }> {
  const previous = new Map(options.previous?.checkpoints.map((checkpoint) => [checkpoint.step, checkpoint]))
  const readings: (Read | undefined)[] = new Array(folders.length)
  const vanished: string[] = []
  let left = folders.length
  const { adapterName } = options
  const readOne = async (): Promise<void> => {
    throwIfAborted(options.signal)
    const index = --left
    const folder = folders[index]!
    try {
      const known = { previous: previous.get(folder.step), adapterName }
      const { checkpoint, bestModelCheckpoint, log } = await readCheckpointFolder(folder, known)
      const remark = logs.take(checkpoint, log)
      readings[index] = {
        checkpoint,
        remark,
        ...(bestModelCheckpoint !== undefined && { bestModelCheckpoint }),
      }
    } catch (error) {
      if (!isTraitscopeError(error, 'FILE_VANISHED')) throw error
      vanished.push(folder.path)
    }
  }
  const worker = async (): Promise<void> => {
    while (left > 0) await readOne()
  }
  if (left > 0) await readOne()
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
