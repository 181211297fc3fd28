/** One matrix pair: `a` is `[r, in]`, `b` is `[out, r]`, both row-major; the delta is B·A. */
export interface LoraPair {
  a: Float32Array
  b: Float32Array
  r: number
  inFeatures: number
  outFeatures: number
}

/** A block of output rows of the fused matrix; without a pair its delta is zero. */
export interface FusedBlock {
  rows: number
  pair?: LoraPair
}

/**
 * The exact adapter of a matrix whose row blocks have adapters of their own (q, k and v in one tensor): A stacks the
 * parts, B is block-diagonal. The rank is the sum of the parts' ranks; scales must be folded into the B already.
 */
export function fusePairs(blocks: readonly FusedBlock[], inFeatures: number): LoraPair {
  const r = blocks.reduce((sum, block) => sum + (block.pair?.r ?? 0), 0)
  const outFeatures = blocks.reduce((sum, block) => sum + block.rows, 0)
  const a = new Float32Array(r * inFeatures)
  const b = new Float32Array(outFeatures * r)
  let row = 0
  let rank = 0
  for (const { rows, pair } of blocks) {
    if (pair) {
      a.set(pair.a, rank * inFeatures)
      for (let i = 0; i < rows; i++) {
        b.set(pair.b.subarray(i * pair.r, (i + 1) * pair.r), (row + i) * r + rank)
      }
      rank += pair.r
    }
    row += rows
  }
  return { a, b, r, inFeatures, outFeatures }
}
