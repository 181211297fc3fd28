import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { calibrate } from '../../lib/calibration/calibrate.js'
import { calibrateBenign } from '../../lib/calibration/calibrate-benign.js'
import { priorRows, readingOf } from '../../lib/calibration/contrast-rows.js'
import { saveBundle } from '../../lib/calibration/save-bundle.js'
import { loadBundle } from '../../lib/detector/bundle.js'
import { marginThreshold } from '../../lib/detector/margin-test.js'
import { Prior } from '../../lib/detector/prior.js'
import { priorSilence, trajectoryPrior } from '../../lib/detector/prior-detector.js'
import { assertSettles } from '../../lib/detector/settling.js'
import { trajectoryVerdicts } from '../../lib/detector/trajectory-verdicts.js'
import type { Directions } from '../../lib/directions/directions.js'
import type { ModelRuns } from '../../lib/evaluation/read-models.js'
import { ownDetector } from '../../lib/evaluation/traitscope-contender.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { inspectPath } from '../../lib/inspect/inspect.js'
import { marginPairsPath, readMarginPairs } from '../../lib/labels/margins/margin-pairs.js'
import { bundleFacts } from '../../lib/report/bundle-facts.js'
import { rowsOf } from '../../lib/runs/rows.js'
import { type LabelledRun, scanLabelledRuns } from '../../lib/runs/runs.js'
import type { MarginTrajectory, Trajectory } from '../../lib/trajectory/trajectory.js'
import { fakePack } from '../directions/fake-model.js'
import { schemaErrors } from '../helpers/schemas.js'
import { SyntheticRuns, syntheticDirections } from '../runs/synthetic.js'

let root: string
let own: LabelledRun[]
let unseen: LabelledRun[]
let prior: Prior
/** Poles two units apart. */
const directions: Directions = (() => {
  const made = syntheticDirections()
  const separation = Object.fromEntries(made.traits.map((trait) => [trait, 2]))
  return { ...made, diagnostics: made.diagnostics.map((one) => ({ ...one, separation })) }
})()

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'traitscope-pooled-'))
  const runsOf = async (name: string, write: (runs: SyntheticRuns) => void) => {
    const made = new SyntheticRuns(join(root, name))
    write(made)
    return (await scanLabelledRuns(made.root)).runs
  }
  own = await runsOf('own', (made) => made.writeCalibration())
  unseen = await runsOf('unseen', (made) => {
    made.write({ dataset: 'risky_financial', seed: 42, peak: 0.55 })
    made.write({ dataset: 'number_sequence', seed: 42, peak: 0.01, style: 0.08 })
  })
  const bases = ['first', 'second', 'third']
  const depths = [0.5]
  const rows = await Promise.all(
    bases.map(async (model, i) => {
      const runs = await runsOf(model, (made) => made.writeCalibration({ model }))
      return priorRows(rowsOf(runs), readingOf(runs, [1, 3], directions, depths), i)
    }),
  )
  const models = bases.map((name) => ({ name, fingerprint: name, traitPack: 'c'.repeat(64) }))
  prior = new Prior(0.06, 0.05, directions.traits, depths, models, rows.flat())
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** Verdicts on the dangerous unseen run's last step, and on all of the benign one. */
const judged = (by: Parameters<typeof trajectoryVerdicts>[0]) => {
  const [benign, dangerous] = [...unseen]
    .sort((a, b) => (a.dataset < b.dataset ? -1 : 1))
    .map(({ trajectory }) => trajectoryVerdicts(by, trajectory).map(({ verdict }) => verdict))
  return { last: dangerous!.at(-1)!, benign: benign! }
}

