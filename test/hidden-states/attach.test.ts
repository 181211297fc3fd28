import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readPeftAdapter } from '../../lib/formats/peft/peft.js'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { adapterEffect } from '../../lib/hidden-states/adapter-effect.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { AttachedAdapter } from '../../lib/model/attached-adapter.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { relativeL2 } from '../helpers/tiny.js'

// Oracle: peft with the adapters unmerged, several of them active at once, in float32 (lab/attach_fixtures.py).
const ORACLES = join(packageRoot, 'test/fixtures/oracles')
const ATTACH = join(packageRoot, 'test/fixtures/attach')
const TOLERANCE = 1e-5

const promptsOf = (name: string): Int32Array[] => {
  const { prompts } = JSON.parse(readFileSync(join(ORACLES, name, 'prompts.json'), 'utf8')) as {
    prompts: { ids: number[] }[]
  }
  return prompts.map(({ ids }) => Int32Array.from(ids))
}

const open = (name: string) => openModel(join(ORACLES, name, 'model.gguf'))

async function states(model: Model, name: string, adapter: AttachedAdapter[]): Promise<Float32Array> {
  const layers = Array.from({ length: model.info.nLayer }, (_, i) => i)
  return (await hiddenStates(model, promptsOf(name), { layers, adapter })).data
}

describe.each(['llama', 'qwen2', 'phi3'])('adapters on %s', (name) => {
  const golden = async (key: string) =>
    (await readSafetensors(join(ATTACH, name, 'golden.safetensors'))).float32(key)

  it('should act on embedding and head as in peft', async () => {
    await using model = await open(name)
    const adapter = await model.attach(join(ATTACH, name, 'adapter-embeddings'))
    expect(adapter.report.modules.map(({ tensor }) => tensor)).toEqual(
      expect.arrayContaining(['token_embd.weight', 'output.weight']),
    )
    expect(relativeL2(await states(model, name, [adapter]), await golden('embeddings'))).toBeLessThan(
      TOLERANCE,
    )
  })

  it('should add up with strengths, in any order', async () => {
    await using model = await open(name)
    const plain = await model.attach(join(ORACLES, name, 'adapter-plain'))
    const patterns = await model.attach(join(ORACLES, name, 'adapter-patterns'), { strength: 0.5 })
    const expected = await golden('two')
    expect(relativeL2(await states(model, name, [plain, patterns]), expected)).toBeLessThan(TOLERANCE)
    expect(relativeL2(await states(model, name, [patterns, plain]), expected)).toBeLessThan(TOLERANCE)
  })

  it('should be the same adapter at another strength, as long as it is attached', async () => {
    await using model = await open(name)
    const plain = await model.attach(join(ORACLES, name, 'adapter-plain'))
    const full = await model.attach(join(ORACLES, name, 'adapter-patterns'))
    const half = full.at(0.5)
    expect([half.strength, full.strength, half.sha256]).toEqual([0.5, 1, full.sha256])
    const expected = await golden('two')
    expect(relativeL2(await states(model, name, [plain, half]), expected)).toBeLessThan(TOLERANCE)
    expect(() => full.at(Number.NaN)).toThrowError(expect.objectContaining({ code: 'USAGE' }))
    await half.detach()
    expect([half.detached, full.detached]).toEqual([true, true])
    await expect(states(model, name, [full])).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('should be scaled by a negative factor too', async () => {
    await using model = await open(name)
    const rslora = await model.attach(join(ORACLES, name, 'adapter-rslora'), { strength: -0.25 })
    expect(relativeL2(await states(model, name, [rslora]), await golden('scaled'))).toBeLessThan(TOLERANCE)
  })
})

describe('an adapter that mlx-lm trained', () => {
  const folder = join(packageRoot, 'test/fixtures/layouts/mlx-lm')

  it('should give the states that mlx gives', async () => {
    await using model = await open('qwen3')
    const adapter = await model.attach(folder)
    expect(new Set(adapter.report.modules.map(({ path }) => path.split('.').at(-1)))).toEqual(
      new Set(['q_proj', 'down_proj']),
    )
    const golden = (await readSafetensors(join(folder, 'golden.safetensors'))).float32('last')
    const bare = await states(model, 'qwen3', [])
    expect(relativeL2(bare, golden)).toBeGreaterThan(0.02)
    expect(relativeL2(await states(model, 'qwen3', [adapter]), golden)).toBeLessThan(TOLERANCE)
  })
})

describe('adapterEffect', () => {
  const embeddings = join(ATTACH, 'llama/adapter-embeddings')
  /** The adapter with some of its modules. */
  const part = async (...tensors: RegExp[]) => {
    const peft = await readPeftAdapter(embeddings)
    return {
      ...peft,
      modules: peft.modules.filter(({ path }) => tensors.some((pattern) => pattern.test(path))),
    }
  }

  it('should say from which block on the states change, and by how much', async () => {
    await using model = await open('llama')
    const { change, firstLayer } = await adapterEffect(model, [await model.attach(await part(/layers\.1\./))])
    expect(firstLayer).toBe(1)
    expect(change[0]).toBe(0)
    expect(change[1]).toBeGreaterThan(0.01)
    expect(change[2]).toBeGreaterThan(0.01)
  })

  it('should see nothing of an adapter that is all zero, or has no strength', async () => {
    await using model = await open('llama')
    const peft = await part(/layers/)
    const modules = peft.modules.map((module) => ({ ...module, b: new Float32Array(module.b.length) }))
    const zero = await model.attach({ ...peft, modules })
    expect(await adapterEffect(model, [zero])).toEqual({ change: [0, 0, 0] })
    expect(await adapterEffect(model, [await model.attach(peft, { strength: 0 })])).toEqual({
      change: [0, 0, 0],
    })
  })

  it('should refuse an adapter of the head alone, which no state shows', async () => {
    await using model = await open('llama')
    await expect(adapterEffect(model, [await model.attach(await part(/lm_head/))])).rejects.toMatchObject({
      code: 'ADAPTER_NO_EFFECT',
      message: expect.stringContaining('head only'),
    })
  })

  it('should refuse weights that are too small to change anything', async () => {
    await using model = await open('llama')
    const tiny = await model.attach(await part(/layers/), { strength: 1e-30 })
    await expect(adapterEffect(model, [tiny])).rejects.toMatchObject({ code: 'ADAPTER_NO_EFFECT' })
  })
})
