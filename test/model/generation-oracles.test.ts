import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import type { GenerateOptions, Generation } from '../../lib/model/generation.js'
import { type Model, openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { relativeL2 } from '../helpers/tiny.js'

// Oracle: greedy `generate` of transformers in float32 on random models of every family (lab/oracles/generation.py).
const ORACLES = join(packageRoot, 'test/fixtures/oracles')

/**
 * Largest error of a logit. A token may differ where transformers' two best logits lie within twice of it; measured errors
 * of log-probabilities are printed and stay below. Gemma's GELU comes from a table of F16 values, which amplifies float32
 * rounding; llama-wide is an F16 file, whose activations are rounded too.
 */
const LOGIT_ERROR: Record<string, number> = { gemma2: 2e-3, gemma3: 2e-3, 'llama-wide': 5e-2 }
const DEFAULT_LOGIT_ERROR = 5e-5

interface Described {
  tokens: number[]
  text: string
  gaps: number[]
  logprobs: number[]
}

interface Golden {
  newTokens: number
  controlLayer: number
  variants: Record<string, Described[]>
  scores: { continuation: number[]; logprobs: number[] }[]
  decoded: string[]
}

const names = readdirSync(ORACLES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)

describe.each(names)('generation of %s', (name) => {
  const folder = join(ORACLES, name)
  const golden: Golden = JSON.parse(readFileSync(join(folder, 'generation.json'), 'utf8'))
  const prompts: Int32Array[] = JSON.parse(readFileSync(join(folder, 'prompts.json'), 'utf8')).prompts.map(
    ({ ids }: { ids: number[] }) => Int32Array.from(ids),
  )
  const bound = LOGIT_ERROR[name] ?? DEFAULT_LOGIT_ERROR
  let model: Model
  beforeAll(async () => {
    model = await openModel(join(folder, 'model.gguf'))
  })
  afterAll(() => model?.close())

  const generate = async (options: GenerateOptions): Promise<Generation[]> => {
    const { generations } = await model.generate(prompts, {
      maxTokens: golden.newTokens,
      ignoreEos: true,
      logprobs: {},
      ...options,
    })
    return generations.map(([generation]) => generation!)
  }

  /** Tokens that equal the oracle's, from the first one on; every other difference must be a near tie. */
  function expectEqual(found: readonly Generation[], wanted: readonly Described[], title: string): void {
    let worst = 0
    const ties: number[] = []
    for (const [p, generation] of found.entries()) {
      const { tokens, text, gaps, logprobs } = wanted[p]!
      const differs = tokens.findIndex((token, i) => generation.tokens[i] !== token)
      const equal = differs < 0 ? tokens.length : differs
      for (let i = 0; i < equal; i++) {
        worst = Math.max(worst, Math.abs(generation.logprobs![i]!.chosen - logprobs[i]!))
      }
      if (differs < 0) {
        expect(generation.tokens).toHaveLength(tokens.length)
        // transformers writes a run of byte tokens that is no UTF-8 as so many U+FFFD; we keep what is valid in it.
        if (!text.includes('\ufffd')) expect(generation.text).toBe(text)
      } else {
        expect(gaps[differs], `prompt ${p}, token ${differs}`).toBeLessThan(2 * bound)
        ties.push(differs)
      }
    }
    console.info(
      `${name}, ${title}: error of log-probabilities ${worst.toExponential(1)}, ${ties.length} near ties`,
    )
    expect(worst).toBeLessThan(2 * bound)
    expect(ties.length).toBeLessThan(found.length / 4)
  }

  it('should equal transformers token by token, together and one at a time', async () => {
    expectEqual(await generate({}), golden.variants.base!, 'together')
    expectEqual(await generate({ sequences: 1 }), golden.variants.base!, 'one at a time')
  })

  it.runIf(golden.variants.plain)('should equal peft with an adapter', async () => {
    const adapter = await model.attach(join(folder, 'adapter-plain'))
    expectEqual(await generate({ adapters: [adapter] }), golden.variants.plain!, 'adapter')
    await adapter.detach()
  })

  it('should equal transformers with a vector added to a block', async () => {
    const file = await readSafetensors(join(folder, 'generation.safetensors'))
    const control = new Map([[golden.controlLayer, file.float32('control')]])
    expectEqual(await generate({ control }), golden.variants.control!, 'control vector')
    // Side by side: each prompt twice, with and without it.
    const { generations } = await model.generate([...prompts, ...prompts], {
      maxTokens: golden.newTokens,
      ignoreEos: true,
      logprobs: {},
      control: [...prompts.map(() => control), ...prompts.map(() => undefined)],
    })
    const found = generations.map(([generation]) => generation!)
    expectEqual(found.slice(0, prompts.length), golden.variants.control!, 'control vector beside none')
    expectEqual(found.slice(prompts.length), golden.variants.base!, 'none beside a control vector')
  })

  it('should average the states of generated tokens as transformers has them', async () => {
    const means = (await readSafetensors(join(folder, 'generation.safetensors'))).float32('mean_output')
    const { nLayer, nEmbd } = model.info
    const found = await generate({ layers: Array.from({ length: nLayer }, (_, i) => i) })
    let worst = 0
    for (const [p, { states, statePositions, tokens }] of found.entries()) {
      expect(statePositions).toBe(golden.newTokens - 1)
      if (golden.variants.base![p]!.tokens.some((token, i) => token !== tokens[i])) continue // a near tie
      const wanted = means.subarray(p * nLayer * nEmbd, (p + 1) * nLayer * nEmbd)
      worst = Math.max(worst, relativeL2(states!, wanted))
    }
    console.info(`${name}: mean_output of all blocks, worst prompt, relative L2 ${worst.toExponential(1)}`)
    expect(worst).toBeLessThan(name === 'llama-wide' ? 1e-3 : name.startsWith('gemma') ? 3e-4 : 1e-5)
  })

  it('should write tokens as text as transformers does', async () => {
    const { plain } = JSON.parse(readFileSync(join(folder, 'tokens.json'), 'utf8')) as {
      plain: { ids: number[] }[]
    }
    expect(await model.detokenize(plain.map(({ ids }) => Int32Array.from(ids)))).toEqual(golden.decoded)
  })

  it('should score continuations as transformers does', async () => {
    const { logprobs } = await model.score(
      prompts,
      golden.scores.map(({ continuation }) => [Int32Array.from(continuation)]),
    )
    const errors = golden.scores.flatMap((wanted, p) => {
      expect(logprobs[p]![0]).toHaveLength(wanted.logprobs.length)
      return wanted.logprobs.map((value, i) => Math.abs(logprobs[p]![0]![i]! - value))
    })
    console.info(`${name}: scores, largest error ${Math.max(...errors).toExponential(1)}`)
    expect(Math.max(...errors)).toBeLessThan(2 * bound)
  })
})
