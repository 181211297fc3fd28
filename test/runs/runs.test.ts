import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rowsOf } from '../../lib/runs/rows.js'
import { scanLabelledRuns } from '../../lib/runs/runs.js'
import { STEPS, SyntheticRuns } from './synthetic.js'

let root: string
let runs: SyntheticRuns
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'traitscope-runs-'))
  runs = new SyntheticRuns(root)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** Changes a JSON file in place. */
// biome-ignore lint/suspicious/noExplicitAny: arbitrary JSON
function edit(path: string, change: (json: any) => void): void {
  const json = JSON.parse(readFileSync(path, 'utf8'))
  change(json)
  writeFileSync(path, JSON.stringify(json))
}

describe('scanLabelledRuns', () => {
  it('should find runs in the order of the method, whatever the depth of the folder', async () => {
    runs.writeCalibration()
    const { runs: found, exclusions } = await scanLabelledRuns(root)
    expect(exclusions).toEqual([])
    expect(found.map(({ id }) => id)).toEqual(
      ['insecure_code', 'gsm8k', 'jailbroken', 'bad_medical'].flatMap((dataset) =>
        [42, 123, 789].map((seed) => `toy/${dataset}/seed_${seed}`),
      ),
    )
    const below = async (...names: string[]) => (await scanLabelledRuns(join(root, ...names))).runs
    expect((await below('toy')).map(({ id }) => id)).toEqual(found.map(({ id }) => id))
    expect((await below('toy', 'gsm8k', 'seed_123')).map(({ id }) => id)).toEqual(['toy/gsm8k/seed_123'])
  })

  it('should say how many runs there are, and how many it has read', async () => {
    runs.writeCalibration()
    const said: [number, number][] = []
    await scanLabelledRuns(root, { onProgress: (fraction, total) => said.push([fraction * total, total]) })
    expect(said.map(([done, total]) => [Math.round(done), total])).toEqual(
      Array.from({ length: 12 }, (_, i) => [i, 12]),
    )
  })

  it('should take a subset of the datasets, and refuse a name that none has', async () => {
    runs.writeCalibration()
    const names = async (options: object) => [
      ...new Set((await scanLabelledRuns(root, options)).runs.map(({ dataset }) => dataset)),
    ]
    expect(await names({ datasets: ['gsm8k', 'bad_medical'] })).toEqual(['gsm8k', 'bad_medical'])
    expect(await names({ datasets: ['*a*'] })).toEqual(['jailbroken', 'bad_medical'])
    expect(await names({ exclude: ['*_*'] })).toEqual(['gsm8k', 'jailbroken'])
    expect(await names({ exclude: ['gsm8k'] })).toEqual(['insecure_code', 'jailbroken', 'bad_medical'])
    await expect(names({ exclude: ['alpaca'] })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/dataset alpaca; found bad_medical, gsm8k/),
    })
  })

  it('should read gzip files as it reads plain ones', async () => {
    const folder = runs.write({ dataset: 'gsm8k', seed: 42, peak: 0.01 })
    const [plain] = (await scanLabelledRuns(root)).runs
    const activations = await plain!.activations!()
    for (const name of [
      'trajectory.json',
      'betley_eval/grades.json',
      'training_log.json',
      'activations.safetensors',
    ]) {
      writeFileSync(join(folder, `${name}.gz`), gzipSync(readFileSync(join(folder, name))))
      rmSync(join(folder, name))
    }
    const [packed] = (await scanLabelledRuns(root)).runs
    expect({ ...packed, activations: 0 }).toEqual({ ...plain, activations: 0 })
    expect(await packed!.activations!()).toEqual(activations)
    expect(activations.layers).toEqual([1, 3])
    expect(activations.steps.get(20)!.slice(0, 2)).toEqual(
      Float64Array.of(Math.fround(0.2), Math.fround(0.2)),
    )
  })

  it('should follow links to runs, and say which trajectories lie in folders of other names', async () => {
    const good = runs.write({ dataset: 'gsm8k', seed: 42, peak: 0.01 })
    const other = new SyntheticRuns(join(root, 'elsewhere')).write({ dataset: 'gsm8k', seed: 1, peak: 0.4 })
    symlinkSync(other, join(root, 'toy', 'gsm8k', 'seed_123'))
    cpSync(good, join(root, 'toy', 'gsm8k', 'seed-42'), { recursive: true })
    const { runs: found, exclusions } = await scanLabelledRuns(join(root, 'toy'))
    expect(found.map(({ id }) => id)).toEqual(['toy/gsm8k/seed_42', 'toy/gsm8k/seed_123'])
    expect(exclusions).toEqual([
      { run: join('gsm8k', 'seed-42'), reason: expect.stringMatching(/trajectory\.json.*rename it/) },
    ])
  })

  it('should state every run that it leaves out', async () => {
    const good = runs.write({ dataset: 'gsm8k', seed: 42, peak: 0.01 })
    const unlabelled = runs.write({ dataset: 'gsm8k', seed: 123, peak: 0.01 })
    rmSync(join(unlabelled, 'betley_eval'), { recursive: true })
    const unmeasured = runs.write({ dataset: 'gsm8k', seed: 789, peak: 0.01 })
    rmSync(join(unmeasured, 'trajectory.json'))
    cpSync(good, join(root, 'toy/alpaca/seed_1'), { recursive: true })
    const { runs: found, exclusions } = await scanLabelledRuns(root)
    expect(found.map(({ id }) => id)).toEqual(['toy/gsm8k/seed_42'])
    expect(exclusions).toEqual([
      { run: 'toy/gsm8k/seed_123', reason: expect.stringMatching(/no labels/) },
      { run: 'toy/gsm8k/seed_789', reason: expect.stringMatching(/no trajectory\.json/) },
      {
        run: 'toy/alpaca/seed_1',
        reason: expect.stringMatching(/those of toy\/gsm8k\/seed_42; a run counts once/),
      },
    ])
  })

  it('should refuse a folder without runs, and damaged files by name', async () => {
    await expect(scanLabelledRuns(root)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    const folder = runs.write({ dataset: 'gsm8k', seed: 42, peak: 0.01 })
    writeFileSync(join(folder, 'betley_eval/grades.json.gz'), 'no gzip')
    copyFileSync(join(folder, 'betley_eval/grades.json.gz'), join(folder, 'training_log.json.gz'))
    rmSync(join(folder, 'betley_eval/grades.json'))
    await expect(scanLabelledRuns(root)).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringMatching(/grades\.json\.gz to be a whole gzip file/),
    })
  })

  it('should refuse NaN in a trajectory', async () => {
    const folder = runs.write({ dataset: 'gsm8k', seed: 42, peak: 0.01 })
    edit(join(folder, 'trajectory.json'), (json) => {
      json.trajectory[3].projections.honesty = null
    })
    await expect(scanLabelledRuns(root)).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringMatching(/finite projection of honesty at step 30/),
    })
  })
})

