import { setImmediate } from 'node:timers/promises'
import { throwIfAborted } from '../errors.js'
import { largestEigenvalue } from '../estimators/largest-eigenvalue.js'
import { dot, gram, norm } from '../estimators/linalg.js'
import { columnMeans, type Matrix64, selectRows, transpose } from '../estimators/matrix.js'
import { Mt19937 } from '../estimators/mt19937.js'
import { svd } from '../estimators/svd.js'

/** How chance is drawn. */
export interface NullOptions {
  draws?: number | undefined
  /** Seed of {@link Mt19937}; the draws are not those of NumPy's default_rng. */
  seed?: number | undefined
  /** Looked at between draws, when the event loop gets its turn too. */
  signal?: AbortSignal | undefined
}

/**
 * The share of the first axis if every run moved in a direction of its own, uniform on the sphere of R^H, as
 * far as it really did: what the basis and the number of runs alone make of chance. Method section
 * 8.2, control 4.
 *
 * H numbers per run are never drawn. Of a uniform direction only its part within the span of the directions
 * matters: K normal numbers, beside a chi number for the length of all the rest. Exact in distribution.
 *
 * @param lengths ‖activation drift‖ per run
 * @param bases per run, its directions as rows, shape `[K, H]`; runs of one model share one object
 * @returns the shares of all draws, ascending, each in [0, 1]
 * @throws TraitscopeError ABORTED
 */
export async function projectedNull(
  lengths: readonly number[],
  bases: readonly Matrix64[],
  { draws = 1000, seed = 42, signal }: NullOptions = {},
): Promise<number[]> {
  const random = new Mt19937(seed)
  const frames = new Map([...new Set(bases)].map((basis) => [basis, spanOf(basis)]))
  const cols = bases[0]!.rows
  return shares(draws, signal, () => {
    const data = new Float64Array(lengths.length * cols)
    for (const [r, length] of lengths.entries()) {
      const { mixing, rank, nEmbd } = frames.get(bases[r]!)!
      const inside = Float64Array.from({ length: rank }, () => random.randn())
      const scale = length / Math.hypot(norm(inside), chi(random, nEmbd - rank))
      for (let c = 0; c < cols; c++) {
        for (let k = 0; k < rank; k++) data[r * cols + c]! += scale * mixing[k * cols + c]! * inside[k]!
      }
    }
    return { data, rows: lengths.length, cols }
  })
}

/**
 * {@link projectedNull} without a basis: PCA of the directions in R^H itself. Drawn as the triangular factor
 * of their Gram matrix (Bartlett's decomposition), which has the same axes.
 */
export async function nativeNull(
  lengths: readonly number[],
  nEmbd: number,
  { draws = 1000, seed = 42, signal }: NullOptions = {},
): Promise<number[]> {
  const random = new Mt19937(seed)
  const cols = Math.min(lengths.length, nEmbd)
  return shares(draws, signal, () => {
    const data = new Float64Array(lengths.length * cols)
    for (const [r, length] of lengths.entries()) {
      const row = data.subarray(r * cols, (r + 1) * cols)
      for (let c = 0; c < Math.min(r, cols); c++) row[c] = random.randn()
      if (r < cols) row[r] = chi(random, nEmbd - r)
      const scale = length / norm(row)
      for (let c = 0; c < cols; c++) row[c]! *= scale
    }
    return { data, rows: lengths.length, cols }
  })
}

/** A draw takes microseconds for a few runs and tens of milliseconds for a hundred. */
const TURN_MS = 10

async function shares(
  draws: number,
  signal: AbortSignal | undefined,
  draw: () => Matrix64,
): Promise<number[]> {
  const found: number[] = []
  let turn = performance.now()
  while (found.length < draws) {
    found.push(firstShare(draw()))
    if (performance.now() - turn < TURN_MS) continue
    await setImmediate()
    throwIfAborted(signal)
    turn = performance.now()
  }
  return found.sort((a, b) => a - b)
}

/** Share of the variance along the first axis of the centred rows. */
function firstShare(x: Matrix64): number {
  const means = columnMeans(x)
  const centred = { ...x, data: x.data.map((value, i) => value - means[i % x.cols]!) }
  const total = dot(centred.data, centred.data)
  return total > 0 ? largestEigenvalue(gram(x.rows > x.cols ? transpose(centred) : centred)) / total : 0
}

/** An orthonormal frame of the span of the rows, and how the rows are mixed from it. */
function spanOf(basis: Matrix64) {
  const { left, values } = svd(basis)
  const kept = Array.from(values.keys()).filter((k) => values[k]! > 1e-10 * values[0]!)
  const mixing = selectRows(left, kept).data
  for (const [k, i] of kept.entries()) {
    for (let c = 0; c < basis.rows; c++) mixing[k * basis.rows + c]! *= values[i]!
  }
  return { mixing, rank: kept.length, nEmbd: basis.cols }
}

/** Length of `n` standard normal numbers: the root of a gamma number (Marsaglia and Tsang 2000) above a few. */
function chi(random: Mt19937, n: number): number {
  if (n < 4) return norm(Float64Array.from({ length: Math.max(0, n) }, () => random.randn()))
  const d = n / 2 - 1 / 3
  for (;;) {
    const z = random.randn()
    const v = (1 + z / Math.sqrt(9 * d)) ** 3
    if (v > 0 && Math.log(1 - random.rand()) < (z * z) / 2 + d - d * v + d * Math.log(v))
      return Math.sqrt(2 * d * v)
  }
}