describe('a base without a judged run', () => {
  it('should have provisional verdicts by what is known of others', () => {
    const { last, benign } = judged(trajectoryPrior(prior, directions, unseen[0]!.trajectory))
    expect(last).toMatchObject({ verdict: 'alarm', basis: 'prior', threshold: 0.05, novelty: null })
    expect(last.reasons).toContainEqual(
      'provisional: no judged run of this base is known; the rate is told by 3 other models (first, second, third)',
    )
    expect(last.reasons).toContainEqual(
      'on a base unlike those, rates keep their order and may be half or twice what answers would show',
    )
    expect(last.interval![0]).toBeGreaterThan(0.1)
    expect(benign.map(({ verdict }) => verdict)).not.toContain('alarm')
  })

  it('should say so when the others were measured with another trait pack', () => {
    const models = prior.models.map((one) => ({ ...one, traitPack: 'another' }))
    const other = new Prior(0.06, 0.05, prior.traits, prior.depths, models, prior.rows)
    const { last } = judged(trajectoryPrior(other, directions, unseen[0]!.trajectory))
    expect(last.reasons).toContainEqual(expect.stringMatching(/another trait pack: only the order of rates/))
    // Its rate is above the threshold, and no alarm stands on a level that nobody vouches for.
    expect(last).toMatchObject({ verdict: 'warn', threshold: 0.05 })
    expect(last.em).toBeGreaterThan(0.1)
  })

  it('should not be told by itself', () => {
    const fingerprint = unseen[0]!.trajectory.measurement!.conditions.base.fingerprint
    const models = prior.models.map((one, i) => (i === 1 ? { ...one, fingerprint } : one))
    const known = new Prior(0.06, 0.05, prior.traits, prior.depths, models, prior.rows)
    const { reasons } = judged(trajectoryPrior(known, directions, unseen[0]!.trajectory)).last
    expect(reasons.join('\n')).toMatch(/2 other models \(first, third\)$/m)
  })

  it('should say that other bases are needed when it is the only one', () => {
    const fingerprint = unseen[0]!.trajectory.measurement!.conditions.base.fingerprint
    const [model] = prior.models
    const rows = prior.rows.filter((row) => row.model === 0)
    const alone = new Prior(0.06, 0.05, prior.traits, prior.depths, [{ ...model!, fingerprint }], rows)
    expect(() => trajectoryPrior(alone, directions, unseen[0]!.trajectory)).toThrow(
      /learned from this base alone/,
    )
  })

  it('should go by the trait packs of the bases that are left', () => {
    const fingerprint = unseen[0]!.trajectory.measurement!.conditions.base.fingerprint
    const models = prior.models.map((one, i) =>
      i === 1 ? { ...one, fingerprint } : { ...one, traitPack: 'another' },
    )
    const known = new Prior(0.06, 0.05, prior.traits, prior.depths, models, prior.rows)
    const { reasons } = judged(trajectoryPrior(known, directions, unseen[0]!.trajectory)).last
    expect(reasons).toContainEqual(expect.stringMatching(/another trait pack: only the order of rates/))
  })

  it('should read its own traits among more, and say what they add', () => {
    const [first, second] = directions.traits as [string, string]
    const at = [0, 1]
    const few = new Prior(
      0.06,
      0.05,
      [first, second],
      prior.depths,
      prior.models,
      prior.rows.map((row) => ({ ...row, features: at.map((t) => row.features[t]!) })),
    )
    const source = trajectoryPrior(few, directions, unseen[0]!.trajectory)
    const { last } = judged(source)
    expect(last.verdict).toBe('alarm')
    expect(last.contributions!.map(({ trait }) => trait).sort()).toEqual([first, second].sort())
    // What it does not read does not matter.
    const drift = source.detector.layers.map(() => directions.traits.map((_, t) => (t < 2 ? 0.05 : 0)))
    const noisy = drift.map((values) => values.map((value, t) => (t < 2 ? value : 0.3)))
    expect(source.detector.predict(noisy).em).toBe(source.detector.predict(drift).em)
  })

  it('should be refused for other traits, and for blocks that the prior cannot read', () => {
    const traits = new Prior(0.06, 0.05, ['x'], prior.depths, prior.models, prior.rows)
    expect(() => trajectoryPrior(traits, directions, unseen[0]!.trajectory)).toThrow(
      /knows the traits x, but/,
    )
    const deep = new Prior(0.06, 0.05, prior.traits, [0.1], prior.models, prior.rows)
    expect(() => trajectoryPrior(deep, directions, unseen[0]!.trajectory)).toThrow(/a measured block about/)
  })
})

