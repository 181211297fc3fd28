import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { meanDifference, pcaDirection } from '../../lib/directions/difference.js'
import { cosine, dot, norm } from '../../lib/estimators/linalg.js'
import { type Matrix, matrixFromRows } from '../../lib/estimators/matrix.js'
import { uniform } from '../estimators/golden.js'

const shifted = (x: Matrix, by: readonly number[]): Matrix => ({
  ...x,
  data: Float64Array.from(x.data, (value, i) => value + by[i % x.cols]!),
})

describe('meanDifference', () => {
  it('should be the unit vector from the negative to the positive mean', () => {
    const positive = matrixFromRows([
      [1, 4],
      [3, 4],
    ])
    const negative = matrixFromRows([[-1, 0]])
    const { unit, separation } = meanDifference(positive, negative, 'honesty')
    expect(separation).toBe(5)
    expect([...unit]).toEqual([0.6, 0.8])
  })

  it('should turn around with its poles', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), fc.integer({ min: 1, max: 9 }), (seed, rows) => {
        const a = uniform(seed, rows, 5, 2)
        const b = uniform(seed + 1, 4, 5, 2)
        const forth = meanDifference(a, b, 't')
        expect([...meanDifference(b, a, 't').unit]).toEqual([...forth.unit].map((value) => -value))
        expect(norm(forth.unit)).toBeCloseTo(1, 14)
      }),
      { seed: 1 },
    )
  })

  it('should accumulate float32 states in float64', () => {
    const rows = 1001
    const positive = { data: new Float32Array(rows).fill(16_777_216), rows, cols: 1 }
    const negative = { data: new Float32Array(rows).fill(16_777_215), rows, cols: 1 }
    expect(meanDifference(positive, negative, 't').separation).toBe(1)
  })

  it.each<[string, Matrix, Matrix, RegExp]>([
    ['equal poles', uniform(1, 3, 4, 1), uniform(1, 3, 4, 1), /mean difference of courage is zero/],
    [
      'NaN',
      matrixFromRows([[Number.NaN, 1]]),
      matrixFromRows([[0, 0]]),
      /mean difference of courage is not finite/,
    ],
    ['other widths', uniform(1, 3, 4, 1), uniform(1, 3, 5, 1), /poles of courage .* 3 x 4 and 3 x 5/],
    ['an empty pole', uniform(1, 3, 4, 1), uniform(1, 0, 4, 1), /poles of courage/],
  ])('should refuse %s by the name of the trait', (_, positive, negative, message) => {
    expect(() => meanDifference(positive, negative, 'courage')).toThrowError(
      expect.objectContaining({ code: 'SHAPE', message: expect.stringMatching(message) }),
    )
  })
})

describe('pcaDirection', () => {
  it('should find the axis along which paired differences vary, not the one of their mean', () => {
    const n = 40
    const base = uniform(3, n, 4, 0.01)
    const along = uniform(4, n, 1, 10)
    const positive = shifted(base, [0.5, 3, 0, 0])
    for (let i = 0; i < n; i++) positive.data[i * 4]! += along.data[i]!
    const { unit, separation } = pcaDirection(positive, uniform(5, n, 4, 0.01), 't')
    expect(Math.abs(unit[0]!)).toBeGreaterThan(0.9999)
    expect(norm(unit)).toBeCloseTo(1, 12)
    expect(separation).toBeGreaterThan(2.9)
  })

  it('should point to the same side as the mean difference', () => {
    for (let seed = 0; seed < 20; seed++) {
      const positive = shifted(uniform(seed, 12, 6, 1), [0.1, 0.2, 0, -0.1, 0, 0.3])
      const negative = uniform(seed + 100, 12, 6, 1)
      const unit = pcaDirection(positive, negative, 't').unit
      expect(dot(unit, meanDifference(positive, negative, 't').unit)).toBeGreaterThanOrEqual(0)
      expect(cosine(unit, pcaDirection(negative, positive, 't').unit)).toBeCloseTo(-1, 10)
    }
  })

  it('should refuse unpaired rows and constant differences', () => {
    expect(() => pcaDirection(uniform(1, 3, 2, 1), uniform(1, 4, 2, 1), 't')).toThrowError(/pairs of rows/)
    const x = uniform(1, 4, 2, 1)
    const whole = { ...x, data: x.data.map(Math.round) }
    expect(() => pcaDirection(shifted(whole, [1, 2]), whole, 't')).toThrowError(/all equal/)
  })
})
