import { createHash } from 'node:crypto'
import type { HiddenStates } from '../../lib/hidden-states/hidden-states.js'
import type { Model } from '../../lib/model/model.js'
import type { TraitPack } from '../../lib/prompts/trait-pack-yaml.js'

/** ChatML with nothing special, so that tests see the text that reaches the model. */
export const TEMPLATE =
  '{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}'

/** A model without weights: byte tokens, and whatever states {@link fakeStates} makes of them. */
export function fakeModel(overrides: Record<string, unknown> = {}): Model {
  return {
    path: 'fake.gguf',
    gguf: { path: 'fake.gguf', metadata: new Map(), types: new Map(), tensors: new Map() },
    fingerprint: 'f'.repeat(64),
    device: 'cpu',
    threads: 1,
    batchTokens: 2048,
    limits: { longest: 4096, reason: 'the context ends' },
    placement: { device: 'cpu', description: 'cpu', onDevice: 0, runs: 5 },
    options: { gpuLayers: 0, threads: 1, batchTokens: 2048, mmap: true, repack: true },
    chatTemplate: TEMPLATE,
    bosToken: undefined,
    eosToken: undefined,
    info: { architecture: 'llama', name: 'fake', nLayer: 4, nEmbd: 8, nVocab: 256 },
    tokenize: async (texts: readonly string[]) => texts.map((text) => Int32Array.from(Buffer.from(text))),
    ...overrides,
  } as unknown as Model
}

/** Numbers in [-1, 1) that depend on a seed text only. */
export function noise(seed: string, n: number): Float32Array {
  const values = new Float32Array(n)
  for (let i = 0; i < n; i += 16) {
    const block = createHash('sha256').update(`${seed} ${i}`).digest()
    for (let j = 0; j < 16 && i + j < n; j++) values[i + j] = block.readInt16LE(2 * j) / 32768
  }
  return values
}

/**
 * States as a function of the prompt's text and the layer: noise, plus 3 along axis a for every `+a` in the
 * text and minus 3 for every `-a`. `effect` adds to that, as an adapter would.
 */
export function fakeStates(
  prompts: readonly Int32Array[],
  layers: readonly number[],
  nEmbd: number,
  effect: (text: string, layer: number, row: Float32Array) => void = () => {},
): HiddenStates {
  const data = new Float32Array(prompts.length * layers.length * nEmbd)
  let total = 0
  for (const [p, ids] of prompts.entries()) {
    const text = Buffer.from(Uint8Array.from(ids)).toString()
    total += ids.length
    for (const [l, layer] of layers.entries()) {
      const state = data.subarray((p * layers.length + l) * nEmbd, (p * layers.length + l + 1) * nEmbd)
      state.set(noise(`${layer} ${text}`, nEmbd))
      for (const [, sign, axis] of text.matchAll(/([+-])(\d)/g)) {
        state[(Number(axis) + layer) % nEmbd]! += sign === '+' ? 3 : -3
      }
      effect(text, layer, state)
    }
  }
  return {
    data,
    shape: [prompts.length, layers.length, nEmbd],
    layers: [...layers],
    promptRows: Int32Array.from({ length: prompts.length + 1 }, (_, i) => i),
    tokens: { total, computed: Math.ceil(total / 2) },
  }
}

/** Two traits, of axes 1 and 2, with pools of unequal size for the second. */
export function fakePack(overrides: Partial<TraitPack> = {}): TraitPack {
  const trait = (name: string, positive: string[], negative: string[]) => ({
    name,
    description: name,
    positiveLabel: `${name}+`,
    negativeLabel: `${name}-`,
    positiveSystemPrompts: positive,
    negativeSystemPrompts: negative,
  })
  return {
    name: 'fake',
    source: 'fake.yaml',
    sha256: 'a'.repeat(64),
    contentHash: 'c'.repeat(64),
    acknowledgement: 'Understood.',
    traits: [
      trait('courage', ['be +1', 'show +1 now'], ['be -1', 'show -1 now']),
      trait('a/b', ['be +2', 'show +2 now', 'more +2'], ['be -2', 'show -2 now']),
    ],
    questions: ['Who?', 'What?', 'When?', 'Where?', 'Why?', 'How?'],
    evalPrompts: [
      { category: 'one', prompts: ['Tell me.', 'Say it.'] },
      { category: 'two', prompts: ['Explain that.'] },
    ],
    ...overrides,
  }
}
