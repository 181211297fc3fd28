import type { Dirent } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isTraitscopeError } from '../../errors.js'
import { listFolder } from '../files/list-folder.js'
import { readInto } from '../files/read-whole.js'
import { HfWeights } from '../hf/hf-weights.js'
import { type Checkpoint, checkpointStep, checkWeights } from './checkpoint.js'
import {
  type CheckpointKind,
  checkpointKind,
  hashCheckpoint,
  tensorsPath,
  weightsKind,
} from './checkpoint-folder.js'

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

/** Sub folders that hold starting points or conversions of an adapter, not its end. */
const NOT_FINAL = /^(\.|tmp|pissa_|runs$|logs$)|init|backup/i
const PROBE_BYTES = 4096

/**
 * Where the final weights are: the run's root, else for an adapter a sub folder such as `final_adapter`.
 * adapter_config.json alone proves nothing, some trainers write it at the start. A whole model counts only in the root,
 * and not beside adapters: there it is something merged, or the base.
 *
 * @param entries what the root holds
 * @param kind what the checkpoints are; undefined when there are none
 */
export async function findFinal(
  root: string,
  entries: readonly Dirent[],
  kind: CheckpointKind | undefined,
): Promise<Pick<FinalWeights, 'path' | 'kind'> | undefined> {
  if (kind !== 'model') {
    if (await holds('adapter', root)) return { path: root, kind: 'adapter' }
    for (const { name } of entries
      .filter((entry) => entry.isDirectory())
      .sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (checkpointStep(name) !== undefined || NOT_FINAL.test(name)) continue
      const folder = join(root, name)
      if (await holds('adapter', folder)) return { path: folder, kind: 'adapter' }
    }
  }
  return kind !== 'adapter' && (await holds('model', root)) ? { path: root, kind: 'model' } : undefined
}

/**
 * The complete checkpoint that holds the same weights. Usually the last one, or the best one with
 * load_best_model_at_end; checked by content, since steps and times prove nothing after a resume.
 *
 * The weights of a run have the same size, so a sample of the bytes decides first and only a likely match is hashed.
 *
 * @param best path of the best checkpoint as the trainer saw it: tried first
 */
export async function findAlias(
  final: string,
  checkpoints: readonly Checkpoint[],
  best?: string,
): Promise<number | undefined> {
  const preferred = best === undefined ? undefined : checkpointStep(basename(best))
  const candidates = checkpoints
    .filter(({ state, reason }) => state === 'complete' && reason === undefined)
    .sort((a, b) => Number(b.step === preferred) - Number(a.step === preferred) || b.step - a.step)
  try {
    const sample = await sampleWeights(final)
    let hash: string | undefined
    for (const { path, step } of candidates) {
      const other = await sampleWeights(path)
      if (!sample || !other || !sample.equals(other)) continue
      hash ??= await hashCheckpoint(final)
      if ((await hashCheckpoint(path)) === hash) return step
    }
  } catch (error) {
    // Rotated away meanwhile, or an adapter of an unsupported kind: without its content there is no alias to find.
    if (!isTraitscopeError(error)) throw error
  }
  return undefined
}

async function holds(kind: CheckpointKind, folder: string): Promise<boolean> {
  try {
    const names = (await listFolder(folder, 'vanished')).map(({ name }) => name)
    if (checkpointKind(names) !== kind) return false
    await checkWeights(folder, kind)
    return true
  } catch (error) {
    if (isTraitscopeError(error)) return false
    throw error
  }
}

/** Size of every weight file, and bytes from three places of each; undefined when one cannot be read. */
async function sampleWeights(folder: string): Promise<Buffer | undefined> {
  const samples: Buffer[] = []
  for (const path of await weightPaths(folder)) {
    const sample = await sampleFile(path)
    if (!sample) return undefined
    samples.push(sample)
  }
  return Buffer.concat(samples)
}

async function weightPaths(folder: string): Promise<readonly string[]> {
  if ((await weightsKind(folder)) === 'adapter') return [await tensorsPath(folder)]
  await using weights = await HfWeights.open(folder, 'vanished')
  return weights.files.map((name) => join(folder, name))
}

/** Size, and bytes from three places. */
async function sampleFile(path: string): Promise<Buffer | undefined> {
  try {
    const { size } = await stat(path)
    const file = await open(path, 'r')
    try {
      const sample = Buffer.alloc(8 + 3 * PROBE_BYTES)
      sample.writeDoubleLE(size)
      for (let i = 0; i < 3; i++) {
        const start = 8 + i * PROBE_BYTES
        const position = Math.floor((Math.max(0, size - PROBE_BYTES) * i) / 2)
        await readInto(file, sample.subarray(start, start + PROBE_BYTES), position)
      }
      return sample
    } finally {
      await file.close()
    }
  } catch {
    return undefined
  }
}
