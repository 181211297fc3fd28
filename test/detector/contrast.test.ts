import { describe, expect, it } from 'vitest'
import { blocksAt, contrastReading, depthsToMake, readThrough } from '../../lib/detector/contrast.js'

const layers = (...at: number[]) =>
  at.map((layer) => ({ layer, activationNorm: 10 * (layer + 1), separation: [2, 5] }))

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

describe('contrastReading', () => {
  it('should turn drifts into shares of the distance between the poles', () => {
    // Block 1 of 4 lies at depth 0.5: a drift of 0.1 N is 2 units, which is all the way for the first trait.
    const read = contrastReading([0.5], 4, layers(0, 1, 2))
    expect(readThrough(read, [9, 9, 0.1, 0.1, 9, 9])).toEqual([
      expect.closeTo(1, 12),
      expect.closeTo(0.4, 12),
    ])
  })

  it('should interpolate between measured blocks, in native units', () => {
    // Depth 0.625 of 4 is half way between blocks 1 and 2.
    const read = contrastReading([0.625], 4, layers(1, 2))
    const [value] = readThrough(read, [0.1, 0, 0.2, 0])
    expect(value).toBeCloseTo((0.1 * 20 + 0.2 * 30) / 2 / 2, 12)
  })

  it('should read some of the traits alone, in the order of the reader', () => {
    expect(contrastReading([0.5], 4, layers(1), [1])).toEqual([[0, 4]])
    expect(contrastReading([0.5], 4, layers(1), [1, 0])).toEqual([
      [0, 4],
      [10, 0],
    ])
  })

  it('should read every depth, side by side', () => {
    expect(contrastReading([0.5, 0.75], 4, layers(1, 2))).toEqual([
      [10, 0, 0, 0],
      [0, 4, 0, 0],
      [0, 0, 15, 0],
      [0, 0, 0, 6],
    ])
  })

  it('should take the nearest block beyond the measured ones, up to a sixteenth of the depth, and say what to measure', () => {
    // Depth 0.75 of 32 is block 23.
    const at = (...blocks: number[]) => contrastReading([0.75], 32, layers(...blocks))[0]
    expect(at(21)).toEqual([110, 0])
    expect(at(25, 31)).toEqual([130, 0, 0, 0])
    expect(at(20, 28)!.map((weight) => weight > 0)).toEqual([true, false, true, false])
    expect(() => at(12, 20)).toThrow(
      /expected a measured block about 23 of 32, found layer 12, 20; make directions at blocks 23 and 23/,
    )
    // Neighbours further apart than a quarter of the depth say nothing about what lies between.
    expect(() => at(12, 30)).toThrow(/found layer 12, 30/)
  })
})
