import { describe, expect, it } from 'vitest'
import { matrixFromRows } from '../../lib/estimators/matrix.js'
import { PlsRegression } from '../../lib/estimators/pls-regression.js'
import { golden, relativeError, uniform } from './golden.js'

interface Case {
  seed: number
  rows: number
  cols: number
  kept: number
  scale: number[]
  y: number[]
  scores: number[][]
  predictions: number[]
}

describe('PlsRegression', () => {
  it.each(golden<Case[]>('pls'))('should equal scikit-learn: $kept of $rows x $cols', (expected) => {
    const { seed, rows, cols, kept, scale, y } = expected
    const pls = new PlsRegression({ nComponents: kept }).fit(uniform(seed, rows, cols, scale), y)
    const fresh = uniform(seed + 1000, 10, cols, 1)
    expect(relativeError(pls.transform(fresh).data, expected.scores.flat())).toBeLessThan(1e-12)
    expect(relativeError(pls.predict(fresh), expected.predictions)).toBeLessThan(1e-12)
  })

  it('should survive JSON with the same answers, and forget', () => {
    const x = uniform(1, 9, 3, 1)
    const pls = new PlsRegression({ nComponents: 2 }).fit(x, x.data.subarray(0, 9))
    const restored = PlsRegression.fromJSON(JSON.parse(JSON.stringify(pls)))
    expect(restored.nComponents).toBe(2)
    expect(restored.predict(x)).toEqual(pls.predict(x))
    expect(() => pls.fit(x, [Number.NaN])).toThrowError(expect.objectContaining({ code: 'SHAPE' }))
    expect(() => pls.predict(x)).toThrowError(expect.objectContaining({ code: 'NOT_FITTED' }))
  })

  it.each<[string, string, () => unknown]>([
    ['zero components', 'USAGE', () => new PlsRegression({ nComponents: 0 })],
    ['a constant target', 'SHAPE', () => new PlsRegression().fit(uniform(1, 9, 3, 1), new Array(9).fill(1))],
    [
      'more components than the features span',
      'SHAPE',
      () =>
        new PlsRegression({ nComponents: 2 }).fit(
          matrixFromRows([
            [1, 2],
            [2, 4],
            [3, 6],
          ]),
          [1, 0, 3],
        ),
    ],
    ['one row', 'SHAPE', () => new PlsRegression().fit(uniform(1, 1, 3, 1), [1])],
    ['state of another estimator', 'FILE_INVALID', () => PlsRegression.fromJSON({ estimator: 'pca' })],
  ])('should refuse %s with %s', (_, code, act) => {
    expect(act).toThrowError(expect.objectContaining({ code }))
  })
})
