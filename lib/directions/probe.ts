import { stratifiedKFold } from '../estimators/k-fold.js'
import { dot, gram } from '../estimators/linalg.js'
import type { Matrix } from '../estimators/matrix.js'
import { solveByGram } from '../estimators/newton-logistic.js'

/** Settings of the reference's probe (method section 4.3). */
const FOLDS = 5
const SEED = 42
const C = 1

/**
 * Mean test accuracy, in [0, 1], of a logistic regression that tells the poles apart: L2 with C = 1 on
 * unscaled states, five stratified shuffled folds, seed 42. A diagnostic only: folds share questions and
 * system prompts, so it saturates at 1.
 *
 * @returns undefined when a pole has fewer rows than there are folds
 */
export function probeAccuracy(positive: Matrix, negative: Matrix): number | undefined {
  if (Math.min(positive.rows, negative.rows) < FOLDS) return undefined
  const n = positive.rows + negative.rows
  const data = new Float64Array(n * positive.cols)
  data.set(positive.data)
  data.set(negative.data, positive.data.length)
  const labels = Uint8Array.from({ length: n }, (_, i) => (i < positive.rows ? 1 : 0))
  // All folds use the inner products of one Gram matrix, so the width of the states is paid for once.
  const all = gram({ data, rows: n, cols: positive.cols })
  const block = (rows: Int32Array, cols: Int32Array): Float64Array =>
    Float64Array.from({ length: rows.length * cols.length }, (_, i) => {
      return all.data[rows[Math.floor(i / cols.length)]! * n + cols[i % cols.length]!]!
    })
  let sum = 0
  for (const { train, test } of stratifiedKFold(labels, FOLDS, SEED)) {
    const size = train.length
    const inner = { data: block(train, train), rows: size, cols: size }
    const { alpha, intercept } = solveByGram(
      inner,
      Array.from(train, (i) => labels[i]!),
      C,
    )
    const across = block(test, train)
    let right = 0
    for (const [t, i] of test.entries()) {
      const score = dot(across.subarray(t * size, (t + 1) * size), alpha) + intercept
      if (score > 0 === (labels[i] === 1)) right++
    }
    sum += right / test.length
  }
  return sum / FOLDS
}
