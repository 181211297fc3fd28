import { availableParallelism } from 'node:os'
import { TraitscopeError } from '../errors.js'
import { ggmlType } from '../formats/gguf/ggml-types.js'
import type { GgufFile } from '../formats/gguf/gguf.js'

const MEMORY_BUDGET = 700e6
const CHOICES = [2048, 1536, 1024, 768, 512, 384, 256]

/**
 * Largest batch whose working memory stays near 700 MB: F32 keys and values of all blocks, the attention scores of one
 * block and its feed-forward activations.
 */
export function defaultBatchTokens(metadata: ReadonlyMap<string, unknown>, architecture: string): number {
  const number = (key: string, fallback: number) => {
    const value = metadata.get(`${architecture}.${key}`)
    return typeof value === 'number' && value > 0 ? value : fallback
  }
  const nLayer = number('block_count', 32)
  const nEmbd = number('embedding_length', 4096)
  const nHead = number('attention.head_count', 32)
  const nHeadKv = number('attention.head_count_kv', nHead)
  const headDim = number('attention.key_length', nEmbd / nHead)
  const nFf = number('feed_forward_length', 4 * nEmbd)
  const bytes = (n: number) => 4 * n * (2 * nLayer * nHeadKv * headDim + nHead * n + 2 * nFf + 6 * nEmbd)
  return CHOICES.find((n) => bytes(n) <= MEMORY_BUDGET) ?? CHOICES.at(-1)!
}

export const MAX_BATCH_TOKENS = 8192

export const MAX_THREADS = 512

/** @throws USAGE for what is no integer from `least` to `most`. */
export function integerOption(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new TraitscopeError('USAGE', `${name} must be an integer from ${least} to ${most}, found ${value}`)
  }
  return value
}

/**
 * Cells of memory that a group fills on a CPU, the step in which llama.cpp counts those in use. Every token is multiplied
 * with the keys of all of them, its own prompt's or not, at a lower rate than with weights: 11 % of a 1B model's time with
 * groups of 512 tokens, 6 % with 256 cells (docs/performance.md).
 */
const CPU_GROUP_CELLS = 256

/** Cells of memory that a group fills on the model's device; a GPU is faster the more it gets. */
export function groupCells({ device, batchTokens }: { device: string; batchTokens: number }): number {
  return device === 'cpu' ? CPU_GROUP_CELLS : batchTokens
}

/**
 * What a decode of the few tokens that rows read costs beside their arithmetic, in tokens through all blocks: mostly that
 * it reads all weights again. Measured at 5 on one thread; more threads compute faster, not read.
 */
const SPLIT_COST_IN_TOKENS = 16

/** Context tokens from which a second decode pays: each then leaves out nearly one of the blocks up to `layer`. */
export function splitThreshold(layer: number): number {
  return SPLIT_COST_IN_TOKENS * (layer + 1)
}

/**
 * Threads meet after every operation and spin while they wait. A small model's operations take microseconds, so a
 * second thread gains nothing, and costs milliseconds per meeting when another program holds its core.
 */
export function defaultThreads(fileSize: number): number {
  return fileSize < 64 * 2 ** 20 ? 1 : availableParallelism()
}

/**
 * ggml's AMX kernels for blocks of 32 weights add to a result that nothing has cleared when a row is a single block.
 * Such narrow models only exist for tests; they are computed from the weights as they are in the file.
 */
export function hasRowsOfOneBlock({ tensors }: GgufFile): boolean {
  return [...tensors.values()].some(
    ({ type, shape }) => ggmlType(type).blockElements === 32 && shape[0] === 32,
  )
}
