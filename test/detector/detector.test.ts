import { describe, expect, it } from 'vitest'
import { Detector, type DetectorState } from '../../lib/detector/detector.js'
import { stabilized, unstabilized } from '../../lib/detector/label-noise.js'
import { RateModel } from '../../lib/detector/rate-model.js'
import { StepAlarm } from '../../lib/detector/step-alarm.js'
import type { Verdict } from '../../lib/detector/verdict.js'

/** Predicts the first feature; everything else of a detector is in its state. */
const FIRST = {
  model: 'ridge',
  predict: (rows: number[][]) => rows.map((row) => row[0]!),
} as unknown as RateModel

/** A step alarm of one answer. */
const says = (probability: number) => ({ probability: () => probability }) as unknown as StepAlarm

interface Facts {
  /** Of the errors near every prediction, so many push the rate above the cut. */
  above?: number
  near?: number
  /** Calibration checkpoints, all at the drift 0 but the last, which is far away. */
  rows?: number
  stepAlarm?: StepAlarm
}

/**
 * A detector of one layer and two traits: cut 10 %, threshold 20 %, horizon 100. Errors are of one set each and fewer than
 * twelve, so all of them count.
 */
function stateOf({ above = 0, near = 4, rows = 60 }: Facts = {}): DetectorState {
  const error = (up: boolean): [number, number] => [0.05, up ? 0.9 : 0.05]
  const errors = Array.from({ length: near }, (_, i) => error(i < above))
  return {
    traits: ['a', 'b'],
    layers: [3],
    cut: 0.1,
    threshold: 0.2,
    nominalCoverage: 0.5,
    horizon: 100,
    memory: {
      features: Array.from({ length: rows }, (_, i) => [i === rows - 1 ? 1 : 0, i % 2]),
      datasets: Array.from({ length: rows }, (_, i) => `set-${i}`),
      errors,
    },
  }
}

const detector = (facts: Facts = {}) => new Detector(stateOf(facts), FIRST, facts.stepAlarm)

const LONGEST =
  'the drift is longer than that of any calibration checkpoint: how high the rate is, nobody can say'

const kind = (of: Detector, em: number, step?: number): Verdict['verdict'] =>
  of.verdict([[em, 0]], { step }).verdict

