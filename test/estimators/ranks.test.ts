import { describe, expect, it } from 'vitest'
import { auroc, midRanks, rankCorrelation } from '../../lib/estimators/ranks.js'

describe('auroc', () => {
  it('should count ties half and be undefined for one class', () => {
    // By hand: of the four pairs one is won, one tied, two lost.
    expect(auroc([0.1, 0.5, 0.5, 0.9], [true, true, false, false])).toBe(1 / 8)
    expect(auroc([0.1, 0.9], [false, true])).toBe(1)
    expect(auroc([0.1, 0.9], [true, true])).toBeNaN()
  })

  it('should share ranks among equal values', () => {
    expect([...midRanks([3, 1, 3, 2])]).toEqual([3.5, 1, 3.5, 2])
  })

  it('should refuse lists of different length', () => {
    expect(() => auroc([1], [])).toThrow(expect.objectContaining({ code: 'SHAPE' }))
  })
})

describe('rankCorrelation', () => {
  it('should go by ranks, and be undefined for a constant', () => {
    expect(rankCorrelation([0.1, 0.2, 0.3], [0, 0.01, 0.9])).toBeCloseTo(1, 12)
    expect(rankCorrelation([1, 2, 3, 4], [4, 3, 2, 1])).toBeCloseTo(-1, 12)
    // Ranks 1, 2.5, 2.5, 4 against 1 to 4: 4.5 / sqrt(4.5 * 5).
    expect(rankCorrelation([1, 2, 2, 3], [1, 2, 3, 4])).toBeCloseTo(4.5 / Math.sqrt(22.5), 12)
    expect(rankCorrelation([0.1, 0.2, 0.3], [0.5, 0.5, 0.5])).toBeNaN()
  })
})
