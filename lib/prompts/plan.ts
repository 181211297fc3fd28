import type { NativeBatch } from '../binding.js'
import { TraitscopeError } from '../errors.js'
import { checkLength, contextCells, type PromptLimits } from '../model/base/prompt-limits.js'
import { MAX_SEQUENCES } from '../model/placement.js'
import { type BatchRange, chooseBatches } from './plan-batches.js'

export const POOLINGS = ['last', 'mean', 'tokens'] as const
/** How the states of a prompt's tokens become output rows. */
export type Pooling = (typeof POOLINGS)[number]

export interface PlanOptions {
  /** Most tokens that memory holds: the context's `n_ctx` = `n_batch` = `n_ubatch`. */
  maxTokens: number
  /**
   * Whether batches are computed in groups, and memory holds the tokens of one prompt and one group at a time: only
   * sequence ids then limit a batch. Default false: `maxTokens` does too, as it does for rows that are means.
   */
  inGroups?: boolean
  /** Most sequence ids one batch may use, 1 to 256 (llama.cpp's ceiling). Default 256. */
  maxSequences?: number
  /** What the base says of the length of prompts; those that need another context share no batch. */
  limits?: PromptLimits
  pool: Pooling
}

export type PlanBatch = NativeBatch

export interface PromptPlan {
  batches: PlanBatch[]
  nRows: number
  /** CSR offsets of prompts into rows, length nPrompts + 1. One row per prompt, or one per token for `tokens`. */
  promptRows: Int32Array
  /** `total`: tokens of all prompts as given. `computed`: tokens that the batches decode. */
  tokens: { total: number; computed: number }
}

/**
 * Plans how to compute many prompts with the fewest tokens: prompts form a prefix tree, a token of a shared prefix is
 * computed once per batch and belongs to every sequence below it, and identical prompts share all of it. Sequences are
 * the tree's leaves, so a prompt that is a prefix of another needs no id of its own.
 *
 * The plan is deterministic, and depends on the order of `prompts` only in where rows go.
 *
 * @param prompts Token ids of each prompt, not empty.
 * @throws TraitscopeError `PROMPT_TOO_LONG` when a prompt has more than `maxTokens` tokens; `USAGE` for an empty
 * prompt, a negative token id or an impossible option.
 */
export function planPrompts(prompts: readonly Int32Array[], options: PlanOptions): PromptPlan {
  const { maxTokens, maxSequences = MAX_SEQUENCES, pool } = options
  const cellsFor = (tokens: number) =>
    options.limits ? contextCells(options.limits, tokens, maxTokens) : maxTokens
  checkOptions(maxTokens, maxSequences, pool)
  prompts.forEach((tokens, index) => {
    checkPrompt(tokens, index, maxTokens)
    if (options.limits) checkLength(options.limits, tokens.length, `prompt ${index}`)
  })

  const promptRows = new Int32Array(prompts.length + 1)
  let total = 0
  prompts.forEach((tokens, index) => {
    total += tokens.length
    promptRows[index + 1] = promptRows[index]! + (pool === 'tokens' ? tokens.length : 1)
  })

  const kinds = new Map<number, number[]>()
  prompts.forEach(({ length }, index) => {
    const cells = cellsFor(length)
    const of = kinds.get(cells)
    if (of) of.push(index)
    else kinds.set(cells, [index])
  })
  const batches = [...kinds].flatMap(([cells, of]) => {
    const unique = sortUnique(prompts, of)
    const batchTokens = options.inGroups && pool !== 'mean' ? Number.POSITIVE_INFINITY : cells
    return chooseBatches(unique, batchTokens, maxSequences).map((range) =>
      buildBatch(unique, range, pool, promptRows),
    )
  })
  const computed = batches.reduce((sum, batch) => sum + batch.tokens.length, 0)
  return { batches, nRows: promptRows[prompts.length]!, promptRows, tokens: { total, computed } }
}

function checkOptions(maxTokens: number, maxSequences: number, pool: Pooling): void {
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    throw new TraitscopeError('USAGE', `expected maxTokens to be a positive integer, found ${maxTokens}`)
  }
  if (!Number.isInteger(maxSequences) || maxSequences < 1 || maxSequences > MAX_SEQUENCES) {
    throw new TraitscopeError(
      'USAGE',
      `expected maxSequences to be an integer from 1 to ${MAX_SEQUENCES}, found ${maxSequences}`,
    )
  }
  if (pool !== 'last' && pool !== 'mean' && pool !== 'tokens') {
    throw new TraitscopeError('USAGE', `expected pool to be last, mean or tokens, found ${String(pool)}`)
  }
}