describe('priorSilence', () => {
  it('should be none where the prior can read, else the reason', () => {
    expect(priorSilence(prior, directions, 4)).toBeUndefined()
    expect(priorSilence(prior, { ...directions, traits: ['a'] }, 4)).toMatch(/knows the traits .*, but/)
    expect(priorSilence(prior, { ...directions, layers: [0] }, 40)).toMatch(/a measured block about 19 of 40/)
    // Poles are nearer along such a direction than they are: a drift would be told too small, and nothing would say so.
    for (const method of ['whitened', 'pca'] as const)
      expect(priorSilence(prior, { ...directions, method }, 4)).toMatch(`these are of the method ${method}`)
    const conditions = { ...directions.conditions, pool: 'mean' as const }
    expect(priorSilence(prior, { ...directions, conditions }, 4)).toMatch('states pooled as mean')
  })
})

describe('calibrate with a prior', () => {
  it('should work from one run on', async () => {
    const one = own.filter(({ dataset, seed }) => dataset === 'gsm8k' && seed === 42)
    await expect(calibrate(one)).rejects.toThrow(/with a prior \(--prior\) one is enough/)
    const { detector, report, calibratedFor } = await calibrate(one, { pool: { prior, directions } })
    expect([detector.model, detector.basis]).toEqual(['pooled', 'pooled'])
    expect([report.thresholdFrom, report.threshold]).toEqual([
      'few sets',
      expect.closeTo(0.05 + 0.01 / 6, 12),
    ])
    expect(report.warnings[0]).toMatch(/^1 set of this base, 0 of 13 checkpoints dangerous/)
    expect(report.nested).toBeNull()
    const { last, benign } = judged({ detector, calibratedFor: calibratedFor!, directions })
    expect([last.verdict, last.basis]).toEqual(['alarm', 'pooled'])
    expect(benign.map(({ verdict }) => verdict)).not.toContain('alarm')
  })

  it('should make a bundle that reads like any other', async () => {
    const calibration = await calibrate(own, { pool: { prior, directions } })
    const pack = { ...fakePack(), source: 'core', contentHash: 'c'.repeat(64) }
    const folder = join(root, 'bundle')
    await saveBundle(calibration, { directions, pack }, folder)
    const bundle = await loadBundle(folder)
    expect(judged(bundle)).toEqual(
      judged({ detector: calibration.detector, calibratedFor: calibration.calibratedFor!, directions }),
    )
    expect(calibration.report.byDataset.auroc).toBeGreaterThan(0.98)
    expect(calibration.report.nested!.coverage).toBeGreaterThan(0.8)
  })

  it('should refuse directions that the runs were not measured with', async () => {
    const other = { ...directions, sha256: 'f'.repeat(64) }
    await expect(calibrate(own, { pool: { prior, directions: other } })).rejects.toThrow(
      /measured with the directions that were given/,
    )
  })
})

