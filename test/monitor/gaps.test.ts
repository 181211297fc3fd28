import { describe, expect, it } from 'vitest'
import { gapsBefore, saveInterval } from '../../lib/monitor/gaps.js'

describe('gapsBefore', () => {
  it('should count the multiples of the interval that are missing', () => {
    expect(gapsBefore([40], [10, 40], 10)).toEqual([{ after: 10, before: 40, every: 10, count: 2 }])
    expect(gapsBefore([30], [30], 10)).toEqual([{ after: 0, before: 30, every: 10, count: 2 }])
    expect(gapsBefore([20], [10, 20], 10)).toEqual([])
    // The last step of a run is saved whatever the interval.
    expect(gapsBefore([47], [30, 47], 10)).toEqual([{ after: 30, before: 47, every: 10, count: 1 }])
    expect(gapsBefore([57], [47, 57], 10)).toEqual([{ after: 47, before: 57, every: 10, count: 1 }])
  })

  it('should look before what is new alone, and at nothing without an interval', () => {
    expect(gapsBefore([50], [30, 50], 10)).toHaveLength(1)
    expect(gapsBefore([], [30, 50], 10)).toEqual([])
    expect(gapsBefore([50], [30, 50], undefined)).toEqual([])
  })
})

describe('saveInterval', () => {
  it('should be what the trainer says, if its checkpoints bear it out', () => {
    expect(saveInterval([10, 30], 10, undefined)).toBe(10)
    expect(saveInterval([], 10, undefined)).toBe(10)
    expect(saveInterval([10, 33], 10, 33)).toBe(10)
    expect(saveInterval([10, 33], 10, undefined)).toBe(undefined)
  })

  it('should else be the least distance, if all others are its multiples', () => {
    expect(saveInterval([47, 94, 188], 500, undefined)).toBe(47)
    expect(saveInterval([47, 94, 188], undefined, undefined)).toBe(47)
    expect(saveInterval([47, 94, 150], 500, undefined)).toBe(undefined)
    expect(saveInterval([47, 94], undefined, undefined)).toBe(undefined)
  })
})
