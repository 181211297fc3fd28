import { TraitscopeError } from '../errors.js'
import { dot, norm } from '../estimators/linalg.js'
import { columnMeans, type Matrix } from '../estimators/matrix.js'
import { Pca } from '../estimators/pca.js'

/**
 * How a direction is estimated; `mean-difference` is the published method, `pca` its library variant, `whitened` the mean
 * difference divided by what wordings do to states.
 */
export const DIRECTION_METHODS = ['mean-difference', 'pca', 'whitened'] as const
/** How a direction is found between the poles of a trait. */
export type DirectionMethod = (typeof DIRECTION_METHODS)[number]

/** A unit vector in activation space and how far apart the poles were along the way it was found. */
export interface Direction {
  /** Unit length, float64, shape `[nEmbd]`. */
  unit: Float64Array
  /** ‖mean(positive) − mean(negative)‖ in native activation units. */
  separation: number
}

/**
 * The published estimator: `d = mean(positive) − mean(negative)`, divided by its length. Means are
 * accumulated in float64. The pools may differ in size. Method section 4.1.
 *
 * @param positive shape `[nPositive, nEmbd]`, states under the positive pole
 * @param trait names the trait in errors
 * @throws TraitscopeError SHAPE when the difference is zero or not finite: such a trait has no direction
 */
export function meanDifference(positive: Matrix, negative: Matrix, trait: string): Direction {
  if (positive.cols !== negative.cols || positive.rows === 0 || negative.rows === 0) {
    throw new TraitscopeError(
      'SHAPE',
      `the poles of ${trait} must both hold rows of one width, found ${positive.rows} x ${positive.cols} and ` +
        `${negative.rows} x ${negative.cols}`,
    )
  }
  const difference = columnMeans(positive)
  const away = columnMeans(negative)
  for (let c = 0; c < difference.length; c++) difference[c]! -= away[c]!
  const separation = norm(difference)
  if (!Number.isFinite(separation)) {
    throw new TraitscopeError(
      'SHAPE',
      `the mean difference of ${trait} is not finite; its hidden states hold NaN or Inf`,
    )
  }
  if (separation === 0) {
    throw new TraitscopeError(
      'SHAPE',
      `the mean difference of ${trait} is zero: both poles give the same states, so their system prompts do not reach ` +
        'the model; check the chat template and the trait pack',
    )
  }
  return { unit: difference.map((value) => value / separation), separation }
}

/**
 * The PCA variant: the first principal component of the centred differences of paired rows, unit length. Row
 * k of `positive` belongs to row k of `negative`. Centring removes the mean difference and leaves the sign
 * open, so the sign is chosen to agree with {@link meanDifference} (if they are exactly orthogonal: the
 * largest entry is positive).
 *
 * @throws TraitscopeError SHAPE for pools of different size, or when there is nothing to decompose
 */
export function pcaDirection(positive: Matrix, negative: Matrix, trait: string): Direction {
  if (positive.rows !== negative.rows || positive.rows < 2) {
    throw new TraitscopeError(
      'SHAPE',
      `a PCA direction needs at least two pairs of rows, found ${positive.rows} positive and ${negative.rows} negative for ${trait}`,
    )
  }
  const mean = meanDifference(positive, negative, trait)
  const data = Float64Array.from(positive.data, (value, i) => value - negative.data[i]!)
  const pca = new Pca({ nComponents: 1 }).fit({ data, rows: positive.rows, cols: positive.cols })
  if (!(pca.singularValues[0]! > 0)) {
    throw new TraitscopeError(
      'SHAPE',
      `the differences of ${trait} are all equal, so they have no principal component`,
    )
  }
  const component = pca.components[0]!
  const sign = dot(component, mean.unit) < 0 ? -1 : 1
  return { unit: Float64Array.from(component, (value) => sign * value), separation: mean.separation }
}
