import { describe, expect, it } from 'vitest'
import { encodeGguf, type GgufInput, parseGguf } from '../../../lib/formats/gguf/gguf.js'
import {
  adapterArchitecture,
  mapModule,
  permutesQueryKey,
  SUPPORTED_ARCHITECTURES,
  shiftsNorms,
} from '../../../lib/model/base/architectures.js'
import { attentionRows } from '../../../lib/model/base/attention-rows.js'

const base = (metadata: GgufInput['metadata'], tensors: string[] = []) =>
  parseGguf(
    encodeGguf({
      metadata,
      tensors: tensors.map((name) => ({ name, shape: [1], type: 'F32', data: new Float32Array(1) })),
    }),
    'base.gguf',
  )

const DENSE: [string, string][] = [
  ['self_attn.q_proj', 'attn_q'],
  ['self_attn.k_proj', 'attn_k'],
  ['self_attn.v_proj', 'attn_v'],
  ['self_attn.o_proj', 'attn_output'],
  ['mlp.gate_proj', 'ffn_gate'],
  ['mlp.up_proj', 'ffn_up'],
  ['mlp.down_proj', 'ffn_down'],
]
const PHI3: [string, string][] = [
  ['self_attn.qkv_proj', 'attn_qkv'],
  ['self_attn.o_proj', 'attn_output'],
  ['mlp.gate_up_proj', 'ffn_up'],
  ['mlp.down_proj', 'ffn_down'],
]

describe('mapModule', () => {
  it.each(['llama', 'mistral3', 'qwen2', 'qwen3', 'gemma2', 'gemma3'])(
    'should map the modules of %s',
    (name) => {
      for (const [module, tensor] of DENSE) {
        expect(mapModule(name, `model.layers.13.${module}`)).toMatchObject({
          tensor: `blk.13.${tensor}.weight`,
          layer: 13,
        })
      }
      for (const [module] of PHI3.filter(([path]) => /qkv|gate_up/.test(path))) {
        expect(mapModule(name, `model.layers.0.${module}`)).toBeUndefined()
      }
    },
  )

  it('should map the fused modules of phi3, and only them', () => {
    for (const [module, tensor] of PHI3) {
      expect(mapModule('phi3', `model.layers.2.${module}`)).toEqual({
        tensor: `blk.2.${tensor}.weight`,
        kind: 'linear',
        layer: 2,
      })
    }
    for (const module of ['self_attn.q_proj', 'mlp.gate_proj', 'mlp.up_proj']) {
      expect(mapModule('phi3', `model.layers.2.${module}`)).toBeUndefined()
    }
  })

  it.each([
    'model.layers.3.self_attn.q_proj',
    'layers.3.self_attn.q_proj',
    'model.language_model.layers.3.self_attn.q_proj',
    'language_model.model.layers.3.self_attn.q_proj',
    'language_model.layers.3.self_attn.q_proj',
  ])('should find the block in %s', (path) => {
    expect(mapModule('llama', path)).toEqual({
      tensor: 'blk.3.attn_q.weight',
      kind: 'linear',
      layer: 3,
      projection: 'q',
    })
  })

  it.each([
    ['lm_head', 'output.weight', 'head'],
    ['language_model.lm_head', 'output.weight', 'head'],
    ['model.embed_tokens', 'token_embd.weight', 'embedding'],
    ['model.language_model.embed_tokens', 'token_embd.weight', 'embedding'],
    ['embed_tokens', 'token_embd.weight', 'embedding'],
    ['model.norm', 'output_norm.weight', 'norm'],
    ['norm', 'output_norm.weight', 'norm'],
  ])('should map %s to %s', (path, tensor, kind) => {
    expect(mapModule('qwen2', path)).toEqual({ tensor, kind })
  })

  it.each([
    ['llama', 'post_attention_layernorm', 'ffn_norm'],
    ['gemma2', 'post_attention_layernorm', 'post_attention_norm'],
    ['gemma3', 'pre_feedforward_layernorm', 'ffn_norm'],
    ['gemma2', 'post_feedforward_layernorm', 'post_ffw_norm'],
    ['phi3', 'input_layernorm', 'attn_norm'],
    ['qwen3', 'self_attn.q_norm', 'attn_q_norm'],
    ['gemma3', 'self_attn.k_norm', 'attn_k_norm'],
    ['qwen2', 'self_attn.k_norm', undefined],
    ['llama', 'pre_feedforward_layernorm', undefined],
  ])('should map the norm of %s at %s', (architecture, name, tensor) => {
    expect(mapModule(architecture, `model.layers.3.${name}`)).toEqual(
      tensor === undefined ? undefined : { tensor: `blk.3.${tensor}.weight`, kind: 'norm', layer: 3 },
    )
  })

  it('should say whose norms are stored plus one', () => {
    expect(SUPPORTED_ARCHITECTURES.filter(shiftsNorms)).toEqual(['gemma2', 'gemma3'])
  })

  it.each([
    'model.layers.03.self_attn.q_proj',
    'model.layers.-1.self_attn.q_proj',
    'model.layers.1e3.self_attn.q_proj',
    'model.layers.9999999.self_attn.q_proj',
    'model.layers.3.self_attn',
    'transformer.h.3.attn.c_attn',
    'model.model.layers.3.self_attn.q_proj',
    'model.layers.3.self_attn.q_proj.extra',
    'model.layers.3.constructor',
    'model.layers.3.__proto__',
    'xlm_head',
    '',
  ])('should know nothing about "%s"', (path) => {
    expect(mapModule('llama', path)).toBeUndefined()
  })

  it.each([
    ['model.visual.blocks.0.attn.qkv', /vision or audio/],
    ['model.vision_tower.encoder.layers.0.self_attn.q_proj', /vision or audio/],
    ['vision_tower.layers.0.self_attn.q_proj', /vision or audio/],
    ['audio_tower.layers.0.fc1', /vision or audio/],
    ['model.multi_modal_projector.linear_1', /vision or audio/],
    ['model.layers.0.block_sparse_moe.experts.1.w1', /mixture of experts/],
    ['model.layers.0.mlp.experts.3.up_proj', /mixture of experts/],
    ['model.layers.0.mlp.shared_expert.up_proj', /mixture of experts/],
    ['model.layers.0.mlp.gate', /mixture of experts/],
  ])('should refuse %s by name', (path, message) => {
    expect(() => mapModule('llama', path)).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(message) }),
    )
  })
})

