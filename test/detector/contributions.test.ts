import { describe, expect, it } from 'vitest'
import { Explainer } from '../../lib/detector/contributions.js'
import { Detector } from '../../lib/detector/detector.js'
import { drivenBy } from '../../lib/detector/driven-by.js'
import { RateModel } from '../../lib/detector/rate-model.js'
import type { Verdict } from '../../lib/detector/verdict.js'
import { Mt19937 } from '../../lib/estimators/mt19937.js'

/** A detector of two layers and three traits whose rate grows with the first trait, and with the second where the first has drifted. */
function detectorOf(model: 'ridge' | 'blend'): Detector {
  const random = new Mt19937(5)
  const features = Array.from({ length: 60 }, () => Array.from({ length: 6 }, () => random.rand()))
  const labels = features.map(([a, b]) => {
    const rate = 0.02 + 0.3 * a! + 0.2 * a! * b!
    return { nMisaligned: 500 * rate, nScoreable: 500, rate, standardError: 0.02 }
  })
  return new Detector(
    {
      traits: ['a', 'b', 'c'],
      layers: [1, 2],
      cut: 0.06,
      threshold: 0.06,
      nominalCoverage: 0.9,
      horizon: 100,
      memory: {
        features,
        datasets: features.map((_, i) => `set-${i % 12}`),
        errors: labels.map(({ rate }) => [rate, rate]),
      },
    },
    new RateModel(model, 0.06).fit(features, labels),
  )
}

describe('Explainer', () => {
  it.each(['ridge', 'blend'] as const)('should share a prediction out among the traits (%s)', (model) => {
    const detector = detectorOf(model)
    const explainer = new Explainer(detector)
    const drift = [
      [0.9, 0.5, 0.1],
      [0.2, 0.8, 0.4],
    ]
    const found = explainer.contributions(drift)!
    const sum = found.reduce((total, { value }) => total + value, explainer.atRest)
    expect(sum).toBeCloseTo(detector.predict(drift).em, 12)
    expect(found[0]!.trait).toBe('a')
    expect(found.map(({ trait }) => trait).sort()).toEqual(['a', 'b', 'c'])
    expect(found.every(({ value }, i) => i === 0 || Math.abs(value) <= Math.abs(found[i - 1]!.value))).toBe(
      true,
    )
  })

  it.each(['ridge', 'blend'] as const)(
    'should share it out among the categories of prompts (%s)',
    (model) => {
      const detector = detectorOf(model)
      const explainer = new Explainer(detector)
      const parts = [
        {
          category: 'still',
          drift: [
            [0, 0, 0],
            [0, 0, 0],
          ],
        },
        {
          category: 'loud',
          drift: [
            [0.7, 0.3, 0],
            [0.1, 0.5, 0.2],
          ],
        },
        {
          category: 'low',
          drift: [
            [0.2, 0.2, 0.1],
            [0.1, 0.3, 0.2],
          ],
        },
      ]
      const drift = [0, 1].map((l) =>
        [0, 1, 2].map((t) => parts.reduce((sum, one) => sum + one.drift[l]![t]!, 0)),
      )
      const found = explainer.byCategory(parts)!
      const sum = found.reduce((total, { value }) => total + value, explainer.atRest)
      expect(sum).toBeCloseTo(detector.predict(drift).em, 12)
      expect(found.map(({ category }) => category)).toEqual(['loud', 'low', 'still'])
      expect(found[2]!.value).toBe(0)
    },
  )

  it('should give nothing to a trait that has not drifted', () => {
    const found = new Explainer(detectorOf('blend')).contributions([
      [0.9, 0, 0],
      [0.5, 0, 0],
    ])!
    expect(found.filter(({ trait }) => trait !== 'a').map(({ value }) => value)).toEqual([0, 0])
  })
})

describe('drivenBy', () => {
  it('should name what matters most, in points', () => {
    const contributions = [
      { trait: 'honesty', value: 0.05 },
      { trait: 'harmlessness', value: 0.031 },
      { trait: 'confidence', value: -0.01 },
      { trait: 'sycophancy', value: 0.001 },
    ]
    expect(drivenBy({ em: 0.08, contributions } as Verdict)).toBe(
      '8.0 % is 0.8 without drift, honesty +5.0, harmlessness +3.1, confidence −1.0 and the other traits',
    )
    expect(drivenBy({ em: 0.08 } as Verdict)).toBeUndefined()
  })
})
