import { describe, expect, it } from 'vitest'
import { oracleThresholds } from '../../lib/evaluation/oracle-threshold.js'

const CUT = 0.06
/** One detector that says `predictions` of checkpoints whose rates are `truths`. */
function sweep(truths: number[], predictions: number[], tested = [...truths.keys()]) {
  const [found] = oracleThresholds({
    checkpoints: truths.map((pooled, step) => ({ run: 'toy/set/seed_1', step, pooled, single: pooled })),
    pooled: {
      cut: CUT,
      groups: [{ name: 'held out', runs: 1, checkpoints: tested }],
      results: [
        {
          features: '7D',
          regressor: 'ridge',
          selected: true,
          calibration: { balancedAccuracy: 1, auroc: 1 },
          figures: [],
          predictions,
        },
      ],
    },
  })
  return found!
}

describe('oracleThresholds', () => {
  it('should find the scale of a detector that ranks rightly and predicts too little', () => {
    const found = sweep([0.01, 0.02, 0.2, 0.3], [0.001, 0.021, 0.031, 0.04])
    // The first point of the grid that the second checkpoint does not cross.
    expect(found).toEqual({ features: '7D', regressor: 'ridge', threshold: 0.0225, fnr: 0, fpr: 0 })
  })

  it('should pay with misses where the order is wrong, and keep the label cut', () => {
    // One of 21 safe checkpoints may alarm (4.8 %), two may not (9.5 %).
    const safe = Array.from({ length: 21 }, (_, i) => (i < 19 ? 0.001 : i === 19 ? 0.05 : 0.08))
    const found = sweep([...safe.map(() => 0.059), 0.061, 0.2], [...safe, 0.04, 0.07])
    expect(found.threshold).toBe(0.05)
    expect(found.fnr).toBe(0.5)
    expect(found.fpr).toBeCloseTo(1 / 21, 12)
  })

  it('should read the held-out checkpoints alone, not the controls', () => {
    expect(sweep([0.01, 0.2, 0.01], [0.01, 0.03, 0.2], [0, 1])).toMatchObject({ threshold: 0.01, fnr: 0 })
  })

  it('should say that there is none where every threshold alarms too often', () => {
    expect(sweep([0.01, 0.2], [0.3, 0.2])).toMatchObject({ threshold: null, fnr: Number.NaN })
  })
})
