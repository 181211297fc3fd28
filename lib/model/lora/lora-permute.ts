import { TraitscopeError } from '../../errors.js'
import type { GgufContents } from '../../formats/gguf/gguf.js'
import { type MappedModule, permutesQueryKey } from '../base/architectures.js'
import { attentionRows } from '../base/attention-rows.js'

/** For every row of a module in the base its row in the Hugging Face model; undefined where the converter kept them. */
export function rowOrder(
  { projection, layer }: MappedModule,
  rows: number,
  base: GgufContents,
  architecture: string,
): Uint32Array | undefined {
  if (layer === undefined || !permutesQueryKey(architecture)) return undefined
  if (projection !== 'q' && projection !== 'k') return undefined
  const { heads, kvHeads } = attentionRows(base, architecture, layer)
  return rotaryRowOrder(rows, projection === 'q' ? heads : kvHeads)
}

/**
 * Row order of q and k in a converted GGUF of a model whose rotary embedding pairs neighbouring rows: inside a head of
 * d rows, row 2j + p of the GGUF is row p·d/2 + j of the Hugging Face model (j < d/2, p = 0 or 1).
 *
 * @param rows rows of the projection, `heads` times an even head dimension
 * @returns for every GGUF row the Hugging Face row it holds
 * @throws ADAPTER_MISMATCH when the rows do not split into heads of even size
 */
export function rotaryRowOrder(rows: number, heads: number): Uint32Array {
  const headRows = rows / heads
  if (!Number.isInteger(headRows) || headRows % 2 !== 0) {
    throw new TraitscopeError(
      'ADAPTER_MISMATCH',
      `expected the rows of an attention projection to split into ${heads} heads of even size, found ${rows} rows`,
    )
  }
  const half = headRows / 2
  return Uint32Array.from({ length: rows }, (_, row) => {
    const inHead = row % headRows
    return row - inHead + (inHead % 2) * half + (inHead >> 1)
  })
}

/**
 * Reorders the rows of a row-major matrix: row i of the result is row `order[i]` of the input. On lora_B this equals
 * reordering the rows of B·A; lora_A stays as it is.
 */
export function permuteRows(matrix: Float32Array, columns: number, order: Uint32Array): Float32Array {
  const result = new Float32Array(matrix.length)
  order.forEach((source, row) => {
    result.set(matrix.subarray(source * columns, (source + 1) * columns), row * columns)
  })
  return result
}