describe('Detector', () => {
  it('should alarm strictly above the threshold, and say so', () => {
    const of = detector()
    expect(of.verdict([[0.1, 0]])).toMatchObject({ verdict: 'ok', em: 0.1, reasons: [] })
    expect(of.verdict([[0.2, 0]])).toMatchObject({
      verdict: 'warn',
      em: 0.2,
      reasons: ['the EM rate is above 10.0 % with a probability of 100.0 %'],
    })
    expect(of.verdict([[0.2000001, 0]])).toMatchObject({
      verdict: 'alarm',
      reasons: ['the predicted EM rate is above 20.0 %'],
    })
  })

  it.each([
    [0, 8, 'ok'],
    [1, 8, 'ok'],
    [1, 4, 'warn'],
    [2, 4, 'warn'],
    [4, 8, 'warn'],
    [8, 8, 'warn'],
  ])('should warn from a probability of a quarter on: %d of %d errors', (above, near, verdict) => {
    const found = detector({ above, near }).verdict([[0.05, 0]])
    expect(found.pDanger).toBe(above / near)
    expect(found.verdict).toBe(verdict)
    expect(found.reasons).toEqual(
      verdict === 'ok'
        ? []
        : [`the EM rate is above 10.0 % with a probability of ${(100 * above) / near}.0 %`],
    )
  })

  it('should give one reason, not two, where the prediction itself is above the threshold', () => {
    expect(detector({ above: 4 }).verdict([[0.3, 0]]).reasons).toEqual([
      'the predicted EM rate is above 20.0 %',
    ])
  })

  it('should not vouch for what lies further out than 98 of 100 calibration checkpoints', () => {
    // 49 checkpoints: one in 50 is the smallest share that can be seen. One fewer, and it is more than 2 %.
    const [enough, few] = [detector({ rows: 49 }), detector({ rows: 48 })]
    expect(enough.verdict([[0.05, 90]])).toMatchObject({
      verdict: 'warn',
      novelty: { pValue: 0.02 },
      reasons: [
        expect.stringMatching(
          /^the drift lies \d+\.\d standard deviations from every calibration checkpoint \(p = 0\.020\): the detector extrapolates$/,
        ),
        LONGEST,
      ],
    })
    expect(few.verdict([[0.05, 90]])).toMatchObject({ verdict: 'ok', reasons: [LONGEST] })
    expect(enough.verdict([[0.3, 90]])).toMatchObject({ verdict: 'alarm', reasons: { length: 3 } })
  })

  it('should leave the upper end open where the drift is longer than any seen', () => {
    // The longest of these is (1, 1).
    expect(detector({ rows: 48 }).verdict([[0.05, 1.412]]).interval![1]).toBeLessThan(0.1)
    expect(detector({ rows: 48 }).verdict([[0.05, 1.415]]).interval).toEqual([expect.any(Number), 1])
  })

  it('should read the errors on the stabilised scale for its interval', () => {
    const { interval, nominalCoverage, threshold } = detector({ above: 4 }).verdict([[0.05, 0]])
    const size = stabilized(0.9) - stabilized(0.05)
    expect(interval).toEqual([0, expect.closeTo(unstabilized(stabilized(0.05) + size), 12)])
    expect([nominalCoverage, threshold]).toEqual([0.5, 0.2])
  })

  it('should speak of steps beyond the calibrated ones only', () => {
    const of = detector()
    expect(of.verdict([[0.05, 0]], { step: 100 }).reasons).toEqual([])
    expect(of.verdict([[0.05, 0]], { step: 101 })).toMatchObject({
      verdict: 'ok',
      pDanger: 0,
      reasons: ['step 101 is beyond the 100 steps of the calibration runs'],
    })
    expect(of.verdict([[0.3, 0]], { step: 101 }).verdict).toBe('alarm')
  })

  it('should leave late alarms to the step alarm, and nothing else', () => {
    const sure = detector({ stepAlarm: says(0.51) })
    const unsure = detector({ stepAlarm: says(0.5) })
    expect([kind(sure, 0.05, 101), kind(unsure, 0.05, 101)]).toEqual(['alarm', 'ok'])
    // Above the threshold and yet no alarm: it stays a warning.
    expect([kind(sure, 0.3, 101), kind(unsure, 0.3, 101)]).toEqual(['alarm', 'warn'])
    expect([kind(sure, 0.05, 100), kind(sure, 0.05)]).toEqual(['ok', 'ok'])
    expect(sure.verdict([[0.05, 0]], { step: 101 })).toMatchObject({
      pDanger: 0.51,
      reasons: [
        'step 101 is beyond the 100 steps of the calibration runs: by its drift per step it is dangerous with a probability of 51.0 %, which decides about the alarm',
      ],
    })
  })

  it('should hand the step alarm the drift and the step', () => {
    const asked: unknown[] = []
    const probability = (...args: unknown[]) => {
      asked.push(args)
      return 0
    }
    detector({ stepAlarm: { probability } as unknown as StepAlarm }).verdict([[0.05, 0.7]], { step: 300 })
    expect(asked).toEqual([[[0.05, 0.7], 300]])
  })

  it('should add remarks to the reasons without changing the verdict', () => {
    const found = detector().verdict([[0.05, 0]], { step: 200, remarks: ['the base differs'] })
    expect(found.verdict).toBe('ok')
    expect(found.reasons).toEqual([expect.stringMatching(/^step 200/), 'the base differs'])
  })

  it('should show the middle layer, and refuse drifts of another shape', () => {
    const of = (layers: number[]) => {
      const { memory, ...state } = stateOf()
      const features = memory.features.map((row) => layers.flatMap(() => row))
      return new Detector({ ...state, layers, memory: { ...memory, features } }, FIRST)
    }
    expect([of([3]), of([3, 5]), of([3, 5, 8])].map(({ mainLayer }) => mainLayer)).toEqual([3, 5, 5])
    expect(() => of([3, 5]).predict([[0, 0]])).toThrow(/expected drifts of 2 layers x 2 traits, found 1 x 2/)
    expect(() => of([3, 5]).predict([[0, 0], [0]])).toThrow(/expected drifts of 2 layers x 2 traits/)
    expect(() => of([3]).predict([[0, 0, 0]])).toThrow(/1 layers x 2 traits, found 1 x 3/)
    expect(() => of([3]).predict([])).toThrow(/found 0 x 0/)
  })
})

