import { TraitscopeError } from '../errors.js'
import { norm } from '../estimators/linalg.js'
import { type Matrix, row } from '../estimators/matrix.js'

/** Projections of one layer's states on its directions, one number per trait in trait order. */
export interface Projection {
  /** Mean over prompts of h · d, native activation units. */
  mean: number[]
  /** Standard deviation over prompts of h · d, ddof 1; 0 for a single prompt. */
  std: number[]
}

/**
 * Projects hidden states on unit directions, accumulated in float64. Method section 5.1.
 *
 * @param states shape `[nPrompts, nEmbd]`
 * @param directions shape `[nTraits, nEmbd]`
 * @throws TraitscopeError SHAPE for other widths, or when nothing is there to average
 */
export function project(states: Matrix, directions: Matrix): Projection {
  const { rows, cols } = states
  if (rows === 0 || cols !== directions.cols) {
    throw new TraitscopeError(
      'SHAPE',
      `expected states as wide as the directions (${directions.cols}), found ${rows} rows of ${cols}`,
    )
  }
  const mean: number[] = []
  const std: number[] = []
  const along = new Float64Array(rows)
  for (let t = 0; t < directions.rows; t++) {
    let sum = 0
    for (let r = 0; r < rows; r++) {
      let product = 0
      for (let c = 0, s = r * cols, d = t * cols; c < cols; c++, s++, d++) {
        product += states.data[s]! * directions.data[d]!
      }
      along[r] = product
      sum += product
    }
    const average = sum / rows
    let squares = 0
    for (let r = 0; r < rows; r++) squares += (along[r]! - average) ** 2
    mean.push(average)
    std.push(rows > 1 ? Math.sqrt(squares / (rows - 1)) : 0)
  }
  return { mean, std }
}

/**
 * The means of {@link project} over each of some groups of rows that follow each other.
 *
 * @param sizes of the groups; they sum to the rows
 * @returns per group one number per trait
 * @throws TraitscopeError SHAPE
 */
export function projectGroups(states: Matrix, directions: Matrix, sizes: readonly number[]): number[][] {
  const { cols } = states
  let from = 0
  return sizes.map((rows) => {
    const data = states.data.subarray(from * cols, (from + rows) * cols)
    from += rows
    return project({ data, rows, cols }, directions).mean
  })
}

/**
 * Mean of the rows' Euclidean norms, in native activation units. At step 0 it is the N that drift is divided
 * by. It is the mean of norms, not the norm of the mean: the latter shrinks when prompts disagree.
 */
export function activationNorm(states: Matrix): number {
  let sum = 0
  for (let r = 0; r < states.rows; r++) sum += norm(row(states, r))
  return sum / states.rows
}
