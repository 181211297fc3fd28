import { describe, expect, it } from 'vitest'
import { matrixFromRows } from '../../lib/estimators/matrix.js'
import { Pca } from '../../lib/estimators/pca.js'
import { golden, relativeError, uniform } from './golden.js'

interface Case {
  seed: number
  rows: number
  cols: number
  kept: number
  scale: number[]
  mean: number[]
  components: number[][]
  singularValues: number[]
  explainedVariance: number[]
  explainedVarianceRatio: number[]
  transformed: number[][]
}

describe('Pca', () => {
  it.each(golden<Case[]>('pca'))('should equal scikit-learn on $rows x $cols to 1e-12', (expected) => {
    const x = uniform(expected.seed, expected.rows, expected.cols, expected.scale)
    const pca = new Pca({ nComponents: expected.kept }).fit(x)
    expect(relativeError(pca.mean, expected.mean)).toBeLessThan(1e-12)
    expect(relativeError(pca.singularValues, expected.singularValues)).toBeLessThan(1e-12)
    expect(relativeError(pca.explainedVariance, expected.explainedVariance)).toBeLessThan(1e-12)
    expect(relativeError(pca.explainedVarianceRatio, expected.explainedVarianceRatio)).toBeLessThan(1e-12)
    for (const [i, component] of expected.components.entries()) {
      expect(relativeError(pca.components[i]!, component)).toBeLessThan(1e-12)
    }
    const transformed = pca.transform(x)
    for (const [r, values] of expected.transformed.entries()) {
      const at = r * expected.kept
      expect(relativeError(transformed.data.subarray(at, at + values.length), values)).toBeLessThan(1e-12)
    }
  })

  it('should survive JSON with the same answers', () => {
    const x = uniform(3, 10, 4, 1)
    const pca = new Pca({ nComponents: 2 }).fit(x)
    const restored = Pca.fromJSON(JSON.parse(JSON.stringify(pca)))
    expect(restored.nComponents).toBe(2)
    expect([...restored.transform(x).data]).toEqual([...pca.transform(x).data])
  })

  it('should report constant columns without dividing by zero', () => {
    const pca = new Pca().fit(
      matrixFromRows([
        [1, 2],
        [1, 2],
        [1, 2],
      ]),
    )
    expect(pca.explainedVarianceRatio).toEqual([0, 0])
    expect(pca.components[0]).toEqual([0, 0])
  })

  it('should forget the previous fit, also when the next one fails', () => {
    const pca = new Pca().fit(uniform(1, 5, 3, 1))
    expect(() => pca.fit(matrixFromRows([[1, Number.NaN]]))).toThrowError(
      expect.objectContaining({ code: 'SHAPE' }),
    )
    expect(() => pca.components).toThrowError(expect.objectContaining({ code: 'NOT_FITTED' }))
  })

  it.each<[string, string, () => unknown]>([
    ['transform before fit', 'NOT_FITTED', () => new Pca().transform(uniform(1, 2, 2, 1))],
    ['zero components', 'USAGE', () => new Pca({ nComponents: 0 })],
    ['more components than exist', 'SHAPE', () => new Pca({ nComponents: 4 }).fit(uniform(1, 3, 9, 1))],
    ['one row', 'SHAPE', () => new Pca().fit(uniform(1, 1, 9, 1))],
    ['other width', 'SHAPE', () => new Pca().fit(uniform(1, 4, 3, 1)).transform(uniform(1, 4, 2, 1))],
    ['missing numbers', 'SHAPE', () => new Pca().fit({ data: new Float64Array(3), rows: 2, cols: 2 })],
    ['state of another estimator', 'FILE_INVALID', () => Pca.fromJSON({ estimator: 'ridge' })],
    ['no state', 'FILE_INVALID', () => Pca.fromJSON(null)],
    [
      'state with NaN',
      'FILE_INVALID',
      () => Pca.fromJSON({ estimator: 'pca', nComponents: null, fitted: { mean: [Number.NaN] } }),
    ],
  ])('should refuse %s with %s', (_, code, act) => {
    expect(act).toThrowError(expect.objectContaining({ code }))
  })
})
