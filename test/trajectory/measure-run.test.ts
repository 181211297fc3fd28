import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { sha256 } from '../../lib/formats/files/hash.js'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { TraitPack } from '../../lib/prompts/trait-pack-yaml.js'
import { type MeasureRunOptions, measureRun } from '../../lib/trajectory/measure-run.js'
import { prepareMeasurement } from '../../lib/trajectory/prepare-measurement.js'
import { readTrajectory } from '../../lib/trajectory/read-trajectory.js'
import { fakeDirections } from '../directions/fake-directions.js'
import { fakePack, TEMPLATE } from '../directions/fake-model.js'
import { attachedStates, attachingModel, writeAdapter, writeCheckpoint } from './fake-run.js'

vi.mock('../../lib/hidden-states/hidden-states.js')
const states = vi.mocked(hiddenStates)

let folder: string
let run: string
const { model, attached } = attachingModel()
const measure = (options: Partial<MeasureRunOptions> = {}) =>
  measureRun(model, fakeDirections(), run, { pack: fakePack(), cacheDir: join(folder, 'cache'), ...options })

const QUERY = new Map([['blk.0.attn_q.weight', { name: 'blk.0.attn_q.weight', shape: [8, 8], type: 'F32' }]])

/** What a second measurement does otherwise than the first. */
class Different {
  subject = model
  directions = fakeDirections()
  options: { pack?: TraitPack } = {}
  model(overrides: Record<string, unknown>): void {
    this.subject = attachingModel(overrides).model
  }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-run-'))
  run = join(folder, 'my-run')
  states.mockReset()
  states.mockImplementation(attachedStates)
  await writeCheckpoint(run, 20, 2)
  await writeCheckpoint(run, 10, 1, 'NaN')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('measureRun', () => {
  it.each([
    '../notes.txt',
    '',
    '..',
    'trajectory.json',
    'run_manifest.json',
    'activations.safetensors',
    'a/b',
  ])('should refuse to write further files under the name %j, and write nothing', async (name) => {
    const alsoWrite = (): [string, string][] => [[name, 'mine']]
    const out = join(folder, 'out')
    await expect(measure({ out, alsoWrite })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('alsoWrite'),
    })
    expect((await readdir(folder)).filter((one) => !one.includes('.partial')).sort()).toEqual([
      'cache',
      'my-run',
    ])
  })

  it.each([
    ['some that are not finite', (vectors: Float32Array) => vectors.fill(Number.NaN, 3, 4)],
    ['31', (vectors: Float32Array) => vectors.subarray(1)],
  ])('should refuse directions of %s', async (found, change) => {
    const directions = fakeDirections()
    const odd = { ...directions, vectors: change(directions.vectors.slice()) }
    await expect(measureRun(model, odd, run, { pack: fakePack(), cacheDir: false })).rejects.toMatchObject({
      code: 'SHAPE',
      message: expect.stringContaining(found),
    })
  })

  it('should measure the run and write where it was called, wherever the process goes then', async () => {
    const home = process.cwd()
    process.chdir(folder)
    const measuring = measure({ out: 'out', cacheDir: 'cache' })
    const relative = measureRun(model, fakeDirections(), 'my-run', { pack: fakePack(), cacheDir: 'cache' })
    process.chdir(home)
    await measuring
    expect((await relative).steps).toHaveLength(3)
    expect(await readdir(join(folder, 'out'))).toContain('trajectory.json')
    expect(await readdir(home)).not.toContain('cache')
  })

  it('should project step 0 and every checkpoint at every layer', async () => {
    const trajectory = await measure()
    expect(trajectory.steps.map(({ step }) => step)).toEqual([0, 10, 20])
    expect(trajectory.layers.map(({ layer }) => layer)).toEqual([1, 3])
    for (const { projections, std, step0ActivationNorm } of trajectory.layers) {
      expect(step0ActivationNorm).toBeGreaterThan(0.5)
      expect(projections[1]![0]! - projections[0]![0]!).toBeCloseTo(1, 6)
      expect(projections[2]![0]! - projections[0]![0]!).toBeCloseTo(2, 6)
      expect(projections[2]![1]! - projections[0]![1]!).toBeCloseTo(0, 6)
      expect(std![1]![0]).toBeCloseTo(std![0]![0]!, 6)
    }
    const { categories } = trajectory
    const all = categories!.reduce((sum, { prompts }) => sum + prompts, 0)
    expect(all).toBe(trajectory.measurement!.nPrompts)
    for (const { projections, categories: byCategory } of trajectory.layers) {
      for (const [i, means] of byCategory!.entries()) {
        const mean = means.reduce((sum, [first], c) => sum + first! * (categories![c]!.prompts / all), 0)
        expect(mean).toBeCloseTo(projections[i]![0]!, 6)
      }
    }
    expect(attached()).toBe(0)
    const { tokens, versions } = trajectory.measurement!
    const sum = (key: 'total' | 'computed') =>
      trajectory.steps.reduce((all, step) => all + step.tokens![key], 0)
    expect(tokens).toEqual({ total: sum('total'), computed: sum('computed') })
    expect(tokens.total).toBeGreaterThan(3 * 30)
    expect(Object.keys(versions)).toEqual(['traitscope', 'llamaCpp'])
  })

  it('should say what each checkpoint is', async () => {
    const { steps, run: description } = await measure()
    expect(steps[1]).toMatchObject({
      step: 10,
      adapterSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      adapter: {
        rank: 2,
        alpha: 8,
        modules: 1,
        targets: ['q_proj'],
        ranks: [2],
        scales: [4],
        zeroModules: 0,
      },
      epoch: 0.5,
      loss: null,
    })
    expect(steps[2]!.loss).toBe(1.5)
    // B A of ones at rank 2 is 2 everywhere, times the scale 4, in 4 x 4.
    expect(steps[1]!.adapter!.deltaNorm).toBeCloseTo(Math.sqrt(16 * 8 ** 2), 4)
    expect(steps[1]!.adapter).not.toHaveProperty('merged')
    expect(steps[0]).not.toHaveProperty('loss')
    expect(description.fullFinetune).toBe(false)
    expect(steps[2]!.adapterSha256).not.toBe(steps[1]!.adapterSha256)
    expect(description).toMatchObject({
      model: 'fake',
      dataSource: 'my-run',
      loraRank: 2,
      loraAlpha: 8,
      seed: null,
    })
  })

  it('should know set and seed by the folders of the layout <set>/seed_<n>', async () => {
    const laidOut = join(folder, 'bad_medical', 'seed_42')
    await writeCheckpoint(laidOut, 10, 1)
    const { run: description } = await measureRun(model, fakeDirections(), laidOut, {
      pack: fakePack(),
      cacheDir: false,
    })
    expect(description).toMatchObject({ dataSource: 'bad_medical', seed: 42 })
  })

  it('should name the files that it read, and what lies beside and differs', async () => {
    await writeAdapter(join(run, 'sft_start'), 3)
    await writeFile(join(run, 'chat_template.jinja'), 'another')
    const out = join(folder, 'out')
    const { steps, measurement } = await measure({ out })
    const path = 'checkpoint-10/adapter_model.safetensors'
    const file = { path, sha256: sha256(await readFile(join(run, path))) }
    expect(steps[0]).not.toHaveProperty('files')
    expect(steps[0]!.base).toEqual({ file: 'fake.gguf', fingerprint: model.fingerprint })
    expect(steps[1]).not.toHaveProperty('base')
    expect(measurement!.engine!.checkpoints).toEqual(['attach'])
    expect(steps[1]!.files![0]).toEqual(file)
    expect(steps[1]!.remarks).toEqual([
      expect.stringMatching(/does not name its base/),
      expect.stringMatching(/own chat template/),
    ])
    expect(measurement!.remarks).toEqual([expect.stringMatching(/not measured.*sft_start \(adapter\)/)])
    expect((await readTrajectory(out)).steps).toEqual(steps)
    const manifest = JSON.parse(await readFile(join(out, 'run_manifest.json'), 'utf8'))
    expect(manifest.traitscope.inputs.adapters[0]).toMatchObject({ step: 10, files: [file, {}] })
    expect(manifest.traitscope.inputs.remarks).toEqual(measurement!.remarks)
    const { metadata } = await readSafetensors(join(out, 'activations.safetensors'))
    expect(JSON.parse(metadata.get('files')!)['10'][0]).toEqual(file)
  })

  it('should say that steps share their weights', async () => {
    await writeCheckpoint(run, 30, 2)
    expect((await measure()).measurement!.remarks).toEqual(['steps 20, 30 have the same weights'])
  })

  it('should say which steps were saved with other settings', async () => {
    const path = join(run, 'checkpoint-20/adapter_config.json')
    const config = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify({ ...config, lora_alpha: 16 }))
    expect((await measure()).measurement!.remarks).toEqual([
      'the adapters of this run differ in their scales: 4 at step 10; 8 at step 20',
    ])
  })

