import { availableParallelism } from 'node:os'
import { ggmlType } from '../formats/gguf/ggml-types.js'
import type { GgufFile } from '../formats/gguf/gguf.js'

const MEMORY_BUDGET = 700e6
const CHOICES = [2048, 1536, 1024, 768, 512, 384, 256]

/**
 * Largest batch whose working memory stays near 700 MB: F32 keys and values of all blocks, the attention scores of one
 * block and its feed-forward activations.
 */
export function defaultBatchTokens(metadata: ReadonlyMap<string, unknown>, architecture: string): number {
  const { nLayer, nEmbd, nHead, nHeadKv, headDim, nFf } = shapeOf(metadata, architecture)
  const bytes = (n: number) => 4 * n * (2 * nLayer * nHeadKv * headDim + nHead * n + 2 * nFf + 6 * nEmbd)
  return CHOICES.find((n) => bytes(n) <= MEMORY_BUDGET) ?? CHOICES.at(-1)!
}

/** The numbers that memory depends on; of a list with a number per block the largest. */
function shapeOf(metadata: ReadonlyMap<string, unknown>, architecture: string) {
  const number = (key: string, fallback: number) => {
    const value = metadata.get(`${architecture}.${key}`)
    const each = isNumbers(value) ? Array.from(value, Number) : [Number(value)]
    const largest = Math.max(...each)
    return largest > 0 ? largest : fallback
  }
  const nEmbd = number('embedding_length', 4096)
  const nHead = number('attention.head_count', 32)
  return {
    nLayer: number('block_count', 32),
    nEmbd,
    nHead,
    nHeadKv: number('attention.head_count_kv', nHead),
    headDim: number('attention.key_length', nEmbd / nHead),
    nFf: number('feed_forward_length', 4 * nEmbd),
  }
}

function isNumbers(value: unknown): value is Iterable<number | bigint> {
  return ArrayBuffer.isView(value) && !(value instanceof DataView)
}

export const MAX_BATCH_TOKENS = 8192

export const MAX_THREADS = 512

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

/** Memory of a generation: what it holds of keys and values, and for how many sequences at once. */
export interface GenerationMemory {
  /** Sequences that are generated at once. */
  sequences: number
  /** Tokens of each that memory has room for. */
  cells: number
  /** Keys and values, F32. */
  bytes: number
  /** Tokens of one decode at most. */
  microBatch: number
}

/** llama.cpp counts the cells of a sequence in steps of this. */
const CELL_STEP = 256
const CPU_GENERATION_BYTES = 2 * 2 ** 30
const GPU_GENERATION_SHARE = 0.25
/** Attention scores or logits of one decode. */
const MICRO_BATCH_BYTES = 128 * 2 ** 20
const MICRO_BATCH = 512

/**
 * How many sequences are generated at once: as many as there are, up to llama.cpp's ceiling and to 2 GiB of keys and
 * values on a CPU, a quarter of the device's memory on a GPU. It depends on nothing that changes between two runs, such as
 * free memory: which sequences are computed together decides how sums round.
 */
export function planGeneration(
  model: {
    gguf: Pick<GgufFile, 'metadata'>
    info: { architecture: string; nVocab: number }
    gpuBytes?: number | undefined
  },
  wanted: {
    count: number
    /** Tokens of the longest sequence. */
    length: number
    /** Whether logits are read within sequences, not just at their ends. */
    scores: boolean
    sequences?: number | undefined
  },
): GenerationMemory {
  const { nLayer, nHead, nHeadKv, headDim } = shapeOf(model.gguf.metadata, model.info.architecture)
  const cells = Math.ceil(wanted.length / CELL_STEP) * CELL_STEP
  const bytesEach = 4 * 2 * nLayer * nHeadKv * headDim * cells
  const budget = model.gpuBytes === undefined ? CPU_GENERATION_BYTES : GPU_GENERATION_SHARE * model.gpuBytes
  const most = wanted.sequences ?? Math.max(1, Math.floor(budget / bytesEach))
  const sequences = Math.min(wanted.count, most, MAX_SEQUENCES)
  const perToken = 4 * Math.max(nHead * cells, wanted.scores ? model.info.nVocab : 0)
  const microBatch = Math.max(sequences, Math.min(MICRO_BATCH, Math.floor(MICRO_BATCH_BYTES / perToken)))
  return { sequences, cells, bytes: sequences * bytesEach, microBatch }
}

/** llama.cpp's `LLAMA_MAX_SEQ`. */
export const MAX_SEQUENCES = 256
