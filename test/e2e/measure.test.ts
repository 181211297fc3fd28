import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { blocksAt, depthsToMake } from '../../lib/detector/contrast.js'
import { loadPrior } from '../../lib/detector/prior.js'
import { loadDirections } from '../../lib/directions/directions-folder.js'
import { sha256 } from '../../lib/formats/files/hash.js'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { readTrajectory } from '../../lib/trajectory/read-trajectory.js'
import type { TrajectoryStep } from '../../lib/trajectory/trajectory.js'
import type { ReferenceEntry } from '../../lib/trajectory/trajectory-json.js'
import { schemaErrors } from '../helpers/schemas.js'
import { relativeL2, TINY, TINY_RUN } from '../helpers/tiny.js'
import { MODEL, MODEL_AND_PACK, Workspace } from './workspace.js'

// Oracle: the reference protocol in float32 (lab/golden_trajectory.py).
interface Golden {
  trait_order: string[]
  step0_activation_norm: Record<string, number>
  trajectory: { step: number; projections: Record<string, Record<string, number>> }[]
}
const golden: Golden = JSON.parse(readFileSync(join(TINY, 'golden/trajectory.json'), 'utf8'))

interface Document {
  measurement_layer: number
  trait_order: string[]
  step0_activation_norm: number
  trajectory: ReferenceEntry[]
  traitscope: {
    finalAliasOf: number | null
    layers: { layer: number; projections: number[][] }[]
    steps: TrajectoryStep[]
  }
}

const work = new Workspace()
let directions: string
let run: string
beforeAll(async () => {
  directions = await work.directions()
  // Two checkpoints are enough where the numbers are not the subject.
  run = work.path('short')
  for (const name of ['checkpoint-10', 'checkpoint-60']) {
    cpSync(join(TINY_RUN, name), join(run, name), { recursive: true })
  }
})

/** Asserts design's tolerances at one layer: projections to 1e-4 N, drift to 1e-3 of its length. */
function expectGolden(layer: number, norm: number, steps: { step: number; values: number[] }[]): void {
  const n = golden.step0_activation_norm[layer]!
  expect(Math.abs(norm / n - 1)).toBeLessThan(1e-5)
  const reference = (step: number) => {
    const { projections } = golden.trajectory.find((entry) => entry.step === step)!
    return golden.trait_order.map((trait) => projections[layer]![trait]!)
  }
  for (const { step, values } of steps) {
    const expected = reference(step)
    for (const [t, value] of values.entries()) expect(Math.abs(value - expected[t]!) / n).toBeLessThan(1e-4)
    if (step === 0) continue
    const drift = values.map((value, t) => value - steps[0]!.values[t]!)
    const wanted = expected.map((value, t) => value - reference(0)[t]!)
    expect(relativeL2(drift, wanted)).toBeLessThan(1e-3)
  }
}

function expectGoldenDocument(document: Document): void {
  const { measurement_layer: layer, trait_order, step0_activation_norm: norm } = document
  expect(trait_order).toEqual(golden.trait_order)
  expect(document.trajectory.at(-1)!.step).toBe('final')
  const steps = document.trajectory.slice(0, -1).map(({ step, projections }) => ({
    step: step as number,
    values: trait_order.map((trait) => projections[trait]!),
  }))
  expect(steps.map(({ step }) => step)).toEqual([0, 10, 20, 30, 40, 50, 60])
  expectGolden(layer, norm, steps)
}