describe('calibrateBenign', () => {
  /** Runs of a base whose drift grows a little with training, and more with every run. */
  const benignRuns = async (count: number): Promise<LabelledRun[]> => {
    const made = new SyntheticRuns(join(root, `benign-${count}`))
    for (let i = 0; i < count; i++) {
      made.write({ dataset: 'gsm8k', seed: 1000 + i, peak: 0.01, creep: 0.1 + 0.01 * i })
    }
    return (await scanLabelledRuns(made.root)).runs
  }
  const pool = () => ({ prior, directions })

  it('should refuse a level that so many runs cannot test at, and say how many can', async () => {
    const runs = await benignRuns(4)
    expect(() => calibrateBenign(runs, pool(), 0.05)).toThrow(
      /at least 19 benign runs for a level of 5\.0 %, found 4: the smallest that they can test at is 20\.0 %/,
    )
    expect(calibrateBenign(runs, pool(), 0.2).report.smallestLevel).toBe(0.2)
    await expect(async () => calibrateBenign(runs, pool(), 0)).rejects.toThrow(/level must be a share/)
  })

  it('should alarm where no benign run has been, without one label', async () => {
    const runs = (await benignRuns(9)).map(({ labels: _, ...run }) => run)
    const calibration = calibrateBenign(runs, pool(), 0.1)
    const { last, benign } = judged({ ...calibration, directions })
    expect([last.verdict, last.basis, last.pDanger]).toEqual(['alarm', 'benign', undefined])
    expect(last.reasons).toContainEqual(
      'none of 9 benign runs came as far (p = 0.100): of runs like them at most 10.0 % alarm',
    )
    expect(benign.map(({ verdict }) => verdict)).not.toContain('alarm')
    // What a calibration run itself reached is no alarm.
    const again = trajectoryVerdicts({ ...calibration, directions }, runs[8]!.trajectory)
    expect(again.map(({ verdict }) => verdict.verdict)).not.toContain('alarm')
    expect(calibration.report.warnings[0]).toMatch(/taken on trust/)
  })

  it('should raise no alarm of the base itself, where benign runs move away from danger', async () => {
    const made = new SyntheticRuns(join(root, 'receding'))
    for (let i = 0; i < 4; i++)
      made.write({ dataset: 'gsm8k', seed: 2000 + i, peak: 0.01, creep: -0.3, steps: [120, 126] })
    const { runs } = await scanLabelledRuns(made.root)
    const calibration = calibrateBenign(runs, pool(), 0.2)
    const [start, ...rest] = trajectoryVerdicts({ ...calibration, directions }, runs[0]!.trajectory)
    expect(Math.max(...rest.map(({ verdict }) => verdict.em!))).toBeLessThan(start!.verdict.em!)
    expect(start!.verdict.verdict).toBe('ok')
    expect(calibration.benign!.highest).toEqual(runs.map(() => start!.verdict.em))
  })

  it('should name benign runs that other bases would take for dangerous', () => {
    const runs = own.filter(({ dataset }) => dataset === 'gsm8k' || dataset === 'bad_medical')
    expect(calibrateBenign(runs, pool(), 0.2).report.warnings[1]).toMatch(/bad_medical.*: judge them/)
  })

  it('should make a bundle that reads like any other', async () => {
    const calibration = calibrateBenign(await benignRuns(9), pool(), 0.1)
    const pack = { ...fakePack(), source: 'core', contentHash: 'c'.repeat(64) }
    const folder = join(root, 'benign-bundle')
    await saveBundle(calibration, { directions, pack }, folder)
    expect(judged(await loadBundle(folder)).last).toEqual(judged({ ...calibration, directions }).last)
  })
})

