import { describe, expect, it } from 'vitest'
import { matrixFromRows } from '../../lib/estimators/matrix.js'
import { Ridge } from '../../lib/estimators/ridge.js'
import { golden, relativeError, uniform } from './golden.js'

interface Case {
  seed: number
  rows: number
  cols: number
  alpha: number
  y: number[]
  sampleWeights: number[] | null
  weights: number[]
  intercept: number
  predictions: number[]
}

describe('Ridge', () => {
  it.each(golden<Case[]>('ridge'))('should equal scikit-learn on $rows x $cols, alpha $alpha', (expected) => {
    const { seed, rows, cols, alpha, y } = expected
    const ridge = new Ridge({ alpha }).fit(
      uniform(seed, rows, cols, 1),
      y,
      expected.sampleWeights ?? undefined,
    )
    expect(relativeError(ridge.weights, expected.weights)).toBeLessThan(1e-12)
    expect(relativeError([ridge.intercept], [expected.intercept])).toBeLessThan(1e-12)
    const predictions = ridge.predict(uniform(seed + 1000, 10, cols, 1))
    expect(relativeError(predictions, expected.predictions)).toBeLessThan(1e-12)
  })

  it('should count a row of weight 2 twice', () => {
    const x = matrixFromRows([
      [1, 0],
      [2, 1],
      [4, 1],
    ])
    const twice = matrixFromRows([
      [1, 0],
      [2, 1],
      [4, 1],
      [4, 1],
    ])
    const weighted = new Ridge().fit(x, [0, 1, 3], [1, 1, 2])
    const repeated = new Ridge().fit(twice, [0, 1, 3, 3])
    expect(relativeError(weighted.weights, repeated.weights)).toBeLessThan(1e-14)
  })

  it('should give a constant column no weight', () => {
    const ridge = new Ridge().fit(
      matrixFromRows([
        [1, 3],
        [2, 3],
        [3, 3],
      ]),
      [1, 2, 3],
    )
    expect(ridge.weights[1]).toBe(0)
  })

  it('should survive JSON with the same answers, and forget', () => {
    const x = uniform(1, 9, 3, 1)
    const ridge = new Ridge({ alpha: 0.5 }).fit(x, x.data.subarray(0, 9))
    const restored = Ridge.fromJSON(JSON.parse(JSON.stringify(ridge)))
    expect(restored.alpha).toBe(0.5)
    expect(restored.predict(x)).toEqual(ridge.predict(x))
    expect(() => ridge.fit(x, [Number.NaN])).toThrowError(expect.objectContaining({ code: 'SHAPE' }))
    expect(() => ridge.predict(x)).toThrowError(expect.objectContaining({ code: 'NOT_FITTED' }))
  })

  it.each<[string, string, () => unknown]>([
    ['predict before fit', 'NOT_FITTED', () => new Ridge().predict(uniform(1, 2, 2, 1))],
    ['no penalty', 'USAGE', () => new Ridge({ alpha: 0 })],
    ['an array of rows', 'SHAPE', () => new Ridge().fit([[1, 2]] as never, [1])],
    ['NaN', 'SHAPE', () => new Ridge().fit(matrixFromRows([[Number.NaN]]), [1])],
    ['other width', 'SHAPE', () => new Ridge().fit(uniform(1, 2, 3, 1), [1, 2]).predict(uniform(1, 2, 2, 1))],
    ['negative weights', 'SHAPE', () => new Ridge().fit(uniform(1, 2, 1, 1), [1, 2], [1, -1])],
    ['weights of zero', 'SHAPE', () => new Ridge().fit(uniform(1, 2, 1, 1), [1, 2], [0, 0])],
    ['state of another estimator', 'FILE_INVALID', () => Ridge.fromJSON({ estimator: 'pca' })],
  ])('should refuse %s with %s', (_, code, act) => {
    expect(act).toThrowError(expect.objectContaining({ code }))
  })
})
