import { describe, expect, it } from 'vitest'
import { Isotonic } from '../../lib/estimators/isotonic.js'
import { golden } from './golden.js'

interface Case {
  x: number[]
  y: number[]
  sampleWeights: number[] | null
  knots: number[]
  values: number[]
  fresh: number[]
  predictions: number[]
}

const difference = (a: ArrayLike<number>, b: number[]) =>
  Math.max(a.length - b.length, ...b.map((value, i) => Math.abs(a[i]! - value)))

describe('Isotonic', () => {
  it.each(golden<Case[]>('isotonic'))('should equal scikit-learn on $x.length rows', (expected) => {
    const isotonic = new Isotonic().fit(expected.x, expected.y, expected.sampleWeights ?? undefined)
    const { fitted } = isotonic.toJSON()
    expect(difference(fitted!.x, expected.knots)).toBe(0)
    expect(difference(fitted!.y, expected.values)).toBeLessThan(1e-12)
    expect(difference(isotonic.predict(expected.fresh), expected.predictions)).toBeLessThan(1e-12)
  })

  it('should leave rising targets alone and level falling ones', () => {
    expect([...new Isotonic().fit([1, 2, 3], [0, 1, 4]).predict([0, 1, 2.5, 9])]).toEqual([0, 0, 2.5, 4])
    expect([...new Isotonic().fit([1, 2, 3], [4, 1, 1]).predict([0, 2.5])]).toEqual([2, 2])
  })

  it('should survive JSON with the same answers, and forget', () => {
    const isotonic = new Isotonic().fit([1, 2, 3], [0, 2, 1])
    const restored = Isotonic.fromJSON(JSON.parse(JSON.stringify(isotonic)))
    expect(restored.predict([1.5])).toEqual(isotonic.predict([1.5]))
    expect(() => isotonic.fit([Number.NaN], [1])).toThrowError(expect.objectContaining({ code: 'SHAPE' }))
    expect(() => isotonic.predict([1])).toThrowError(expect.objectContaining({ code: 'NOT_FITTED' }))
  })

  it.each<[string, string, () => unknown]>([
    ['no rows', 'SHAPE', () => new Isotonic().fit([], [])],
    ['other lengths', 'SHAPE', () => new Isotonic().fit([1, 2], [1])],
    ['an input that is NaN', 'SHAPE', () => new Isotonic().fit([1], [1]).predict([Number.NaN])],
    [
      'state without knots',
      'FILE_INVALID',
      () => Isotonic.fromJSON({ estimator: 'isotonic', fitted: { x: [], y: [] } }),
    ],
  ])('should refuse %s with %s', (_, code, act) => {
    expect(act).toThrowError(expect.objectContaining({ code }))
  })
})