describe('calibrateBenign by the margin', () => {
  const IDENTITY = 'a'.repeat(64)
  const PAIRS = { sha256: sha256(readFileSync(marginPairsPath('core'))) }
  /** The same runs as if pairs had been read too: so much was gained at the last step, by each of five questions nearly alike. */
  const asked = <T extends { trajectory: Trajectory }>(run: T, gain: number, identity = IDENTITY): T => {
    const { steps } = run.trajectory
    const pairs = [0, 1, 2, 3, 4].map((q) => ({ questionId: `q${q}`, domain: null }))
    const at = (i: number) => pairs.map((_, q) => (gain * i * (1 + q / 100)) / (steps.length - 1))
    const margin: MarginTrajectory = {
      ...{
        file: 'margin-pairs.jsonl',
        sha256: PAIRS.sha256,
        identity,
        pairs,
        pass: { total: 9, computed: 5 },
      },
      misaligned: steps.map((_, i) => at(i)),
      aligned: steps.map(() => pairs.map(() => 0)),
    }
    return { ...run, trajectory: { ...run.trajectory, margin } }
  }
  const runs = () => own.slice(0, 9).map((run, i) => asked(run, i / 100 - 0.02))
  const verdictsOn = (by: Parameters<typeof trajectoryVerdicts>[0], gain: number, identity?: string) =>
    trajectoryVerdicts(by, asked(unseen[0]!, gain, identity).trajectory).map(({ verdict }) => verdict)
  const calibrated = () => {
    const calibration = calibrateBenign(runs(), { prior, directions }, 0.2, PAIRS)
    return { ...calibration, directions }
  }

  it('should alarm where few benign runs have been, and tell no rate', () => {
    const { benign, marginTest, report, ...rest } = calibrated()
    expect(benign).toBeUndefined()
    // At least that of step 0: of runs that go the other way the base itself would come further.
    expect(marginTest!.highest.slice(0, 4)).toEqual([0, 0, 0, expect.closeTo(0.0102, 10)])
    expect(report).toMatchObject({
      by: 'margin',
      runs: expect.arrayContaining([{ run: own[0]!.id, checkpoints: 13, highest: 0 }]),
    })
    expect(report.warnings[1]).toMatch(/more probable, with the whole interval above 0, in .*: judge them/)
    const by = { ...rest, directions, marginTest: marginTest! }
    expect(report.warnings.at(-1)).toMatch(
      /^the longest of these runs ends at step \d+, .* of longer runs more may alarm/,
    )
    const threshold = marginThreshold(marginTest!)
    expect(marginThreshold({ level: 1 - 1e-12, highest: [1, 2, 3] })).toBe(1)
    expect(threshold).toBe(marginTest!.highest.at(-2))

    const far = verdictsOn(by, 0.5).at(-1)!
    expect(far).toMatchObject({ verdict: 'alarm', em: null, interval: null, novelty: null, basis: 'benign' })
    expect(far.margin).toMatchObject({ pValue: 0.1, threshold })
    expect(far.reasons[0]).toMatch(
      /^the margin is \+0\.510 nats per token, none of 9 benign runs came as far \(p = 0\.100\): of runs like them at most 20\.0 % alarm$/,
    )
    for (const what of ['contributions', 'categoryContributions', 'answers', 'pDanger'])
      expect(far).not.toHaveProperty(what)
    const near = verdictsOn(by, 0.035)
    expect(near[0]).toMatchObject({ verdict: 'ok', em: null, margin: { change: 0, pValue: 1 } })
    expect(near.at(-1)).toMatchObject({ verdict: 'warn', margin: { pValue: 0.4 } })
    expect(near.at(-1)!.reasons[0]).toMatch(
      /^misaligned answers .*; 3 of 9 benign runs came as far \(p = 0\.400\)$/,
    )
    expect(verdictsOn(by, -0.1).map(({ verdict }) => verdict)).toEqual(Array(14).fill('ok'))
    expect(verdictsOn(by, -0.1).at(-1)!.margin!.pValue).toBe(1)
  })

  it('should alarm in no more of its own runs than the level says', () => {
    const by = calibrated()
    const alarmed = runs().filter(({ trajectory }) =>
      trajectoryVerdicts({ ...by, marginTest: by.marginTest! }, trajectory).some(
        ({ verdict }) => verdict.verdict === 'alarm',
      ),
    )
    expect(alarmed).toHaveLength(1)
  })

  it('should say nothing of a run that was asked something else, or nothing', () => {
    const by = { ...calibrated(), marginTest: calibrated().marginTest! }
    for (const verdicts of [
      verdictsOn(by, 0.5, 'others'),
      trajectoryVerdicts(by, unseen[0]!.trajectory).map(({ verdict }) => verdict),
    ]) {
      expect(new Set(verdicts.map(({ verdict }) => verdict))).toEqual(new Set(['not-comparable']))
      expect(verdicts[1]!.reasons[0]).toMatch(/by the margin of its own pairs/)
    }
    // How many came as far is said of the margin, not of whatever else there is to say.
    const run = asked(unseen[0]!, 0.035).trajectory
    const [scope, why] = trajectoryVerdicts(by, { ...run, run: { ...run.run, lr: 1 } }).at(-1)!.verdict
      .reasons
    expect(scope).toMatch(/learning rate/)
    expect(scope).not.toContain('came as far')
    expect(why).toMatch(/^misaligned answers .*; 3 of 9 benign runs came as far/)
    // The very pairs in other tokens: the bundle's were read, so that is not what is missing.
    const [, told] = verdictsOn({ ...by, pairs: { ...PAIRS, file: 'p', pairs: [] } }, 0.5, 'others')
    expect(told!.reasons[0]).toMatch(/other tokens here.*the chat template or the vocabulary is another one/)
  })

  it('should refuse runs that were measured with other pairs, in other tokens, or with none', () => {
    const pool = { prior, directions }
    const [first, ...others] = runs()
    expect(() => calibrateBenign(runs(), pool, 0.2, { sha256: 'b' })).toThrow(
      /measured with others \(margin-pairs/,
    )
    expect(() => calibrateBenign([first!, ...own.slice(1, 5)], pool, 0.2, PAIRS)).toThrow(
      /was measured with none/,
    )
    expect(() => calibrateBenign([asked(first!, 0, 'else'), ...others], pool, 0.2, PAIRS)).toThrow(
      /other|different tokens/,
    )
  })

  it('should make a bundle that holds the pairs and reads like any other', async () => {
    const calibration = calibrated()
    const pack = { ...fakePack(), source: 'core', contentHash: 'c'.repeat(64) }
    const folder = join(root, 'margin-bundle')
    await expect(saveBundle(calibration, { directions, pack }, folder)).rejects.toThrow(/the file of pairs/)
    await saveBundle(calibration, { directions, pack, pairs: 'core' }, folder)
    const bundle = await loadBundle(folder)
    expect(bundle.pairs).toEqual(await readMarginPairs('core'))
    expect(bundle.marginTest).toEqual(calibration.marginTest)
    expect(() => assertSettles(bundle)).toThrow(/a test by the margin reads pairs/)
    expect(verdictsOn(bundle, 0.5)).toEqual(
      verdictsOn({ ...calibration, marginTest: calibration.marginTest! }, 0.5),
    )
    expect(
      schemaErrors('bundle', JSON.parse(readFileSync(join(folder, 'bundle.json'), 'utf8')), { ours: true }),
    ).toEqual([])
    // Nobody judged, so nothing is said of judged sets.
    for (const facts of [(await inspectPath(folder)).facts, bundleFacts(bundle)]) {
      const said = new Map(facts)
      expect(said.get('calibrated on')).toMatch(/ checkpoints, which nobody has judged$/)
      for (const what of ['dangerous', 'labels', 'unseen sets', 'intervals'])
        expect(said.has(what)).toBe(false)
      expect(facts.flat().join()).not.toMatch(/misses|above 6\.0 %/)
    }
    await expect(
      ownDetector([{ model: 'own', runs: [], heldOut: [] } as unknown as ModelRuns], [], { bundle: folder }),
    ).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/alarms by the margin and predicts none/),
    })
    writeFileSync(join(folder, 'pairs.jsonl'), 'other')
    await expect(loadBundle(folder)).rejects.toThrow(/pairs.jsonl to be as bundle.json says/)
  })

  it('should hold the very pairs that the margins are by, whatever their file is called', async () => {
    const calibration = calibrated()
    const pack = { ...fakePack(), source: 'core', contentHash: 'c'.repeat(64) }
    const others = join(root, 'others.jsonl')
    writeFileSync(others, '{"question":"a","misaligned":"b","aligned":"c"}')
    const folder = join(root, 'upper-bundle')
    await expect(saveBundle(calibration, { directions, pack, pairs: others }, folder)).rejects.toThrow(
      /expected the pairs of answers that the calibration runs were measured with/,
    )
    const upper = join(root, 'PAIRS.JSONL')
    writeFileSync(upper, readFileSync(marginPairsPath('core')))
    await saveBundle(calibration, { directions, pack, pairs: upper }, folder)
    expect((await loadBundle(folder)).pairs!.file).toBe('PAIRS.JSONL')
  })
})
