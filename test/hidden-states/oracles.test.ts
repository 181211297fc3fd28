import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { planPrompts } from '../../lib/prompts/plan.js'
import { relativeL2 } from '../helpers/tiny.js'

// Oracle: transformers and peft in float32 on random models of every family (lab/oracles). Everything in them is
// randomised, so a transform that is forgotten moves the states by 14 % or more (`sensitivity` in each model.json).
const ORACLES = join(packageRoot, 'test/fixtures/oracles')

// ggml's CPU backend looks GELU up in a table of F16 values, so Gemma is held against states that were computed with
// the same table; what remains is the amplified float32 rounding. llama-wide is stored as F16, which rounds activations.
const TOLERANCE: Record<string, number> = { gemma2: 3e-4, gemma3: 3e-4, 'llama-wide': 1e-3 }
const DEFAULT_TOLERANCE = 1e-5

const models = readdirSync(ORACLES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)

describe.each(models)('hidden states of %s', (name) => {
  const folder = join(ORACLES, name)
  const variants = readdirSync(folder)
    .filter((file) => /^golden-.*\.safetensors$/.test(file))
    .map((file) => file.slice('golden-'.length, -'.safetensors'.length))
  const prompts = (
    JSON.parse(readFileSync(join(folder, 'prompts.json'), 'utf8')).prompts as {
      name: string
      ids: number[]
    }[]
  ).map((prompt) => ({ ...prompt, ids: Int32Array.from(prompt.ids) }))
  const tolerance = TOLERANCE[name] ?? DEFAULT_TOLERANCE
  // An F16 file rounds the same activations in another order of summation.
  const batchTolerance = name === 'llama-wide' ? 1e-3 : name.startsWith('gemma') ? 3e-4 : 1e-5
  let model: Model
  beforeAll(async () => {
    model = await openModel(join(folder, 'model.gguf'))
  })
  afterAll(() => model?.close())

  it.each(variants)('should equal transformers in every block, variant %s', async (variant) => {
    const golden = await readSafetensors(join(folder, `golden-${variant}.safetensors`))
    const { nLayer, nEmbd } = model.info
    const layers = Array.from({ length: nLayer }, (_, i) => i)
    const adapter = variant === 'base' ? undefined : await model.attach(join(folder, `adapter-${variant}`))
    const { data } = await hiddenStates(
      model,
      prompts.map(({ ids }) => ids),
      { layers, adapter },
    )
    const last = golden.float32(golden.tensors.has('last.gelu16') ? 'last.gelu16' : 'last')
    const size = nLayer * nEmbd
    const worst = Math.max(
      ...prompts.map((_, p) =>
        relativeL2(data.subarray(p * size, (p + 1) * size), last.subarray(p * size, (p + 1) * size)),
      ),
    )
    console.info(
      `${name}, ${variant}: worst prompt, all ${nLayer} blocks, relative L2 ${worst.toExponential(1)}`,
    )
    expect(worst).toBeLessThan(tolerance)
    await adapter?.detach()
  })

  it('should equal transformers for every token, and each layer the same alone as among all', async () => {
    const golden = await readSafetensors(join(folder, 'golden-base.safetensors'))
    const { nLayer, nEmbd } = model.info
    const layers = Array.from({ length: nLayer }, (_, i) => i)
    // Exact GELU in these: the table of the CPU backend adds up to 1e-3.
    const bound = golden.tensors.has('last.gelu16') ? 1e-3 : tolerance
    for (const prompt of prompts.filter(({ name: each }) => golden.tensors.has(`tokens.${each}`))) {
      const { data } = await hiddenStates(model, [prompt.ids], { layers, pool: 'tokens' })
      expect(relativeL2(data, golden.float32(`tokens.${prompt.name}`))).toBeLessThan(bound)
      for (const layer of layers) {
        const alone = await hiddenStates(model, [prompt.ids], { layers: [layer], pool: 'tokens' })
        const among = Float32Array.from({ length: alone.data.length }, (_, i) => {
          const row = Math.floor(i / nEmbd)
          return data[(row * nLayer + layer) * nEmbd + (i % nEmbd)]!
        })
        expect(relativeL2(alone.data, among)).toBeLessThan(1e-6)
      }
    }
  })

  it('should not depend on whether context tokens are computed first', async () => {
    // Without the prompt of one token: it begins the others, and what follows a token that is read is no context.
    const { batches, nRows } = planPrompts(
      prompts.map(({ ids }) => ids).filter(({ length }) => length > 1),
      { maxTokens: model.batchTokens, pool: 'last' },
    )
    for (let layer = 0; layer < model.info.nLayer - 1; layer++) {
      const layers = Array.from({ length: layer + 1 }, (_, i) => i)
      const whole = await model.extract({ batches, nRows, layers })
      const split = await model.extract({ batches, nRows, layers, splitFrom: 1 })
      expect(whole.contextTokens).toBe(0)
      expect(split.contextTokens).toBeGreaterThan(split.computedTokens / 2)
      expect(split.computedTokens).toBe(whole.computedTokens)
      expect(relativeL2(split.data, whole.data)).toBeLessThan(batchTolerance)
    }
  })

  it('should not depend on the groups that a batch is computed in', async () => {
    const ids = prompts.map((prompt) => prompt.ids)
    const last = model.info.nLayer - 1
    for (const pool of ['last', 'tokens', 'mean'] as const) {
      const { batches, nRows } = planPrompts(ids, { maxTokens: model.batchTokens, pool })
      for (const layers of [[last - 1], [0, last]]) {
        const whole = await model.extract({ batches, nRows, layers })
        for (const groupCells of [1, 7]) {
          for (const splitFrom of [1, Number.MAX_SAFE_INTEGER]) {
            const grouped = await model.extract({ batches, nRows, layers, groupCells, splitFrom })
            expect(grouped.computedTokens).toBe(whole.computedTokens)
            expect(relativeL2(grouped.data, whole.data)).toBeLessThan(batchTolerance)
          }
        }
      }
    }
  })

  it('should not depend on the batch', async () => {
    const layers = [model.info.nLayer - 2, model.info.nLayer - 1]
    const together = await hiddenStates(
      model,
      prompts.map(({ ids }) => ids),
      { layers },
    )
    const alone: number[] = []
    for (const { ids } of prompts) alone.push(...(await hiddenStates(model, [ids], { layers })).data)
    expect(relativeL2(together.data, alone)).toBeLessThan(batchTolerance)
  })
})
