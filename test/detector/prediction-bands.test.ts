import { describe, expect, it } from 'vitest'
import { stabilized, unstabilized } from '../../lib/detector/label-noise.js'
import { type HeldOutError, PredictionBands } from '../../lib/detector/prediction-bands.js'
import { Mt19937 } from '../../lib/estimators/mt19937.js'
import { golden } from './golden.js'

/** One set per error, all predicted alike. */
const setsOf = (sizes: readonly number[], at = 0.5): HeldOutError[] =>
  sizes.map((size, i) => ({
    predicted: at,
    actual: unstabilized(stabilized(at) + size),
    group: `${at} ${i}`,
    distance: 1,
  }))

const around = (at: number, size: number) => [
  expect.closeTo(unstabilized(stabilized(at) - size), 12),
  expect.closeTo(unstabilized(stabilized(at) + size), 12),
]

describe('PredictionBands', () => {
  it('should hold the interval of the nearest sets at the level that sets left out tell (oracle: NumPy)', () => {
    const { rows, cut, expected } = golden.bands
    const bands = new PredictionBands(rows)
    for (const { at, distance, coverage, interval, above } of expected) {
      const found = bands.interval(at, coverage, distance)
      expect(found[0]).toBeCloseTo(interval[0], 12)
      expect(found[1]).toBeCloseTo(interval[1], 12)
      expect(bands.probabilityAbove(at, cut, distance)).toBeCloseTo(above, 12)
    }
    expect(expected.some(({ interval }) => interval[0] > 0 && interval[1] < 1)).toBe(true)
    expect(new Set(expected.map(({ above }) => above)).size).toBeGreaterThan(2)
  })

  it('should take the error of rank ceil(c (n + 1)), and the largest where the sets are too few for it', () => {
    const bands = new PredictionBands(setsOf([0.1, 0.2, 0.3, 0.4]))
    // With n for n + 1, 0.6 would take the third of four and 0.8 the fourth.
    expect(bands.interval(0.5, 0.59)).toEqual(around(0.5, 0.3))
    expect(bands.interval(0.5, 0.61)).toEqual(around(0.5, 0.4))
    expect(bands.interval(0.5, 0.99)).toEqual(around(0.5, 0.4))
    expect(bands.interval(0.5, 0.19)).toEqual(around(0.5, 0.1))
    expect(new PredictionBands([]).interval(0.5, 0.9)).toEqual([0, 1])
  })

  it('should give a set one vote whatever its checkpoints', () => {
    const large = Array.from({ length: 50 }, () => ({ ...setsOf([0.9])[0]!, group: 'one' }))
    const bands = new PredictionBands([...setsOf([0.1, 0.1, 0.1, 0.1]), ...large])
    // Four of six votes; of rows it would be four of 55.
    expect(bands.interval(0.5, 0.66)).toEqual(around(0.5, 0.1))
    expect(bands.interval(0.5, 0.7)).toEqual(around(0.5, 0.9))
  })

  it('should hold the nominal share of the checkpoints of sets that are left out, whatever makes them err', () => {
    const random = new Mt19937(3)
    const uniform = () => random.rand() - 0.5
    // Checkpoints that err one by one, and sets that err as a whole: votes counted alike would hold too many of the first.
    for (const [bySet, byCheckpoint] of [
      [0, 0.2],
      [0.2, 0.05],
    ] as const) {
      const errors = Array.from({ length: 40 }, (_, set) => {
        const own = bySet * uniform()
        const sizes = Array.from({ length: 6 }, () => own + byCheckpoint * uniform())
        return sizes.flatMap((size) => setsOf([size]).map((one) => ({ ...one, group: `${set}` })))
      }).flat()
      const held = errors.filter(({ group, actual }) => {
        const others = new PredictionBands(errors.filter((one) => one.group !== group))
        const [low, high] = others.interval(0.5, 0.9)
        return actual >= low && actual <= high
      })
      expect(Math.abs(held.length / errors.length - 0.9)).toBeLessThan(0.03)
    }
  })

  it('should leave a whole other base out, since its sets err alike', () => {
    const random = new Mt19937(5)
    // Forty bases, which err as a whole by up to 0.3, each with five sets that differ by 0.02.
    const errors = Array.from({ length: 40 }, (_, base) => {
      const own = 0.6 * (random.rand() - 0.5)
      return setsOf(Array.from({ length: 5 }, () => own + 0.02 * random.rand())).map((one, set) => ({
        ...one,
        group: `${base} ${set}`,
        base: `${base}`,
      }))
    }).flat()
    const coverage = (of: readonly HeldOutError[]) => {
      const held = errors.filter(({ base, actual }) => {
        const [low, high] = new PredictionBands(
          of.filter((one) => !one.group.startsWith(`${base} `)),
        ).interval(0.5, 0.8)
        return actual >= low && actual <= high
      })
      return held.length / errors.length
    }
    const alone = errors.map(({ base: _, ...one }) => one)
    expect(coverage(errors)).toBeGreaterThanOrEqual(0.8)
    expect(coverage(alone)).toBeLessThan(coverage(errors))
  })

  it('should look at the nearest third of the sets, and at twelve at least', () => {
    const far = setsOf(Array(40).fill(0.8), 0.9)
    const near = (count: number) => setsOf(Array(count).fill(0.05), 0.1)
    expect(new PredictionBands([...near(20), ...far]).interval(0.1, 0.9)).toEqual(around(0.1, 0.05))
    const few = new PredictionBands([...near(6), ...setsOf(Array(6).fill(-0.8), 0.9)])
    expect(few.interval(0.1, 0.9)).toEqual(around(0.1, 0.8))
  })

  it('should be wider far from calibration', () => {
    const bands = new PredictionBands(setsOf([0.13, 0.13, 0.13]))
    expect(bands.interval(0.5, 0.5, 1)).toEqual(around(0.5, 0.13))
    expect(bands.interval(0.5, 0.5, 11)).toEqual(around(0.5, (0.13 * 4.3) / 1.3))
    expect(bands.interval(0.5, 0.5, Number.POSITIVE_INFINITY)).toEqual(around(0.5, 0.13))
  })

  it('should be symmetric whatever the sign of the errors, and strict at the cut', () => {
    const bands = new PredictionBands(setsOf([-0.2, -0.1, 0.1, 0.2]))
    expect(bands.interval(0.5, 0.79)).toEqual(around(0.5, 0.2))
    expect(bands.probabilityAbove(0.5, 0.5)).toBe(0.5)
    expect(bands.probabilityAbove(0.5, 0.999)).toBe(0)
    const exact = new PredictionBands([{ predicted: 0.3, actual: 0.3, group: 'a' }])
    expect(exact.probabilityAbove(0.3, 0.3)).toBe(0)
    expect(exact.probabilityAbove(0.3, 0.299)).toBe(1)
  })
})
