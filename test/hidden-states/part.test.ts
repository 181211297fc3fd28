import { readdirSync, readFileSync } from 'node:fs'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeSafetensors, readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { planPrompts } from '../../lib/prompts/plan.js'

// A model that was opened for some layers holds the blocks up to the highest and no more. Nothing else may differ, in no
// bit, with adapters or without, for any family.
const ORACLES = join(packageRoot, 'test/fixtures/oracles')
const families = readdirSync(ORACLES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)

describe.each(families)('a part of %s', (name) => {
  const folder = join(ORACLES, name)
  const prompts = (
    JSON.parse(readFileSync(join(folder, 'prompts.json'), 'utf8')).prompts as { ids: number[] }[]
  ).map(({ ids }) => Int32Array.from(ids))
  const adapters = readdirSync(folder).filter((entry) => entry.startsWith('adapter-'))
  let whole: Model
  beforeAll(async () => {
    whole = await openModel(join(folder, 'model.gguf'))
  })
  afterAll(() => whole?.close())

  it('should give the states of the whole, bit for bit', async () => {
    const wholeMemory = (await whole.memory())[0]!
    for (let layer = 0; layer < whole.info.nLayer; layer++) {
      await using part = await openModel(whole.path, { layers: [layer] })
      expect(part.readsUpTo).toBe(layer)
      expect(part.fingerprint).toBe(whole.fingerprint)
      expect(part.info).toEqual(whole.info)
      for (const pool of ['last', 'mean'] as const) {
        const read = (model: Model) => hiddenStates(model, prompts, { layers: [layer], pool })
        const [a, b] = [await read(part), await read(whole)]
        expect(a.data).toEqual(b.data)
        expect(a.tokens).toEqual(b.tokens)
      }
      if (layer + 2 >= whole.info.nLayer) continue
      const memory = (await part.memory())[0]!
      expect(memory.weights).toBeLessThan(wholeMemory.weights)
      expect(memory.context).toBeLessThan(wholeMemory.context)
    }
  })

  it.each(adapters)('should read %s as the whole does', async (adapter) => {
    const layer = whole.info.nLayer - 2
    await using part = await openModel(whole.path, { layers: [0, layer] })
    const read = async (model: Model) => {
      await using attached = await model.attach(join(folder, adapter))
      const { data } = await hiddenStates(model, prompts, { layers: [0, layer], adapter: attached })
      return { data, modules: attached.report.modules }
    }
    const [a, b] = [await read(part), await read(whole)]
    expect(a.data).toEqual(b.data)
    expect(a.modules.map(({ notRun: _, ...module }) => module)).toEqual(b.modules)
    const above = a.modules.filter(({ tensor }) => tensor.startsWith(`blk.${layer + 1}.`))
    expect(above.length).toBeGreaterThan(0)
    expect(a.modules.filter(({ notRun }) => notRun)).toEqual(above)
  })
})

describe('a part of a model', () => {
  let part: Model
  const prompts = [Int32Array.of(1, 5, 9)]
  beforeAll(async () => {
    part = await openModel(join(ORACLES, 'llama/model.gguf'), { layers: [1, 0, 1] })
  })
  afterAll(() => part?.close())

  it('should refuse by name what only a whole one can do', async () => {
    const above = hiddenStates(part, prompts, { layers: [0, 2] })
    await expect(above).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('up to 1') })
    const { batches, nRows } = planPrompts(prompts, { maxTokens: 256, pool: 'last' })
    const all = part.extract({ batches, nRows, layers: [1], stopEarly: false })
    await expect(all).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('a whole model'),
    })
    await expect(part.generate(prompts)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/whole model to generate .* up to 1.*without `layers`/),
    })
    await expect(part.score(prompts, [[Int32Array.of(3)]])).rejects.toMatchObject({ code: 'USAGE' })
  })

  it('should open another file as a part too', async () => {
    await using other = await part.openLike(part.path)
    expect(other.options).toEqual(part.options)
    expect(other.readsUpTo).toBe(1)
  })

  it('should say which layers there are', async () => {
    const open = (layers: number[]) => openModel(part.path, { layers })
    for (const layers of [[part.info.nLayer], [-1], [0.5], []])
      await expect(open(layers)).rejects.toMatchObject({
        code: 'USAGE',
        message: expect.stringContaining('layer'),
      })
  })

  it('should call an adapter that lies above all of it no effect', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'traitscope-part-'))
    try {
      await cp(join(ORACLES, 'llama/adapter-plain'), folder, { recursive: true })
      await using low = await openModel(part.path, { layers: [0] })
      const { report } = await low.attach(folder)
      expect(report.modules.some(({ notRun }) => notRun)).toBe(true)
      const weights = join(folder, 'adapter_model.safetensors')
      const file = await readSafetensors(weights)
      const above = [...file.tensors.values()].filter(({ name }) => !name.includes('layers.0.'))
      const tensors = above.map(({ name, shape }) => ({
        name,
        dtype: 'F32' as const,
        shape,
        data: file.float32(name),
      }))
      await writeFile(weights, encodeSafetensors(tensors))
      await expect(low.attach(folder)).rejects.toMatchObject({
        code: 'ADAPTER_NO_EFFECT',
        message: expect.stringContaining('lie above layer 0'),
      })
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
