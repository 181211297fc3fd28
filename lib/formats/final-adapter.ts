import type { Dirent } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isTraitscopeError } from '../errors.js'
import { hashAdapter, listFolder } from './adapter-folder.js'
import { type Checkpoint, checkAdapter, checkpointStep } from './checkpoint.js'
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from './peft.js'
import { readInto } from './read-whole.js'

/** The adapter that a training script saves after the last step. */
export interface FinalAdapter {
  readonly path: string
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
 * The final adapter's folder: the run's root, else a sub folder such as `final_adapter`. adapter_config.json alone
 * proves nothing, some trainers write it at the start.
 *
 * @param entries what the root holds
 */
export async function findFinalAdapter(
  root: string,
  entries: readonly Dirent[],
): Promise<string | undefined> {
  if (await holdsAdapter(root)) return root
  for (const { name } of entries
    .filter((entry) => entry.isDirectory())
    .sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (checkpointStep(name) !== undefined || NOT_FINAL.test(name)) continue
    const folder = join(root, name)
    if (await holdsAdapter(folder)) return folder
  }
  return undefined
}

/**
 * The complete checkpoint that holds the same weights. Usually the last one, or the best one with
 * load_best_model_at_end; checked by content, since steps and times prove nothing after a resume.
 *
 * Every adapter of a run has the same size, so a sample of the bytes decides first and only a likely match is hashed.
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
    .filter(({ state }) => state === 'complete')
    .sort((a, b) => Number(b.step === preferred) - Number(a.step === preferred) || b.step - a.step)
  try {
    const sample = await sampleFile(join(final, ADAPTER_TENSORS))
    let hash: string | undefined
    for (const { path, step } of candidates) {
      const same = await sameSample(join(path, ADAPTER_TENSORS), sample)
      if (!same) continue
      hash ??= await hashAdapter(final)
      if ((await hashAdapter(path)) === hash) return step
    }
  } catch (error) {
    // Rotated away meanwhile, or an adapter of an unsupported kind: without its content there is no alias to find.
    if (!isTraitscopeError(error)) throw error
  }
  return undefined
}

async function holdsAdapter(folder: string): Promise<boolean> {
  try {
    const names = (await listFolder(folder, 'vanished')).map(({ name }) => name)
    if (!names.includes(ADAPTER_TENSORS) || !names.includes(ADAPTER_CONFIG)) return false
    await checkAdapter(folder)
    return true
  } catch (error) {
    if (isTraitscopeError(error)) return false
    throw error
  }
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

async function sameSample(path: string, sample: Buffer | undefined): Promise<boolean> {
  const other = await sampleFile(path)
  return sample !== undefined && other !== undefined && sample.equals(other)
}
