import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isTraitscopeError } from '../../errors.js'
import { openPlain, readInto } from '../files/read-whole.js'
import { HfWeights } from '../hf/hf-weights.js'
import { adapterFiles } from '../peft/peft.js'
import type { Checkpoint } from './checkpoint.js'
import { hashCheckpoint, weightsKind } from './checkpoint-folder.js'
import { checkpointStep } from './step-folders.js'

const PROBE_BYTES = 4096

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
    .filter(({ state, fault }) => state === 'complete' && fault === undefined)
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

/** Size of every weight file, and bytes from three places of each; undefined when one cannot be read. */
async function sampleWeights(path: string): Promise<Buffer | undefined> {
  const samples: Buffer[] = []
  for (const file of await weightPaths(path)) {
    const sample = await sampleFile(file)
    if (!sample) return undefined
    samples.push(sample)
  }
  return Buffer.concat(samples)
}

/** The files with the weights. */
export async function weightPaths(path: string): Promise<readonly string[]> {
  if ((await weightsKind(path)) === 'adapter') return [(await adapterFiles(path, 'vanished')).tensors]
  await using weights = await HfWeights.open(path, 'vanished')
  return weights.files.map((name) => join(path, name))
}

/** Size, and bytes from three places. */
async function sampleFile(path: string): Promise<Buffer | undefined> {
  try {
    const { size } = await stat(path)
    const file = await openPlain(path)
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