describe('adapterArchitecture', () => {
  it.each(SUPPORTED_ARCHITECTURES)('should accept %s', async (name) => {
    expect(adapterArchitecture(await base([['general.architecture', 'string', name]]))).toBe(name)
  })

  it.each([
    ['another architecture', [['general.architecture', 'string', 'mamba']], [], 'UNSUPPORTED'],
    ['an inherited name', [['general.architecture', 'string', 'constructor']], [], 'UNSUPPORTED'],
    ['no architecture', [], [], 'FILE_INVALID'],
    ['a number', [['general.architecture', 'u32', 1]], [], 'FILE_INVALID'],
    [
      'an expert count',
      [
        ['general.architecture', 'string', 'llama'],
        ['llama.expert_count', 'u32', 8],
      ],
      [],
      'UNSUPPORTED',
    ],
    [
      'expert tensors',
      [['general.architecture', 'string', 'llama']],
      ['blk.0.ffn_gate_exps.weight'],
      'UNSUPPORTED',
    ],
  ] as [string, GgufInput['metadata'], string[], string][])(
    'should refuse %s',
    async (_, metadata, tensors, code) => {
      const file = await base(metadata, tensors)
      expect(() => adapterArchitecture(file)).toThrow(expect.objectContaining({ code }))
    },
  )

  it('should accept an expert count of 0', async () => {
    const file = await base([
      ['general.architecture', 'string', 'llama'],
      ['llama.expert_count', 'u32', 0],
    ])
    expect(adapterArchitecture(file)).toBe('llama')
  })
})

describe('permutesQueryKey', () => {
  it('should be true for llama and mistral3 alone', () => {
    expect(SUPPORTED_ARCHITECTURES.filter(permutesQueryKey)).toEqual(['llama', 'mistral3'])
  })
})

describe('attentionRows', () => {
  it.each([
    ['heads alone', [['a.attention.head_count', 'u32', 4]], { heads: 4, kvHeads: 4, q: 64, k: 64, v: 64 }],
    [
      'grouped heads',
      [
        ['a.attention.head_count', 'u32', 4],
        ['a.attention.head_count_kv', 'u32', 2],
      ],
      { heads: 4, kvHeads: 2, q: 64, k: 32, v: 32 },
    ],
    [
      'head dimensions of their own',
      [
        ['a.attention.head_count', 'u32', 4],
        ['a.attention.head_count_kv', 'u32', 2],
        ['a.attention.key_length', 'u32', 32],
        ['a.attention.value_length', 'u32', 8],
      ],
      { heads: 4, kvHeads: 2, q: 128, k: 64, v: 16 },
    ],
    [
      'a value per block',
      [
        ['a.attention.head_count', 'u32', 4],
        ['a.attention.head_count_kv', 'i32[]', [1, 2, 4]],
      ],
      { heads: 4, kvHeads: 2, q: 64, k: 32, v: 32 },
    ],
  ] as [string, GgufInput['metadata'], object][])('should read %s', async (_, metadata, expected) => {
    const file = await base([['a.embedding_length', 'u32', 64], ...metadata])
    expect(attentionRows(file, 'a', 1)).toEqual(expected)
  })

  it.each([
    ['no head count', []],
    ['a head count of 0', [['a.attention.head_count', 'u32', 0]]],
    ['a head count that is text', [['a.attention.head_count', 'string', '4']]],
    ['too few values', [['a.attention.head_count', 'u32[]', [4]]]],
    ['a list of names', [['a.attention.head_count', 'string[]', ['4', '4']]]],
  ] as [string, GgufInput['metadata']][])('should refuse %s', async (_, metadata) => {
    const file = await base([['a.embedding_length', 'u32', 64], ...metadata])
    expect(() => attentionRows(file, 'a', 1)).toThrow(expect.objectContaining({ code: 'FILE_INVALID' }))
  })
})