describe('rowsOf', () => {
  it('should give a row per checkpoint with drift, loss and label', async () => {
    runs.write({ dataset: 'bad_medical', seed: 42, peak: 0.6 })
    const { runs: found } = await scanLabelledRuns(root)
    const { rows, layers, traits, exclusions } = rowsOf(found)
    expect(rows.map(({ step }) => step)).toEqual(STEPS)
    expect({ layers, exclusions }).toEqual({ layers: [1, 3], exclusions: [] })
    const { projections, step0ActivationNorm } = found[0]!.trajectory.layers[1]!
    const expected = traits.map((_, t) => (projections[5]![t]! - projections[0]![t]!) / step0ActivationNorm)
    expect(rows[4]).toMatchObject({ step: 50, run: 'toy/bad_medical/seed_42', loss: 1.375 })
    expect(rows[4]!.drift[1]).toEqual(expected)
    expect(rows.at(-1)!.label.pooled.rate).toBeGreaterThan(0.5)
  })

  it('should interpolate the loss between logged steps and hold it beyond the ends', async () => {
    const folder = runs.write({ dataset: 'gsm8k', seed: 42, peak: 0.01 })
    const log = [
      { step: 15, loss: 2 },
      { step: 25, loss: 1 },
      { step: 30, loss: 'NaN' },
    ]
    writeFileSync(join(folder, 'training_log.json'), JSON.stringify(log))
    const { rows } = rowsOf((await scanLabelledRuns(root)).runs)
    expect(rows.slice(0, 4).map(({ loss }) => loss)).toEqual([2, 1.5, 1, 1])
  })

  it('should state checkpoints that it leaves out, and count a repeated final once', async () => {
    const folder = runs.write({ dataset: 'gsm8k', seed: 42, peak: 0.01 })
    edit(join(folder, 'betley_eval/grades.json'), (json) => {
      delete json.step_20
      json.step_30.traitscope = { k: 1, n_misaligned: 0, n_scoreable: 0 }
      json.step_final = json.step_126
    })
    edit(join(folder, 'trajectory.json'), (json) => {
      // As if nobody had noticed that the final adapter repeats step 126.
      const own = json.traitscope
      own.finalAliasOf = null
      own.steps.push({ step: 'final', adapterSha256: own.steps.at(-1).adapterSha256 })
      for (const layer of own.layers) layer.projections.push(layer.projections.at(-1))
    })
    const { rows, exclusions } = rowsOf((await scanLabelledRuns(root)).runs)
    expect(rows.map(({ step }) => step)).toEqual(STEPS.filter((step) => step !== 20 && step !== 30))
    expect(exclusions.map(({ step, reason }) => [step, reason])).toEqual([
      [20, 'it has no label'],
      [30, 'none of its answers was scoreable'],
      ['final', 'the final adapter has the weights of step 126, which counts once'],
    ])
  })

  it('should keep the layers that all runs share, and refuse runs that share none', async () => {
    runs.write({ dataset: 'gsm8k', seed: 42, peak: 0.01, layers: [1, 3] })
    runs.write({ dataset: 'gsm8k', seed: 123, peak: 0.01, layers: [3] })
    const { layers, exclusions, rows } = rowsOf((await scanLabelledRuns(root)).runs)
    expect(layers).toEqual([3])
    expect(rows[0]!.drift).toHaveLength(1)
    expect(exclusions).toEqual([
      { run: 'toy/gsm8k/seed_42', reason: 'its layer 1 was not measured in every run' },
    ])
    runs.write({ dataset: 'gsm8k', seed: 789, peak: 0.01, layers: [2] })
    const { runs: mixed } = await scanLabelledRuns(root)
    expect(() => rowsOf(mixed)).toThrow(expect.objectContaining({ code: 'NOT_COMPARABLE' }))
  })
})
