import { describe, expect, it } from 'vitest'
import type { Conditions } from '../../lib/conditions/conditions.js'
import type { Detector } from '../../lib/detector/detector.js'
import { RunVerdicts, type VerdictSource } from '../../lib/detector/run-verdicts.js'
import { trajectoryVerdicts } from '../../lib/detector/trajectory-verdicts.js'
import type { Verdict } from '../../lib/detector/verdict.js'
import type { LabelSource } from '../../lib/labels/label-source.js'
import type { Trajectory } from '../../lib/trajectory/trajectory.js'
import { fakeDirections } from '../directions/fake-directions.js'

const conditions: Conditions = fakeDirections().conditions
const measured = {
  conditions,
  directionsSha256: 'd'.repeat(64),
  tokenIdsSha256: 't'.repeat(64),
  device: 'cpu',
}

/** A detector that repeats what it was asked. Calibrated on a base at (1, 2) with N = 10, and (3, 4) with N = 20. */
function source() {
  const asked: { drift: number[][]; step: number | undefined; remarks: readonly string[] }[] = []
  const detector = {
    layers: [1, 3],
    traits: ['a', 'b'],
    nominalCoverage: 0.9,
    threshold: 0.06,
    verdict: (drift: number[][], { step, remarks }: { step?: number; remarks: readonly string[] }) => {
      asked.push({ drift, step, remarks })
      return { verdict: 'ok', reasons: remarks } as unknown as Verdict
    },
  } as unknown as Detector
  const by: VerdictSource = {
    detector,
    directions: { sha256: 'other' },
    calibratedFor: {
      conditions,
      directionsSha256: 'd'.repeat(64),
      tokenIdsSha256: 't'.repeat(64),
      nPrompts: 3,
      deviceClass: 'cpu',
      base: [
        { layer: 1, activationNorm: 10, projections: [1, 2] },
        { layer: 3, activationNorm: 20, projections: [3, 4] },
      ],
    },
  }
  return { by, asked }
}

const BASE = [
  [1, 2],
  [3, 4],
]
const THERE = [
  [2, 2],
  [3, 8],
]

