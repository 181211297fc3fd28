import type { Mt19937 } from './mt19937.js'
import type { Criterion } from './split-criteria.js'
import type { Trees } from './trees.js'

export interface TreeShape {
  maxDepth: number
  /** Rows that a leaf holds at least; a row drawn twice into the bootstrap sample counts once. */
  minLeaf: number
  /** Columns that a split looks at, drawn anew for every node. */
  maxFeatures: number
}

/** Values no further apart than this (in float32) count as equal. */
const SAME = Math.fround(1e-7)
/** Nodes with less impurity are pure but for rounding. */
const PURE = Number.EPSILON

interface Split {
  feature: number
  threshold: number
  gain: number
}

/**
 * Grows decision trees on one set of rows as scikit-learn 1.9's depth-first builder with the best splitter
 * does: thresholds halfway between neighbours, columns visited in a random order from its own 32-bit xorshift
 * stream, the first of equal gains kept, and sums taken in its order, since splits that part the rows alike
 * differ by rounding alone. Columns are sorted once, and every split keeps them sorted.
 */
export class TreeGrower {
  readonly #rows: number
  readonly #cols: number
  /** Column-major float32 values, and the rows in ascending order of each column. */
  readonly #values: Float32Array
  readonly #order: Int32Array
  readonly #criterion: Criterion
  readonly #shape: TreeShape

  // Of the tree that is growing: a node owns the range [start, end) of `#samples` and of every sorted column.
  readonly #sorted: Int32Array
  readonly #samples: Int32Array
  readonly #goesLeft: Uint8Array
  readonly #aside: Int32Array
  /** A permutation of the columns; the known constant ones of the current node come first. */
  readonly #features: Int32Array
  readonly #constants: Int32Array
  readonly #weighted: Float64Array
  /** Weighted sum and weight of the rows left of a threshold. */
  readonly #left = new Float64Array(2)
  #target: Float64Array = new Float64Array()
  #weights: Float64Array = new Float64Array()
  #totalWeight = 0
  #seed = 0
  #trees: Trees | undefined

  /** @param data shape `[rows, cols]`, row-major and finite */
  constructor(data: Float32Array, cols: number, criterion: Criterion, shape: TreeShape) {
    this.#cols = cols
    this.#rows = data.length / cols
    this.#criterion = criterion
    this.#shape = shape
    const rows = this.#rows
    this.#values = new Float32Array(data.length)
    this.#order = new Int32Array(data.length)
    for (let f = 0; f < cols; f++) {
      const column = this.#values.subarray(f * rows, (f + 1) * rows)
      for (let r = 0; r < rows; r++) column[r] = data[r * cols + f]!
      const order = this.#order.subarray(f * rows, (f + 1) * rows)
      for (let r = 0; r < rows; r++) order[r] = r
      order.sort((a, b) => column[a]! - column[b]! || a - b)
    }
    this.#sorted = new Int32Array(data.length)
    this.#samples = new Int32Array(rows)
    this.#goesLeft = new Uint8Array(rows)
    this.#aside = new Int32Array(rows)
    this.#features = new Int32Array(cols)
    this.#constants = new Int32Array(cols)
    this.#weighted = new Float64Array(rows)
  }

  /**
   * Appends one tree to `trees`.
   *
   * @param target length `rows`
   * @param weights length `rows`; rows of weight 0 take no part
   */
  grow(trees: Trees, target: Float64Array, weights: Float64Array, random: Mt19937): void {
    this.#trees = trees
    this.#target = target
    this.#weights = weights
    this.#seed = random.randint(2 ** 31 - 1)
    let inBag = 0
    this.#totalWeight = 0
    for (let r = 0; r < this.#rows; r++) {
      this.#weighted[r] = weights[r]! * target[r]!
      this.#totalWeight += weights[r]!
      if (weights[r]! > 0) this.#samples[inBag++] = r
    }
    for (let f = 0, column = 0; f < this.#cols; f++, column += this.#rows) {
      this.#features[f] = f
      for (let i = column, to = column; i < column + this.#rows; i++) {
        const r = this.#order[i]!
        if (weights[r]! > 0) this.#sorted[to++] = r
      }
    }
    trees.roots.push(trees.feature.length)
    this.#node(0, inBag, 0, undefined, 0)
  }

  /** Appends the node of the rows [start, end) and all below it; `known` constant columns come first. */
  #node(start: number, end: number, depth: number, knownImpurity: number | undefined, known: number): void {
    const { maxDepth, minLeaf } = this.#shape
    const trees = this.#trees!
    let sum = 0
    let squares = 0
    let weight = 0
    for (let p = start; p < end; p++) {
      const r = this.#samples[p]!
      sum += this.#weighted[r]!
      squares += this.#weighted[r]! * this.#target[r]!
      weight += this.#weights[r]!
    }
    const impurity = knownImpurity ?? this.#criterion.impurity(sum, squares, weight)
    const node = trees.feature.length
    trees.feature.push(-1)
    trees.value.push(sum / weight)
    trees.right.push(0)
    if (depth >= maxDepth || end - start < Math.max(2, 2 * minLeaf) || !(impurity > PURE)) return

