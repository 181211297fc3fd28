import { TraitscopeError } from '../errors.js'
import { assertColumns, type Matrix } from './matrix.js'

/**
 * Decision trees in flat arrays, one tree after another. A node's left child is the next node, so only the
 * right child is stored.
 */
export interface Trees {
  /** Index of the root of every tree. */
  roots: number[]
  /** Column that a node tests; -1 at a leaf. */
  feature: number[]
  /** Threshold of an inner node: rows go left when `float32(x) <= value`. Prediction of a leaf. */
  value: number[]
  /** Index of the right child; 0 at a leaf. */
  right: number[]
}

/** The kinds of the fields of {@link Trees} for `stateOf`. */
export const TREES_FIELDS = {
  roots: 'numbers',
  feature: 'numbers',
  value: 'numbers',
  right: 'numbers',
} as const

export function noTrees(): Trees {
  return { roots: [], feature: [], value: [], right: [] }
}

/**
 * Rows as trees read them: float32, row-major.
 *
 * @throws TraitscopeError SHAPE when a number is not finite as float32 or the width differs
 */
export function float32Rows(x: Matrix, name: string, cols = x.cols): Float32Array {
  assertColumns(x, name, cols)
  if (x.data instanceof Float32Array) return x.data
  const data = new Float32Array(x.data)
  const at = data.findIndex((value) => !Number.isFinite(value))
  if (at >= 0) {
    throw new TraitscopeError(
      'SHAPE',
      `${name} reads float32, which cannot hold ${x.data[at]} in row ${Math.floor(at / cols)}, column ${at % cols}; scale the features`,
    )
  }
  return data
}

/** What the tree that starts at node `root` says of the row that starts at `rows[at]`. */
export function predictTree(trees: Trees, root: number, rows: Float32Array, at: number): number {
  const { feature, value, right } = trees
  let node = root
  for (let f = feature[node]!; f >= 0; f = feature[node]!) {
    node = rows[at + f]! <= value[node]! ? node + 1 : right[node]!
  }
  return value[node]!
}

/** Sum over all trees per row, added in the order of the trees to `start`, each times `rate`. */
export function sumTrees(trees: Trees, rows: Float32Array, cols: number, start = 0, rate = 1): Float64Array {
  const sums = new Float64Array(rows.length / cols).fill(start)
  for (const root of trees.roots) {
    for (let r = 0; r < sums.length; r++) sums[r]! += rate * predictTree(trees, root, rows, r * cols)
  }
  return sums
}

/**
 * Throws `FILE_INVALID` unless following the nodes of trees from a file ends at a leaf and reads columns
 * below `cols`.
 */
export function assertTrees({ roots, feature, value, right }: Trees, cols: number): void {
  const n = feature.length
  const isNode = (i: number, from: number) => Number.isInteger(i) && i >= from && i < n
  const sound =
    value.length === n &&
    right.length === n &&
    roots.length > 0 &&
    roots.every((root) => isNode(root, 0)) &&
    feature.every(
      (f, i) => f === -1 || (Number.isInteger(f) && f >= 0 && f < cols && isNode(right[i]!, i + 2)),
    )
  if (!sound) {
    throw new TraitscopeError(
      'FILE_INVALID',
      'the nodes of the fitted trees do not form trees; fit them again',
    )
  }
}