function checkPrompt(tokens: Int32Array, index: number, maxTokens: number): void {
  if (tokens.length === 0) {
    throw new TraitscopeError('USAGE', `prompt ${index} has no tokens; give it a text or leave it out`)
  }
  if (tokens.length > maxTokens) {
    throw new TraitscopeError(
      'PROMPT_TOO_LONG',
      `prompt ${index} has ${tokens.length} tokens, but memory holds ${maxTokens} at once; ` +
        'shorten the prompt or raise batchTokens (--batch-tokens)',
    )
  }
  const bad = tokens.findIndex((token) => token < 0)
  if (bad >= 0) {
    throw new TraitscopeError(
      'USAGE',
      `prompt ${index} has the token id ${tokens[bad]} at position ${bad}; token ids are never negative`,
    )
  }
}

/** A distinct token sequence, the prompts that are it, and how much of it repeats the one sorted before it. */
export interface UniquePrompt {
  tokens: Int32Array
  /** Indices into the caller's list, ascending. */
  prompts: number[]
  /** Length of the common prefix with the previous unique prompt, 0 for the first. */
  shared: number
}

/** Lexicographic order puts every subtree of the prefix tree into one contiguous range. */
function sortUnique(prompts: readonly Int32Array[], of: readonly number[]): UniquePrompt[] {
  const order = [...of]
  order.sort((a, b) => compareTokens(prompts[a]!, prompts[b]!) || a - b)
  const unique: UniquePrompt[] = []
  for (const index of order) {
    const tokens = prompts[index]!
    const previous = unique.at(-1)
    const shared = previous === undefined ? 0 : commonPrefix(previous.tokens, tokens)
    if (previous !== undefined && shared === tokens.length && shared === previous.tokens.length) {
      previous.prompts.push(index)
    } else {
      unique.push({ tokens, prompts: [index], shared })
    }
  }
  return unique
}

function commonPrefix(a: Int32Array, b: Int32Array): number {
  const length = Math.min(a.length, b.length)
  let i = 0
  while (i < length && a[i] === b[i]) i++
  return i
}

function compareTokens(a: Int32Array, b: Int32Array): number {
  const i = commonPrefix(a, b)
  if (i === a.length || i === b.length) return a.length - b.length
  return a[i]! - b[i]!
}

function buildBatch(
  unique: readonly UniquePrompt[],
  { begin, end, nTokens }: BatchRange,
  pool: Pooling,
  promptRows: Int32Array,
): PlanBatch {
  const tokens = new Int32Array(nTokens)
  const positions = new Int32Array(nTokens)
  const firstId = new Int32Array(nTokens)
  const endId = new Int32Array(nTokens)
  const rowOffsets = [0]
  const rowTokens: number[] = []
  const outputRows: number[] = []

  // `path[p]` is the batch index of the token at position p of the prompt at hand.
  const path: number[] = []
  let count = 0
  let leaves = 0
  for (let k = begin; k < end; k++) {
    const prompt = unique[k]!
    const kept = k === begin ? 0 : prompt.shared
    if (kept < path.length) leaves++ // the branch that we leave ended in a leaf
    for (const left of path.splice(kept)) endId[left] = leaves
    for (let position = kept; position < prompt.tokens.length; position++) {
      tokens[count] = prompt.tokens[position]!
      positions[count] = position
      firstId[count] = leaves
      path.push(count++)
    }
    for (const index of prompt.prompts) {
      const row = promptRows[index]!
      if (pool === 'tokens') {
        path.forEach((token, position) => {
          rowTokens.push(token)
          outputRows.push(row + position)
          rowOffsets.push(rowTokens.length)
        })
      } else {
        if (pool === 'mean') for (const token of path) rowTokens.push(token)
        else rowTokens.push(path.at(-1)!)
        outputRows.push(row)
        rowOffsets.push(rowTokens.length)
      }
    }
  }
  leaves++
  for (const left of path) endId[left] = leaves

  const seqOffsets = new Int32Array(nTokens + 1)
  for (let i = 0; i < nTokens; i++) seqOffsets[i + 1] = seqOffsets[i]! + endId[i]! - firstId[i]!
  const seqIds = new Int32Array(seqOffsets[nTokens]!)
  for (let i = 0, at = 0; i < nTokens; i++) {
    for (let id = firstId[i]!; id < endId[i]!; id++) seqIds[at++] = id
  }
  return {
    tokens,
    positions,
    seqOffsets,
    seqIds,
    rowOffsets: Int32Array.from(rowOffsets),
    rowTokens: Int32Array.from(rowTokens),
    outputRows: Int32Array.from(outputRows),
  }
}
