import type { LoraModule } from '../formats/peft.js'

/**
 * Frobenius norm of a module's weight change, ||s·B·A||, without forming the `[out, in]` product:
 * ||s·B·A||² = s² · trace((BᵀB)(A·Aᵀ)), from two r×r Gram matrices in float64.
 *
 * Costs about r²·(in + out) multiply-adds: 1 ms for r = 16 on a 4096×4096 module.
 */
export function loraDeltaNorm(module: Pick<LoraModule, 'a' | 'b' | 'r' | 'scale'>): number {
  const { a, b, r, scale } = module
  const gramA = rowGram(a, r)
  const gramB = columnGram(b, r)
  let trace = 0
  for (let i = 0; i < r; i++) {
    trace += gramA[i * r + i]! * gramB[i * r + i]!
    for (let j = 0; j < i; j++) trace += 2 * gramA[i * r + j]! * gramB[i * r + j]!
  }
  // The trace of two positive semi-definite matrices is not negative; rounding can make it so.
  return Math.abs(scale) * Math.sqrt(Math.max(0, trace))
}

/** Lower triangle of A·Aᵀ for row-major A `[r, n]`. */
function rowGram(a: Float32Array, r: number): Float64Array {
  const n = a.length / r
  const gram = new Float64Array(r * r)
  for (let i = 0; i < r; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0
      for (let k = 0; k < n; k++) sum += a[i * n + k]! * a[j * n + k]!
      gram[i * r + j] = sum
    }
  }
  return gram
}

/** Lower triangle of BᵀB for row-major B `[n, r]`. */
function columnGram(b: Float32Array, r: number): Float64Array {
  const gram = new Float64Array(r * r)
  for (let row = 0; row < b.length; row += r) {
    for (let i = 0; i < r; i++) {
      const value = b[row + i]!
      for (let j = 0; j <= i; j++) gram[i * r + j] = gram[i * r + j]! + value * b[row + j]!
    }
  }
  return gram
}
