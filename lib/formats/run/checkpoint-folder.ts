import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf, type MissingMeans } from '../files/file-errors.js'
import { sha256File } from '../files/hash.js'
import { listFolder } from '../files/list-folder.js'
import { hashWeights, namesModelWeights } from '../hf/hf-weights.js'
import { MLX_TENSORS } from '../peft/mlx-adapter.js'
import {
  ADAPTER_CONFIG,
  ADAPTER_TENSORS,
  adapterIdentity,
  readAdapterConfig,
  tensorsFile,
} from '../peft/peft.js'
import { TRAINER_STATE } from './trainer-state.js'

/** Files that decide what a checkpoint is, besides a whole model's weights. */
const TELLING_FILES = [ADAPTER_CONFIG, ADAPTER_TENSORS, MLX_TENSORS, TRAINER_STATE]

/** What a checkpoint holds: a PEFT adapter, or all weights of a fully fine-tuned model. */
export type CheckpointKind = 'adapter' | 'model'

/** Told by the names of a folder's files; an adapter counts first, since some trainers save the base beside it. */
export function checkpointKind(names: readonly string[]): CheckpointKind | undefined {
  if (names.some((name) => name === ADAPTER_CONFIG || name.startsWith('adapter_model'))) return 'adapter'
  const pickled = names.some((name) => /^pytorch_model.*\.bin$/.test(name))
  return pickled || namesModelWeights(names) ? 'model' : undefined
}

/** {@link checkpointKind} of a folder; `adapter` where nothing tells, since that is what a run usually is. */
export async function weightsKind(
  folder: string,
  missing: MissingMeans = 'vanished',
): Promise<CheckpointKind> {
  return checkpointKind((await listFolder(folder, missing)).map(({ name }) => name)) ?? 'adapter'
}

/**
 * The folder that holds a checkpoint's weights: the checkpoint itself, `model/` in it (LLaMA-Factory v1), or its
 * only sub folder with an adapter (PEFT saves an adapter that is not called "default" under its name).
 */
export async function locateWeights(folder: string, entries: readonly Dirent[]): Promise<string> {
  if (checkpointKind(entries.map(({ name }) => name))) return folder
  const holders: string[] = []
  for (const entry of entries) {
    if (!entry.isDirectory()) continue
    const path = join(folder, entry.name)
    const inside: string[] = await readdir(path).catch(() => [])
    if (inside.includes(ADAPTER_CONFIG) || (entry.name === 'model' && namesModelWeights(inside)))
      holders.push(path)
  }
  return holders.length === 1 ? holders[0]! : folder
}

/**
 * Size and times of change (of the content, of the permissions) of the files that decide what a folder holds: as long as it stays the same there is no need
 * to read them again.
 */
export async function folderStamp(folders: readonly string[]): Promise<string> {
  const parts = await Promise.all(
    [...new Set(folders)].map(async (folder) => {
      const present: string[] = await readdir(folder).catch(() => [])
      const names = [...TELLING_FILES, ...present.filter((name) => namesModelWeights([name])).sort()]
      return Promise.all(names.map((name) => fileStamp(join(folder, name))))
    }),
  )
  return parts.flat().join(' ')
}

async function fileStamp(path: string): Promise<string> {
  try {
    const { size, mtimeMs, ctimeMs } = await stat(path)
    return `${size}@${mtimeMs}/${ctimeMs}`
  } catch (error) {
    return errnoOf(error) ?? 'unreadable'
  }
}

/**
 * Content identity of a checkpoint's folder, without loading the tensors: of an adapter `PeftAdapter.sha256`, of a
 * model `hashWeights`.
 *
 * @throws as `readPeftAdapter` for the configuration, and `HfWeights.open`; FILE_VANISHED.
 */
export async function hashCheckpoint(folder: string, signal?: AbortSignal): Promise<string> {
  return (await weightsKind(folder)) === 'model' ? hashWeights(folder, signal) : hashAdapter(folder)
}

async function hashAdapter(folder: string): Promise<string> {
  const { config } = await readAdapterConfig(folder)
  return adapterIdentity(await sha256File(await tensorsPath(folder)), config)
}

/** Path of an adapter's tensor file. */
export async function tensorsPath(folder: string): Promise<string> {
  return join(folder, tensorsFile((await listFolder(folder, 'vanished')).map(({ name }) => name)))
}
