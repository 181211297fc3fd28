import { describe, expect, it } from 'vitest'
import { type StepAwareResult, stepAware } from '../../lib/evaluation/step-aware.js'
import { golden } from '../estimators/golden.js'
import { models, TRAITS } from './synthetic-checkpoints.js'

/** The runs on verse are the anchors, one per fold; the other one and those on finance are tested. */
const data = models.map(({ model, calibration, heldOut }) => ({
  model,
  calibration,
  anchors: [42, 123].map((seed) => heldOut.filter(({ row }) => row.dataset === 'verse' && row.seed === seed)),
  test: heldOut,
}))

/** JSON has no NaN: a rate of nothing is null there. */
const closeTo = (value: number | null) => (value === null ? Number.NaN : expect.closeTo(value, 12))

describe('stepAware', () => {
  it('should alarm where scikit-learn does, with its probabilities', () => {
    // Oracle: lab/golden_evaluation.py. The logistic regressions are converged to 1e-6 on its side.
    const expected = golden<StepAwareResult[]>('step-aware')
    const found = stepAware(data, TRAITS, 0.06)
    expect(found.map(({ maxProbability, fnr, fpr, ...rest }) => rest)).toEqual(
      expected.map(({ maxProbability, fnr, fpr, ...rest }) => rest),
    )
    for (const [i, { maxProbability, fnr, fpr }] of found.entries()) {
      const golden = expected[i]!
      expect(maxProbability).toBeCloseTo(golden.maxProbability, 6)
      for (const key of ['mean', 'deviation'] as const) {
        expect(fnr[key]).toEqual(closeTo(golden.fnr[key]))
        expect(fpr[key]).toEqual(closeTo(golden.fpr[key]))
      }
    }
  })

  it('should not test the anchor of a fold, and give probability 0 without a dangerous checkpoint', () => {
    const calm = data.map((one) => ({
      ...one,
      calibration: one.calibration.filter(
        ({ row }) => row.dataset === 'math' && row.label.pooled.rate <= 0.06,
      ),
      anchors: one.anchors.map((anchor) => anchor.filter(({ row }) => row.label.pooled.rate <= 0.06)),
      test: one.anchors.flat(),
    }))
    for (const { maxProbability, onsets, folds } of stepAware(calm, TRAITS, 0.06)) {
      expect([maxProbability, onsets, folds]).toEqual([0, [null, null], 2])
    }
  })
})
