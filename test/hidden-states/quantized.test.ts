import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { binding } from '../../lib/binding.js'
import { readSafetensors } from '../../lib/formats/safetensors/safetensors.js'
import { hiddenStates } from '../../lib/hidden-states/hidden-states.js'
import { openModel } from '../../lib/model/model.js'
import { packageRoot } from '../../lib/package.js'
import { relativeL2 } from '../helpers/tiny.js'

// What a file's type costs, against transformers in float32 on the unrounded weights. Two figures: the states of the
// worst prompt over all blocks, and the change that an adapter makes to them, which is what a drift is made of.
// llama.cpp quantises the oracle models here; nothing but the originals is kept. docs/accuracy.md has the table.
const ORACLES = join(packageRoot, 'test/fixtures/oracles')
const THIN = ['llama', 'mistral', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'phi4', 'phi4-mini']
// Rows of a multiple of 256, which K-quants need. The original is F16.
const WIDE = 'llama-wide'

/** Largest figures that are accepted: twice the largest measured, rounded up. */
const BOUND: Record<string, { states: number; change: number }> = {
  F16: { states: 0.005, change: 0.005 },
  BF16: { states: 0.04, change: 0.04 },
  Q8_0: { states: 0.1, change: 0.16 },
  Q4_K_M: { states: 0.4, change: 0.5 },
}
const CASES = [
  ...THIN.flatMap((name) => ['F16', 'BF16', 'Q8_0'].map((type) => [name, type] as const)),
  ...['BF16', 'Q8_0', 'Q4_K_M'].map((type) => [WIDE, type] as const),
]

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-quantized-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Last-token states of every block from transformers, `[prompts, blocks, nEmbd]`. */
async function golden(name: string, variant: string): Promise<Float32Array> {
  const file = await readSafetensors(join(ORACLES, name, `golden-${variant}.safetensors`))
  // Gemma's with ggml's GELU table: this is about the file's type, not about the CPU backend.
  return file.float32(file.tensors.has('last.gelu16') ? 'last.gelu16' : 'last')
}

/** Largest relative L2 difference of a prompt. */
function worstPrompt(states: Float32Array, expected: Float32Array, nPrompts: number): number {
  const size = states.length / nPrompts
  const prompt = (data: Float32Array, p: number) => data.subarray(p * size, (p + 1) * size)
  return Math.max(
    ...Array.from({ length: nPrompts }, (_, p) => relativeL2(prompt(states, p), prompt(expected, p))),
  )
}

const minus = (a: Float32Array, b: Float32Array) => a.map((value, i) => value - b[i]!)

describe('hidden states of a quantised base', () => {
  it.each(CASES)('should stay near transformers for %s as %s', async (name, type) => {
    const path = join(folder, `${name}-${type}.gguf`)
    await binding().quantize(join(ORACLES, name, 'model.gguf'), path, type, 1)
    await using model = await openModel(path)
    const { prompts } = JSON.parse(readFileSync(join(ORACLES, name, 'prompts.json'), 'utf8')) as {
      prompts: { ids: number[] }[]
    }
    const tokens = prompts.map(({ ids }) => Int32Array.from(ids))
    const layers = Array.from({ length: model.info.nLayer }, (_, i) => i)
    await using adapter = await model.attach(join(ORACLES, name, 'adapter-plain'))
    const base = (await hiddenStates(model, tokens, { layers })).data
    const adapted = (await hiddenStates(model, tokens, { layers, adapter })).data
    const expected = await golden(name, 'base')
    const states = worstPrompt(base, expected, tokens.length)
    const change = relativeL2(minus(adapted, base), minus(await golden(name, 'plain'), expected))
    console.info(`${name} as ${type}: states ${states.toExponential(1)}, change ${change.toExponential(1)}`)
    expect(states).toBeLessThan(BOUND[type]!.states)
    expect(change).toBeLessThan(BOUND[type]!.change)
    // A type that changed nothing was not applied.
    expect(states).toBeGreaterThan(1e-6)
  })
})
