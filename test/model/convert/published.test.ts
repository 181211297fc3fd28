import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convertModel } from '../../../lib/conversion/convert-model.js'
import { changedFolder, type FolderChanges } from '../../helpers/convert-folder.js'

let scratch: string
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'traitscope-published-'))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

const OLDER = {
  rope_parameters: undefined,
  dtype: undefined,
  torch_dtype: 'bfloat16',
  transformers_version: '4.44.0',
}
const LLAMA_TOKENIZER = {
  add_eos_token: false,
  additional_special_tokens: [],
  legacy: true,
  model_max_length: 1e30,
  sp_model_kwargs: {},
  spaces_between_special_tokens: false,
  tokenizer_class: 'LlamaTokenizer',
  use_default_system_prompt: false,
}
const LONG = [1.08, 1.3, 2, 3.5, 5, 9, 14, 22]

// The keys that folders of these models have, beside sizes, with their values: written down here, not copied.
const FOLDERS: readonly (readonly [name: string, fixture: string, changes: FolderChanges])[] = [
  [
    'Llama 3.1 and 3.2 Instruct',
    'llama',
    {
      config: {
        ...OLDER,
        eos_token_id: [128001, 128008, 128009],
        rope_theta: 500000,
        rope_scaling: {
          factor: 8,
          low_freq_factor: 1,
          high_freq_factor: 4,
          original_max_position_embeddings: 64,
          rope_type: 'llama3',
        },
      },
      tokenizerConfig: {
        model_input_names: ['input_ids', 'attention_mask'],
        clean_up_tokenization_spaces: true,
      },
    },
  ],
  [
    'TinyLlama',
    'llama',
    { config: { ...OLDER, rope_scaling: null, rope_theta: 10000, max_sequence_length: 2048 } },
  ],
  [
    'SmolLM2',
    'llama',
    {
      config: {
        ...OLDER,
        is_llama_config: true,
        rope_interleaved: false,
        rope_scaling: null,
        rope_theta: 100000,
        'transformers.js_config': { kv_cache_dtype: { q4f16: 'float16' } },
      },
      tokenizerConfig: { vocab_size: 49152, additional_special_tokens: ['<|eot_id|>'] },
    },
  ],
  [
    'DeepSeek LLM',
    'llama',
    { config: { ...OLDER, rope_theta: 100000, rope_scaling: { factor: 4, type: 'linear' } } },
  ],
  [
    'Mistral 7B',
    'mistral',
    { config: { ...OLDER, sliding_window: 4096, rope_theta: 10000 }, tokenizerConfig: LLAMA_TOKENIZER },
  ],
  [
    'Qwen2.5 Instruct',
    'qwen2',
    {
      config: {
        ...OLDER,
        layer_types: undefined,
        max_window_layers: 28,
        rope_theta: 1e6,
        sliding_window: 131072,
        use_mrope: false,
        use_sliding_window: false,
      },
      tokenizerConfig: {
        add_prefix_space: false,
        additional_special_tokens: ['<|im_start|>', '<|im_end|>'],
        bos_token: null,
        errors: 'replace',
        model_max_length: 131072,
        split_special_tokens: false,
        tokenizer_class: 'Qwen2Tokenizer',
        unk_token: null,
      },
    },
  ],
  ['Qwen3', 'qwen3', { config: { ...OLDER, layer_types: undefined, rope_scaling: null, rope_theta: 1e6 } }],
  [
    'Gemma 2',
    'gemma2',
    {
      config: {
        ...OLDER,
        layer_types: undefined,
        cache_implementation: 'hybrid',
        hidden_act: 'gelu_pytorch_tanh',
        rope_theta: 10000,
      },
      tokenizerConfig: {
        ...LLAMA_TOKENIZER,
        legacy: undefined,
        additional_special_tokens: ['<start_of_turn>', '<end_of_turn>'],
        tokenizer_class: 'GemmaTokenizer',
      },
    },
  ],
  [
    'Gemma 3',
    'gemma3',
    {
      config: {
        ...OLDER,
        layer_types: undefined,
        cache_implementation: 'hybrid',
        rope_local_base_freq: 10000,
        rope_scaling: { factor: 8, rope_type: 'linear' },
        rope_theta: 1e6,
        sliding_window_pattern: 6,
        unsloth_fixed: true,
      },
      tokenizerConfig: {
        boi_token: '<start_of_image>',
        eoi_token: '<end_of_image>',
        image_token: '<image_soft_token>',
        processor_class: 'Gemma3Processor',
        tokenizer_class: 'GemmaTokenizer',
      },
    },
  ],
  [
    'Phi-3 mini 128k',
    'phi3',
    {
      config: {
        ...OLDER,
        attention_bias: false,
        auto_map: { AutoConfig: 'configuration_phi3.Phi3Config' },
        rope_scaling: { long_factor: LONG, short_factor: LONG.map(() => 1), type: 'longrope' },
        rope_theta: 10000,
        sliding_window: 262144,
      },
      tokenizerConfig: { ...LLAMA_TOKENIZER, legacy: false, padding_side: 'left' },
    },
  ],
  [
    'Phi-4 mini',
    'phi4-mini',
    {
      config: {
        ...OLDER,
        attention_bias: false,
        full_attn_mod: 1,
        interpolate_factor: 1,
        lm_head_bias: false,
        mlp_bias: false,
        partial_rotary_factor: 0.75,
        rope_scaling: {
          long_factor: LONG.slice(0, 6),
          short_factor: LONG.slice(0, 6).map(() => 1),
          type: 'longrope',
        },
        rope_theta: 10000,
        sliding_window: 262144,
      },
      tokenizerConfig: {
        add_prefix_space: false,
        unk_token: '<|endoftext|>',
        tokenizer_class: 'GPT2Tokenizer',
      },
    },
  ],
]

describe('published folders', () => {
  it.each(FOLDERS)('should convert without a key ignored: %s', async (_, fixture, changes) => {
    const source = await changedFolder(scratch, fixture, changes)
    const { ignoredKeys, compared } = await convertModel(source, join(source, 'out.gguf'))
    expect(ignoredKeys).toEqual([])
    expect(compared.texts).toBeGreaterThan(25)
  })

  it.each([
    ['Unsloth', { unsloth_version: '2025.3', unsloth_fixed: true, pad_token_id: 380 }],
    ['transformers, which had read it from a GGUF', { _model_name_or_path: 'Llama 1B' }],
    ['Axolotl', { _name_or_path: 'base', attn_implementation: 'sdpa', use_cache: false }],
    [
      'transformers 4 with everything',
      { output_hidden_states: true, chunk_size_feed_forward: 0, top_k: 50, max_length: 20 },
    ],
  ])('should convert when %s has written them again', async (_, config) => {
    const source = await changedFolder(scratch, 'llama', { config })
    await expect(convertModel(source, join(source, 'out.gguf'))).resolves.toMatchObject({ ignoredKeys: [] })
  })
})
