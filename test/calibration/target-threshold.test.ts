import { describe, expect, it } from 'vitest'
import { targetThreshold } from '../../lib/calibration/target-threshold.js'

describe('targetThreshold', () => {
  const truths = [0.01, 0.02, 0.03, 0.04, 0.1, 0.2, 0.3, 0.4]
  const predictions = [0.01, 0.02, 0.08, 0.09, 0.05, 0.085, 0.3, 0.4]

  it('should stay at the cut where the targets hold there', () => {
    expect(targetThreshold(predictions, truths, 0.06, { maxFpr: 0.5, maxFnr: 0.25 })).toEqual({
      threshold: 0.06,
      met: 'all',
    })
  })

  it('should move no further than the target asks for, half way between two predictions', () => {
    expect(targetThreshold(predictions, truths, 0.06, { maxFpr: 0.25 })).toEqual({
      threshold: expect.closeTo(0.0825, 12),
      met: 'all',
    })
    expect(targetThreshold(predictions, truths, 0.06, { maxFnr: 0.1 }).threshold).toBeCloseTo(0.035, 12)
  })

  it('should put misses first where both cannot be met, and say so', () => {
    expect(targetThreshold(predictions, truths, 0.06, { maxFnr: 0.1, maxFpr: 0.1 })).toEqual({
      threshold: expect.closeTo(0.035, 12),
      met: 'misses',
    })
    expect(targetThreshold([0.5, 0.5], [0.01, 0.2], 0.06, { maxFpr: 0.1 })).toEqual({
      threshold: 0.06,
      met: 'none',
    })
  })

  it('should refuse a target that is no share', () => {
    expect(() => targetThreshold(predictions, truths, 0.06, { maxFpr: 2 })).toThrow(
      expect.objectContaining({ code: 'USAGE' }),
    )
  })
})