describe('RunVerdicts', () => {
  it("should measure drift from the run's own start, in its own norms", () => {
    const { by, asked } = source()
    const start = [
      [1.04, 2],
      [3, 4.09],
    ]
    const verdicts = new RunVerdicts(by, measured, start)
    expect([verdicts.startShift, verdicts.refused]).toEqual([null, []])
    verdicts.verdict(20, THERE, [5, 40])
    expect(asked[0]).toMatchObject({ step: 20, remarks: [] })
    expect(asked[0]!.drift).toEqual([
      [expect.closeTo(0.96 / 5, 12), 0],
      [0, expect.closeTo(3.91 / 40, 12)],
    ])
    verdicts.verdict('final', BASE, [5, 40])
    expect(asked[1]!.step).toBe(undefined)
  })

  it('should say how far other strengths drift, from the same start, and not let them decide', () => {
    const { by, asked } = source()
    const verdicts = new RunVerdicts(by, measured, BASE)
    const plain = verdicts.verdict(20, THERE, [5, 40])
    const twice = {
      strength: 2,
      projections: [
        [4, 6],
        [3, 8],
      ],
    }
    const { strengths, ...verdict } = verdicts.verdict(
      20,
      THERE,
      [5, 40],
      [{ strength: 0.5, projections: BASE }, twice],
    )
    expect(verdict).toEqual(plain)
    expect(asked[1]).toEqual(asked[0])
    expect(plain).not.toHaveProperty('strengths')
    expect(strengths).toEqual([
      { strength: 0.5, drift: [0, 0] },
      { strength: 1, drift: [expect.closeTo(1 / 5, 12), expect.closeTo(4 / 40, 12)] },
      { strength: 2, drift: [expect.closeTo(1, 12), expect.closeTo(4 / 40, 12)] },
    ])
  })

  it('should notice a start that lies elsewhere, by its distance in norms of the base', () => {
    const { by } = source()
    // A hundredth of a norm is beyond, on any layer; two thousandths in each of two traits are not.
    const start = (a: number, b: number) => [
      [1 + 10 * a, 2],
      [3, 4 + 20 * b],
    ]
    expect(new RunVerdicts(by, measured, start(0.0049, 0.0049)).refused).toEqual([])
    for (const shifted of [start(0.0051, 0), start(0, 0.0051)]) {
      const verdicts = new RunVerdicts(by, measured, shifted)
      expect(verdicts.refused).toEqual([
        'the run does not start from the calibrated base: its projections at step 0 are others',
      ])
      expect(verdicts.verdict(10, THERE, [5, 40])).toMatchObject({
        verdict: 'not-comparable',
        em: null,
        interval: null,
        novelty: null,
        nominalCoverage: 0.9,
        threshold: 0.06,
        reasons: [expect.stringMatching(/does not start from/)],
      })
    }
  })

  it('should measure such a run from the calibrated base in its norms when that is allowed', () => {
    const { by, asked } = source()
    const start = [
      [5, 2],
      [3, 4],
    ]
    const verdicts = new RunVerdicts(by, measured, start, { allowMismatch: true })
    expect(verdicts.startShift).toEqual([
      [0.4, 0],
      [0, 0],
    ])
    expect(verdicts.refused).toEqual([])
    verdicts.verdict(10, THERE, [5, 40])
    expect(asked[0]!.drift).toEqual([
      [0.1, 0],
      [0, 0.2],
    ])
    expect(asked[0]!.remarks).toEqual([expect.stringMatching(/does not start from the calibrated base/)])
  })

  it('should take the directions of the calibration or those of the bundle, and no others', () => {
    const { by } = source()
    const refused = (directionsSha256: string) =>
      new RunVerdicts(by, { ...measured, directionsSha256 }, BASE).refused
    expect([refused('d'.repeat(64)), refused('other')]).toEqual([[], []])
    expect(refused('e'.repeat(64))).toEqual([
      expect.stringMatching(/^the set of directions is eeeeeeeeeeee,/),
    ])
  })

  it('should repeat the noise floor at the layers of the detector, where it is known at all of them', () => {
    const { by } = source()
    const floor = (...layers: number[]) => ({
      method: 'opposite-perturbations' as const,
      prompts: 8,
      layers: layers.map((layer) => ({ layer, drift: layer / 100, stateChange: 1 })),
    })
    const of = (noiseFloor: ReturnType<typeof floor> | null | undefined) =>
      new RunVerdicts(by, measured, BASE, { noiseFloor }).verdict(10, THERE, [5, 40])
    expect(of(floor(3, 2, 1)).noiseFloor).toEqual([0.01, 0.03])
    for (const unknown of [floor(1, 2), null, undefined]) expect(of(unknown)).not.toHaveProperty('noiseFloor')
  })

  it('should refuse a measurement that says nothing of itself', () => {
    const { by } = source()
    expect(new RunVerdicts(by, undefined, BASE).refused).toEqual([
      'the trajectory does not say with which base, template and directions it was measured',
    ])
  })

  it('should name every difference', () => {
    const { by } = source()
    const other = {
      conditions: { ...conditions, base: { ...conditions.base, fingerprint: 'e'.repeat(64) } },
      directionsSha256: 'e'.repeat(64),
      tokenIdsSha256: 'e'.repeat(64),
      device: 'some GPU',
    }
    const reasons = new RunVerdicts(by, other, THERE).refused
    expect(reasons.map((reason) => reason.split(' is ')[0])).toEqual([
      'the base model',
      'the tokenization of the prompts',
      'the device',
      'the set of directions',
      expect.stringMatching(/^the run does not start/),
    ])
  })
})

