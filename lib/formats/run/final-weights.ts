import type { Dirent } from 'node:fs'
import { isTraitscopeError, TraitscopeError } from '../../errors.js'
import { fileNames } from '../files/list-folder.js'
import { namesModelWeights } from '../hf/hf-weights.js'
import { type Checkpoint, checkWeights } from './checkpoint.js'
import type { CheckpointKind } from './checkpoint-folder.js'
import {
  adapterName,
  DEFAULT_ADAPTER,
  type FoundWeights,
  findWeights,
  listed,
  noneCalled,
} from './find-weights.js'

/** The weights that a training script saves after the last step. */
export interface FinalWeights {
  readonly path: string
  readonly kind: CheckpointKind
  /** Step of the checkpoint with the same weights; absent when no checkpoint has them. */
  readonly aliasOf?: number
  /** Step by the run's own trainer_state.json; absent when the script did not save one. */
  readonly step?: number
  /** Changes when the folder's files change. */
  readonly stamp: string
}

/** What scripts call the folder that they save the end to. */
const FINAL_NAME = /^(final|last)([-_.]|$)|[-_.](final|last)$/i

/**
 * The final weights of a run.
 *
 * Beside checkpoints they are what has the name of the checkpoints' adapter: in the run's root for the default one (a whole model
 * only there), else in the sub folder of that name. Where the root has no default adapter, a sub folder counts that
 * says by its name that it is the end. Without checkpoints they are the root's own weights, unless there are named
 * adapters too. Everything else, such as the adapter that training began with, is not taken for the end: it is listed
 * in `RunFolder.beside`.
 *
 * A configuration alone proves nothing, some trainers write it at the start.
 *
 * @param wanted the adapter that was asked for
 * @throws AMBIGUOUS when several could be meant, USAGE when a finished run has no adapter of the name asked for
 */
export async function findFinal(
  root: string,
  entries: readonly Dirent[],
  checkpoints: readonly Checkpoint[],
  wanted?: string,
): Promise<Pick<FoundWeights, 'path' | 'kind'> | undefined> {
  const found: FoundWeights[] = []
  for (const one of await findWeights(root, entries)) if (await isWhole(one)) found.push(one)
  const own = found.find(({ name }) => name === DEFAULT_ADAPTER)
  if (checkpoints.some(({ kind }) => kind === 'model')) {
    // An adapter in the root would be the one that is left over.
    const model: FoundWeights = { name: DEFAULT_ADAPTER, path: root, kind: 'model' }
    return namesModelWeights(fileNames(entries)) && (await isWhole(model)) ? model : undefined
  }
  const adapters = found.filter(({ kind }) => kind === 'adapter')
  const name = wanted ?? nameOf(checkpoints)
  if (name !== undefined && name !== DEFAULT_ADAPTER) {
    const named = adapters.find((one) => one.name === name)
    if (!named && checkpoints.length === 0 && adapters.length > 0) throw noneCalled(name, adapters, root)
    return named
  }
  if (own?.kind === 'adapter') {
    if (name !== undefined || adapters.length === 1) return own
    throw several(root, adapters)
  }
  if (own && checkpoints.length === 0) return own
  const called = adapters.filter((one) => FINAL_NAME.test(one.name) || adapterName(one) === DEFAULT_ADAPTER)
  if (called.length > 1) throw several(root, called)
  return called[0]
}

/** The name of the checkpoints' adapter: the first one's, since all others have another name as their fault. */
export function nameOf(checkpoints: readonly Checkpoint[]): string | undefined {
  return checkpoints.find(({ state, fault }) => state === 'complete' && !fault)?.adapterName
}

function several(root: string, found: readonly FoundWeights[]): TraitscopeError {
  return new TraitscopeError(
    'AMBIGUOUS',
    `${root} holds several adapters: ${listed(found)}; name one of these folders, or say which adapter with --adapter-name NAME (${DEFAULT_ADAPTER} is the one in the folder itself)`,
  )
}

async function isWhole({ path, kind }: FoundWeights): Promise<boolean> {
  try {
    await checkWeights(path, kind)
    return true
  } catch (error) {
    if (isTraitscopeError(error)) return false
    throw error
  }
}
