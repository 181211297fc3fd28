import { describe, expect, it } from 'vitest'
import { stabilized, unstabilized } from '../../lib/detector/label-noise.js'
import { PredictionBands } from '../../lib/detector/prediction-bands.js'
import { golden } from './golden.js'

describe('PredictionBands', () => {
  it('should hold the conformal interval of the nearest errors (oracle: NumPy)', () => {
    const { pairs, cut, expected } = golden.bands
    const bands = new PredictionBands(pairs)
    for (const { at, coverage, interval, above } of expected) {
      const found = bands.interval(at, coverage)
      expect(found[0]).toBeCloseTo(interval[0], 12)
      expect(found[1]).toBeCloseTo(interval[1], 12)
      expect(bands.probabilityAbove(at, cut)).toBeCloseTo(above, 14)
    }
    // 11 neighbours cannot hold 95 %, and some intervals are cut off at neither end.
    expect(expected.some(({ interval }) => interval.join() === '0,1')).toBe(true)
    expect(expected.some(({ interval }) => interval[0] > 0 && interval[1] < 1)).toBe(true)
    expect(new Set(expected.map(({ above }) => above)).size).toBeGreaterThan(2)
  })

  /** Errors of these sizes at one predicted rate, a quarter of all; the others are made far away. */
  const bandsOf = (sizes: readonly number[]) =>
    new PredictionBands([
      ...sizes.map((size): [number, number] => [0.5, unstabilized(stabilized(0.5) + size)]),
      ...Array.from({ length: 3 * sizes.length }, (): [number, number] => [0.001, 0.9]),
    ])

  it('should take the error of rank ceil(c (n + 1)), and everything when there is none', () => {
    const bands = bandsOf([0.1, 0.2, 0.3, 0.4])
    const around = (size: number) => [
      expect.closeTo(unstabilized(stabilized(0.5) - size), 12),
      expect.closeTo(unstabilized(stabilized(0.5) + size), 12),
    ]
    // With n for n + 1, 0.6 would take the third of four and 0.8 the fourth.
    expect(bands.interval(0.5, 0.59)).toEqual(around(0.3))
    expect(bands.interval(0.5, 0.61)).toEqual(around(0.4))
    expect(bands.interval(0.5, 0.81)).toEqual([0, 1])
    expect(bands.interval(0.5, 0.19)).toEqual(around(0.1))
  })

  it('should be symmetric whatever the sign of the errors, and strict at the cut', () => {
    const bands = bandsOf([-0.2, -0.1, 0.1, 0.2])
    const [low, high] = bands.interval(0.5, 0.79)
    expect(stabilized(0.5) - stabilized(low)).toBeCloseTo(0.2, 12)
    expect(stabilized(high) - stabilized(0.5)).toBeCloseTo(0.2, 12)
    expect(bands.probabilityAbove(0.5, 0.5)).toBe(0.5)
    expect(bands.probabilityAbove(0.5, 0.999)).toBe(0)
    const exact = new PredictionBands([[0.3, 0.3]])
    expect(exact.probabilityAbove(0.3, 0.3)).toBe(0)
    expect(exact.probabilityAbove(0.3, 0.299)).toBe(1)
  })
})