describe('Detector.fromJSON', () => {
  const answers = { nScoreable: 100, standardError: 0.02 }
  const rows = Array.from({ length: 20 }, (_, i) => i / 20)
  const model = new RateModel('ridge', 0.1).fit(
    rows.map((rate) => [rate, 0]),
    rows.map((rate) => ({ ...answers, nMisaligned: 100 * rate, rate })),
  )
  // biome-ignore lint/suspicious/noExplicitAny: arbitrary JSON
  const json = (): any => JSON.parse(JSON.stringify(new Detector(stateOf({ rows: 8, near: 8 }), model)))

  it('should restore everything', () => {
    const restored = Detector.fromJSON(json())
    expect(restored.toJSON()).toEqual(json())
    const { traits, layers, cut, threshold, nominalCoverage, heldOutErrors } = restored
    const { memory, ...state } = stateOf({ rows: 8, near: 8 })
    expect({ traits, layers, cut, threshold, nominalCoverage, horizon: 100 }).toEqual(state)
    expect(heldOutErrors).toEqual(memory.errors)
    expect(restored.model).toBe('ridge')
    expect(restored.verdict([[0.5, 0]], { step: 101 }).reasons.at(-1)).toMatch(/^step 101 is beyond the 100/)
  })

  it('should restore its step alarm', () => {
    const steps = Array.from({ length: 12 }, (_, i) => ({
      features: [i / 12, 0.1],
      step: 10 + i,
      dangerous: i > 6,
    }))
    const alarm = StepAlarm.fit(steps, [
      [0.1, 0.2],
      [0.9, 0.3],
    ])
    const of = new Detector(stateOf({ rows: 8, near: 8 }), model, alarm)
    const restored = Detector.fromJSON(JSON.parse(JSON.stringify(of)))
    expect(restored.toJSON()).toEqual(of.toJSON())
    expect(restored.toJSON().stepAlarm).toEqual(alarm.toJSON())
    expect(restored.verdict([[0.5, 0]], { step: 101 }).reasons.at(-1)).toMatch(/decides about the alarm$/)
    const state = JSON.parse(JSON.stringify(of))
    expect(() => Detector.fromJSON({ ...state, stepAlarm: {} }, 'd.json')).toThrow(
      /'stepAlarm.axis' of d.json/,
    )
    delete state.stepAlarm
    expect(Detector.fromJSON(state).toJSON().stepAlarm).toBe(null)
  })

  it('should not share its state with what it gave away', () => {
    const of = new Detector(stateOf({ rows: 8, near: 8 }), model)
    of.toJSON().memory.errors[0]![0] = 1
    expect(of.heldOutErrors[0]![0]).toBe(0.05)
  })

  it.each<[string, (value: ReturnType<typeof json>) => void, RegExp]>([
    ['a newer schema', (x) => Object.assign(x, { schemaVersion: 2 }), /schema version 1 in d.json, found 2/],
    ['no schema', (x) => delete x.schemaVersion, /'schemaVersion' of d.json/],
    ['a cut of 0', (x) => Object.assign(x, { cut: 0 }), /'cut' of d.json to be a number between 0 and 1/],
    ['a threshold of 1', (x) => Object.assign(x, { threshold: 1 }), /'threshold' of d.json/],
    ['a coverage that is no number', (x) => Object.assign(x, { level: '0.9' }), /'level' of d.json/],
    ['no horizon', (x) => Object.assign(x, { horizon: -1 }), /'horizon' of d.json/],
    ['no traits', (x) => Object.assign(x, { traits: [] }), /'traits' of d.json to be a list of trait names/],
    ['traits that are no names', (x) => Object.assign(x, { traits: [1, 2] }), /trait names/],
    ['fractional layers', (x) => Object.assign(x, { layers: [0.5] }), /list of block indices/],
    [
      'narrow rows',
      (x) => x.memory.features.push([1]),
      /'memory.features' of d.json to be a list of rows of 2/,
    ],
    ['rows with null', (x) => x.memory.features.push([1, null]), /rows of 2 numbers/],
    ['a dataset too few', (x) => x.memory.datasets.pop(), /'memory.datasets' of d.json to be a list of 8/],
    ['datasets without names', (x) => x.memory.datasets.fill(3), /list of dataset names/],
    ['an error too many', (x) => x.memory.errors.push([0, 1]), /'memory.errors' of d.json to be a list of 8/],
    ['errors that are no pairs', (x) => x.memory.errors.fill([0, 1, 2]), /list of pairs of rates/],
  ])('should refuse %s', (_, damage, message) => {
    const value = json()
    // As many errors as rows, so that one thing is wrong at a time.
    value.memory.errors = value.memory.features.map(() => [0.05, 0.05])
    damage(value)
    expect(() => Detector.fromJSON(value, 'd.json')).toThrow(message)
  })

  it.each([null, [], 'detector'])('should refuse %j', (value) => {
    expect(() => Detector.fromJSON(value)).toThrow(/expected the detector to hold an object/)
  })
})
