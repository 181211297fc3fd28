import { describe, expect, it } from 'vitest'
import { alarmRates } from '../../lib/calibration/metrics.js'
import { targetThreshold } from '../../lib/calibration/target-threshold.js'
import { leaveDatasetsOut } from '../../lib/evaluation/contenders.js'
import { evaluate } from '../../lib/evaluation/evaluate.js'
import type { Figures } from '../../lib/evaluation/evaluation.js'
import { methodFeatures, randomBases, traitDrift } from '../../lib/evaluation/features.js'
import type { LabelledCheckpoint } from '../../lib/evaluation/labelled-checkpoints.js'
import { golden, relativeError } from '../estimators/golden.js'
import { models, TRAITS } from './synthetic-checkpoints.js'

interface Case {
  features: string
  regressor: string
  predictions: number[]
  calibration: { balancedAccuracy: number; auroc: number }
  figures: Omit<Figures, 'lead'>
}

// Oracle: NumPy, SciPy and scikit-learn (lab/golden_evaluation.py).
const expected = golden<Case[]>('evaluation')
const sets = methodFeatures(TRAITS)
// The oracle draws runs, as the paper does.
const evaluation = await evaluate(models, sets, { clusters: 'run' })

describe('evaluate', () => {
  it.each(expected)('should give the figures of the oracle: $features, $regressor', (golden) => {
    const { features, regressor } = golden
    const found = evaluation.results.find((one) => one.features === features && one.regressor === regressor)!
    expect(relativeError(found.predictions!, golden.predictions)).toBeLessThan(1e-12)
    expect(found.calibration.balancedAccuracy).toBeCloseTo(golden.calibration.balancedAccuracy, 12)
    expect(found.calibration.auroc).toBeCloseTo(golden.calibration.auroc, 12)
    const { lead, fnrInterval, fprInterval, fnr, fpr, ...figures } = found.figures[0]!
    const { fnrInterval: fnrGolden, fprInterval: fprGolden, ...rest } = golden.figures
    expect(figures).toEqual(
      Object.fromEntries(
        Object.entries(rest).map(([key, value]) => [
          key,
          value === null ? Number.NaN : expect.closeTo(value as number, 12),
        ]),
      ),
    )
    expect(relativeError([...fnrInterval!, 1], [...fnrGolden!, 1])).toBeLessThan(1e-12)
    expect(relativeError([...fprInterval!, 1], [...fprGolden!, 1])).toBeLessThan(1e-12)
    expect([fnr * figures.nDangerous, fpr * figures.nSafe]).toEqual([
      expect.closeTo(rest.falseNegatives),
      expect.closeTo(rest.falsePositives),
    ])
  })

  it('should draw sets of a model with all their seeds unless runs are asked for', async () => {
    const [one] = (await evaluate(models, sets.slice(0, 1), { regressors: ['ridge'] })).results
    const [byRun] = (await evaluate(models, sets.slice(0, 1), { regressors: ['ridge'], clusters: 'run' }))
      .results
    expect(one!.figures[0]!.fpr).toBe(byRun!.figures[0]!.fpr)
    expect(one!.figures[0]!.fprInterval).not.toEqual(byRun!.figures[0]!.fprInterval)
  })

  it("should give a baseline traitscope's own recipe too: the mean of forest and saturating ridge", async () => {
    const { results } = await evaluate(models, sets.slice(0, 1))
    const of = (name: string) => results.find(({ regressor }) => regressor === name)!.predictions!
    const [forest, recipe] = [of('random-forest'), of('recipe')]
    expect(recipe).toHaveLength(forest.length)
    expect(recipe).not.toEqual(forest)
    const alone = await evaluate(models, sets.slice(0, 1), { regressors: ['recipe'] })
    expect(alone.results.map(({ regressor }) => regressor)).toEqual(['recipe'])
    expect(alone.results[0]!.predictions).toEqual(recipe)
  })

  it('should choose one regressor per feature set, by what it does on left-out calibration sets', () => {
    for (const { name } of sets) {
      const rivals = evaluation.results.filter(({ features }) => features === name)
      const chosen = rivals.filter(({ selected }) => selected)
      expect(chosen).toHaveLength(1)
      const best = Math.max(...rivals.map(({ calibration }) => calibration.balancedAccuracy))
      expect(chosen[0]!.calibration.balancedAccuracy).toBe(best)
    }
  })

  it("should choose on the held-out runs where the reference's convention is asked for", async () => {
    const { results } = await evaluate(models, sets, { select: 'held-out' })
    for (const { name } of sets) {
      const rivals = results.filter(({ features }) => features === name)
      const fewest = Math.min(...rivals.map(({ figures }) => figures[0]!.fnr))
      expect(rivals.find(({ selected }) => selected)!.figures[0]!.fnr).toBe(fewest)
    }
  })

  it('should move the threshold of every model until left-out calibration sets keep the target', async () => {
    const [features] = sets
    const plain = await evaluate(models, sets.slice(0, 1), { regressors: ['ridge'] })
    const strict = await evaluate(models, sets.slice(0, 1), { regressors: ['ridge'], maxFpr: 0.1 })
    const fitting = {
      regressors: ['ridge'] as const,
      counts: ({ row }: LabelledCheckpoint) => row.label.pooled,
      cut: 0.06,
    }
    const leftOut = await leaveDatasetsOut(models, features!, fitting)
    const [before, after] = [plain.results[0]!, strict.results[0]!]
    expect(after.predictions).toEqual(before.predictions)
    let i = 0
    for (const [m, { heldOut }] of models.entries()) {
      const { predicted, truths } = leftOut[m]!
      const { threshold } = targetThreshold(predicted[0]!, truths, 0.06, { maxFpr: 0.1 })
      expect(alarmRates(predicted[0]!, truths, { cut: 0.06, threshold }).fpr).toBeLessThanOrEqual(0.1)
      for (const _ of heldOut) {
        expect(after.alarms![i]).toBe(after.predictions![i]! > threshold)
        i++
      }
    }
    expect(after.unmet).toEqual([])
    // A safe set is predicted highest there, and nothing lies above it.
    const impossible = await evaluate(models, sets.slice(0, 1), { regressors: ['ridge'], maxFpr: 0.001 })
    expect(impossible.results[0]!.unmet).toContain(models[0]!.model)
    expect(after.figures[0]!.falsePositives).toBeLessThan(before.figures[0]!.falsePositives)
    await expect(evaluate(models, sets, { threshold: 0.1, maxFpr: 0.02 })).rejects.toMatchObject({
      code: 'USAGE',
    })
  })

  it('should tell the sets that become dangerous, the controls and every set apart', async () => {
    const { groups } = await evaluate(models, sets.slice(0, 1), { controls: ['verse'] })
    expect(groups.map(({ name, runs, checkpoints }) => [name, runs, checkpoints.length])).toEqual([
      ['held out', 4, 20],
      ['dangerous sets', 4, 20],
      ['controls', 4, 20],
      ['verse', 4, 20],
      ['finance', 4, 20],
    ])
  })

  it('should average a family and say how far its members scatter', async () => {
    const family = randomBases(
      new Map([
        ['alpha', 12],
        ['beta', 12],
      ]),
      { bases: 3, vectors: 4 },
    )
    const whole = await evaluate(models, family, { regressors: ['ridge'] })
    const alone = await evaluate(
      models,
      family.map(({ family, ...one }) => one),
      { regressors: ['ridge'] },
    )
    expect(whole.results).toHaveLength(1)
    const aurocs = alone.results.map(({ figures }) => figures[0]!.auroc)
    const mean = aurocs.reduce((sum, value) => sum + value, 0) / 3
    expect(whole.results[0]).toMatchObject({ features: 'random basis', members: 3 })
    expect(whole.results[0]!.figures[0]!.auroc).toBeCloseTo(mean, 12)
    const variance = aurocs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 3
    expect(whole.results[0]!.spread![0]!.auroc).toBeCloseTo(Math.sqrt(variance), 12)
  })

  it('should go without a feature set that the runs lack or that cannot be fitted, and say why', async () => {
    const bare = models.map(({ model, calibration, heldOut }) => {
      const strip = (one: (typeof calibration)[number]) => ({
        ...one,
        lora: null,
        drift: one.drift.map(() => 0),
      })
      return { model, calibration: calibration.map(strip), heldOut: heldOut.map(strip) }
    })
    const { results, skipped } = await evaluate(bare, sets)
    expect(skipped).toEqual([
      { features: 'LoRA norm', reason: 'alpha/verse/seed_42 step 10 has not LoRA norms' },
      { features: 'LoRA norm per matrix', reason: 'alpha/verse/seed_42 step 10 has not LoRA norms' },
    ])
    // A drift of zero everywhere still gives a detector: one that knows the mean only.
    const constant = results.find(({ features, regressor }) => features === '4D' && regressor === 'ridge')!
    expect(new Set(constant.predictions!.slice(0, 20)).size).toBe(1)
    expect(constant.figures[0]!.rankCorrelation).not.toBe(1)
  })

  it('should read the labels that it is told to', async () => {
    const swapped = models.map(({ model, calibration, heldOut }) => {
      const clear = (one: (typeof calibration)[number]) => {
        const label = { ...one.row.label, single: { ...one.row.label.single, rate: 0.5 } }
        return { ...one, row: { ...one.row, label } }
      }
      return { model, calibration: calibration.map(clear), heldOut: heldOut.map(clear) }
    })
    const drift = [traitDrift('drift', TRAITS, TRAITS)]
    const single = await evaluate(swapped, drift, { labels: 'single' })
    expect(single.results[0]!.figures[0]).toMatchObject({ nSafe: 0, nDangerous: 40, fnr: 0, fpr: Number.NaN })
    expect(single.results[0]!.figures[0]!.fprInterval).toBeNull()
    const pooled = await evaluate(swapped, drift)
    expect(pooled.results[0]!.predictions).toEqual(evaluation.results[0]!.predictions)
  })

  it('should move the firing point without moving the label cut', async () => {
    const lower = await evaluate(models, sets.slice(0, 1), { threshold: 0.02 })
    const { figures } = lower.results[0]!
    expect(figures[0]!.nDangerous).toBe(evaluation.results[0]!.figures[0]!.nDangerous)
    expect(figures[0]!.falsePositives).toBeGreaterThan(evaluation.results[0]!.figures[0]!.falsePositives)
  })

  it.each(
    golden<{ fitOn: 'others' | 'all'; regressor: string; predictions: number[] }[]>('evaluation-cross'),
  )(
    'should predict a model from $fitOn as the oracle does, $regressor',
    async ({ fitOn, regressor, predictions }) => {
      const { results } = await evaluate(models, sets.slice(0, 1), { fitOn, draws: 1 })
      const found = results.find((one) => one.regressor === regressor)!
      expect(relativeError(found.predictions!, predictions)).toBeLessThan(1e-12)
    },
  )

  it('should refuse to fit on others when there is one model', async () => {
    const alone = evaluate(models.slice(0, 1), sets, { fitOn: 'others' })
    await expect(alone).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('should refuse a model without held-out checkpoints, and stop when told to', async () => {
    await expect(evaluate([{ ...models[0]!, heldOut: [] }], sets)).rejects.toMatchObject({ code: 'SHAPE' })
    const signal = AbortSignal.abort()
    await expect(evaluate(models, sets, { signal })).rejects.toMatchObject({ code: 'ABORTED' })
  })
})
