import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors, type Safetensors } from '../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { relativeL2, TINY, TINY_BASE, TINY_RUN } from '../helpers/tiny.js'

// Oracle: transformers and peft in float32 on the same weights (lab/golden_trajectory.py).
const golden = JSON.parse(readFileSync(join(TINY, 'golden/tokens.json'), 'utf8'))
const prompts = (golden.evaluation as number[][]).map((ids) => Int32Array.from(ids))
const TOLERANCE = 1e-4

let model: Model
let states: Safetensors
beforeAll(async () => {
  model = await openModel(TINY_BASE)
  states = await readSafetensors(join(TINY, 'golden/states.safetensors'))
})
afterAll(() => model?.close())

describe('hiddenStates', () => {
  it('should equal transformers on the bare base, several layers in one pass, the last block among them', async () => {
    const { data, shape, layers, tokens } = await hiddenStates(model, prompts, { layers: [3, 1, 2] })
    expect(layers).toEqual([1, 2, 3])
    expect(shape).toEqual([20, 3, 64])
    expect(tokens.total).toBe(prompts.reduce((sum, ids) => sum + ids.length, 0))
    expect(tokens.computed).toBeLessThan(tokens.total)
    for (const [index, layer] of layers.entries()) {
      const ours = prompts.map((_, row) => data.subarray((row * 3 + index) * 64, (row * 3 + index + 1) * 64))
      const distance = relativeL2(
        Float32Array.from(ours.flatMap((row) => [...row])),
        states.float32(`step_0.layer_${layer}`),
      )
      console.info(`base, layer ${layer}: relative L2 to transformers ${distance.toExponential(1)}`)
      expect(distance).toBeLessThan(TOLERANCE)
    }
  })

  it('should equal peft with an adapter attached', async () => {
    await using adapter = await model.attach(join(TINY_RUN, 'checkpoint-60'))
    for (const layer of [1, 2, 3]) {
      const { data } = await hiddenStates(model, prompts, { layers: [layer], adapter })
      const distance = relativeL2(data, states.float32(`step_60.layer_${layer}`))
      console.info(`checkpoint-60, layer ${layer}: relative L2 to peft ${distance.toExponential(1)}`)
      expect(distance).toBeLessThan(TOLERANCE)
      expect(relativeL2(data, states.float32(`step_0.layer_${layer}`))).toBeGreaterThan(0.01)
    }
  })

  it('should leave no trace of an adapter after it', async () => {
    const before = await hiddenStates(model, prompts, { layers: [2] })
    const adapter = await model.attach(join(TINY_RUN, 'checkpoint-30'))
    await hiddenStates(model, prompts, { layers: [2], adapter })
    const beside = await hiddenStates(model, prompts, { layers: [2] })
    await adapter.detach()
    await adapter.detach()
    const after = await hiddenStates(model, prompts, { layers: [2] })
    expect(beside.data).toEqual(before.data)
    expect(after.data).toEqual(before.data)
  })

  it('should scale an adapter by its strength', async () => {
    const base = await hiddenStates(model, prompts, { layers: [2] })
    await using off = await model.attach(join(TINY_RUN, 'checkpoint-60'), { strength: 0 })
    expect((await hiddenStates(model, prompts, { layers: [2], adapter: off })).data).toEqual(base.data)
    await using half = await model.attach(join(TINY_RUN, 'checkpoint-60'), { strength: 0.5 })
    const halved = relativeL2(
      (await hiddenStates(model, prompts, { layers: [2], adapter: half })).data,
      base.data,
    )
    await using whole = await model.attach(join(TINY_RUN, 'checkpoint-60'))
    const full = relativeL2(
      (await hiddenStates(model, prompts, { layers: [2], adapter: whole })).data,
      base.data,
    )
    expect(halved).toBeGreaterThan(0.2 * full)
    expect(halved).toBeLessThan(0.8 * full)
  })

  it('should give mean and tokens pooling that agree with each other and with last', async () => {
    for (const layer of [1, 3]) {
      const each = await hiddenStates(model, prompts, { layers: [layer], pool: 'tokens' })
      const mean = await hiddenStates(model, prompts, { layers: [layer], pool: 'mean' })
      const last = await hiddenStates(model, prompts, { layers: [layer], pool: 'last' })
      expect(each.shape[0]).toBe(each.tokens.total)
      for (const [p, ids] of prompts.entries()) {
        const [from, to] = [each.promptRows[p]!, each.promptRows[p + 1]!]
        expect(to - from).toBe(ids.length)
        const rows = Array.from({ length: ids.length }, (_, i) =>
          each.data.subarray((from + i) * 64, (from + i + 1) * 64),
        )
        const average = Float64Array.from(
          { length: 64 },
          (_, i) => rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length,
        )
        expect(relativeL2(mean.data.subarray(p * 64, (p + 1) * 64), average)).toBeLessThan(1e-6)
        expect(relativeL2(rows.at(-1)!, last.data.subarray(p * 64, (p + 1) * 64))).toBeLessThan(1e-6)
      }
    }
  })

  it('should not depend on how prompts are batched', async () => {
    const together = await hiddenStates(model, prompts, { layers: [2] })
    const alone: number[] = []
    for (const prompt of prompts) alone.push(...(await hiddenStates(model, [prompt], { layers: [2] })).data)
    const distance = relativeL2(together.data, alone)
    console.info(`prefix tree against one prompt at a time: relative L2 ${distance.toExponential(1)}`)
    expect(distance).toBeLessThan(1e-5)
  })

  it.each(['last', 'tokens', 'mean'] as const)('should not depend on the memory, pool %s', async (pool) => {
    const roomy = await hiddenStates(model, prompts, { layers: [1, 3], pool })
    await using small = await openModel(TINY_BASE, { batchTokens: 256 })
    const tight = await hiddenStates(small, prompts, { layers: [1, 3], pool })
    expect(roomy.tokens.computed).toBeGreaterThan(2 * small.batchTokens)
    // Only rows that are means need whole batches in memory, and batches share nothing.
    if (pool === 'mean') expect(tight.tokens.computed).toBeGreaterThan(roomy.tokens.computed)
    else expect(tight.tokens.computed).toBe(roomy.tokens.computed)
    expect(relativeL2(tight.data, roomy.data)).toBeLessThan(1e-5)
  })

  it('should report progress group by group', async () => {
    const seen: number[] = []
    await using cpu = await openModel(model.path, { device: 'cpu' }) // a device takes all in one group
    await hiddenStates(cpu, prompts, { layers: [2], onProgress: (fraction) => seen.push(fraction) })
    expect(seen.length).toBeGreaterThan(1)
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
    expect(seen.at(-1)).toBe(1)
  })

  it.each([
    ['no layer', { layers: [] }, /no layer/],
    ['a layer that does not exist', { layers: [4] }, /layer 4 does not exist: expected 0 to 3/],
    ['a negative layer', { layers: [-1] }, /layer -1/],
    ['a fraction', { layers: [1.5] }, /layer 1.5/],
  ])('should refuse %s', async (_, options, message) => {
    await expect(hiddenStates(model, prompts, options)).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(message),
    })
  })

  it('should refuse a prompt longer than the batch', async () => {
    const long = [new Int32Array(model.batchTokens + 1).fill(5)]
    await expect(hiddenStates(model, long, { layers: [0] })).rejects.toMatchObject({
      code: 'PROMPT_TOO_LONG',
    })
  })

  it('should refuse a token outside the vocabulary', async () => {
    await expect(hiddenStates(model, [Int32Array.of(1, 99_999)], { layers: [0] })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('found 99999'),
    })
  })
})
