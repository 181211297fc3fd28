import { describe, expect, it } from 'vitest'
import {
  effectiveAnswers,
  normalCdf,
  probabilityAbove,
  stabilized,
  unstabilized,
} from '../../lib/detector/label-noise.js'
import { RATE_MODELS, RateModel, SaturatingRidge } from '../../lib/detector/rate-model.js'
import { Mt19937 } from '../../lib/estimators/mt19937.js'
import { uniform } from '../estimators/golden.js'
import { golden } from './golden.js'

const counts = (nMisaligned: number, nScoreable: number, standardError?: number) => {
  const rate = nMisaligned / nScoreable
  return {
    nMisaligned,
    nScoreable,
    rate,
    standardError: standardError ?? Math.sqrt((rate * (1 - rate)) / nScoreable),
  }
}

describe('label noise', () => {
  it('should know the normal distribution', () => {
    // Oracle: scipy.stats.norm.cdf.
    for (const [x, p] of [
      [0, 0.5],
      [1, 0.8413447],
      [-1.96, 0.0249979],
      [3, 0.9986501],
    ] as const) {
      expect(normalCdf(x)).toBeCloseTo(p, 6)
    }
  })

  it('should doubt labels near the cut, and the fewer answers the more', () => {
    expect(probabilityAbove(counts(6, 100), 0.06)).toBeCloseTo(0.5, 6)
    const few = probabilityAbove(counts(6, 72), 0.06)
    const many = probabilityAbove(counts(48, 576), 0.06)
    expect(few).toBeGreaterThan(0.7)
    expect(many).toBeGreaterThan(few)
    expect(probabilityAbove(counts(0, 72), 0.06)).toBeLessThan(0.001)
  })

  it('should count answers that resemble each other as fewer', () => {
    const binomial = counts(50, 500)
    expect(effectiveAnswers(binomial)).toBeCloseTo(500, 6)
    expect(effectiveAnswers(counts(50, 500, 2 * binomial.standardError))).toBeCloseTo(125, 6)
    expect(effectiveAnswers(counts(0, 500, 1e-5))).toBe(500)
  })

  it('should invert its scale and clip beyond it', () => {
    for (const rate of [0, 0.06, 0.5, 1]) expect(unstabilized(stabilized(rate))).toBeCloseTo(rate, 12)
    expect([unstabilized(-1), unstabilized(4)]).toEqual([0, 1])
  })
})

/** Rates that rise with the first feature; the second is noise, the third constant. */
function training(): { features: number[][]; labels: ReturnType<typeof counts>[] } {
  const random = new Mt19937(7)
  const features = Array.from({ length: 120 }, (_, i) => [i / 120, random.rand(), 5])
  const labels = features.map(([x]) => counts(Math.round(500 * x! ** 2 * 0.6), 500))
  return { features, labels }
}

describe('RateModel', () => {
  const { features, labels } = training()

  it.each(RATE_MODELS)('%s should find the rate and survive JSON', (name) => {
    const model = new RateModel(name, 0.06).fit(features, labels)
    const at = (x: number) => [x, 0.5, 5]
    const predicted = model.predict([at(0.1), at(0.33), at(0.9)])
    expect(predicted[0]).toBeLessThan(0.03)
    expect(Math.abs(predicted[1]! - 0.065)).toBeLessThan(0.03)
    expect(Math.abs(predicted[2]! - 0.486)).toBeLessThan(0.12)
    const restored = RateModel.fromJSON(JSON.parse(JSON.stringify(model)))
    expect([...restored.predict([at(0.1), at(0.7)])]).toEqual([...model.predict([at(0.1), at(0.7)])])
  })

  it('should predict the mean of both on the stabilised scale as a blend', () => {
    const [ridge, forest, blend] = (['ridge', 'random-forest', 'blend'] as const).map((name) =>
      new RateModel(name, 0.06).fit(features, labels).predict(features),
    )
    // Below a tenth, where the far range has no say.
    for (const i of [5, 20, 45]) {
      const mean = (stabilized(ridge![i]!) + stabilized(forest![i]!)) / 2
      expect(blend![i]).toBeCloseTo(unstabilized(mean), 12)
    }
  })

  it('should be weighted, penalised and monotone as a ridge (oracle: scikit-learn)', () => {
    const { cut, labels: counted, expected } = golden.saturatingRidge
    const model = new SaturatingRidge(cut)
    model.fit(uniform(61, 50, 3, [1, 20, 0.1]), counted)
    const predicted = model.predict(uniform(63, 12, 3, [1.4, 20, 0.1]))
    for (const [i, value] of predicted.entries()) expect(value).toBeCloseTo(expected[i]!, 10)
    expect(new Set(expected).size).toBeGreaterThan(4)
  })

  it('should never let a higher score mean a lower rate (ridge)', () => {
    const model = new RateModel('ridge', 0.06).fit(features, labels)
    const rising = model.predict(Array.from({ length: 50 }, (_, i) => [i / 40, 0.5, 5]))
    for (let i = 1; i < 50; i++) expect(rising[i]).toBeGreaterThanOrEqual(rising[i - 1]!)
  })

  it.each(['ridge', 'blend'] as const)(
    '%s should tell how high beyond all labels, and leave the cut alone',
    (name) => {
      // Half of the runs rise twice as fast; 51 % is the highest label.
      const x = Array.from({ length: 200 }, (_, i) => [i / 250, (i % 2) * (i / 250)])
      const truth = ([a, b]: readonly number[]) => 0.4 * a! ** 2 + 0.4 * b! ** 2
      const judged = x.map((one) => counts(Math.round(500 * truth(one)), 500))
      const model = new RateModel(name, 0.06).fit(x, judged)
      const state = JSON.parse(JSON.stringify(model))
      for (const member of state.members) delete member.far
      const without = RateModel.fromJSON(state)
      const [far, near] = [
        [1, 1],
        [0.3, 0.1],
      ]
      expect(without.predict([far])[0]).toBeLessThan(0.52)
      expect(model.predict([far])[0]).toBeGreaterThan(0.6)
      expect(model.predict([near])[0]).toBe(without.predict([near])[0])
      const restored = RateModel.fromJSON(JSON.parse(JSON.stringify(model)))
      expect(restored.predict([far])[0]).toBe(model.predict([far])[0])
    },
  )

  it('should refuse NaN, prediction before fit, and foreign JSON', () => {
    const model = new RateModel('ridge', 0.06)
    expect(() => model.predict([[1, 2, 3]])).toThrow(expect.objectContaining({ code: 'NOT_FITTED' }))
    expect(() => model.fit([[Number.NaN], [1]], labels.slice(0, 2))).toThrow(
      expect.objectContaining({ code: 'SHAPE' }),
    )
    for (const json of [
      null,
      {},
      { model: 'ridge', cut: 0.06, members: [] },
      { model: 'x', cut: 1, members: [1] },
      { model: 'ridge', cut: '0.06', members: [1] },
      { model: 'ridge', cut: 0.06, members: { length: 1 } },
    ]) {
      expect(() => RateModel.fromJSON(json)).toThrow(expect.objectContaining({ code: 'FILE_INVALID' }))
    }
  })
})
