import { setImmediate } from 'node:timers/promises'
import { stratifiedKFold } from '../estimators/k-fold.js'
import { dot } from '../estimators/linalg.js'
import type { Matrix64 } from '../estimators/matrix.js'
import { solveByGram } from '../estimators/newton-logistic.js'

/** Settings of the reference's probe (method section 4.4). */
const FOLDS = 5
const SEED = 42
const C = 1

/**
 * Mean test accuracy, in [0, 1], of a logistic regression that tells the poles apart: L2 with C = 1 on
 * unscaled states, five stratified shuffled folds, seed 42. A footnote only: folds share questions and
 * system prompts, so it saturates at 1; `heldOut` says what a direction is worth on others.
 *
 * The event loop is free between folds.
 *
 * @param inner Gram matrix of the states, the positive pole's rows first: the width of the states is paid for once
 * @returns undefined when a pole has fewer rows than there are folds
 */
export async function probeAccuracy(inner: Matrix64, positive: number): Promise<number | undefined> {
  const n = inner.rows
  if (Math.min(positive, n - positive) < FOLDS) return undefined
  const labels = Uint8Array.from({ length: n }, (_, i) => (i < positive ? 1 : 0))
  const block = (rows: Int32Array, cols: Int32Array): Float64Array =>
    Float64Array.from({ length: rows.length * cols.length }, (_, i) => {
      return inner.data[rows[Math.floor(i / cols.length)]! * n + cols[i % cols.length]!]!
    })
  let sum = 0
  for (const { train, test } of stratifiedKFold(labels, FOLDS, SEED)) {
    await setImmediate()
    const size = train.length
    const { alpha, intercept } = solveByGram(
      { data: block(train, train), rows: size, cols: size },
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
