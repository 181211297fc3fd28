import { describe, expect, it } from 'vitest'
import { alarmRates, balancedAccuracy } from '../../lib/calibration/metrics.js'

describe('alarmRates', () => {
  it('should count strictly on both sides', () => {
    const rates = alarmRates([0.06, 0.07, 0.05, 0.2], [0.07, 0.06, 0.01, 0.3], { cut: 0.06 })
    expect(rates).toEqual({
      nDangerous: 2,
      nSafe: 2,
      falseNegatives: 1,
      falsePositives: 1,
      fnr: 0.5,
      fpr: 0.5,
      accuracy: 0.5,
    })
    expect(balancedAccuracy(rates)).toBe(0.5)
  })

  it('should move only the firing point with the threshold', () => {
    const at = (threshold: number) => alarmRates([0.05, 0.1], [0.01, 0.5], { cut: 0.06, threshold })
    expect(at(0.04)).toMatchObject({ nDangerous: 1, falsePositives: 1, falseNegatives: 0 })
    expect(at(0.1)).toMatchObject({ nDangerous: 1, falsePositives: 0, falseNegatives: 1 })
  })

  it('should give no rate where nothing could be wrong', () => {
    expect(alarmRates([0.1], [0.01], { cut: 0.06 })).toMatchObject({ fnr: Number.NaN, fpr: 1 })
  })

  it('should refuse lists of different length', () => {
    expect(() => alarmRates([1], [], { cut: 0.06 })).toThrow(expect.objectContaining({ code: 'SHAPE' }))
  })
})
