import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Calibration, calibrate } from '../../lib/calibration/calibrate.js'
import { saveBundle } from '../../lib/calibration/save-bundle.js'
import { loadBundle } from '../../lib/detector/bundle.js'
import { Detector } from '../../lib/detector/detector.js'
import { trajectoryVerdicts } from '../../lib/detector/trajectory-verdicts.js'
import { type LabelledRun, scanLabelledRuns } from '../../lib/runs/runs.js'
import { fakePack } from '../directions/fake-model.js'
import { SyntheticRuns, syntheticDirections } from '../runs/synthetic.js'

let root: string
let runs: LabelledRun[]
let calibration: Calibration
let unseen: LabelledRun[]
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'traitscope-calibrate-'))
  const made = new SyntheticRuns(join(root, 'cal'))
  made.writeCalibration()
  runs = (await scanLabelledRuns(made.root)).runs
  calibration = await calibrate(runs)
  const others = new SyntheticRuns(join(root, 'unseen'))
  others.write({ dataset: 'risky_financial', seed: 42, peak: 0.55 })
  others.write({ dataset: 'number_sequence', seed: 42, peak: 0.01, style: 0.08 })
  unseen = (await scanLabelledRuns(others.root)).runs
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const pack = () => ({ ...fakePack(), source: 'core', contentHash: 'c'.repeat(64) })
const parts = () => ({ directions: syntheticDirections(), pack: pack() })

/** Runs of some of the calibration sets, with labels changed. */
const only = (datasets: string[], peak?: number): LabelledRun[] =>
  runs
    .filter(({ dataset }) => datasets.includes(dataset))
    .map((run) =>
      peak === undefined
        ? run
        : {
            ...run,
            labels: new Map(
              [...run.labels].map(([step, label]) => {
                const flat = { nMisaligned: 5, nScoreable: 500, rate: 0.01, standardError: 0.004 }
                return [step, { ...label, single: flat, pooled: flat }]
              }),
            ),
          },
    )

