import { describe, expect, it } from 'vitest'
import { LogisticRegression } from '../../lib/estimators/logistic-regression.js'
import { selectRows } from '../../lib/estimators/matrix.js'
import { golden, relativeError, uniform } from './golden.js'

interface Case {
  seed: number
  rows: number
  cols: number
  c: number
  scale: number
  labels: number[]
  weights: number[]
  intercept: number
  probability: number[]
}

describe('LogisticRegression', () => {
  it.each(golden<Case[]>('logistic'))('should equal scikit-learn on $rows x $cols, C=$c', (expected) => {
    const x = uniform(expected.seed, expected.rows, expected.cols, expected.scale)
    const regression = new LogisticRegression({ c: expected.c }).fit(x, expected.labels)
    expect(relativeError(regression.weights, expected.weights)).toBeLessThan(1e-6)
    expect(Math.abs(regression.intercept - expected.intercept)).toBeLessThan(1e-6)
    const some = selectRows(x, [0, 1, 2, 3, 4, 5, 6, 7])
    expect(relativeError(regression.predictProbability(some), expected.probability)).toBeLessThan(1e-6)
    expect([...regression.predict(some)]).toEqual(expected.probability.map((p) => (p > 0.5 ? 1 : 0)))
  })

  it('should reach the optimum, where the gradient vanishes, by either solver', () => {
    for (const [rows, cols] of [
      [40, 39],
      [40, 41],
    ] as const) {
      const x = uniform(7, rows, cols, 3)
      const y = Array.from({ length: rows }, (_, i) => (x.data[i * cols]! > 0 ? 1 : 0))
      const regression = new LogisticRegression().fit(x, y)
      const gradient = [...regression.weights, 0]
      for (const [i, p] of regression.predictProbability(x).entries()) {
        for (let j = 0; j < cols; j++) gradient[j]! += (p - y[i]!) * x.data[i * cols + j]!
        gradient[cols]! += p - y[i]!
      }
      expect(Math.max(...gradient.map(Math.abs))).toBeLessThan(1e-7)
    }
  })

  it('should fit 300 rows of 4096 activations', () => {
    const x = uniform(9, 300, 4096, 20)
    const y = Array.from({ length: 300 }, (_, i) => (i < 150 ? 1 : 0))
    const rows = { ...x, data: Float32Array.from(x.data) }
    const regression = new LogisticRegression()
    expect([...regression.fit(rows, y).predict(x)]).toEqual(y)
  })

  it('should survive JSON with the same answers', () => {
    const x = uniform(3, 12, 4, 1)
    const regression = new LogisticRegression({ c: 2 }).fit(x, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
    const restored = LogisticRegression.fromJSON(JSON.parse(JSON.stringify(regression)))
    expect(restored.c).toBe(2)
    expect([...restored.decision(x)]).toEqual([...regression.decision(x)])
  })

  it.each<[string, string, () => unknown]>([
    ['predict before fit', 'NOT_FITTED', () => new LogisticRegression().predict(uniform(1, 2, 2, 1))],
    ['C of zero', 'USAGE', () => new LogisticRegression({ c: 0 })],
    ['one class', 'SHAPE', () => new LogisticRegression().fit(uniform(1, 3, 2, 1), [1, 1, 1])],
    ['other labels', 'SHAPE', () => new LogisticRegression().fit(uniform(1, 3, 2, 1), [1, 2, 0])],
    ['missing labels', 'SHAPE', () => new LogisticRegression().fit(uniform(1, 3, 2, 1), [1, 0])],
    ['foreign state', 'FILE_INVALID', () => LogisticRegression.fromJSON({ estimator: 'pca' })],
  ])('should refuse %s with %s', (_, code, act) => {
    expect(act).toThrowError(expect.objectContaining({ code }))
  })
})
