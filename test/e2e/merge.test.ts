import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { copyAsDora } from '../helpers/dora.js'
import { relativeL2, TINY_RUN } from '../helpers/tiny.js'
import { MODEL, MODEL_AND_PACK, Workspace } from './workspace.js'

const work = new Workspace()
const ADAPTER = ['--adapter', join(TINY_RUN, 'checkpoint-60')]

beforeAll(() => {
  work.write('prompts.txt', 'The tap drips.\nName one star.\n')
})

async function states(name: string, ...flags: string[]): Promise<Float32Array> {
  const out = `${name}.safetensors`
  await work.succeed(['extract', '-p', 'prompts.txt', '-l', '1,2,3', '-o', out, ...flags])
  return (await readSafetensors(work.path(out))).float32('hidden_states')
}

describe('traitscope merge', () => {
  it('should write a model with the states of the base with the adapter', async () => {
    const { stdout } = await work.succeed(['merge', ...MODEL, ...ADAPTER, '-o', 'merged.gguf'])
    expect(stdout).toMatch(/^merged\.gguf: \d+ tensors changed \(\d+ F32\), /)
    const merged = await states('merged', '-m', 'merged.gguf')
    expect(relativeL2(merged, await states('attached', ...MODEL, ...ADAPTER))).toBeLessThan(1e-5)
    const half = ['--adapter-scale', '0.5']
    await work.succeed(['merge', ...MODEL, ...ADAPTER, ...half, '-o', 'half.gguf'])
    const attached = await states('half-attached', ...MODEL, ...ADAPTER, ...half)
    expect(relativeL2(await states('half', '-m', 'half.gguf'), attached)).toBeLessThan(1e-5)
  })

  it('should say in JSON what it did, and write the type asked for', async () => {
    const flags = ['--lora', ADAPTER[1]!, '--type', 'q8_0', '-t', '1', '--json']
    const { stdout } = await work.succeed(['merge', ...MODEL, ...flags, '-o', 'q8.gguf'])
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ out: 'q8.gguf', allZero: false, added: [], lost: [] })
    expect(report.changed[0]).toMatchObject({ from: 'F32', to: 'Q8_0' })
    expect(report.modules.length).toBe(report.changed.length)
  })

  it('should warn of a scale of 0, which changes nothing', async () => {
    const { stderr } = await work.succeed([
      'merge',
      ...MODEL,
      ...ADAPTER,
      '--adapter-scale',
      '0',
      '-o',
      'zero.gguf',
    ])
    expect(stderr).toMatch(/lost in rounding|changes nothing/)
  })

  it.each([
    ['an existing file', ['-o', 'prompts.txt'], 1, /already exists.*--force/],
    ['a type that cannot be written', ['-o', 'x.gguf', '--type', 'iq1_s'], 2, /one of float, f32, f16/],
    ['no adapter', ['-o', 'x.gguf', '--adapter', 'nowhere'], 1, /nowhere/],
    ['no threads', ['-o', 'x.gguf', '-t', '0'], 2, /threads must be an integer from 1/],
  ])('should refuse %s in one sentence', async (_, flags, code, message) => {
    const finished = await work.run(['merge', ...MODEL, ...ADAPTER, ...flags])
    expect([finished.code, finished.stdout]).toEqual([code, ''])
    expect(finished.stderr).toMatch(message)
    expect(existsSync(work.path('x.gguf'))).toBe(false)
    expect(readFileSync(work.path('prompts.txt'), 'utf8')).toMatch(/^The tap/)
  })
})

describe('--lora-mode', () => {
  it('should measure the same drift merged as attached, and say what it did', async () => {
    const directions = await work.directions()
    const measure = async (mode: string) => {
      const flags = ['-d', directions, '--lora-mode', mode, '--json']
      const { stdout } = await work.succeed([
        'measure',
        ...MODEL_AND_PACK,
        join(TINY_RUN, 'checkpoint-60'),
        ...flags,
      ])
      return JSON.parse(stdout)
    }
    const [attached, merged] = [await measure('auto'), await measure('merge')]
    expect(attached.traitscope.steps[1].adapter.merged).toBeUndefined()
    expect(merged.traitscope.steps[1].adapter.merged).toBe('merging was asked for')
    for (const [l, layer] of merged.traitscope.layers.entries()) {
      const [x, y] = [layer.projections[1], attached.traitscope.layers[l].projections[1]]
      expect(relativeL2(x, y)).toBeLessThan(1e-5)
    }
    expect(
      readdirSync(work.path('cache', 'traitscope')).filter((name) => name.startsWith('merged-')),
    ).toHaveLength(1)
  })

  it('should merge DoRA checkpoints by itself in measure, watch and extract', async () => {
    const directions = await work.directions('dora-directions')
    const run = work.path('run')
    await copyAsDora(join(TINY_RUN, 'checkpoint-20'), join(run, 'checkpoint-20'))
    await copyAsDora(join(TINY_RUN, 'checkpoint-60'), join(run, 'checkpoint-60'))
    const flags = ['-d', directions, '--no-cache']
    const measured = await work.succeed(['measure', ...MODEL_AND_PACK, run, ...flags])
    expect(measured.stdout).toMatch(/merged into a copy of the base \(step 20, 60\): module .* is DoRA/)
    const watched = await work.succeed(['watch', ...MODEL_AND_PACK, run, ...flags, '--once'])
    expect(watched.stderr).toMatch(/step 20 was merged into a copy of the base: module/)
    const extracted = await states('dora', ...MODEL, '--adapter', join(run, 'checkpoint-60'))
    await work.succeed(['merge', ...MODEL, '--adapter', join(run, 'checkpoint-60'), '-o', 'dora.gguf'])
    expect(extracted).toEqual(await states('dora-merged', '-m', 'dora.gguf'))
    const refused = await work.run(['measure', ...MODEL_AND_PACK, run, ...flags, '--lora-mode', 'attach'])
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/DoRA.*merge it/)])
  })

  it('should not merge several adapters at once', async () => {
    const flags = [
      ...ADAPTER,
      ...ADAPTER,
      '--lora-mode',
      'merge',
      '-p',
      'prompts.txt',
      '-l',
      '1',
      '-o',
      'x.safetensors',
    ]
    const { code, stderr } = await work.run(['extract', ...MODEL, ...flags])
    expect([code, stderr]).toEqual([2, expect.stringMatching(/takes one adapter/)])
  })
})