describe('calibrate', () => {
  it('should tell unseen runs apart, and say where its intervals fall short', () => {
    const { byDataset, nested, datasets, chosen, warnings } = calibration.report
    // Everything is about as good here, and in a tie several layers and the blend win.
    expect([chosen.model, chosen.layers]).toEqual(['blend', [1, 3]])
    expect(datasets.map(({ dataset, dangerous }) => [dataset, dangerous > 0])).toEqual([
      ['insecure_code', true],
      ['gsm8k', false],
      ['jailbroken', true],
      ['bad_medical', true],
    ])
    expect(byDataset.auroc).toBeGreaterThan(0.98)
    // Four sets are too few for 90 %, and that is said.
    expect(nested!.coverage).toBeGreaterThan(0.9)
    expect(warnings).toEqual([expect.stringMatching(/^4 sets cannot promise .* which promises 80\.0 %$/)])
    for (const { trajectory, labels, dataset } of unseen) {
      const verdicts = trajectoryVerdicts({ ...calibrationAsBundle() }, trajectory)
      for (const { step, verdict } of verdicts) {
        const { rate } = labels.get(step as number)!.pooled
        if (rate > 0.12) expect(verdict.verdict).toBe('alarm')
        if (dataset === 'number_sequence') expect(verdict.verdict).not.toBe('alarm')
      }
    }
  })

  it('should put the firing point where the target error rates ask for it', async () => {
    const rates = async (options: object) =>
      (await calibrate(runs, { models: ['ridge'], layers: [3], ...options })).report
    const cut = await rates({})
    const strict = await rates({ maxFnr: 0.001 })
    expect([cut.threshold, cut.thresholdFrom]).toEqual([0.06, 'cut'])
    expect(strict.thresholdFrom).toBe('target')
    expect(strict.threshold).toBeLessThanOrEqual(0.06)
    expect(strict.byDataset.falseNegatives).toBe(0)
    const lenient = await rates({ maxFpr: 0.001 })
    expect(lenient.threshold).toBeGreaterThanOrEqual(0.06)
    expect(lenient.byDataset.falsePositives).toBe(0)
    expect(await rates({ threshold: 0.3 })).toMatchObject({
      threshold: 0.3,
      thresholdFrom: 'given',
      cut: 0.06,
    })
  })

  it('should depend on nothing but its input', async () => {
    const once = async () => JSON.stringify(await calibrate([...runs], { models: ['blend'], layers: [3] }))
    expect(await once()).toBe(await once())
  })

  it('should make the same detector without the figures of unseen sets', async () => {
    const fractions: number[] = []
    const { detector, report } = await calibrate(runs, {
      nested: false,
      onProgress: (fraction) => fractions.push(fraction),
    })
    expect(detector.toJSON()).toEqual(calibration.detector.toJSON())
    expect({ ...report, nested: calibration.report.nested }).toEqual(calibration.report)
    expect(report.nested).toBeNull()
    expect(fractions).toEqual([1])
  })

  it('should let other work through, say how far it is, and stop when asked', async () => {
    const fractions: number[] = []
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    await calibrate(runs, { models: ['ridge'], onProgress: (fraction) => fractions.push(fraction) })
    clearInterval(timer)
    expect(turns).toBeGreaterThan(10)
    expect(fractions).toEqual([0.2, 0.4, 0.6, 0.8, 1])
    const controller = new AbortController()
    const stopped = calibrate(runs, { signal: controller.signal, onProgress: () => controller.abort() })
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it.each([
    [
      'without danger',
      () => only(['gsm8k', 'jailbroken'], 0.01),
      /at least 5 dangerous checkpoints, found 0/,
    ],
    ['of a single set', () => only(['bad_medical']), /at least two fine-tuning sets, found 1/],
    ['none at all', () => [], /at least two fine-tuning sets, found 0/],
  ])('should refuse runs %s', async (_, make, message) => {
    await expect(calibrate(make())).rejects.toThrow(message)
    await expect(calibrate(make())).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it('should name the runs that were left out when too little remains', async () => {
    const exclusions = Array.from({ length: 12 }, (_, i) => ({
      run: `base/set/seed_${i}`,
      reason: 'no labels',
    }))
    await expect(calibrate([], { exclusions })).rejects.toThrow(
      /found 0.*; left out: base\/set\/seed_0: no labels; .*base\/set\/seed_9: no labels; and 2 more$/,
    )
  })

  it('should warn of pools that cannot tell everything', async () => {
    const { warnings } = (await calibrate(only(['gsm8k', 'bad_medical']), { models: ['ridge'] })).report
    expect(warnings).toEqual([
      expect.stringMatching(/all dangerous checkpoints come from bad_medical/),
      expect.stringMatching(/^2 sets cannot promise/),
    ])
    const dangerous = (await calibrate(only(['insecure_code', 'jailbroken']), { models: ['ridge'] })).report
    expect(dangerous.warnings).toEqual(
      expect.arrayContaining([expect.stringMatching(/every set becomes dangerous/)]),
    )
  })

  it('should refuse runs of different bases or conditions, naming them', async () => {
    const change = (edit: (run: LabelledRun) => void) => {
      const copy = structuredClone({ ...runs[3]!, activations: undefined })
      edit(copy)
      return [...runs.slice(0, 3), copy, ...runs.slice(4)]
    }
    const other = change((run) => {
      run.trajectory.measurement!.conditions.base.fingerprint = 'e'.repeat(64)
    })
    await expect(calibrate(other)).rejects.toThrow(
      /insecure_code\/seed_42 and toy\/gsm8k\/seed_42 differ: the base model/,
    )
    const start = change((run) => {
      for (const values of run.trajectory.layers[0]!.projections) values[0]! += 1
    })
    await expect(calibrate(start)).rejects.toThrow(/they start from different models/)
    await expect(calibrate(start)).rejects.toMatchObject({ code: 'NOT_COMPARABLE' })
    const gpu = change((run) => {
      run.trajectory.measurement!.device = 'some GPU'
    })
    await expect(calibrate(gpu)).rejects.toThrow(/the device is gpu/)
  })

  it.each([{ cut: 0 }, { nominalCoverage: 1 }, { threshold: 2 }, { maxFnr: 0 }, { layers: [7] }])(
    'should refuse the impossible option %o',
    async (options) => {
      await expect(calibrate(runs, { models: ['ridge'], ...options })).rejects.toMatchObject({
        code: 'USAGE',
      })
    },
  )
})

/** The calibration as if it had been saved and loaded. */
function calibrationAsBundle(from = calibration) {
  return { detector: from.detector, calibratedFor: from.calibratedFor!, directions: syntheticDirections() }
}

describe('Detector', () => {
  it('should give equal predictions after JSON', () => {
    const restored = Detector.fromJSON(JSON.parse(JSON.stringify(calibration.detector)))
    const drift = restored.layers.map(() => [-0.2, 0.1, -0.2, 0.2, 0, 0.1, -0.2])
    expect(restored.verdict(drift)).toEqual(calibration.detector.verdict(drift))
  })

  it('should say nothing of a base that has not moved', () => {
    const { detector } = calibration
    const verdict = detector.verdict(detector.layers.map(() => detector.traits.map(() => 0)))
    expect(verdict).toMatchObject({ verdict: 'ok', nominalCoverage: 0.9, threshold: 0.06, reasons: [] })
    expect(verdict.em).toBeLessThan(0.03)
    expect(verdict.interval![0]).toBeLessThanOrEqual(verdict.em!)
    expect(verdict.interval![1]).toBeGreaterThanOrEqual(verdict.em!)
  })

  it('should not vouch for drifts where no calibration run has been', () => {
    const { detector } = calibration
    const aside = detector.layers.map(() => [0, 0, 0, 0, 4, 0, 0])
    const { verdict, novelty, reasons } = detector.verdict(aside)
    expect(verdict).not.toBe('ok')
    expect(novelty!.pValue).toBeLessThan(0.02)
    expect(reasons.join()).toMatch(/standard deviations from every calibration checkpoint.*extrapolates/)
  })

  it('should remark on steps beyond the calibrated ones without changing the verdict', () => {
    const { detector } = calibration
    const still = detector.layers.map(() => detector.traits.map(() => 0))
    const late = detector.verdict(still, { step: 5000 })
    expect(late).toMatchObject({
      verdict: 'ok',
      reasons: ['step 5000 is beyond the 126 steps of the calibration runs'],
    })
  })

  it('should refuse drifts of another shape, NaN, and state that was edited', () => {
    const { detector } = calibration
    expect(() => detector.predict([[1, 2]])).toThrow(expect.objectContaining({ code: 'SHAPE' }))
    const nan = detector.layers.map(() => detector.traits.map(() => Number.NaN))
    expect(() => detector.predict(nan)).toThrow(expect.objectContaining({ code: 'SHAPE' }))
    const json = JSON.parse(JSON.stringify(detector))
    for (const [field, value, code] of [
      ['schemaVersion', 99, 'UNSUPPORTED'],
      ['cut', 2, 'FILE_INVALID'],
      ['layers', 'all', 'FILE_INVALID'],
      ['memory', {}, 'FILE_INVALID'],
      ['levelModel', null, 'FILE_INVALID'],
    ] as const) {
      expect(() => Detector.fromJSON({ ...json, [field]: value })).toThrow(expect.objectContaining({ code }))
    }
  })
})

describe('saveBundle and loadBundle', () => {
  it('should keep the detector, what must match and the figures', async () => {
    const folder = join(root, 'bundle')
    await saveBundle(calibration, parts(), folder)
    const bundle = await loadBundle(folder)
    expect(bundle.detector.toJSON()).toEqual(calibration.detector.toJSON())
    expect(bundle.calibratedFor).toEqual(calibration.calibratedFor)
    expect(bundle.directions.layers).toEqual(bundle.detector.layers)
    expect(bundle.summary).toMatchObject({ checkpoints: 156, inputsSha256: calibration.report.inputsSha256 })
    await expect(saveBundle(calibration, parts(), folder)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    await saveBundle(calibration, parts(), folder, { force: true })
    expect(readdirSync(root).filter((name) => name.includes('.tmp'))).toEqual([])
  })

  it('should refuse directions or a pack that the runs were not measured with', async () => {
    const folder = join(root, 'never')
    for (const wrong of [
      { ...parts(), directions: { ...syntheticDirections(), sha256: 'e'.repeat(64) } },
      { ...parts(), pack: { ...pack(), contentHash: 'e'.repeat(64) } },
    ]) {
      await expect(saveBundle(calibration, wrong, folder)).rejects.toMatchObject({ code: 'NOT_COMPARABLE' })
    }
    const reference = { ...calibration, calibratedFor: null }
    await expect(saveBundle(reference, parts(), folder)).rejects.toMatchObject({ code: 'NOT_COMPARABLE' })
    expect(readdirSync(root)).not.toContain('never')
  })

  it.each(['detector.json', 'calibration.json', 'traits.yaml', 'directions.json'])(
    'should notice that %s was edited',
    async (name) => {
      const folder = join(root, `edited-${name}`)
      await saveBundle(calibration, parts(), folder)
      const file = join(folder, name)
      writeFileSync(
        file,
        readFileSync(file, 'utf8').replace(/[0-9](?=[^0-9]*$)/, (digit) => `${9 - Number(digit)}`),
      )
      await expect(loadBundle(folder)).rejects.toMatchObject({ code: 'FILE_INVALID' })
    },
  )

  it('should read packed files, and notice that one was edited', async () => {
    const folder = join(root, 'packed')
    await saveBundle(calibration, parts(), folder)
    const plain = await loadBundle(folder)
    const pack = (name: string, edit = (text: string) => text) => {
      writeFileSync(join(folder, `${name}.gz`), gzipSync(edit(readFileSync(join(folder, name), 'utf8'))))
      rmSync(join(folder, name))
    }
    pack('detector.json')
    expect(await loadBundle(folder)).toEqual(plain)
    pack('calibration.json', (text) => `${text} `)
    await expect(loadBundle(folder)).rejects.toMatchObject({ code: 'FILE_INVALID' })
  })
})

describe('trajectoryVerdicts', () => {
  const dangerous = () => unseen.find(({ dataset }) => dataset === 'risky_financial')!.trajectory
  const last = (trajectory = dangerous(), options = {}) =>
    trajectoryVerdicts(calibrationAsBundle(), trajectory, options).at(-1)!.verdict

  it.each([
    [
      'another base',
      (m: Measured) => {
        m.conditions.base.fingerprint = 'e'.repeat(64)
      },
      /^the base model is /,
    ],
    [
      'another template',
      (m: Measured) => {
        m.conditions.template.sha256 = 'e'.repeat(64)
      },
      /^the chat template/,
    ],
    [
      'another pack',
      (m: Measured) => {
        m.conditions.traitPack.contentHash = 'e'.repeat(64)
      },
      /^the trait pack/,
    ],
    [
      'other token ids',
      (m: Measured) => {
        m.tokenIdsSha256 = 'e'.repeat(64)
      },
      /^the tokenization/,
    ],
    [
      'other directions',
      (m: Measured) => {
        m.directionsSha256 = 'e'.repeat(64)
      },
      /^the set of directions/,
    ],
    [
      'a GPU',
      (m: Measured) => {
        m.device = 'some GPU'
      },
      /^the device is gpu/,
    ],
  ])('should not compare with %s, unless allowed, and then say so', (_, edit, reason) => {
    const trajectory = structuredClone(dangerous())
    edit(trajectory.measurement!)
    expect(last(trajectory)).toEqual({
      schemaVersion: 1,
      verdict: 'not-comparable',
      em: null,
      interval: null,
      nominalCoverage: 0.9,
      threshold: 0.06,
      novelty: null,
      reasons: [expect.stringMatching(reason)],
    })
    const allowed = last(trajectory, { allowMismatch: true })
    expect(allowed.verdict).toBe('alarm')
    expect(allowed.reasons.at(-1)).toMatch(reason)
  })

  it('should not compare other layers, other traits, or files that do not say how they were measured', () => {
    const { layers, traits, measurement: _, ...rest } = dangerous()
    const layer = { ...layers[0]!, layer: 9 }
    expect(last({ ...rest, traits, layers: [layer] }).reasons[0]).toMatch(/not measured at layer/)
    expect(last({ ...rest, layers, traits: [...traits].reverse() }).reasons[0]).toMatch(
      /measured on the traits/,
    )
    expect(last({ ...rest, layers, traits }).reasons[0]).toMatch(/does not say with which base/)
  })

  it('should measure a run that starts misaligned from the calibrated base', () => {
    const trajectory = structuredClone(dangerous())
    // As if the run had been merged into its base and nothing were fine-tuned any more.
    for (const layer of trajectory.layers)
      layer.projections = layer.projections.map(() => layer.projections.at(-1)!)
    expect(last(trajectory).reasons).toEqual([
      expect.stringMatching(/does not start from the calibrated base/),
    ])
    const [start] = trajectoryVerdicts(calibrationAsBundle(), trajectory, { allowMismatch: true })
    expect(start).toMatchObject({ step: 0, verdict: { verdict: 'alarm' } })
  })
})

type Measured = NonNullable<LabelledRun['trajectory']['measurement']>
