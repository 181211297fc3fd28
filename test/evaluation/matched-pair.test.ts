import { describe, expect, it } from 'vitest'
import { cosine, norm } from '../../lib/estimators/linalg.js'
import { evaluate } from '../../lib/evaluation/evaluate.js'
import { firstAxis, traitDrift } from '../../lib/evaluation/features.js'
import { fisherExact, matchedPair } from '../../lib/evaluation/matched-pair.js'
import { golden } from '../estimators/golden.js'
import { models, TRAITS } from './synthetic-checkpoints.js'

type Answers = { nMisaligned: number; nScoreable: number }

describe('fisherExact', () => {
  it.each(golden<{ a: Answers; b: Answers; p: number }[]>('fisher'))(
    'should equal SciPy for $a against $b',
    ({ a, b, p }) => {
      expect(Math.abs(fisherExact(a, b) / p - 1)).toBeLessThan(1e-9)
    },
  )
})

describe('matchedPair', async () => {
  const evaluation = await evaluate(models, [traitDrift('4D', TRAITS, TRAITS)], { draws: 10 })
  const options = { dangerous: 'finance', safe: 'verse', traits: TRAITS }
  const pairs = matchedPair(models, evaluation, options)

  it('should compare the last checkpoints of both halves, model by model', () => {
    expect(pairs.map(({ model }) => model)).toEqual(['alpha', 'beta'])
    const { dangerous, safe } = pairs[0]!
    const last = models[0]!.heldOut.filter(({ row }) => row.dataset === 'finance' && row.step === 50)
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
    expect(dangerous.rates).toEqual(last.map(({ row }) => row.label.pooled.rate))
    expect(dangerous.nScoreable).toBe(144)
    expect(dangerous.length.mean).toBeCloseTo(mean(last.map(({ drift }) => norm(drift))), 12)
    const axis = firstAxis(
      models.flatMap(({ calibration }) => calibration),
      TRAITS,
    )
    expect(dangerous.cosine.mean).toBeCloseTo(mean(last.map(({ drift }) => cosine(drift, axis))), 12)
    expect(dangerous.rate.mean).toBeGreaterThan(safe.rate.mean)
  })

  it('should give what the chosen detector predicts, with the interval of resampled runs', () => {
    const { dangerous } = pairs[0]!
    const [prediction] = dangerous.predicted
    const chosen = evaluation.results.find(({ selected }) => selected)!
    const last = [...models[0]!.heldOut.entries()].filter(
      ([, { row }]) => row.dataset === 'finance' && row.step === 50,
    )
    const values = last.map(([i]) => chosen.predictions![i]!)
    expect(prediction).toMatchObject({ features: '4D', regressor: chosen.regressor })
    expect(prediction!.alarms).toBe(values.filter((value) => value > 0.06).length)
    // With two runs, resampled means are the lower, the middle or the higher one.
    expect(prediction!.interval).toEqual([Math.min(...values), Math.max(...values)])
  })

  it('should leave out a model that lacks one half', () => {
    const without = models.map((one) => ({
      ...one,
      heldOut: one.heldOut.map((x) =>
        one.model === 'alpha' && x.row.dataset === 'verse'
          ? { ...x, row: { ...x.row, dataset: 'prose' } }
          : x,
      ),
    }))
    expect(matchedPair(without, evaluation, options).map(({ model }) => model)).toEqual(['beta'])
  })
})