describe('traitscope directions', () => {
  it('should write the reference directions with their description', async () => {
    expect(readdirSync(directions).sort()).toEqual(['directions.json', 'directions.safetensors'])
    const made = await readSafetensors(join(directions, 'directions.safetensors'))
    const reference = await readSafetensors(join(TINY, 'golden/directions.safetensors'))
    expect(made.tensors.size).toBe(21)
    for (const layer of [1, 2, 3]) {
      for (const trait of golden.trait_order) {
        const expected = reference.float32(`layer_${layer}.${trait}`)
        expect(relativeL2(made.float32(`${layer}/${trait}`), expected)).toBeLessThan(1e-4)
      }
    }
  })

  it('should print one JSON document with probe accuracies, without the vectors', async () => {
    const out = work.path('pca')
    const args = ['--method', 'pca', '--trait-set', 'honesty,sycophancy', '-l', '2', '-o', out, '--json']
    const { stdout } = await work.succeed(['directions', ...MODEL_AND_PACK, ...args])
    const document = JSON.parse(stdout)
    expect(document).toMatchObject({ out, layers: [2], traits: ['honesty', 'sycophancy'], method: 'pca' })
    expect(document).not.toHaveProperty('vectors')
    const { probeAccuracy } = document.diagnostics[0]
    expect(probeAccuracy.sycophancy).toBeGreaterThan(0.5)
    expect(probeAccuracy.sycophancy).toBeLessThanOrEqual(1)
  })

  it('should refuse a prior that cannot read the directions before anything is measured', async () => {
    const out = work.path('unread')
    const args = ['-d', work.path('pca'), '--prior', TINY_RUN, '-o', out]
    const { code, stderr } = await work.run(['measure', ...MODEL_AND_PACK, ...args])
    expect([code, stderr]).toEqual([4, expect.stringMatching(/the prior knows the traits .*NOT_COMPARABLE/s)])
    expect(stderr).not.toMatch('measuring')
    expect(existsSync(out)).toBe(false)
  })

  it('should read where the prior does when no layer is named, so that `calibrate --prior` takes the directions', async () => {
    const args = ['--trait-set', 'honesty', '--no-probes', '-o', work.path('unnamed'), '--json']
    const { stdout } = await work.succeed(['directions', ...MODEL_AND_PACK, ...args])
    const { nLayer } = (await loadDirections(directions)).conditions.base
    expect(JSON.parse(stdout).layers).toEqual(blocksAt(depthsToMake((await loadPrior()).depths), nLayer))
  })

  it('should say what the directions are worth at every layer', async () => {
    const args = ['--trait-set', 'honesty,sycophancy', '-l', '1,3', '-o', work.path('what it is worth')]
    const { stdout, stderr } = await work.succeed(['directions', ...MODEL_AND_PACK, ...args])
    expect(stderr).toMatch(/^next, .*: traitscope watch -m \S+ -d '.*\/what it is worth' --traits \S+ RUN$/m)
    const cell = String.raw`(-|1?\.\d\d 1?\.\d\d-1?\.\d\d)`
    for (const layer of [1, 3]) {
      expect(stdout).toMatch(new RegExp(`^layer ${layer}, mean activation norm`, 'm'))
      expect(stdout).toMatch(new RegExp(`^layer ${layer}: usable: `, 'm'))
    }
    expect(stdout).toMatch(
      new RegExp(`^honesty +\\d\\.\\d{3} +${cell} +${cell} +${cell} +sycophancy -?\\d\\.\\d\\d$`, 'm'),
    )
    expect(stdout).toMatch(/^usable at every layer: .*; at none: /m)
    expect(stdout).toMatch(/^probe accuracy .*says nothing about others$/m)
  })

  it('should not touch an existing folder without --force', async () => {
    const before = readFileSync(join(directions, 'directions.json'), 'utf8')
    const args = ['directions', ...MODEL_AND_PACK, '-l', '1', '--trait-set', 'honesty', '--no-probes']
    const { code, stdout, stderr } = await work.run([...args, '-o', directions])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/already exists.*\[FILE_EXISTS\]\n$/)
    expect(readFileSync(join(directions, 'directions.json'), 'utf8')).toBe(before)
  })

  it('should refuse a trait that the pack does not have', async () => {
    const args = ['-l', '1', '--trait-set', 'honesty,patience', '-o', work.path('none')]
    const { code, stderr } = await work.run(['directions', ...MODEL_AND_PACK, ...args])
    expect(code).toBe(2)
    expect(stderr).toMatch(/patience.*\[USAGE\]\n$/)
    expect(existsSync(work.path('none'))).toBe(false)
  })
})

