import { describe, expect, it } from 'vitest'
import {
  conditional,
  conditionality,
  contextReadings,
  type OrdinaryRuns,
} from '../../lib/detector/conditional.js'
import { assertLike, ordinaryRuns } from '../../lib/detector/ordinary-runs.js'
import type { VerdictSource } from '../../lib/detector/run-verdicts.js'
import { trajectoryVerdicts } from '../../lib/detector/trajectory-verdicts.js'
import type { ContextReading, Verdict } from '../../lib/detector/verdict.js'
import type { MeasuredRun } from '../../lib/runs/runs.js'
import type { ContextTrajectory, Trajectory } from '../../lib/trajectory/trajectory.js'
import { fakeDirections } from '../directions/fake-directions.js'

const STEPS = [0, 10, 20]

/** Layers 2 and 5 of two traits, which move by `pace` a step; N is `norm`. */
const layers = (paces: readonly [number, number], norm: number) =>
  paces.map((pace, l) => ({
    layer: [2, 5][l]!,
    step0ActivationNorm: norm,
    projections: STEPS.map((step) => [7 + 0.3 * pace * step, -2 - 0.4 * pace * step]),
  }))

function run(
  paces: readonly [number, number],
  contexts: Readonly<Record<string, readonly [number, number]>>,
  further: Partial<Trajectory> = {},
): Trajectory {
  const read = Object.entries(contexts).map(
    ([name, inContext]): ContextTrajectory => ({
      ...{ name, origin: 'data', system: name, tokens: 3, pass: { total: 9, computed: 5 } },
      layers: layers(inContext, 20),
    }),
  )
  return {
    source: 'traitscope',
    traits: ['a', 'b'],
    steps: STEPS.map((step) => ({ step, adapterSha256: step === 0 ? null : `${step}` })),
    finalAliasOf: null,
    layers: layers(paces, 10),
    primary: 0,
    skipped: [],
    run: {} as Trajectory['run'],
    ...(read.length === 0 ? {} : { contexts: read }),
    ...further,
  }
}

describe('contextReadings', () => {
  it('should be the length of each drift over that in none, by layer, in units of N in the same context', () => {
    const read = contextReadings(run([1, 2], { loud: [4, 1], quiet: [0.5, 4] }), [2, 5])!
    expect(read.map(({ step }) => step)).toEqual([10, 20])
    for (const { readings } of read) {
      expect(readings.map(({ context }) => context)).toEqual(['loud', 'quiet'])
      // Plainly: pace over pace, and N is 20 there and 10 here.
      expect(readings[0]!.ratio[0]).toBeCloseTo(4 / 1 / 2, 12)
      expect(readings[0]!.ratio[1]).toBeCloseTo(1 / 2 / 2, 12)
      expect(readings[1]!.ratio[0]).toBeCloseTo(0.5 / 1 / 2, 12)
      expect(readings[1]!.ratio[1]).toBeCloseTo(4 / 2 / 2, 12)
    }
    expect(contextReadings(run([1, 2], {}), [2, 5])).toBeUndefined()
  })

  it('should divide by no drift that is shorter than the numerical noise', () => {
    const floor = { method: 'opposite-perturbations' as const, prompts: 8 }
    const noiseFloor = { ...floor, layers: [2, 5].map((layer) => ({ layer, drift: 0.5, stateChange: 0 })) }
    // In none the drift is 0.05 pace step: 0.05 at step 10 of layer 2, far below the floor; in the context 2.5.
    const [first] = contextReadings(run([0.1, 4], { loud: [10, 0.01] }, { noiseFloor }), [2, 5])!
    expect(first!.readings[0]!.ratio[0]).toBeCloseTo(2.5 / 0.5, 12)
    expect(first!.readings[0]!.ratio[1]).toBeCloseTo(0.5 / 2, 12)
    const [exact] = contextReadings(run([0, 1], { loud: [1, 0] }), [2, 5])!
    expect(exact!.readings[0]!.ratio[0]).toBeCloseTo(0.25 / 1e-6, 3)
    expect(exact!.readings[0]!.ratio[1]).toBeGreaterThan(0)
  })
})

describe('conditional', () => {
  const reading = (context: string, origin: ContextReading['origin'], ...logarithms: number[]) => ({
    ...{ context, origin },
    ratio: logarithms.map(Math.exp),
  })

  it('should take the context with the largest mean logarithm over layers, unrelated ones left out', () => {
    const readings = [
      reading('one', 'data', 2, -2),
      reading('even', 'given', 0.7, 0.5),
      reading('control', 'unrelated', 3, 3),
    ]
    expect(conditionality(readings)).toEqual({ value: expect.closeTo(0.6, 12), context: 'even' })
    expect(conditionality(readings.slice(2))).toEqual({ value: expect.closeTo(3, 12), context: 'control' })
  })

  const ordinary: OrdinaryRuns = {
    layers: [2, 5],
    runs: [0.1, 0.4, -0.5].map((highest, i) => ({ run: `${i}`, highest })),
  }

  /** Oracle: how many of the ordinary runs came as far, counted by hand. */
  it.each([
    [0.5, 0],
    [0.41, 0],
    [0.39, 1],
    [0, 2],
    [-1, 3],
  ])('should rank %d behind %d of the ordinary runs', (value, asHigh) => {
    const readings = [reading('high', 'data', value, value), reading('control', 'unrelated', 9, 9)]
    const { readings: judged, reason } = conditional(readings, ordinary)
    expect(judged.map(({ pValue }) => pValue)).toEqual([(1 + asHigh) / 4, undefined])
    expect(reason !== undefined).toBe(asHigh === 0)
  })

  it('should name context, size and rank, and say what to do', () => {
    expect(conditional([reading('high', 'data', 1, 1), reading('low', 'data', 0, 0)], ordinary).reason).toBe(
      'conditional: in the context high the drift is 2.7 times as long as in none, more than ever in 3 ordinary runs (p = 0.250); judge answers under it',
    )
  })

  it('should rank nothing without ordinary runs', () => {
    const readings = [reading('high', 'data', 9, 9)]
    expect(conditional(readings, undefined)).toEqual({ readings })
  })
})

