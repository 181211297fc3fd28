import { describe, expect, it } from 'vitest'
import { StepAlarm } from '../../lib/detector/step-alarm.js'
import { row } from '../../lib/estimators/matrix.js'
import { uniform } from '../estimators/golden.js'
import { golden } from './golden.js'

describe('StepAlarm', () => {
  it('should weigh the drift per step (oracle: scikit-learn)', () => {
    const { steps, dangerous, expected } = golden.stepAlarm
    const offset = [0.4, -0.2, 0, 0.1]
    const rowsOfMatrix = (seed: number, n: number, scale: number, add = [0, 0, 0, 0]) => {
      const x = uniform(seed, n, 4, scale)
      return Array.from({ length: n }, (_, i) => [...row(x, i)].map((value, c) => value + add[c]!))
    }
    const finals = rowsOfMatrix(51, 9, 1, offset)
    const features = rowsOfMatrix(52, 60, 0.6)
    const rows = features.map((values, i) => ({
      features: values,
      step: steps[i]!,
      dangerous: dangerous[i] === 1,
    }))
    const alarm = StepAlarm.fit(rows, finals)
    const again = StepAlarm.fromJSON(JSON.parse(JSON.stringify(alarm)), 'a test')
    for (const [i, probe] of rowsOfMatrix(53, 8, 1).entries()) {
      const { step, probability } = expected[i]!
      expect(alarm.probability(probe, step)).toBeCloseTo(probability, 6)
      expect(again.probability(probe, step)).toBe(alarm.probability(probe, step))
      // The side of the axis that a drift lies on does not count.
      expect(
        alarm.probability(
          probe.map((value) => -value),
          step,
        ),
      ).toBeCloseTo(probability, 6)
    }
    expect(new Set(expected.map(({ probability }) => probability > 0.5)).size).toBe(2)
  })

  it('should refuse rows of one class, and what is no state', () => {
    const rows = [0.1, 0.2, 0.3].map((value, i) => ({ features: [value], step: i + 1, dangerous: true }))
    expect(() => StepAlarm.fit(rows, [[0.1], [0.2]])).toThrow(expect.objectContaining({ code: 'SHAPE' }))
    for (const json of [null, [], {}, { axis: [1, null] }, { axis: [] }]) {
      expect(() => StepAlarm.fromJSON(json, 'd.json')).toThrow(
        /'stepAlarm\.axis' of d\.json to be a list of numbers/,
      )
    }
    expect(() => StepAlarm.fromJSON({ axis: [1] }, 'd.json')).toThrow(
      expect.objectContaining({ code: 'FILE_INVALID' }),
    )
  })
})
