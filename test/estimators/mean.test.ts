import { describe, expect, it } from 'vitest'
import { mean, median, variance } from '../../lib/estimators/mean.js'

describe('mean, variance and median', () => {
  it('should be those of numpy', () => {
    const values = [4, 1, 3, 2]
    expect([mean(values), variance(values, 0), variance(values, 1)]).toEqual([2.5, 1.25, 5 / 3])
    expect(variance(Float64Array.of(7, 7), 1)).toBe(0)
  })

  it('should take what lies in the middle of numbers in any order, and leave them as they are', () => {
    const values = [10, 9, 100]
    expect([median(values), median([4, 1, 3, 2]), values]).toEqual([10, 2.5, [10, 9, 100]])
  })

  it('should be no number of no numbers', () => {
    expect([mean([]), variance([], 0), median([])]).toEqual([Number.NaN, Number.NaN, Number.NaN])
  })
})
