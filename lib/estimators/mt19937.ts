import { integerOption } from '../arguments.js'
import { TraitscopeError } from '../errors.js'

const N = 624
const M = 397

/**
 * NumPy's legacy generator, `numpy.random.RandomState(seed)` for an integer seed: MT19937 with the streams of
 * `rand`, `randn`, `randint`, `shuffle` and `permutation`. scikit-learn draws from it, so equal folds and
 * forests need equal streams. Source: Matsumoto and Nishimura 1998; NumPy's `random_interval` (masked
 * rejection), legacy seeding and legacy Gaussian (Marsaglia's polar method).
 */
export class Mt19937 {
  readonly #state = new Uint32Array(N)
  #index = N
  #spareNormal: number | undefined

  /** @param seed integer in [0, 2^32) */
  constructor(seed: number) {
    integerOption('seed', seed, 0, 2 ** 32 - 1)
    this.#state[0] = seed
    for (let i = 1; i < N; i++) {
      const previous = this.#state[i - 1]!
      this.#state[i] = Math.imul(1812433253, previous ^ (previous >>> 30)) + i
    }
  }

  /** Next 32 random bits as an unsigned integer. */
  uint32(): number {
    if (this.#index === N) this.#refill()
    let y = this.#state[this.#index++]!
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    y ^= y >>> 18
    return y >>> 0
  }

  /** Uniform in [0, 1) with 53 bits: `RandomState.rand()`. */
  rand(): number {
    const high = this.uint32() >>> 5
    const low = this.uint32() >>> 6
    return (high * 67108864 + low) / 9007199254740992
  }

  /** Standard normal: `RandomState.randn()`. Two come from one accepted pair of uniform numbers. */
  randn(): number {
    const spare = this.#spareNormal
    this.#spareNormal = undefined
    if (spare !== undefined) return spare
    for (;;) {
      const a = 2 * this.rand() - 1
      const b = 2 * this.rand() - 1
      const square = a * a + b * b
      if (square >= 1 || square === 0) continue
      const factor = Math.sqrt((-2 * Math.log(square)) / square)
      this.#spareNormal = factor * a
      return factor * b
    }
  }

  /** Uniform integer in [0, n), 1 <= n <= 2^32: `RandomState.randint(n)`. */
  randint(n: number): number {
    if (!(Number.isInteger(n) && n >= 1 && n <= 2 ** 32)) {
      throw new TraitscopeError('USAGE', `randint needs an integer from 1 to 4294967296, got ${n}`)
    }
    const max = n - 1
    if (max === 0) return 0
    const mask = 2 ** (32 - Math.clz32(max)) - 1
    for (;;) {
      const value = (this.uint32() & mask) >>> 0
      if (value <= max) return value
    }
  }

  /** Shuffles in place and returns the same array: `RandomState.shuffle`. */
  shuffle<T extends { length: number; [index: number]: unknown }>(values: T): T {
    const items: { [index: number]: unknown } = values
    for (let i = values.length - 1; i > 0; i--) {
      const j = this.randint(i + 1)
      const swapped = items[i]
      items[i] = items[j]
      items[j] = swapped
    }
    return values
  }

  /** The integers 0..n-1 in random order: `RandomState.permutation(n)`. */
  permutation(n: number): Int32Array {
    return this.shuffle(Int32Array.from({ length: n }, (_, i) => i))
  }

  #refill(): void {
    const state = this.#state
    for (let i = 0; i < N; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % N]! & 0x7fffffff)
      state[i] = state[(i + M) % N]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)
    }
    this.#index = 0
  }
}

/** @throws TraitscopeError USAGE for none, or more than memory holds: how often chance is drawn */
export function checkDraws(draws: number): void {
  integerOption('draws', draws, 1, 1_000_000)
}
