import { TraitscopeError } from '../errors.js'

/** One measured block of a base, and what makes its drifts comparable with those of another base. */
export interface ContrastLayer {
  /** 0-based block. */
  layer: number
  /** N: mean over prompts of ‖h‖ at step 0, native activation units. */
  activationNorm: number
  /** Distance between the poles of each trait, in trait order, native activation units. */
  separation: readonly number[]
}

/** Measured blocks further apart than this share of the depth say nothing about what lies between them. */
const WIDEST_GAP = 0.25
/** A block this near, as a share of the depth, stands for one that was not measured. */
const NEAR = 1 / 16

/**
 * The matrix that turns drifts of a base (its layers side by side, each in trait order, in units of its step-0 norms) into
 * drifts in units of the block's {@link contrastOf} at some depths (side by side, in trait order). Depth is
 * `(block + 1) / blocks`; between two measured blocks it is interpolated.
 *
 * @param depths in (0, 1]
 * @param layers ascending
 * @param wanted indices of the traits that are read, in the reader's order; default all
 * @returns one row per depth and wanted trait, one column per layer and trait
 * @throws TraitscopeError NOT_COMPARABLE for a depth that no measured block is near
 */
export function contrastReading(
  depths: readonly number[],
  nLayer: number,
  layers: readonly ContrastLayer[],
  wanted: readonly number[] = [...(layers[0]?.separation.keys() ?? [])],
): number[][] {
  return depths.flatMap((depth) => {
    const weights = weightsAt(depth, nLayer, layers)
    return wanted.map((t) =>
      layers.flatMap(({ activationNorm, separation }, l) => {
        const unit = contrastOf(wanted.map((one) => separation[one]!))
        return separation.map((_, other) => (other === t ? (weights[l]! * activationNorm) / unit : 0))
      }),
    )
  })
}

/**
 * The unit of drifts that is comparable between bases: how far apart the poles of a block's traits lie, by the mean of their fourth
 * powers, so that the traits which the block tells apart best count. One unit for all traits of a block: how far apart a system
 * prompt sets the poles of one trait differs between bases by chance, far more than what a drift along it does.
 *
 * @param separation distances between the poles, native activation units
 */
export const contrastOf = (separation: readonly number[]): number =>
  (separation.reduce((sum, apart) => sum + apart ** 4, 0) / separation.length) ** 0.25

/**
 * Depths at which directions are made when nobody says where: those that are read, and one a little above, because a detector of the
 * base's own is better of two blocks than of one.
 */
export const depthsToMake = (read: readonly number[]): number[] => [...new Set([0.65, ...read])]

/** The blocks, 0-based and ascending, at which directions are made so that a drift can be read at some depths. */
export function blocksAt(depths: readonly number[], nLayer: number): number[] {
  const blocks = depths.flatMap((depth) => {
    const block = depth * nLayer - 1
    const near = Math.round(block)
    return Math.abs(near - block) <= NEAR * nLayer ? [near] : [Math.floor(block), Math.ceil(block)]
  })
  return [...new Set(blocks.map((block) => Math.max(0, block)))].sort((a, b) => a - b)
}

/** How much every layer counts at a depth; the weights sum to 1. */
function weightsAt(depth: number, nLayer: number, layers: readonly ContrastLayer[]): number[] {
  const block = depth * nLayer - 1
  const below = layers.findLastIndex(({ layer }) => layer <= block)
  const above = layers.findIndex(({ layer }) => layer >= block)
  if (below >= 0 && above >= 0) {
    const [from, to] = [layers[below]!.layer, layers[above]!.layer]
    const share = to === from ? 0 : (block - from) / (to - from)
    if (to - from <= Math.max(1, WIDEST_GAP * nLayer)) {
      return layers.map((_, l) => (l === below ? 1 - share : 0) + (l === above ? share : 0))
    }
  }
  const distance = ({ layer }: ContrastLayer) => Math.abs(layer - block)
  const nearest = layers.reduce((a, b) => (distance(b) < distance(a) ? b : a))
  if (distance(nearest) > NEAR * nLayer) {
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `expected a measured block about ${Math.round(block)} of ${nLayer}, found layer ${layers.map(({ layer }) => layer).join(', ')}; make directions at blocks ${Math.floor(block)} and ${Math.ceil(block)}`,
    )
  }
  return layers.map((one) => Number(one === nearest))
}

/** `read` times a row of drifts. */
export function readThrough(read: readonly (readonly number[])[], features: ArrayLike<number>): number[] {
  return read.map((row) => row.reduce((sum, weight, i) => sum + weight * features[i]!, 0))
}