  it('should refuse a folder of runs by their names, and a name that no checkpoint has', async () => {
    run = folder
    await expect(measure()).rejects.toMatchObject({
      code: 'AMBIGUOUS',
      message: expect.stringMatching(/but my-run \(run\): name one/),
    })
    run = join(folder, 'my-run')
    await expect(measure({ adapterName: 'trained' })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/adapter trained .*found default/),
    })
    expect(states).not.toHaveBeenCalled()
  })

  it('should count a final adapter that repeats a checkpoint once', async () => {
    await writeAdapter(run, 2)
    const trajectory = await measure()
    expect(trajectory.steps.map(({ step }) => step)).toEqual([0, 10, 20])
    expect(trajectory.finalAliasOf).toBe(20)
  })

  it('should measure a final adapter that no checkpoint has', async () => {
    await writeAdapter(join(run, 'final_adapter'), 3)
    const trajectory = await measure()
    expect(trajectory.steps.map(({ step }) => step)).toEqual([0, 10, 20, 'final'])
    expect(trajectory.finalAliasOf).toBe(null)
  })

  it('should list incomplete checkpoints with their reason', async () => {
    await rm(join(run, 'checkpoint-20', 'trainer_state.json'))
    const { steps, skipped } = await measure()
    expect(steps.map(({ step }) => step)).toEqual([0, 10])
    expect(skipped).toEqual([{ step: 20, reason: expect.stringContaining('trainer_state.json') }])
  })

  it('should skip a checkpoint that the trainer rotates away meanwhile', async () => {
    states.mockImplementationOnce(async (...args) => {
      await rm(join(run, 'checkpoint-10'), { recursive: true })
      return attachedStates(...args)
    })
    const { steps, skipped } = await measure()
    expect(steps.map(({ step }) => step)).toEqual([0, 20])
    expect(skipped).toEqual([{ step: 10, reason: expect.stringContaining('checkpoint-10') }])
  })

  it('should measure the final adapter when the checkpoint that it repeats is rotated away', async () => {
    await writeAdapter(run, 2)
    states.mockImplementationOnce(async (...args) => {
      await rm(join(run, 'checkpoint-20'), { recursive: true })
      return attachedStates(...args)
    })
    const { steps, finalAliasOf } = await measure()
    expect(steps.map(({ step }) => step)).toEqual([0, 10, 'final'])
    expect(finalAliasOf).toBe(null)
  })

  it('should read a folder that is itself an adapter', async () => {
    await writeAdapter(join(folder, 'adapter'), 1)
    const { steps } = await measureRun(model, fakeDirections(), join(folder, 'adapter'), {
      pack: fakePack(),
      cacheDir: false,
    })
    expect(steps.map(({ step }) => step)).toEqual([0, 'final'])
  })

  it('should measure step 0 once for all runs of a base, and write the same bytes either way', async () => {
    await measure({ out: join(folder, 'a') })
    expect(states).toHaveBeenCalledTimes(3)
    await measure({ out: join(folder, 'b') })
    expect(states).toHaveBeenCalledTimes(5)
    for (const name of ['trajectory.json', 'activations.safetensors', 'run_manifest.json']) {
      expect(await readFile(join(folder, 'b', name))).toEqual(await readFile(join(folder, 'a', name)))
    }
    // A pass that computes in any other way is another pass.
    for (const [i, option] of [{ threads: 2 }, { mmap: false }, { gpuLayers: 1 }].entries()) {
      const other = attachingModel({ fingerprint: 'f'.repeat(64), options: option })
      await measureRun(other.model, fakeDirections(), run, {
        pack: fakePack(),
        cacheDir: join(folder, 'cache'),
      })
      expect(states).toHaveBeenCalledTimes(8 + 3 * i)
    }
  })

  it.each<[string, (to: Different) => void]>([
    ['another base', (to) => to.model({ fingerprint: 'e'.repeat(64) })],
    ['another device', (to) => to.model({ device: 'some GPU', gguf: { ...model.gguf, tensors: QUERY } })],
    ['another template', (to) => to.model({ chatTemplate: `${TEMPLATE} ` })],
    [
      'other prompts',
      (to) => {
        const evalPrompts = [{ category: 'one', prompts: ['Tell me.', 'Say it!', 'Explain that.'] }]
        to.options.pack = fakePack({ evalPrompts, contentHash: 'd'.repeat(64) })
      },
    ],
    [
      'other layers',
      (to) => {
        to.directions = fakeDirections({ layers: [2, 3] })
      },
    ],
    [
      'another pooling',
      (to) => {
        const { conditions } = to.directions
        to.directions = { ...to.directions, conditions: { ...conditions, pool: 'mean' } }
      },
    ],
  ])('should not take the step 0 of %s from the cache', async (_, change) => {
    await measure()
    const to = new Different()
    const passes = () => states.mock.calls.length
    const again = () =>
      measureRun(to.subject, to.directions, run, {
        pack: fakePack(),
        cacheDir: join(folder, 'cache'),
        allowMismatch: true,
        ...to.options,
      })
    const before = passes()
    await again()
    expect(passes() - before).toBe(2)
    change(to)
    await again()
    // A device that rounds has its noise read too: three passes, once.
    const noise = to.subject.device === 'cpu' ? 0 : 3
    expect(passes() - before).toBe(2 + 3 + noise)
    await again()
    expect(passes() - before).toBe(2 + 3 + noise + 2)
  })

  it('should write files that read back, with hashes of inputs and outputs', async () => {
    const out = join(folder, 'out')
    await writeAdapter(run, 2)
    const trajectory = await measure({ out, layer: 3, run: { seed: 42, dataSource: 'bad_medical' } })
    expect(await readTrajectory(out)).toEqual(trajectory)
    expect((await readdir(out)).sort()).toEqual([
      'activations.safetensors',
      'run_manifest.json',
      'trajectory.json',
    ])

    const text = await readFile(join(out, 'trajectory.json'), 'utf8')
    const json = JSON.parse(text)
    expect(Object.keys(json)).toEqual([
      'model',
      'data_source',
      'seed',
      'full_finetune',
      'lora_rank',
      'lora_alpha',
      'lr',
      'epochs',
      'n_samples',
      'save_steps',
      'max_steps',
      'early_update_steps',
      'measurement_layer',
      'direction_bundle_sha256',
      'direction_sha256',
      'eval_prompt_config_sha256',
      'trait_order',
      'step0_activation_norm',
      'trajectory',
      'traitscope',
    ])
    expect(json.measurement_layer).toBe(3)
    expect(json.seed).toBe(42)
    expect(json.trajectory.map(({ step }: { step: unknown }) => step)).toEqual([0, 10, 20, 'final'])
    expect(json.trajectory[3].projections).toEqual(json.trajectory[2].projections)
    expect(json.trajectory[1].projections_normalized.courage).toBe(
      json.trajectory[1].projections.courage / json.step0_activation_norm,
    )

    const activations = await readSafetensors(join(out, 'activations.safetensors'))
    expect([...activations.tensors.keys()].sort()).toEqual(['step-0', 'step-10', 'step-20'])
    expect(activations.tensors.get('step-10')!.shape).toEqual([3, 2, 8])

    const manifest = JSON.parse(await readFile(join(out, 'run_manifest.json'), 'utf8'))
    expect(manifest.training.lora_target_modules).toEqual(['q_proj'])
    expect(manifest.traitscope.outputs['trajectory.json']).toBe(sha256(text))
    expect(manifest.traitscope.outputs['activations.safetensors']).toBe(activations.sha256)
    expect(manifest.traitscope.inputs.directions).toBe(fakeDirections().sha256)
  })

  it('should say whether step 0 came from the cache', async () => {
    const options = { pack: fakePack(), cacheDir: join(folder, 'cache') }
    const base = async (more = {}) => {
      const plan = await prepareMeasurement(model, fakeDirections(), { ...options, ...more })
      return plan.measureBase()
    }
    const first = await base()
    const again = await base()
    expect([first.cached, again.cached, (await base({ cacheDir: false })).cached]).toEqual([
      false,
      true,
      false,
    ])
    expect(again.states).toEqual(first.states)
    expect(again.tokens).toEqual(first.tokens)
    expect(first.tokens.total).toBeGreaterThan(first.tokens.computed)
  })

  it('should keep the states of all prompts, their means or nothing', async () => {
    const read = async (activations: 'prompts' | 'means') => {
      const out = join(folder, activations)
      await measure({ out, activations, force: true })
      return readSafetensors(join(out, 'activations.safetensors'))
    }
    const [all, means] = [await read('prompts'), await read('means')]
    expect(means.metadata.get('layers')).toBe('1,3')
    for (const step of ['step-0', 'step-20']) {
      expect(means.tensors.get(step)!.shape).toEqual([1, 2, 8])
      const states = all.float32(step)
      for (const [i, value] of means.float32(step).entries()) {
        expect(value).toBeCloseTo((states[i]! + states[i + 16]! + states[i + 32]!) / 3, 5)
      }
    }
    const out = join(folder, 'none')
    await measure({ out, activations: 'none' })
    expect((await readdir(out)).sort()).toEqual(['run_manifest.json', 'trajectory.json'])
    await expect(measure({ out, activations: 'all' as 'none' })).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('should write what else is asked for, and its hash', async () => {
    const out = join(folder, 'out')
    await measure({ out, alsoWrite: ({ steps }) => [['notes.txt', `${steps.length} steps`]] })
    expect(await readFile(join(out, 'notes.txt'), 'utf8')).toBe('3 steps')
    const manifest = JSON.parse(await readFile(join(out, 'run_manifest.json'), 'utf8'))
    expect(manifest.traitscope.outputs['notes.txt']).toBe(sha256('3 steps'))
  })

  it('should say what a base that rounds makes of a drift, and nothing of one that does not', async () => {
    expect((await measure()).noiseFloor).toBe(null)
    const rounding = attachingModel({ device: 'some GPU', gguf: { ...model.gguf, tensors: QUERY } })
    const options = { pack: fakePack(), cacheDir: false as const }
    let adapted = 0
    states.mockImplementation(async (subject, prompts, read) => {
      const found = await attachedStates(subject, prompts, { ...read, adapter: undefined })
      // The first pass with an adapter is the one at strength s: its states are off by 0.3 along axis 2.
      if (read.adapter === undefined || ++adapted > 1) {
        return adapted > 2 ? attachedStates(subject, prompts, read) : found
      }
      for (let i = 2; i < found.data.length; i += 8) found.data[i]! += 0.3
      return found
    })
    const { noiseFloor, layers } = await measureRun(rounding.model, fakeDirections(), run, options)
    expect(noiseFloor).toMatchObject({ method: 'opposite-perturbations', prompts: 3 })
    // Axis 2 is courage at layer 1; all prompts share the noise, which is 0.3 / sqrt 3 of one difference.
    const n = layers[0]!.step0ActivationNorm
    expect(noiseFloor!.layers[0]!.drift).toBeCloseTo(0.3 / Math.sqrt(3) / n, 4)
    expect(noiseFloor!.layers[1]!.drift).toBeLessThan(0.01)
    expect(noiseFloor!.layers.map(({ layer }) => layer)).toEqual([1, 3])
    expect(noiseFloor!.layers[0]!.stateChange / noiseFloor!.layers[0]!.drift).toBeCloseTo(1, 1)
  })

  it('should refuse an occupied output folder before it computes anything', async () => {
    const out = join(folder, 'out')
    await measure({ out })
    states.mockClear()
    await expect(measure({ out })).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    expect(states).not.toHaveBeenCalled()
    await measure({ out, force: true })
  })

  it('should leave nothing behind when it is aborted', async () => {
    const controller = new AbortController()
    const out = join(folder, 'out')
    await expect(
      measure({ out, signal: controller.signal, onCheckpoint: () => controller.abort() }),
    ).rejects.toMatchObject({ code: 'ABORTED' })
    expect((await readdir(folder)).sort()).toEqual(['cache', 'my-run'])
    expect(attached()).toBe(0)
  })

  it('should report steps and progress as it goes', async () => {
    const seen: [unknown, number, number][] = []
    const fractions: number[] = []
    await measure({
      onCheckpoint: ({ step, done, of }) => seen.push([step, done, of]),
      onProgress: (fraction) => fractions.push(fraction),
    })
    expect(seen).toEqual([
      [0, 1, 3],
      [10, 2, 3],
      [20, 3, 3],
    ])
    // Three passes, each done when it says 1, and the end.
    expect(fractions).toEqual([1 / 3, 2 / 3, 1, 1])
  })

  it('should not call an adapter clean that never reaches what is read', async () => {
    await writeCheckpoint(run, 30, 0)
    await expect(measure()).rejects.toMatchObject({ code: 'ADAPTER_NO_EFFECT' })
    expect(attached()).toBe(0)
  })

  it('should refuse an adapter whose weights are all zero although the states differ', async () => {
    await writeCheckpoint(run, 30, 0)
    // As a merged copy of a quantised base does, which computes with other kernels.
    states.mockImplementation(async (model, prompts, options) => {
      const found = await attachedStates(model, prompts, options)
      if (options.adapter !== undefined) found.data[0]! += 1e-3
      return found
    })
    await expect(measure()).rejects.toMatchObject({
      code: 'ADAPTER_NO_EFFECT',
      message: expect.stringMatching(/checkpoint-30 changes nothing at block 1: all its weights are zero/),
    })
  })

  it('should refuse an adapter that changes later blocks only, and say where to read', async () => {
    states.mockImplementation(async (model, prompts, options) => {
      const bare = await attachedStates(model, prompts, { ...options, adapter: undefined })
      if (options.adapter === undefined) return bare
      const found = await attachedStates(model, prompts, options)
      const [rows, nLayers, width] = found.shape
      for (let r = 0; r < rows; r++) {
        const at = r * nLayers * width
        found.data.set(bare.data.subarray(at, at + width), at)
      }
      return found
    })
    await expect(measure()).rejects.toMatchObject({
      code: 'ADAPTER_NO_EFFECT',
      message: expect.stringMatching(/changes nothing at block 1; it changes later blocks only/),
    })
    expect((await measure({ layer: 3 })).steps).toHaveLength(3)
  })

  it('should not report a run with a diverged checkpoint', async () => {
    await writeCheckpoint(run, 30, Number.NaN)
    await expect(measure()).rejects.toMatchObject({ code: 'ADAPTER_INVALID' })
  })

  it('should refuse directions of another model, and record it when allowed', async () => {
    const other = attachingModel({ fingerprint: '0'.repeat(64) }).model
    const options = { pack: fakePack(), cacheDir: false as const }
    await expect(measureRun(other, fakeDirections(), run, options)).rejects.toMatchObject({
      code: 'NOT_COMPARABLE',
    })
    const { measurement } = await measureRun(other, fakeDirections(), run, {
      ...options,
      allowMismatch: true,
    })
    expect(measurement!.mismatches).toEqual([expect.stringContaining('base model')])
  })

  it('should refuse a layer that the directions do not have', async () => {
    await expect(measure({ layer: 2 })).rejects.toMatchObject({
      code: 'NOT_COMPARABLE',
      message: expect.stringContaining('1, 3'),
    })
  })

  it('should refuse a pack without evaluation prompts', async () => {
    await expect(measure({ pack: fakePack({ evalPrompts: [] }) })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/has no evaluation prompts/),
    })
  })

  it('should say what is missing when there is nothing to measure yet', async () => {
    await rm(run, { recursive: true })
    await expect(measure()).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await mkdir(join(run, 'checkpoint-10'), { recursive: true })
    await writeFile(join(run, 'checkpoint-10', 'adapter_config.json'), '{}')
    await expect(measure()).rejects.toMatchObject({
      code: 'FILE_INCOMPLETE',
      message: expect.stringContaining('checkpoint-10'),
    })
  })
})
