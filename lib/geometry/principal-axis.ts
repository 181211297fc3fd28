import { cosine } from '../estimators/linalg.js'
import { matrixFromRows } from '../estimators/matrix.js'
import { Pca } from '../estimators/pca.js'

/** Centred principal components of a set of drifts. */
export interface PrincipalAxes {
  /** Share of the variance along every component, largest first; all 0 when nothing varies. */
  shares: number[]
  /** Unit vectors as rows, as many as `shares`. */
  components: number[][]
}

/**
 * PCA of drifts, each of one run.
 *
 * @param drifts shape `[n, p]`, n >= 2
 * @param upwards index of the entry that is positive in every component; by default the largest one is
 * @throws TraitscopeError SHAPE for fewer than two drifts, or numbers that are not finite
 */
export function principalAxes(drifts: readonly ArrayLike<number>[], upwards?: number): PrincipalAxes {
  const pca = new Pca().fit(matrixFromRows(drifts))
  const components = pca.components.map((component) => {
    const sign = upwards !== undefined && component[upwards]! < 0 ? -1 : 1
    return component.map((value) => sign * value)
  })
  return { shares: [...pca.explainedVarianceRatio], components }
}

/** The first axis with one group of drifts left out. */
export interface AxisWithoutGroup {
  group: string
  /** Share of the variance of the others along their own first axis. */
  share: number
  axis: number[]
  /** Cosine with the axis of all drifts; the sign is chosen so that it is not negative. */
  cosine: number
}

/** How far the first axis hangs on one group of runs: leaves each out in turn. Method section 8.1. */
export function leaveOneGroupOut(
  drifts: readonly { group: string; values: ArrayLike<number> }[],
  axis: readonly number[],
): AxisWithoutGroup[] {
  return [...new Set(drifts.map(({ group }) => group))].map((group) => {
    const others = drifts.filter((one) => one.group !== group).map(({ values }) => values)
    const { shares, components } = principalAxes(others)
    const along = cosine(components[0]!, axis)
    const sign = along < 0 ? -1 : 1
    return { group, share: shares[0]!, axis: components[0]!.map((v) => sign * v), cosine: sign * along }
  })
}
