import { TraitscopeError } from '../../errors.js'
import type { GgufContents } from '../../formats/gguf/gguf.js'

/** Output rows of the attention projections of one block. */
export interface AttentionRows {
  /** Heads of q. */
  heads: number
  /** Heads of k and v. */
  kvHeads: number
  /** Rows of q, k and v: heads times head dimension, which need not be n_embd. */
  q: number
  k: number
  v: number
}

/**
 * Reads the attention shape of a block from the base's metadata. Per-block values (arrays) are honoured.
 *
 * @throws FILE_INVALID when a value is missing or impossible.
 */
export function attentionRows(base: GgufContents, architecture: string, layer: number): AttentionRows {
  const read = (key: string, fallback?: number): number => {
    const stored = base.metadata.get(`${architecture}.${key}`)
    const value = ArrayBuffer.isView(stored) ? Number((stored as Int32Array)[layer]) : stored
    if (value === undefined && fallback !== undefined) return fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 2 ** 24) return value
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected ${architecture}.${key} in ${base.path} to be a positive integer, found ${value}`,
    )
  }
  const heads = read('attention.head_count')
  const kvHeads = read('attention.head_count_kv', heads)
  const headDim = read('attention.key_length', Math.floor(read('embedding_length') / heads))
  const valueDim = read('attention.value_length', headDim)
  return { heads, kvHeads, q: heads * headDim, k: kvHeads * headDim, v: kvHeads * valueDim }
}
