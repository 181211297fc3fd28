import type { Dirent } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { TraitscopeError } from '../../errors.js'
import { fileNames, listFolder } from '../files/list-folder.js'
import { checkNamed } from '../files/named-path.js'
import { isTensorFile, refuseGguf } from '../peft/peft.js'
import { type CheckpointKind, checkpointKind } from './checkpoint-folder.js'
import { listRuns, nestedRuns } from './nested-runs.js'
import { checkpointStep, STAGING } from './step-folders.js'

/** An adapter or a whole model in a folder. */
export interface FoundWeights {
  /** What it is asked for by: {@link DEFAULT_ADAPTER} in the folder itself, else the sub folder. */
  readonly name: string
  /** The folder with the files, or one tensor file of mlx-lm. */
  readonly path: string
  readonly kind: CheckpointKind
}

/** PEFT's name of the adapter that it saves into the folder itself; the others go into sub folders of their names. */
export const DEFAULT_ADAPTER = 'default'

/** Where trainers put the weights of a checkpoint: LLaMA-Factory v1 and NeMo, NeMo's whole models, verl. */
const NESTED = ['model', 'model/consolidated', 'actor/lora_adapter', 'actor/huggingface']

/**
 * All weights that a folder holds, complete or not: its own, those at the places where trainers put them, and adapters in sub
 * folders, which have the adapters' names. The checkpoints of a run are left out. This is the one rule of where weights
 * are; which of several is meant, {@link pickWeights} decides.
 */
export async function findWeights(folder: string, entries: readonly Dirent[]): Promise<FoundWeights[]> {
  const files = fileNames(entries)
  // Numbered copies of mlx-lm are checkpoints, and the configuration is theirs.
  const numbered = files.some((name) => isTensorFile(name) && checkpointStep(name) !== undefined)
  const last = files.some((name) => isTensorFile(name) && checkpointStep(name) === undefined)
  const own = numbered && !last ? undefined : checkpointKind(files)
  const found: FoundWeights[] = own ? [{ name: DEFAULT_ADAPTER, path: folder, kind: own }] : []
  const folders = entries
    .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
    .map(({ name }) => name)
    .filter((name) => checkpointStep(name) === undefined && !STAGING.test(name))
  const nested = NESTED.filter((name) => folders.includes(name.split('/')[0]!))
  for (const name of [...new Set([...nested, ...folders.sort()])]) {
    const path = join(folder, name)
    const inside = await readdir(path, { withFileTypes: true }).catch(() => [])
    const kind = checkpointKind(fileNames(inside))
    if (kind === 'adapter' || (kind && NESTED.includes(name))) found.push({ name, path, kind })
  }
  return found
}

/**
 * The adapter's name, where it has one: the places of trainers are no names.
 */
export function adapterName({ name }: FoundWeights): string {
  return NESTED.includes(name) ? DEFAULT_ADAPTER : name
}

/**
 * The weights that are meant: the only ones, or those of a name. Several without a name are not guessed between: a
 * frozen reference adapter looks like the trained one.
 *
 * @throws AMBIGUOUS naming the candidates, USAGE when none has the name
 */
export function pickWeights(
  found: readonly FoundWeights[],
  folder: string,
  name: string | undefined,
): FoundWeights | undefined {
  if (name !== undefined) {
    const named = found.filter((one) => one.name === name || adapterName(one) === name)
    if (named.length === 1) return named[0]
    if (found.length > 0) throw noneCalled(name, found, folder)
    return undefined
  }
  if (found.length < 2) return found[0]
  throw new TraitscopeError(
    'AMBIGUOUS',
    `${folder} holds several adapters: ${listed(found)}; say which one with --adapter-name NAME${
      found[0]!.name === DEFAULT_ADAPTER ? ` (${DEFAULT_ADAPTER} is the one in the folder itself)` : ''
    }`,
  )
}

/** @returns the USAGE error that names what is there */
export function noneCalled(name: string, found: readonly FoundWeights[], folder: string): TraitscopeError {
  return new TraitscopeError(
    'USAGE',
    `expected the adapter ${name} in ${folder} (--adapter-name), found ${listed(found) || 'none'}`,
  )
}

export function listed(found: readonly FoundWeights[]): string {
  return found.map(({ name }) => name).join(', ')
}

/**
 * The weights that a user's path leads to: a folder that holds them, or one tensor file of an adapter.
 *
 * @throws AMBIGUOUS and USAGE as {@link pickWeights}, also for a run, whose checkpoints it names; FILE_NOT_FOUND
 */
export async function resolveWeights(
  path: string,
  name?: string,
): Promise<Pick<FoundWeights, 'path' | 'kind'>> {
  checkNamed(path, 'weights')
  if (isTensorFile(path)) return { path, kind: 'adapter' }
  refuseGguf(path)
  const entries = await listFolder(path, 'absent')
  const picked = pickWeights(await findWeights(path, entries), path, name)
  if (picked) return picked
  const steps = entries.map((entry) => entry.name).filter((entry) => checkpointStep(entry) !== undefined)
  const below = steps.length > 0 ? steps.sort().join(', ') : listRuns(await nestedRuns(path))
  if (below === '') return { path, kind: 'adapter' }
  throw new TraitscopeError(
    'AMBIGUOUS',
    `${path} holds no adapter or model of its own, but ${below}: name one of them`,
  )
}
