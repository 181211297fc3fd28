import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errnoOf, type MissingMeans } from '../files/file-errors.js'
import { sha256File } from '../files/hash.js'
import { fileNames, listFolder } from '../files/list-folder.js'
import { hashWeights, namesModelWeights } from '../hf/hf-weights.js'
import { MLX_TENSORS } from '../peft/mlx-adapter.js'
import {
  ADAPTER_CONFIG,
  ADAPTER_TENSORS,
  adapterFiles,
  adapterIdentity,
  isTensorFile,
  readAdapterConfig,
} from '../peft/peft.js'
import { TRAINER_STATE } from './trainer-state.js'

/** Files that decide what a checkpoint is, besides a whole model's weights. */
const TELLING_FILES = [ADAPTER_CONFIG, ADAPTER_TENSORS, MLX_TENSORS, TRAINER_STATE]

/** What a checkpoint holds: a PEFT adapter, or all weights of a fully fine-tuned model. */
export type CheckpointKind = 'adapter' | 'model'

/**
 * Told by the names of a folder's files. An adapter counts first, since some trainers save the base beside it; its
 * configuration alone does not: peft writes the tensors before, and the weights of a whole model are what is there.
 */
export function checkpointKind(names: readonly string[]): CheckpointKind | undefined {
  if (names.some((name) => name === MLX_TENSORS || name.startsWith('adapter_model'))) return 'adapter'
  if (names.some((name) => /^pytorch_model.*\.bin$/.test(name)) || namesModelWeights(names)) return 'model'
  return names.includes(ADAPTER_CONFIG) ? 'adapter' : undefined
}

/** {@link checkpointKind} of a folder or tensor file; `adapter` where nothing tells, since that is what a run usually is. */
export async function weightsKind(path: string, missing: MissingMeans = 'vanished'): Promise<CheckpointKind> {
  if (isTensorFile(path)) return 'adapter'
  return checkpointKind(fileNames(await listFolder(path, missing))) ?? 'adapter'
}

/**
 * Size and times of change (of the content, of the permissions) of the files that decide what folders hold, or of a
 * tensor file and its configuration: as long as it stays the same there is no need to read them again.
 */
export async function folderStamp(paths: readonly string[]): Promise<string> {
  const parts = await Promise.all(
    [...new Set(paths)].map(async (path) => {
      if (isTensorFile(path)) {
        return Promise.all([path, join(dirname(path), ADAPTER_CONFIG)].map(fileStamp))
      }
      const present: string[] = await readdir(path).catch(() => [])
      const names = [...TELLING_FILES, ...present.filter((name) => namesModelWeights([name])).sort()]
      return Promise.all(names.map((name) => fileStamp(join(path, name))))
    }),
  )
  return parts.flat().join(' ')
}

/** When an adapter's files, or those that name a model's weights, were written. */
export interface WeightsStamp {
  /** Changes when they do: sizes, times of the content, and which files they are. */
  readonly text: string
  /** Time of the last one in milliseconds; undefined when there is none. */
  readonly writtenMs: number | undefined
}

/**
 * {@link folderStamp} of the weights alone, in three calls of the system: for whoever looks at thousands of checkpoints again
 * and again. A second name for a file changes nothing in it.
 */
export async function weightsStamp(path: string, kind: CheckpointKind): Promise<WeightsStamp> {
  const named = isTensorFile(path)
  const folder = named ? dirname(path) : path
  const names = named ? [basename(path), ADAPTER_CONFIG] : kind === 'model' ? MODEL_FILES : ADAPTER_FILES
  let writtenMs: number | undefined
  const parts = await Promise.all(
    names.map(async (name) => {
      try {
        const { size, mtimeMs, ino } = await stat(join(folder, name))
        writtenMs = Math.max(writtenMs ?? 0, mtimeMs)
        return `${size}@${mtimeMs}#${ino}`
      } catch (error) {
        return errnoOf(error) ?? 'unreadable'
      }
    }),
  )
  return { text: parts.join(' '), writtenMs }
}

const ADAPTER_FILES = [ADAPTER_TENSORS, ADAPTER_CONFIG, MLX_TENSORS]
const MODEL_FILES = ['model.safetensors', 'model.safetensors.index.json', 'config.json']

async function fileStamp(path: string): Promise<string> {
  try {
    const { size, mtimeMs, ctimeMs } = await stat(path)
    return `${size}@${mtimeMs}/${ctimeMs}`
  } catch (error) {
    return errnoOf(error) ?? 'unreadable'
  }
}

/**
 * Content identity of a checkpoint's weights, without loading the tensors: of an adapter `PeftAdapter.sha256`, of a
 * model `hashWeights`.
 *
 * @throws as `readPeftAdapter` for the configuration, and `HfWeights.open`; FILE_VANISHED.
 */
export async function hashCheckpoint(path: string, signal?: AbortSignal): Promise<string> {
  return (await weightsKind(path)) === 'model' ? hashWeights(path, signal) : hashAdapter(path)
}

async function hashAdapter(path: string): Promise<string> {
  const files = await adapterFiles(path, 'vanished')
  const { config } = await readAdapterConfig(files.config, files.tensors)
  return adapterIdentity(await sha256File(files.tensors), config)
}
