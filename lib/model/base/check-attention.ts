import type { BaseMetadata } from './base-metadata.js'

/** Rotary dimensions may be fewer than those of a head here only. */
const PARTIAL_ROTARY = 'phi3'

/**
 * Checks that head counts, head sizes and attention matrices agree, for the architectures with a module map: their
 * graphs reshape by these numbers and assert that the result fits.
 */
export function checkAttention(base: BaseMetadata): void {
  const blocks = base.integer('block_count') ?? base.refuse('block_count', 'an integer')
  const nEmbd = positive(base, 'embedding_length') ?? base.refuse('embedding_length', 'an integer')
  const heads = base.perBlock('attention.head_count') ?? base.refuse('attention.head_count', 'an integer')
  const kvHeads = base.perBlock('attention.head_count_kv') ?? heads
  for (const [i, nHead] of heads.entries()) {
    if (nHead < 1) base.refuse('attention.head_count', 'at least 1')
    const nKv = kvHeads[i]!
    if (nKv < 1 || nHead % nKv !== 0)
      base.refuse('attention.head_count_kv', `a divisor of the ${nHead} heads`)
  }
  const given = positive(base, 'attention.key_length')
  if (given === undefined && nEmbd % heads[0]! !== 0)
    base.refuse('embedding_length', `a multiple of the ${heads[0]} heads`)
  const headSize = given ?? nEmbd / heads[0]!
  // A default of llama.cpp that differs from key_length is as wrong as a stated one.
  const valueSize = positive(base, 'attention.value_length') ?? Math.floor(nEmbd / heads[0]!)
  if (valueSize !== headSize) base.refuse('attention.value_length', `the key length ${headSize}`)
  for (const key of ['attention.key_length_swa', 'attention.value_length_swa']) {
    if ((base.integer(key) ?? headSize) !== headSize) base.refuse(key, `the key length ${headSize}`)
  }
  for (const key of ['rope.dimension_count', 'rope.dimension_count_swa']) {
    const rotary = base.integer(key) ?? headSize
    const fits =
      base.architecture === PARTIAL_ROTARY ? rotary >= 2 && rotary <= headSize : rotary === headSize
    if (!fits || rotary % 2 !== 0) base.refuse(key, `even and the key length ${headSize}`)
  }
  for (let i = 0; i < blocks; i++) {
    const query = heads[i]! * headSize
    const key = kvHeads[i]! * headSize
    const fused = base.gguf.tensors.get(`blk.${i}.attn_qkv.weight`)
    const matrices: [name: string, rows: number][] = fused
      ? [['attn_qkv', query + 2 * key]]
      : [
          ['attn_q', query],
          ['attn_k', key],
          ['attn_v', key],
        ]
    for (const [name, rows] of matrices) {
      const shape = base.gguf.tensors.get(`blk.${i}.${name}.weight`)?.shape
      if (shape?.length !== 2 || shape[0] !== nEmbd || shape[1] !== rows)
        base.fail(
          `blk.${i}.${name}.weight of shape [${nEmbd},${rows}], found ${shape ? `[${shape}]` : 'none'}`,
        )
    }
    const output = base.gguf.tensors.get(`blk.${i}.attn_output.weight`)?.shape
    if (output && output[0] !== query)
      base.fail(`blk.${i}.attn_output.weight of shape [${query},${nEmbd}], found [${output}]`)
  }
}

function positive(base: BaseMetadata, key: string): number | undefined {
  const value = base.integer(key)
  return value === 0 ? base.refuse(key, 'at least 1') : value
}
