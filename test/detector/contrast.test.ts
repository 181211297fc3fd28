import { describe, expect, it } from 'vitest'
import {
  blocksAt,
  contrastOf,
  contrastReading,
  depthsToMake,
  readThrough,
} from '../../lib/detector/contrast.js'

const layers = (...at: number[]) =>
  at.map((layer) => ({ layer, activationNorm: 10 * (layer + 1), separation: [2, 5] }))
/** Of both traits, and of the second alone. */
const UNIT = ((2 ** 4 + 5 ** 4) / 2) ** 0.25

describe('contrastOf', () => {
  it('should lie between the mean and the largest, and be what all are where they are alike', () => {
    expect(contrastOf([3, 3, 3])).toBeCloseTo(3, 12)
    expect(contrastOf([2, 5])).toBeCloseTo(UNIT, 12)
    expect(UNIT).toBeGreaterThan(3.5)
    expect(UNIT).toBeLessThan(5)
  })
})

describe('blocksAt', () => {
  it('should be blocks that a depth can be read from', () => {
    expect(depthsToMake([0.75])).toEqual([0.65, 0.75])
    expect(depthsToMake([0.65, 0.75])).toEqual([0.65, 0.75])
    expect(blocksAt([0.65, 0.75], 32)).toEqual([20, 23])
    expect(blocksAt([0.65, 0.75], 4)).toEqual([1, 2])
    for (const nLayer of [2, 4, 6, 10, 26, 30]) {
      expect(() =>
        contrastReading([0.65, 0.75], nLayer, layers(...blocksAt([0.65, 0.75], nLayer))),
      ).not.toThrow()
    }
  })
})

/** Native units in units of both traits. */
const close = (native: number): unknown => expect.closeTo(native / UNIT, 10)

describe('contrastReading', () => {
  it('should turn drifts into shares of the distance between the poles, the same unit for every trait', () => {
    // Block 1 of 4 lies at depth 0.5: a drift of 0.1 N is 2 native units.
    const read = contrastReading([0.5], 4, layers(0, 1, 2))
    expect(readThrough(read, [9, 9, 0.1, 0.2, 9, 9])).toEqual([
      expect.closeTo(2 / UNIT, 12),
      expect.closeTo(4 / UNIT, 12),
    ])
  })

  it('should interpolate between measured blocks, in native units', () => {
    // Depth 0.625 of 4 is half way between blocks 1 and 2.
    const read = contrastReading([0.625], 4, layers(1, 2))
    const [value] = readThrough(read, [0.1, 0, 0.2, 0])
    expect(value).toBeCloseTo((0.1 * 20 + 0.2 * 30) / 2 / UNIT, 12)
  })

  it('should read some of the traits alone, in the order of the reader', () => {
    expect(contrastReading([0.5], 4, layers(1), [1])).toEqual([[0, 4]])
    expect(contrastReading([0.5], 4, layers(1), [1, 0])).toEqual([
      [0, close(20)],
      [close(20), 0],
    ])
  })

  it('should read every depth, side by side', () => {
    expect(contrastReading([0.5, 0.75], 4, layers(1, 2))).toEqual([
      [close(20), 0, 0, 0],
      [0, close(20), 0, 0],
      [0, 0, close(30), 0],
      [0, 0, 0, close(30)],
    ])
  })

  it('should take the nearest block beyond the measured ones, up to a sixteenth of the depth, and say what to measure', () => {
    // Depth 0.75 of 32 is block 23.
    const at = (...blocks: number[]) => contrastReading([0.75], 32, layers(...blocks))[0]
    expect(at(21)).toEqual([close(220), 0])
    expect(at(25, 31)).toEqual([close(260), 0, 0, 0])
    expect(at(20, 28)!.map((weight) => weight > 0)).toEqual([true, false, true, false])
    expect(() => at(12, 20)).toThrow(
      /expected a measured block about 23 of 32, found layer 12, 20; make directions at blocks 23 and 23/,
    )
    // Neighbours further apart than a quarter of the depth say nothing about what lies between.
    expect(() => at(12, 30)).toThrow(/found layer 12, 30/)
  })
})