    const { split, constants } = this.#bestSplit(start, end, sum, weight, known)
    if (split === undefined) return
    const middle = this.#part(start, end, split)
    this.#left.fill(0)
    this.#moveLeft(this.#samples, start, middle, end, sum, weight)
    const sumLeft = this.#left[0]!
    const weightLeft = this.#left[1]!
    let squaresLeft = 0
    for (let p = start; p < middle; p++) {
      const r = this.#samples[p]!
      squaresLeft += this.#weighted[r]! * this.#target[r]!
    }
    const weightRight = weight - weightLeft
    const left = this.#criterion.impurity(sumLeft, squaresLeft, weightLeft)
    const right = this.#criterion.impurity(sum - sumLeft, squares - squaresLeft, weightRight)
    const removed = impurity - (weightRight / weight) * right - (weightLeft / weight) * left
    if ((weight / this.#totalWeight) * removed + PURE < 0) return

    trees.feature[node] = split.feature
    trees.value[node] = split.threshold
    this.#node(start, middle, depth + 1, left, constants)
    trees.right[node] = trees.feature.length
    this.#node(middle, end, depth + 1, right, constants)
  }

  /**
   * The best split of a node, and how many columns are constant in it. The bookkeeping decides how the random
   * stream is used: constant columns are drawn but not counted, and a node inherits those of its ancestors.
   */
  #bestSplit(start: number, end: number, sum: number, weight: number, known: number) {
    const features = this.#features
    const { maxFeatures } = this.#shape
    const best: Split = { feature: -1, threshold: 0, gain: Number.NEGATIVE_INFINITY }
    let undrawn = this.#cols // features[undrawn..] were drawn and are not constant
    let constants = known
    let visited = 0
    let found = 0
    let drawn = 0 // of the known constant ones
    let last = -1
    while (undrawn > constants && (visited < maxFeatures || visited <= found + drawn)) {
      visited++
      let at = drawn + (this.#random() % (undrawn - found - drawn))
      if (at < known) {
        swap(features, at, drawn++)
        continue
      }
      at += found
      last = features[at]!
      const column = last * this.#rows
      const lowest = this.#values[column + this.#sorted[column + start]!]!
      const highest = this.#values[column + this.#sorted[column + end - 1]!]!
      if (highest <= Math.fround(lowest + SAME)) {
        swap(features, at, constants++)
        found++
        continue
      }
      swap(features, at, --undrawn)
      this.#scan(last, start, end, sum, weight, best)
    }
    features.set(this.#constants.subarray(0, known))
    this.#constants.set(features.subarray(known, constants), known)
    if (best.feature < 0) return { split: undefined, constants }
    // The column that was looked at last leaves its order in the samples.
    const column = last * this.#rows
    this.#samples.set(this.#sorted.subarray(column + start, column + end), start)
    return { split: best, constants }
  }

  /** Tries every threshold of one column. */
  #scan(feature: number, start: number, end: number, sum: number, weight: number, best: Split): void {
    const { minLeaf } = this.#shape
    const criterion = this.#criterion
    const column = feature * this.#rows
    const values = this.#values
    const sorted = this.#sorted
    const last = column + end
    const left = this.#left
    left.fill(0)
    let at = column + start
    let below = values[column + sorted[column + start]!]!
    for (let p = start + 1; p <= end - minLeaf; p++) {
      const above = values[column + sorted[column + p]!]!
      const previous = below
      below = above
      if (above <= Math.fround(previous + SAME) || p - start < minLeaf) continue
      this.#moveLeft(sorted, at, column + p, last, sum, weight)
      at = column + p
      const sumLeft = left[0]!
      const weightLeft = left[1]!
      const gain = criterion.gain(sumLeft, weightLeft, sum - sumLeft, weight - weightLeft)
      if (gain > best.gain) {
        best.gain = gain
        best.feature = feature
        best.threshold = previous / 2 + above / 2
      }
    }
  }

  /**
   * Extends the left sums from the rows before `at` to those before `p`; rows [.., end) of `rows` sum to
   * `sum`. Starts from whichever end is nearer.
   */
  #moveLeft(rows: Int32Array, at: number, p: number, end: number, sum: number, weight: number): void {
    const left = this.#left
    const weighted = this.#weighted
    const weights = this.#weights
    if (p - at <= end - p) {
      for (let i = at; i < p; i++) {
        left[0]! += weighted[rows[i]!]!
        left[1]! += weights[rows[i]!]!
      }
      return
    }
    left[0] = sum
    left[1] = weight
    for (let i = end - 1; i >= p; i--) {
      left[0]! -= weighted[rows[i]!]!
      left[1]! -= weights[rows[i]!]!
    }
  }

  /** Parts the samples and every sorted column of [start, end); returns where the right part begins. */
  #part(start: number, end: number, { feature, threshold }: Split): number {
    const samples = this.#samples
    const rows = this.#rows
    let middle = end
    for (let p = start; p < middle; ) {
      const left = this.#values[feature * rows + samples[p]!]! <= threshold
      this.#goesLeft[samples[p]!] = left ? 1 : 0
      if (left) p++
      else swap(samples, p, --middle)
    }
    for (let column = 0; column < this.#sorted.length; column += rows) {
      let to = column + start
      let aside = 0
      for (let i = column + start; i < column + end; i++) {
        const r = this.#sorted[i]!
        if (this.#goesLeft[r]) this.#sorted[to++] = r
        else this.#aside[aside++] = r
      }
      this.#sorted.set(this.#aside.subarray(0, aside), to)
    }
    return middle
  }

  /** Marsaglia's xorshift (13, 17, 5) on 32 bits, the upper half folded away. */
  #random(): number {
    let seed = this.#seed || 1
    seed ^= seed << 13
    seed ^= seed >>> 17
    seed ^= seed << 5
    this.#seed = seed
    return seed & 0x7fffffff
  }
}

function swap(values: Int32Array, i: number, j: number): void {
  const value = values[i]!
  values[i] = values[j]!
  values[j] = value
}
