import { TraitscopeError } from '../errors.js'
import { assertTargets, assertWeights } from './matrix.js'
import { notFitted, stateOf } from './state.js'

/** What fitting found. */
export interface IsotonicState {
  /** Knots, ascending. */
  x: number[]
  /** Values at the knots, never falling. */
  y: number[]
}

/** Plain state of an {@link Isotonic}. */
export interface IsotonicJson {
  estimator: 'isotonic'
  fitted: IsotonicState | null
}

/** Inputs closer than this (NumPy's float64 resolution) count as one. */
const SAME = 1e-15

/**
 * Monotone regression on one number: the rising function nearest to the targets in least squares, linear
 * between its knots and constant outside. Equal to scikit-learn's `IsotonicRegression(out_of_bounds='clip')`.
 */
export class Isotonic {
  #fitted: IsotonicState | undefined

  /**
   * @param x length n >= 1
   * @param y length n
   * @param sampleWeights length n, >= 0, not all zero; all 1 when absent
   * @throws TraitscopeError SHAPE on input that is not finite
   */
  fit(x: ArrayLike<number>, y: ArrayLike<number>, sampleWeights?: ArrayLike<number>): this {
    this.#fitted = undefined
    if (x.length === 0)
      throw new TraitscopeError('SHAPE', 'a monotone regression needs at least 1 row, got 0')
    const weights = sampleWeights ?? new Float64Array(x.length).fill(1)
    assertTargets(x, x.length, 'inputs of a monotone regression')
    assertTargets(y, x.length)
    assertWeights(weights, x.length)
    const order = Array.from({ length: x.length }, (_, i) => i)
      .filter((i) => weights[i]! > 0)
      .sort((a, b) => x[a]! - x[b]! || y[a]! - y[b]!)

    // Equal inputs first become one point, then neighbours that fall are pooled into blocks.
    const points: Block[] = []
    for (const i of order) {
      const last = points.at(-1)
      if (last && x[i]! - last.from < SAME) pool(last, { sum: weights[i]! * y[i]!, weight: weights[i]! })
      else points.push({ from: x[i]!, to: x[i]!, sum: weights[i]! * y[i]!, weight: weights[i]! })
    }
    const blocks: Block[] = []
    for (const point of points) {
      let block = point
      for (let last = blocks.at(-1); last && mean(last) >= mean(block); last = blocks.at(-1)) {
        blocks.pop()
        block = { ...pool(last, block), to: block.to }
      }
      blocks.push(block)
    }
    const knots = blocks.flatMap((block) => {
      const ends = block.from === block.to ? [block.from] : [block.from, block.to]
      return ends.map((end) => ({ x: end, y: mean(block) }))
    })
    this.#fitted = { x: knots.map((knot) => knot.x), y: knots.map((knot) => knot.y) }
    return this
  }

  /** One value per input, within the range of the training targets. */
  predict(x: ArrayLike<number>): Float64Array {
    const { x: knots, y } = this.#fitted ?? notFitted('Isotonic')
    assertTargets(x, x.length, 'inputs of a monotone regression')
    return Float64Array.from(x, (value) => {
      const above = knots.findIndex((knot) => knot >= value)
      if (above < 0) return y.at(-1)!
      if (above === 0) return y[0]!
      const below = above - 1
      const slope = (y[above]! - y[below]!) / (knots[above]! - knots[below]!)
      return y[below]! + slope * (value - knots[below]!)
    })
  }

  toJSON(): IsotonicJson {
    return { estimator: 'isotonic', fitted: structuredClone(this.#fitted ?? null) }
  }

  /** Restores {@link Isotonic.toJSON}; `FILE_INVALID` when the state is not one. */
  static fromJSON(json: unknown): Isotonic {
    const { fitted } = stateOf<IsotonicJson, IsotonicState>(json, 'isotonic', { x: 'numbers', y: 'numbers' })
    if (fitted && (fitted.x.length !== fitted.y.length || fitted.x.length === 0)) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `'fitted' of the 'isotonic' state must hold as many x as y, at least 1`,
      )
    }
    const isotonic = new Isotonic()
    isotonic.#fitted = structuredClone(fitted)
    return isotonic
  }
}

/** Neighbouring points with one value: the weighted mean of theirs. */
interface Block {
  from: number
  to: number
  sum: number
  weight: number
}

const mean = ({ sum, weight }: Block) => sum / weight

/** Adds the mass of `other` to `block`, in place. */
function pool(block: Block, other: { sum: number; weight: number }): Block {
  block.sum += other.sum
  block.weight += other.weight
  return block
}
