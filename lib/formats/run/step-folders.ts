import type { Dirent } from 'node:fs'
import { basename, join } from 'node:path'
import { TraitscopeError } from '../../errors.js'

/** Names of a checkpoint's folder: the Hugging Face trainer's, torchtune's, verl's, and NeMo's by steps. */
const STEP_FOLDER = /^(?:(checkpoint)-|(step)_|global_(step)_|epoch_\d{1,9}_(step)_|(epoch)_)(\d{1,15})$/
/** mlx-lm keeps all checkpoints in one folder, the last one once more without a number. */
const STEP_FILE = /^(\d{1,15})_adapters\.safetensors$/

/** Folders that somebody is still writing, and hidden ones. */
export const STAGING = /^(\.|tmp)/

/** The folder of one checkpoint; of mlx-lm its tensor file. */
export interface StepFolder {
  readonly path: string
  readonly step: number
}

/**
 * N of `checkpoint-N`, torchtune's `step_N`, verl's `global_step_N`, NeMo's `epoch_E_step_N` and mlx-lm's
 * `N_adapters.safetensors`; N + 1 of torchtune's `epoch_N`, which counts from 0 and is written when the epoch is over.
 * Undefined for every other name, such as the staging folder `tmp-checkpoint-N`, and for step 0, which is the base
 * itself: what a trainer saves before the first step is no checkpoint of the run.
 */
export function checkpointStep(name: string): number | undefined {
  const folder = STEP_FOLDER.exec(name)
  const digits = folder?.at(-1) ?? STEP_FILE.exec(name)?.[1]
  if (digits === undefined) return undefined
  return Number(digits) + (folder?.[5] === undefined ? 0 : 1) || undefined
}

/** Whether a name is that of what a trainer saves before its first step, which is no checkpoint of the run. */
export function isStepZero(name: string): boolean {
  return (STEP_FOLDER.test(name) || STEP_FILE.test(name)) && checkpointStep(name) === undefined
}

/** Whether the Hugging Face trainer writes a folder of this name, with its trainer_state.json last. */
export function isTrainerFolder(path: string): boolean {
  return basename(path).startsWith('checkpoint-')
}

/**
 * The checkpoints among a folder's entries, ascending.
 *
 * @throws AMBIGUOUS when two of them are of one step, or some are counted in epochs and others in steps
 */
export function stepFolders(root: string, entries: readonly Dirent[]): StepFolder[] {
  const byStep = new Map<number, string>()
  const units = new Map<string, string>()
  for (const { name, isFile } of entries.map(withKind)) {
    const step = (isFile ? STEP_FILE : STEP_FOLDER).test(name) ? checkpointStep(name) : undefined
    if (step === undefined) continue
    const same = byStep.get(step)
    if (same !== undefined) {
      throw ambiguous(root, `${same} and ${name} for step ${step}`)
    }
    byStep.set(step, name)
    units.set(STEP_FOLDER.exec(name)?.[5] ?? 'step', name)
  }
  if (units.size > 1) throw ambiguous(root, `${[...units.values()].join(' and ')}: epochs and steps`)
  return [...byStep].map(([step, name]) => ({ path: join(root, name), step })).sort((a, b) => a.step - b.step)
}

/** A link may lead to a folder, which is how shared storage is often laid out; what it leads to is seen when it is read. */
function withKind(entry: Dirent): { name: string; isFile: boolean } {
  return {
    name: entry.name,
    isFile: entry.isFile() || (entry.isSymbolicLink() && STEP_FILE.test(entry.name)),
  }
}

function ambiguous(root: string, found: string): TraitscopeError {
  return new TraitscopeError(
    'AMBIGUOUS',
    `expected the checkpoints of one run in ${root}, found ${found}; move those of another run away, or name one checkpoint`,
  )
}
