import { describe, expect, it } from 'vitest'
import { parsePeftConfig } from '../../../lib/formats/peft/peft-config.js'
import { readAdapterTensors } from '../../../lib/formats/peft/peft-tensors.js'
import {
  encodeSafetensors,
  Safetensors,
  type SafetensorsInput,
} from '../../../lib/formats/safetensors/safetensors.js'

const PREFIX = 'base_model.model.model.'
const Q = 'layers.0.self_attn.q_proj'

/** Values 1, 2, 3, ... so that a wrong order shows. */
const counting = (name: string, shape: number[], from = 1): SafetensorsInput => ({
  name: PREFIX + name,
  dtype: 'F32',
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => from + i),
})
const pair = [counting(`${Q}.lora_A.weight`, [2, 4]), counting(`${Q}.lora_B.weight`, [6, 2])]

function read(tensors: SafetensorsInput[], fields: object = {}) {
  const config = parsePeftConfig({ peft_type: 'LORA', r: 2, lora_alpha: 4, ...fields }, 'adapter_config.json')
  return readAdapterTensors(Safetensors.parse(encodeSafetensors(tensors), 'x.safetensors'), config)
}

describe('readAdapterTensors', () => {
  it('should read an embedding as the linear module of its transposed factors', () => {
    const { modules } = read([
      counting('embed_tokens.lora_embedding_A', [2, 3]),
      counting('embed_tokens.lora_embedding_B', [4, 2]),
      counting('embed_tokens.base_layer.weight', [3, 4]),
    ])
    expect(modules).toHaveLength(1)
    expect(modules[0]).toMatchObject({ embedding: true, r: 2, inFeatures: 4, outFeatures: 3, scale: 2 })
    expect([...modules[0]!.b]).toEqual([1, 4, 2, 5, 3, 6])
    expect([...modules[0]!.a]).toEqual([1, 3, 5, 7, 2, 4, 6, 8])
  })

  it('should read the magnitude of DoRA under both names, one per row, or per column of an embedding', () => {
    for (const name of ['lora_magnitude_vector', 'lora_magnitude_vector.weight']) {
      const { modules } = read([...pair, counting(`${Q}.${name}`, [6])], { use_dora: true })
      expect([...modules[0]!.magnitude!]).toEqual([1, 2, 3, 4, 5, 6])
    }
    const factors = [
      counting('embed_tokens.lora_embedding_A', [2, 3]),
      counting('embed_tokens.lora_embedding_B', [4, 2]),
    ]
    const { modules } = read([...factors, counting('embed_tokens.lora_magnitude_vector', [4])])
    expect(modules[0]!.magnitude).toHaveLength(4)
  })

  it('should read the bias of lora_B and trained biases of adapted and other modules', () => {
    const { modules, replaced } = read(
      [
        ...pair,
        counting(`${Q}.lora_B.bias`, [6]),
        counting(`${Q}.base_layer.bias`, [6], 10),
        counting('layers.0.self_attn.k_proj.bias', [2], 20),
      ],
      { bias: 'all', lora_bias: true },
    )
    expect([...modules[0]!.biasB!]).toEqual([1, 2, 3, 4, 5, 6])
    expect(replaced.map(({ path, part, shape }) => [path, part, shape])).toEqual([
      ['model.layers.0.self_attn.k_proj', 'bias', [2]],
      [`model.${Q}`, 'bias', [6]],
    ])
    expect([...replaced[1]!.rows([5, 0])]).toEqual([15, 10])
  })

  it('should read rows of replaced weights in the order asked for', () => {
    const half: SafetensorsInput = {
      ...counting('embed_tokens.weight', [3, 2]),
      dtype: 'BF16',
      data: Uint16Array.of(0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0),
    }
    const { replaced } = read([half], { modules_to_save: ['embed_tokens'] })
    expect([...replaced[0]!.rows([2, 0])]).toEqual([5, 6, 1, 2])
  })

  it('should read over the copies that come with embedding layers saved as a whole', () => {
    const head = counting('embed_tokens.weight', [3, 2], 7)
    const copies = ['base_layer', 'token_adapter.base_layer', 'original_module', 'modules_to_save']
    const { replaced, modules } = read(
      [head, ...copies.map((name) => counting(`embed_tokens.${name}.weight`, [3, 2], 50)), ...pair],
      { modules_to_save: ['embed_tokens'] },
    )
    expect(modules).toHaveLength(1)
    expect(replaced.map(({ rows }) => [...rows([0])])).toEqual([[7, 8]])
  })

  it('should give trained tokens their ids, whatever module the list is for', () => {
    const delta = counting('embed_tokens.token_adapter.trainable_tokens_delta', [2, 3])
    for (const indices of [[7, 3], { embed_tokens: [7, 3] }, { 'model.embed_tokens': [7, 3] }]) {
      const { replacedRows } = read([delta], { trainable_token_indices: indices })
      expect(replacedRows[0]).toMatchObject({ path: 'model.embed_tokens', tokens: [7, 3], width: 3 })
    }
  })

  it('should name what is announced whole and has no tensor, finding modules by the end of their paths as PEFT does', () => {
    const saved = [...pair, counting('layers.0.mlp.up_proj.weight', [2, 4]), counting('norm.weight', [4])]
    const names = ['mlp', 'orm', 'lm_head', 'embed_token', 'up_pro', 'model.layers.0.mlp']
    expect(read(saved, { modules_to_save: names }).unsaved).toEqual(['lm_head', 'embed_token', 'up_pro'])
  })

  it('should say that keys of rank_pattern were sorted where the first is not that of the tensors', () => {
    const fields = { rank_pattern: { q_proj: 3, 'self_attn.q_proj': 2 } }
    expect(() => read(pair, fields)).toThrow(/expected rank 3 .*several keys of rank_pattern match it/)
    expect(() => read(pair, { rank_pattern: { q_proj: 3 } })).toThrow(/belongs to another adapter/)
  })

  const invalid: [string, SafetensorsInput[], object, RegExp][] = [
    ['DoRA without magnitudes', pair, { use_dora: true }, /use_dora, .*found|found no magnitude/],
    ['lora_bias without biases', pair, { lora_bias: true }, /found no bias of lora_B/],
    ['lost tokens', pair, { trainable_token_indices: { lm_head: [1] } }, /found no rows of "lm_head"/],
    [
      'a magnitude of the wrong length',
      [...pair, counting(`${Q}.lora_magnitude_vector`, [4])],
      {},
      /to have 6 values .* found shape \[4\]/,
    ],
    [
      'a magnitude alone',
      [counting(`${Q}.lora_magnitude_vector`, [6])],
      {},
      /expected lora_A and lora_B.*found no lora_A/,
    ],
    [
      'both kinds of factors',
      [...pair, counting(`${Q}.lora_embedding_A`, [2, 3]), counting(`${Q}.lora_embedding_B`, [4, 2])],
      {},
      /found both kinds/,
    ],
    [
      'half an embedding',
      [counting('embed_tokens.lora_embedding_A', [2, 3])],
      {},
      /found no lora_embedding_B/,
    ],
    [
      'tokens that no list names',
      [counting('embed_tokens.token_adapter.trainable_tokens_delta', [2, 3])],
      {},
      /trainable_token_indices to name/,
    ],
    [
      'too many rows of tokens',
      [counting('embed_tokens.token_adapter.trainable_tokens_delta', [2, 3])],
      { trainable_token_indices: [1] },
      /expected 1 rows .* found 2/,
    ],
    [
      'one tensor under two names',
      [...pair, counting(`${Q}.bias`, [6]), counting(`${Q}.base_layer.bias`, [6])],
      {},
      /one tensor for the bias/,
    ],
    ['a stack of matrices', [counting('experts.weight', [2, 3, 4])], {}, /to be a vector or matrix/],
  ]
  it.each(invalid)('should refuse %s', (_, tensors, fields, message) => {
    expect(() => read(tensors, fields)).toThrow(
      expect.objectContaining({ code: 'ADAPTER_INVALID', message: expect.stringMatching(message) }),
    )
  })

  it('should refuse values that are not finite when they are read', () => {
    const { replaced } = read([{ ...counting('norm.weight', [2]), data: Float32Array.of(1, Number.NaN) }])
    expect(() => replaced[0]!.rows([0, 1])).toThrow(/norm\.weight".*found NaN/)
  })
})
