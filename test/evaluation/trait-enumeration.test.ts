import { describe, expect, it } from 'vitest'
import { evaluate } from '../../lib/evaluation/evaluate.js'
import { traitDrift } from '../../lib/evaluation/features.js'
import { enumerateTraits } from '../../lib/evaluation/trait-enumeration.js'
import { golden } from '../estimators/golden.js'
import { models, TRAITS } from './synthetic-checkpoints.js'

const point = { cut: 0.06, threshold: 0.06 }
const found = await enumerateTraits(models, TRAITS, point)

describe('enumerateTraits', () => {
  it('should score all traits together as the oracle does, and all subsets once', () => {
    // Oracle: scikit-learn's forest on left-out sets (lab/golden_evaluation.py).
    const cases =
      golden<
        { features: string; regressor: string; calibration: { balancedAccuracy: number; auroc: number } }[]
      >('evaluation')
    const { calibration } = cases.find((one) => one.features === '4D' && one.regressor === 'random-forest')!
    const all = found.subsets.at(-1)!
    expect(all.traits).toEqual(TRAITS)
    expect(all.balancedAccuracy).toBeCloseTo(calibration.balancedAccuracy, 12)
    expect(all.auroc).toBeCloseTo(calibration.auroc, 12)
    expect(all.pc1Cosine).toBeCloseTo(1, 12)
    expect(new Set(found.subsets.map(({ traits }) => traits.join())).size).toBe(15)
  })

  it('should score a subset as the comparison scores it as a feature set', async () => {
    const subset = ['honesty', 'corrigibility']
    const { results } = await evaluate(models, [traitDrift('two', TRAITS, subset)], { draws: 2 })
    const { calibration } = results.find(({ regressor }) => regressor === 'random-forest')!
    const score = found.subsets.find(({ traits }) => traits.join() === subset.join())!
    expect(score.balancedAccuracy).toBeCloseTo(calibration.balancedAccuracy, 12)
    expect(score.auroc).toBeCloseTo(calibration.auroc, 12)
  })

  it('should take away the trait that is missed least, down to one', () => {
    expect(found.elimination.map(({ score }) => score.traits.length)).toEqual([4, 3, 2, 1])
    const three = found.subsets.filter(({ traits }) => traits.length === 3)
    const best = Math.max(...three.map(({ balancedAccuracy }) => balancedAccuracy))
    const [, second] = found.elimination
    expect(second!.score.balancedAccuracy).toBe(best)
    expect(second!.score.traits).toEqual(TRAITS.filter((trait) => trait !== second!.dropped))
  })

  it('should say how much each trait adds, ranked within a model', () => {
    for (const [m, model] of found.models.entries()) {
      const own = found.importance.filter((one) => one.model === model)
      expect(own.reduce((sum, { rank }) => sum + rank, 0)).toBe(10)
      const [honesty] = own
      const without = found.subsets.find(({ traits }) => traits.length === 3 && !traits.includes('honesty'))!
      const loss = found.subsets.at(-1)!.aurocByModel[m]! - without.aurocByModel[m]!
      expect(honesty!.loss).toBeCloseTo(loss, 12)
    }
  })
})