describe('traitscope measure', () => {
  it('should write a trajectory that equals the reference, and keep step 0 for the next run', async () => {
    const out = work.path('measured')
    const args = ['measure', ...MODEL_AND_PACK, '-d', directions, '--no-prior', TINY_RUN]
    const { stdout } = await work.succeed([...args, '-l', '3', '-o', out])
    const lines = stdout.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^drift at layer 3, in units of the step-0 activation norm 8\.951$/)
    expect(lines[1]).toMatch(/^step +loss +verdict +length +honesty +sycophancy .* read$/)
    expect(lines[2]).toMatch(/^0 +- +- +(-?0\.0000 +){8}base\.gguf [0-9a-f]{12}$/)
    const last = readFileSync(join(TINY_RUN, 'checkpoint-60/adapter_model.safetensors'))
    const file = { path: 'checkpoint-60/adapter_model.safetensors', sha256: sha256(last) }
    expect(lines[8]).toMatch(/^60 +0\.3541 /)
    expect(lines[8]).toMatch(new RegExp(`  ${file.path} ${file.sha256.slice(0, 12)}$`))
    expect(lines.slice(9, 11)).toEqual(['length of the drift by layer', 'step       1       2       3'])
    expect(lines[17]!.split(/ +/).at(-1)).toBe(lines[8]!.split(/ +/)[3])
    expect(lines[18]).toBe('the final adapter has the weights of step 60 and is counted once')
    expect(lines[19]).toMatch(/^6 checkpoints in .*; written to /)
    expect(readdirSync(out).sort()).toEqual([
      'activations.safetensors',
      'run_manifest.json',
      'trajectory.json',
    ])
    const document: Document = JSON.parse(readFileSync(join(out, 'trajectory.json'), 'utf8'))
    expect(schemaErrors('trajectory', document, { ours: true })).toEqual([])
    expectGoldenDocument(document)
    expect(document.traitscope.finalAliasOf).toBe(60)
    const { steps } = document.traitscope
    expect(steps[0]).not.toHaveProperty('files')
    expect(steps[6]!.files![0]).toEqual(file)
    expect(steps[6]!.files![1]!.path).toBe('checkpoint-60/adapter_config.json')
    const manifest = JSON.parse(readFileSync(join(out, 'run_manifest.json'), 'utf8'))
    expect(manifest.traitscope.inputs.adapters[5].files[0]).toEqual(file)
    for (const { layer, projections } of document.traitscope.layers) {
      const steps = projections.map((values, i) => ({ step: 10 * i, values }))
      expectGolden(layer, golden.step0_activation_norm[layer]!, steps)
    }
    const states = await readSafetensors(join(out, 'activations.safetensors'))
    const reference = await readSafetensors(join(TINY, 'golden/states.safetensors'))
    expect(states.tensors.get('step-60')!.shape).toEqual([20, 3, 64])
    const first = states.float32('step-60').subarray(0, 64)
    expect(relativeL2(first, reference.float32('step_60.layer_1').subarray(0, 64))).toBeLessThan(1e-4)

    const inspected = await work.succeed(['inspect', out])
    expect(inspected.stdout).toMatch(/^kind +trajectory \(traitscope\)/)
    const watched = await work.succeed(['watch', ...args.slice(1), '--once', '--jsonl'])
    expect(JSON.parse(watched.stdout.split('\n')[0]!)).toMatchObject({ type: 'baseline', cached: true })
  })

  it('should measure into a folder of labels, and keep them when it measures again', async () => {
    const out = work.path('labelled')
    const names = ['responses.jsonl', 'judgements.0a1b2c3d.jsonl', 'grades.json', 'margins.json']
    mkdirSync(out)
    for (const name of names) work.write(join('labelled', name), name)
    const args = ['measure', ...MODEL_AND_PACK, '-d', directions, '--no-prior', run, '-o', out]
    await work.succeed(args)
    expect((await work.run(args)).stderr).toMatch(/\[FILE_EXISTS\]/)
    await work.succeed([...args, '--force'])
    for (const name of names) expect(readFileSync(join(out, name), 'utf8')).toBe(name)
    const answers = (weights: string) => {
      const answer = { step: 10, prompt_id: 'q', draw: 0, response: 'a', weights }
      work.write(join('labelled', 'responses.jsonl'), `${JSON.stringify(answer)}\n`)
    }
    answers('those of another training')
    const { stdout } = await work.succeed([...args, '--force'])
    expect(stdout).toMatch(
      /labels in .*labelled stay, and are of other weights than were measured at step 10:/,
    )
    const { traitscope } = JSON.parse(readFileSync(join(out, 'trajectory.json'), 'utf8'))
    answers(traitscope.steps.find(({ step }: { step: number }) => step === 10).adapterSha256)
    expect((await work.succeed([...args, '--force'])).stdout).not.toContain('stay')
    for (const name of names.slice(1)) expect(readFileSync(join(out, name), 'utf8')).toBe(name)
    expect(existsSync(join(out, 'trajectory.json'))).toBe(true)
  })

  it('should print one JSON document and nothing else on stdout', async () => {
    const { stdout, stderr } = await work.succeed([
      'measure',
      ...MODEL_AND_PACK,
      ...['-d', directions, TINY_RUN, '--json', '-q'],
    ])
    expect(stderr).toBe('')
    expectGoldenDocument(JSON.parse(stdout) as Document)
  })

  it("should multiply the adapter's effect as a merge at that strength does", async () => {
    const args = ['measure', ...MODEL_AND_PACK, '-d', directions, run]
    const out = work.path('amplified')
    const attached = await work.succeed([...args, '--adapter-scale', '2,1,0.5,2', '-o', out])
    expect(attached.stdout).toMatch(/^length of the drift with the adapter's effect multiplied$/m)
    expect(attached.stdout).toMatch(/^step +x 0\.5 +x 1 +x 2$/m)
    const document = JSON.parse(readFileSync(join(out, 'trajectory.json'), 'utf8'))
    expect(schemaErrors('trajectory', document, { ours: true })).toEqual([])
    const trajectory = await readTrajectory(out)
    expect(trajectory.strengths!.map(({ strength }) => strength)).toEqual([0.5, 2])
    const plain = JSON.parse((await work.succeed([...args, '--json'])).stdout)
    expect(trajectory.layers).toEqual(plain.traitscope.layers)
    expect(trajectory.measurement!.tokens.total).toBe(trajectory.steps[1]!.tokens!.total * (1 + 3 * 2))

    const merged = ['measure', '--lora-mode', 'merge', '--adapter-scale', '2', '--json']
    const { stdout } = await work.succeed([...merged, ...args.slice(1)])
    const copy = JSON.parse(stdout).traitscope.strengths[0]
    expect(JSON.parse(stdout).traitscope.measurement.engine.checkpoints).toEqual(['merge'])
    expect(trajectory.measurement!.engine!.checkpoints).toEqual(['attach'])
    expect(attached.stdout).toMatch(/^0 .* base\.gguf [0-9a-f]{12}$/m)
    const doubled = trajectory.strengths![1]!
    for (const step of [1, 2]) {
      expect(
        relativeL2(doubled.layers[1]!.projections[step]!, copy.layers[1]!.projections[step]!),
      ).toBeLessThan(1e-5)
      // More of the same change moves the states further.
      const ascending = [trajectory.strengths![0]!.stateChange, undefined, doubled.stateChange].map(
        (change) => (change === undefined ? trajectory.steps[step]!.stateChange! : change[step]!)[1]!,
      )
      expect(ascending[1]! / ascending[0]!).toBeGreaterThan(1.5)
      expect(ascending[2]! / ascending[1]!).toBeGreaterThan(1.5)
    }
  })

  it.each(['0', '-1', 'x', '1,,2'])('should refuse --adapter-scale %s', async (scales) => {
    const args = ['measure', ...MODEL_AND_PACK, '-d', directions, run]
    const { code, stderr } = await work.run([...args, '--adapter-scale', scales])
    expect(code).toBe(2)
    expect(stderr).toMatch(/adapter-scale/)
  })

  it('should make directions on the spot for --layer, and give the same numbers', async () => {
    const args = ['measure', ...MODEL_AND_PACK, run, '--json']
    const spot = JSON.parse((await work.succeed([...args, '-l', '2'])).stdout) as Document
    const folder = JSON.parse((await work.succeed([...args, '-l', '2', '-d', directions])).stdout) as Document
    expect(spot.measurement_layer).toBe(2)
    expect(spot.trajectory.map(({ step }) => step)).toEqual([0, 10, 60])
    for (const [i, { projections }] of spot.trajectory.entries()) {
      const expected = Object.values(folder.trajectory[i]!.projections)
      expect(relativeL2(Object.values(projections), expected)).toBeLessThan(1e-5)
    }
  })

  it('should write means instead of all states, or none, when asked to', async () => {
    const args = ['measure', ...MODEL_AND_PACK, '-d', directions, '--no-prior', run, '-o']
    await work.succeed([...args, work.path('all')])
    await work.succeed([...args, work.path('means'), '--activations', 'means'])
    await work.succeed([...args, work.path('none'), '--activations', 'none'])
    expect(readdirSync(work.path('none')).sort()).toEqual(['run_manifest.json', 'trajectory.json'])
    const all = await readSafetensors(work.path('all', 'activations.safetensors'))
    const means = await readSafetensors(work.path('means', 'activations.safetensors'))
    expect(means.tensors.get('step-60')!.shape).toEqual([1, 3, 64])
    const expected = new Float64Array(3 * 64)
    for (const [i, value] of all.float32('step-60').entries()) expected[i % expected.length]! += value / 20
    expect(relativeL2(means.float32('step-60'), expected)).toBeLessThan(1e-6)
  })

  it('should leave the cache alone with --no-cache and use another with --cache-dir', async () => {
    const args = ['measure', ...MODEL_AND_PACK, '-d', directions, run]
    const env = { XDG_CACHE_HOME: work.path('unused') }
    await work.succeed([...args, '--no-cache'], { env })
    expect(existsSync(work.path('unused'))).toBe(false)
    await work.succeed([...args, '--cache-dir', work.path('own')], { env })
    expect(existsSync(work.path('unused'))).toBe(false)
    expect(readdirSync(work.path('own'))).toHaveLength(1)
  })

  it('should not touch an earlier measurement without --force', async () => {
    const out = work.path('kept')
    const args = ['measure', ...MODEL_AND_PACK, '-d', directions, run, '-o', out]
    await work.succeed(args)
    const file = join(out, 'trajectory.json')
    const before = { bytes: readFileSync(file, 'utf8'), at: statSync(file).mtimeMs }
    const refused = await work.run(args)
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/already exists.*--force \[FILE_EXISTS\]\n$/)
    expect({ bytes: readFileSync(file, 'utf8'), at: statSync(file).mtimeMs }).toEqual(before)
    await work.succeed([...args, '--force'])
    expect(readFileSync(file, 'utf8')).toBe(before.bytes)
  })

  it.each([
    ['a run that is not there', ['nowhere'], 1, 'FILE_NOT_FOUND'],
    ['a missing base', [TINY_RUN, '-m', 'nowhere.gguf'], 1, 'FILE_NOT_FOUND'],
    ['a layer that the directions do not have', [TINY_RUN, '-l', '0'], 4, 'NOT_COMPARABLE'],
    ['directions of another trait pack', [TINY_RUN, '--traits', 'core'], 4, 'NOT_COMPARABLE'],
    ['missing directions', [TINY_RUN, '-d', 'nowhere'], 1, 'FILE_NOT_FOUND'],
  ])('should refuse %s', async (_, args, expected, error) => {
    const out = work.path('refused')
    const all = ['measure', ...MODEL_AND_PACK, '-d', directions, '-o', out, ...args]
    const { code, stdout, stderr } = await work.run(all)
    expect({ code, stdout }).toEqual({ code: expected, stdout: '' })
    expect(stderr).toMatch(new RegExp(`^traitscope: [^\\n]+\\[${error}\\]\\n$`, 'm'))
    expect(existsSync(out)).toBe(false)
  })

  it('should give provisional verdicts where nothing is said, at blocks that the prior reads, and none where that is declined', async () => {
    const { code, stdout } = await work.run(['measure', ...MODEL_AND_PACK, run])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^drift at layer 1,/)
    expect(stdout).toMatch(/EM % +interval +verdict/)
    expect(stdout).toMatch(/^provisional: no judged run of this base is known/m)
    // Of another trait pack: whatever the rate, it is no alarm.
    expect(stdout).toMatch(/only the order of rates means something, so that nothing is more than a warning/)
    expect(stdout).not.toMatch(/ alarm /)
    const declined = await work.run(['measure', ...MODEL_AND_PACK, '-d', directions, '--no-prior', run])
    expect(declined.stdout).not.toMatch(/provisional|EM %/)
    const { code: asked, stderr } = await work.run(['measure', ...MODEL, '--no-prior', run])
    expect(asked).toBe(2)
    expect(stderr).toMatch(/with --no-prior give --directions DIR .* or --layer N/)
  })
})
