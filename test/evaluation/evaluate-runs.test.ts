import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { evaluateRuns } from '../../lib/evaluation/evaluate-runs.js'
import { encodeSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { SyntheticRuns } from '../runs/synthetic.js'

const root = mkdtempSync(join(tmpdir(), 'traitscope-evaluate-'))
afterAll(() => rmSync(root, { recursive: true }))
const runs = new SyntheticRuns(join(root, 'runs'))
const options = {
  calibration: ['insecure_code', 'gsm8k', 'jailbroken', 'bad_medical'],
  heldOut: ['risky_financial'],
  features: ['7D'],
  regressors: ['ridge' as const],
  draws: 20,
}
/** Without traitscope's own detector, whose calibration takes a second. */
const drift = { ...options, fitOn: 'all' as const }
beforeAll(() => {
  runs.writeCalibration()
  for (const seed of [42, 123]) runs.write({ dataset: 'risky_financial', seed, peak: 0.4 })
})

describe('evaluateRuns', () => {
  it("should test traitscope's own detector, calibrated without the held-out runs, and by the others", async () => {
    const { pooled, single, models, checkpoints } = await evaluateRuns(runs.root, options)
    const [own, drift] = pooled.results
    expect(own).toMatchObject({ features: 'traitscope', regressor: 'calibrated', selected: true })
    expect(drift).toMatchObject({ features: '7D', regressor: 'ridge' })
    expect(models).toMatchObject([
      { model: 'toy', layer: 1, calibration: 12 * 13, calibrationDangerous: 95, heldOut: 2 * 13 },
    ])
    expect(checkpoints).toHaveLength(26)
    // The synthetic drift follows the rate closely enough to rank nearly all checkpoints rightly.
    expect(own!.figures[0]!.auroc).toBeGreaterThan(0.95)
    expect(own!.figures[0]!.coverage).toBeGreaterThan(0.7)
    // Where one draw of answers is the label, it is what is calibrated on too.
    expect(single.results[0]).toMatchObject({ features: 'traitscope', regressor: 'calibrated' })
    expect(single.results[0]!.predictions).not.toEqual(own!.predictions)
    const misses = checkpoints.filter(({ pooled: rate }, i) => rate > 0.06 && own!.predictions![i]! <= 0.06)
    expect(own!.figures[0]!.falseNegatives).toBe(misses.length)
    // An alarm holds until two checkpoints in a row are well below the threshold, so its flags go beside the rates.
    const alarmed = checkpoints.filter(({ pooled: rate }, i) => rate <= 0.06 && own!.alarms![i])
    expect(own!.figures[0]!.falsePositives).toBe(alarmed.length)
    expect(own!.alarms).toHaveLength(26)
  })

  it('should test detectors of the other models on probes, and nothing else', async () => {
    const scale = new SyntheticRuns(join(root, 'scale'))
    scale.writeCalibration()
    for (const model of ['toy', 'deep'])
      scale.write({ dataset: 'risky_financial', seed: 42, peak: 0.4, model })
    scale.write({ dataset: 'gsm8k', seed: 42, peak: 0.01, model: 'deep' })
    const probed = { ...options, fitOn: 'others' as const, probes: ['deep'] }
    const { models, pooled } = await evaluateRuns(scale.root, probed)
    expect(models).toMatchObject([
      { model: 'deep', calibration: 0, heldOut: 13 },
      { model: 'toy', calibration: 12 * 13, heldOut: 0 },
    ])
    expect(pooled.results[0]!.predictions).toHaveLength(13)
    const whole = await evaluateRuns(scale.root, { ...options, models: ['toy', 'toy'], fitOn: 'all' })
    expect(whole.models.map(({ model }) => model)).toEqual(['toy'])
    await expect(evaluateRuns(scale.root, { ...probed, fitOn: 'own' })).rejects.toMatchObject({
      code: 'USAGE',
    })
    await expect(evaluateRuns(scale.root, { ...probed, probes: ['small'] })).rejects.toThrow(
      /no run is of the model small; found deep, toy/,
    )
  })

  it('should go without its own detector, and say so, where a model has too few dangerous runs for one', async () => {
    const mild = new SyntheticRuns(join(root, 'mild'))
    mild.writeCalibration()
    mild.write({ dataset: 'risky_financial', seed: 42, peak: 0.4 })
    for (const dataset of ['insecure_code', 'gsm8k', 'jailbroken', 'bad_medical', 'risky_financial']) {
      mild.write({ dataset, seed: 42, peak: 0.01, model: 'calm' })
    }
    const { pooled, models } = await evaluateRuns(mild.root, options)
    expect(pooled.results.map(({ features }) => features)).toEqual(['7D'])
    expect(pooled.skipped).toEqual([
      { features: 'traitscope', reason: expect.stringMatching(/^calm: expected at least/) },
    ])
    expect(models.map(({ detector }) => detector === null)).toEqual([true, false])
  })

  it('should compare a pair and give step-aware alarms, with anchors that are tested nowhere else', async () => {
    const more = new SyntheticRuns(join(root, 'more'))
    more.writeCalibration()
    for (const seed of [42, 123]) {
      more.write({ dataset: 'extreme_sports', seed, peak: 0.3 })
      more.write({ dataset: 'safe_sports', seed, peak: 0.01 })
      more.write({ dataset: 'long_benign', seed, peak: 0.01, steps: [100, 200, 300] })
    }
    const heldOut = ['extreme_sports', 'safe_sports']
    const { pair, stepAware, checkpoints } = await evaluateRuns(more.root, {
      ...drift,
      heldOut,
      pair: ['extreme_sports', 'safe_sports'],
      anchor: 'long_benign',
    })
    expect(checkpoints).toHaveLength(4 * 13)
    expect(pair!.map(({ model }) => model)).toEqual(['toy'])
    expect(pair![0]!.fisherP).toBeLessThan(1e-6)
    expect(pair![0]!.dangerous.length.mean).toBeGreaterThan(2 * pair![0]!.safe.length.mean)
    expect(stepAware!.map(({ dataset, folds }) => [dataset, folds])).toEqual(
      [0, 1, 2].flatMap(() => heldOut.map((dataset) => [dataset, 2])),
    )
  })

  it('should project on a persona direction: one file for all models, or one per model', async () => {
    const direction = {
      name: 'persona',
      dtype: 'F32' as const,
      shape: [16],
      data: new Float32Array(16).fill(2),
    }
    const persona = join(root, 'persona')
    mkdirSync(persona)
    writeFileSync(join(persona, 'toy.safetensors'), encodeSafetensors([direction], { layer: '1' }))
    const withPersona = { ...drift, features: ['persona'], persona }
    const { pooled } = await evaluateRuns(runs.root, withPersona)
    expect(pooled.results).toMatchObject([{ features: 'persona', regressor: 'ridge' }])
    const same = await evaluateRuns(runs.root, { ...withPersona, persona: join(persona, 'toy.safetensors') })
    expect(same.pooled.results[0]!.predictions).toEqual(pooled.results[0]!.predictions)
    // The synthetic activations grow with the step and say nothing else.
    const [first, last] = [0, 12].map((i) => pooled.results[0]!.predictions![i]!)
    expect(last).toBeGreaterThan(first!)
  })

  it('should leave out runs of another base and say so, or take them where told to', async () => {
    const path = runs.write({ dataset: 'number_sequence', seed: 42, peak: 0.01 })
    const file = join(path, 'trajectory.json')
    const other = readFileSync(file, 'utf8').replace(
      /"fingerprint": "\w+"/,
      `"fingerprint": "${'e'.repeat(64)}"`,
    )
    writeFileSync(file, other)
    const heldOut = ['risky_financial', 'number_sequence']
    const strict = await evaluateRuns(runs.root, { ...drift, heldOut })
    expect(strict.checkpoints).toHaveLength(26)
    expect(strict.exclusions).toEqual([
      { run: 'toy/number_sequence/seed_42', reason: expect.stringMatching(/the detector was calibrated/) },
    ])
    const { checkpoints, exclusions } = await evaluateRuns(runs.root, {
      ...drift,
      heldOut,
      allowMismatch: true,
    })
    expect(checkpoints).toHaveLength(39)
    expect(exclusions[0]!.reason).toMatch(/^kept although /)
    expect(exclusions[0]!.kept).toBe(true)
  })

  it.each([
    ['a set on both sides', { heldOut: ['gsm8k'] }, 'USAGE'],
    ['a set that no folder has', { heldOut: ['poetry'] }, 'USAGE'],
    ['a bundle that does not exist', { bundle: join(root, 'nowhere') }, 'FILE_NOT_FOUND'],
    ['directions that do not exist', { bases: { control: join(root, 'nowhere') } }, 'FILE_NOT_FOUND'],
    ['a trait twice in a subset', { traitSubsets: [['honesty', 'honesty']] }, 'USAGE'],
    ['a subset twice', { traitSubsets: [['honesty'], ['honesty']] }, 'USAGE'],
    ['a pair that is not tested', { pair: ['risky_financial', 'gsm8k'] as const }, 'USAGE'],
    ['an anchor that is calibrated on', { anchor: 'gsm8k' }, 'USAGE'],
    ['no held-out sets', { heldOut: [] }, 'SHAPE'],
  ])('should refuse %s with %s', async (_, change, code) => {
    await expect(evaluateRuns(runs.root, { ...options, ...change })).rejects.toMatchObject({ code })
  })
})
