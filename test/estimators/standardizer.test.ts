import { describe, expect, it } from 'vitest'
import { matrixFromRows } from '../../lib/estimators/matrix.js'
import { Standardizer } from '../../lib/estimators/standardizer.js'
import { golden, relativeError, uniform } from './golden.js'

interface Case {
  seed: number
  rows: number
  cols: number
  scale: number
  offset: number
  mean: number[]
  scales: number[]
  transformed: number[][]
}

const data = ({ seed, rows, cols, scale, offset }: Case) => {
  const x = uniform(seed, rows, cols, scale)
  return { ...x, data: x.data.map((value) => value + offset) }
}

describe('Standardizer', () => {
  it.each(golden<Case[]>('standardizer'))(
    'should equal scikit-learn: $rows x $cols, $offset ± $scale',
    (expected) => {
      const x = data(expected)
      const standardizer = new Standardizer().fit(x)
      expect(relativeError(standardizer.mean, expected.mean)).toBeLessThan(1e-12)
      expect(relativeError(standardizer.scale, expected.scales)).toBeLessThan(1e-12)
      const transformed = standardizer.transform(x).data
      for (const [i, value] of expected.transformed.flat().entries())
        expect(transformed[i]).toBeCloseTo(value, 10)
    },
  )

  it('should survive JSON with the same answers, and forget', () => {
    const x = uniform(1, 9, 3, 1)
    const standardizer = new Standardizer().fit(x)
    const restored = Standardizer.fromJSON(JSON.parse(JSON.stringify(standardizer)))
    expect(restored.transform(x).data).toEqual(standardizer.transform(x).data)
    expect(() => standardizer.fit(matrixFromRows([[Number.NaN]]))).toThrowError(
      expect.objectContaining({ code: 'SHAPE' }),
    )
    expect(() => standardizer.transform(x)).toThrowError(expect.objectContaining({ code: 'NOT_FITTED' }))
  })

  it('should refuse another width', () => {
    const standardizer = new Standardizer().fit(uniform(1, 9, 3, 1))
    expect(() => standardizer.transform(uniform(1, 9, 2, 1))).toThrowError(
      'a standardizer was fitted on 3 columns, got 2',
    )
  })
})