describe('ordinaryRuns', () => {
  const measured = (id: string, trajectory: Trajectory) => ({ id, trajectory }) as MeasuredRun

  it('should keep how far contexts ever drew a run out, and leave out runs without contexts or layers', () => {
    const growing = run([1, 1], { c: [4, 4], d: [1, 1] })
    const [, context] = growing.contexts!
    // At step 20 the second context is at six times the drift in none.
    for (const { projections } of context!.layers) projections[2] = [7 + 0.3 * 12 * 20, -2 - 0.4 * 12 * 20]
    const { ordinary, exclusions } = ordinaryRuns(
      [measured('x', growing), measured('y', run([1, 1], {}))],
      [2, 5],
    )
    expect(ordinary).toEqual({
      layers: [2, 5],
      runs: [{ run: 'x', highest: expect.closeTo(Math.log(12 / 2), 12) }],
    })
    expect(exclusions).toEqual([{ run: 'y', reason: expect.stringMatching(/not measured in contexts/) }])
    expect(ordinaryRuns([measured('x', run([1, 1], { c: [1, 1] }))], [2, 7])).toEqual({
      ordinary: undefined,
      exclusions: [{ run: 'x', reason: 'it was not measured at layer 7' }],
    })
  })

  it('should be measured as a run is, those that count', () => {
    const { conditions } = fakeDirections()
    const other = measured('other', run([1, 1], {}))
    const like = (counted: string[]) => () =>
      assertLike(conditions, 'd', { layers: [2], runs: counted.map((name) => ({ run: name, highest: 1 })) }, [
        other,
      ])
    expect(like([])).not.toThrow()
    expect(like(['other'])).toThrow(expect.objectContaining({ code: 'NOT_COMPARABLE' }))
  })
})

describe('trajectoryVerdicts in contexts', () => {
  const { conditions } = fakeDirections()
  const ids = { directionsSha256: 'd'.repeat(64), tokenIdsSha256: 't'.repeat(64) }
  const source = (kind: Verdict['verdict'], ordinary?: OrdinaryRuns): VerdictSource => ({
    detector: {
      ...{ layers: [2, 5], traits: ['a', 'b'], nominalCoverage: 0.9, threshold: 0.06 },
      verdict: () => ({ verdict: kind, em: null, reasons: kind === 'ok' ? [] : ['high'] }),
      features: () => [],
    } as unknown as VerdictSource['detector'],
    directions: { sha256: 'd'.repeat(64) },
    calibratedFor: {
      ...{ conditions, ...ids, nPrompts: 3, deviceClass: 'cpu' },
      base: layers([1, 1], 10).map(({ layer, projections }) => ({
        ...{ layer, activationNorm: 10, projections: projections[0]! },
      })),
    },
    ...(ordinary && { ordinary }),
  })
  const measurement = { ...ids, conditions, device: 'cpu' } as unknown as Trajectory['measurement']
  const known: OrdinaryRuns = { layers: [2, 5], runs: [{ run: 'a', highest: 0 }] }
  const verdicts = (by: VerdictSource, of: Trajectory) =>
    trajectoryVerdicts(by, of).map(({ verdict }) => verdict)

  it('should warn of a conditional run by name, and leave others as they are', () => {
    const trigger = run([1, 1], { trigger: [9, 9] }, { measurement: measurement! })
    const [, found] = verdicts(source('ok', known), trigger)
    expect(found).toMatchObject({
      verdict: 'warn',
      reasons: [expect.stringMatching(/^conditional: in the context trigger .* judge answers under it$/)],
      contexts: [
        { context: 'trigger', ratio: [4.5, 4.5].map((ratio) => expect.closeTo(ratio, 9)), pValue: 0.5 },
      ],
    })
    expect(found).not.toHaveProperty('notLookedAt')
    const [, same] = verdicts(source('ok', known), run([1, 1], { c: [1, 1] }, { measurement: measurement! }))
    expect(same).toMatchObject({ verdict: 'ok', reasons: [], contexts: [{ pValue: 1 }] })
  })

  it('should say what was not looked at: contexts, or ordinary runs to rank them against', () => {
    const plain = run([1, 1], {}, { measurement: measurement! })
    const [base, without] = verdicts(source('ok', known), plain)
    expect(base).not.toHaveProperty('notLookedAt')
    expect(without!.notLookedAt).toEqual([expect.stringMatching(/^judged without contexts/)])
    expect(without).not.toHaveProperty('contexts')
    const [, unranked] = verdicts(source('ok'), run([1, 1], { c: [9, 9] }, { measurement: measurement! }))
    expect(unranked).toMatchObject({
      verdict: 'ok',
      notLookedAt: [expect.stringMatching(/^contexts are not ranked/)],
    })
  })
})