describe('trajectoryVerdicts', () => {
  const trajectory = (overrides: Partial<Trajectory> = {}): Trajectory => ({
    source: 'traitscope',
    traits: ['a', 'b'],
    steps: [
      { step: 0, adapterSha256: null },
      { step: 10, adapterSha256: 'x', files: [{ path: 'a', sha256: 'b' }], remarks: ['odd'] },
    ],
    finalAliasOf: null,
    // More layers than the detector reads, in another order.
    layers: [
      { layer: 3, step0ActivationNorm: 40, projections: [BASE[1]!, THERE[1]!] },
      {
        layer: 2,
        step0ActivationNorm: 1,
        projections: [
          [0, 0],
          [9, 9],
        ],
      },
      { layer: 1, step0ActivationNorm: 5, projections: [BASE[0]!, THERE[0]!] },
    ],
    primary: 1,
    skipped: [],
    run: {} as Trajectory['run'],
    measurement: { ...measured, nPrompts: 3 } as Trajectory['measurement'] & object,
    ...overrides,
  })

  it("should judge every step at the detector's layers, in its order", () => {
    const { by, asked } = source()
    const verdicts = trajectoryVerdicts(by, trajectory())
    expect(asked.map(({ drift, step }) => ({ drift, step }))).toEqual([
      {
        step: 0,
        drift: [
          [0, 0],
          [0, 0],
        ],
      },
      {
        step: 10,
        drift: [
          [0.2, 0],
          [0, 0.1],
        ],
      },
    ])
    expect(verdicts[0]).toEqual({ step: 0, verdict: expect.anything() })
    expect(verdicts[1]).toMatchObject({ step: 10, files: [{ path: 'a', sha256: 'b' }], remarks: ['odd'] })
  })

  it('should say with every rate whose labels it repeats', () => {
    const { by } = source()
    const judge = { kind: 'endpoint' as const, name: 'my-judge', version: null, reader: 'sampled' as const }
    const labels = { judge, questionsSha256: 'q', rule: 'strict' as const, check: null }
    const said = trajectoryVerdicts({ ...by, labels }, trajectory()).map(({ verdict }) => verdict.labels)
    expect(said).toEqual([0, 1].map(() => ({ judge, questionsSha256: 'q', rule: 'strict', auroc: null })))
    const checked = { auroc: { pooled: 0.7, within: 0.8, low: 0.75 } } as NonNullable<LabelSource['check']>
    const [start] = trajectoryVerdicts({ ...by, labels: { ...labels, check: checked } }, trajectory())
    expect(start!.verdict.labels!.auroc).toEqual({ within: 0.8, low: 0.75 })
    expect(trajectoryVerdicts({ ...by, labels: null }, trajectory())[0]!.verdict).not.toHaveProperty('labels')
  })

  it('should hand on what is allowed, and the noise floor', () => {
    const { by } = source()
    const noiseFloor = {
      method: 'opposite-perturbations' as const,
      prompts: 8,
      layers: [1, 3].map((layer) => ({ layer, drift: layer / 100, stateChange: 1 })),
    }
    const other = { ...measured, nPrompts: 3, device: 'some GPU' } as Trajectory['measurement'] & object
    const of = (options: { allowMismatch?: boolean }) =>
      trajectoryVerdicts(by, trajectory({ noiseFloor, measurement: other }), options)[1]!.verdict
    expect(of({}).verdict).toBe('not-comparable')
    expect(of({ allowMismatch: true })).toMatchObject({
      verdict: 'ok',
      noiseFloor: [0.01, 0.03],
      reasons: [expect.stringMatching(/^the device/)],
    })
  })

  it('should say which layers or traits are missing, for every step, however much is allowed', () => {
    const { by, asked } = source()
    for (const [overrides, reason] of [
      [
        { layers: trajectory().layers.slice(1, 2) },
        'the run was not measured at layer 1, 3, which the detector reads',
      ],
      [{ traits: ['b', 'a'] }, 'the run was measured on the traits b, a, but the detector reads a, b'],
    ] as const) {
      const verdicts = trajectoryVerdicts(by, trajectory(overrides as Partial<Trajectory>), {
        allowMismatch: true,
      })
      expect(verdicts.map(({ step }) => step)).toEqual([0, 10])
      for (const { verdict } of verdicts) {
        expect(verdict).toMatchObject({ verdict: 'not-comparable', reasons: [reason] })
      }
    }
    expect(asked).toEqual([])
  })
})
