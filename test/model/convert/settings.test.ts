import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convertModel } from '../../../lib/conversion/convert-model.js'
import { readGguf } from '../../../lib/formats/gguf/gguf.js'
import { HF_CLASSES, INERT_CLASS_KEYS, INERT_CONFIG_KEYS } from '../../../lib/model/convert/hf-classes.js'
import { INERT_TOKENIZER_KEYS } from '../../../lib/model/convert/tokenizer-parts.js'
import { CONVERT_FIXTURES, changedFolder, type FolderChanges } from '../../helpers/convert-folder.js'

let scratch: string
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'traitscope-settings-'))
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

const yarn = (more: object) => ({
  rope_parameters: {
    rope_type: 'yarn',
    factor: 4,
    original_max_position_embeddings: 64,
    rope_theta: 1e4,
    ...more,
  },
})
const gemma3 = (full: object, sliding: object) => ({
  rope_parameters: {
    full_attention: { rope_type: 'default', rope_theta: 1e6, ...full },
    sliding_attention: { rope_type: 'default', rope_theta: 1e4, ...sliding },
  },
})

describe('a setting that llama.cpp does not follow', () => {
  it.each<[folder: string, config: Record<string, unknown>, message: RegExp]>([
    ['llama', yarn({ beta_fast: 16 }), /rope_parameters\.beta_fast 16, .*32/],
    ['llama', yarn({ beta_slow: 2 }), /rope_parameters\.beta_slow 2, .*1/],
    ['qwen3', yarn({ truncate: false }), /rope_parameters\.truncate false/],
    ['qwen2', yarn({ mrope_section: [4, 2, 2] }), /rope_parameters\.mrope_section \[4,2,2\].*--ignore-key/],
    ['llama', yarn({ partial_rotary_factor: 0.5 }), /partial_rotary_factor 0\.5/],
    ['llama', { partial_rotary_factor: 0.5 }, /partial_rotary_factor 0\.5/],
    ['llama', { rope_theta: 7e4 }, /rope_parameters\.rope_theta 500000, .*70000/],
    ['llama', { rope_scaling: { type: 'linear', factor: 2 } }, /rope_scaling .*rope_parameters that differ/],
    ['qwen2', { rope_parameters: { rope_type: 'llama3' } }, /rope_type "llama3".*qwen2/],
    ['gemma2', yarn({}), /rope_type "yarn".*gemma2/],
    ['gemma2', { hidden_activation: 'silu' }, /hidden_activation "silu".*gelu_pytorch_tanh/],
    ['gemma2', { attn_logit_softcapping: null }, /attn_logit_softcapping null/],
    ['gemma2', { use_bidirectional_attention: true }, /use_bidirectional_attention true/],
    [
      'gemma2',
      { layer_types: new Array(4).fill('full_attention') },
      /layer_types "full_attention".*needs a block/,
    ],
    ['gemma3', { use_bidirectional_attention: true }, /use_bidirectional_attention true/],
    ['gemma3', { attn_logit_softcapping: 50 }, /attn_logit_softcapping 50/],
    ['gemma3', { query_pre_attn_scalar: 256 }, /query_pre_attn_scalar 256.*24/],
    ['gemma3', gemma3({}, { rope_type: 'linear', factor: 8 }), /sliding_attention\.rope_type "linear"/],
    // The class does not read flat rope_parameters, so nothing here does.
    ['gemma3', { rope_parameters: { rope_type: 'linear', factor: 8 } }, /rope_parameters\.factor 8/],
    [
      'qwen2',
      { layer_types: ['full_attention', 'sliding_attention', 'full_attention'] },
      /use_sliding_window/,
    ],
    [
      'qwen3',
      { layer_types: ['full_attention', 'linear_attention', 'full_attention'] },
      /"linear_attention".*block 1/,
    ],
    ['llama', { sliding_window: 16 }, /sliding_window 16.*--ignore-key sliding_window/],
    ['llama', { model_type: 'mistral' }, /model_type "mistral", expected llama/],
    [
      'llama',
      { attention_multiplier: 0.02, logits_scaling: 8 },
      /attention_multiplier 0\.02, logits_scaling 8/,
    ],
    ['mistral', { attention_bias: true }, /attention_bias true/],
    ['llama', { rope_interleaved: true }, /rope_interleaved true/],
    ['phi3', { lm_head_bias: true }, /lm_head_bias true/],
    ['phi3', { original_max_position_embeddings: 2048 }, /original_max_position_embeddings 4096, .*2048/],
    ['qwen2', { hidden_act: 'gelu' }, /hidden_act "gelu"/],
  ])('should be refused by name and value: %s %j', async (folder, config, message) => {
    const source = await changedFolder(scratch, folder, { config })
    await expect(convertModel(source, join(source, 'out.gguf'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(message),
    })
    expect((await readdir(source)).filter((name) => name.includes('out.gguf'))).toEqual([])
  })

  it.each([
    ['biases that are said to be there', 'llama', { attention_bias: true }, /blk\.0\.attn_q\.bias/],
    ['biases of the MLP', 'llama', { mlp_bias: true }, /blk\.0\.ffn_gate\.bias/],
    ['a list of kinds that is too short', 'gemma3', { layer_types: ['full_attention'] }, /a list of 7 kinds/],
  ])('should be missed: %s', async (_, folder, config, message) => {
    const source = await changedFolder(scratch, folder, { config })
    await expect(convertModel(source, join(source, 'out.gguf'))).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringMatching(message),
    })
  })
})

describe('a part of a tokenizer that llama.cpp does not follow', () => {
  const ends = (...single: object[]) => ({ post_processor: { type: 'TemplateProcessing', single } })
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } })
  const text = { Sequence: { id: 'A', type_id: 0 } }
  const metaspace = (more: object) => ({ type: 'Metaspace', replacement: '▁', split: false, ...more })

  it.each<[folder: string, changes: FolderChanges, message: RegExp]>([
    [
      'llama',
      { tokenizer: { post_processor: { type: 'BertProcessing' } } },
      /post_processor .*BertProcessing/,
    ],
    ['llama', { tokenizer: ends(special('a'), special('b'), text) }, /post_processor/],
    ['llama', { tokenizer: { normalizer: { type: 'NFC' } } }, /normalizer .*NFC.*expected none/],
    ['qwen2', { tokenizer: { normalizer: { type: 'Sequence', normalizers: [] } } }, /expected "NFC"/],
    ['qwen2', { tokenizer: { normalizer: null } }, /normalizer null, expected "NFC"/],
    ['llama', { tokenizer: { encode_special_tokens: true } }, /encode_special_tokens true/],
    ['mistral', { tokenizer: { normalizer: null, pre_tokenizer: metaspace({ split: true }) } }, /Metaspace/],
    ['mistral', { tokenizer: { normalizer: { type: 'NFKC' } } }, /normalizer .*NFKC/],
    ['gemma2', { tokenizer: { normalizer: { type: 'Lowercase' } } }, /normalizer .*Lowercase/],
    ['llama', { tokenizerConfig: { split_special_tokens: true } }, /split_special_tokens true/],
    ['llama', { tokenizerConfig: { do_lower_case: true } }, /do_lower_case true/],
    ['llama', { tokenizerConfig: { add_prefix_space: true } }, /add_prefix_space true/],
    ['llama', { tokenizerConfig: { fix_mistral_regex: true } }, /fix_mistral_regex true/],
    [
      'llama',
      { tokenizerConfig: { additional_special_tokens: ['<new>'] } },
      /additional_special_tokens "<new>"/,
    ],
    ['mistral', { tokenizerConfig: { sp_model_kwargs: { enable_sampling: true } } }, /sp_model_kwargs/],
  ])('should be refused by name and value: %s %j', async (folder, changes, message) => {
    const source = await changedFolder(scratch, folder, changes)
    await expect(convertModel(source, join(source, 'out.gguf'))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(message),
    })
  })
})

describe("transformers' configuration classes", async () => {
  // Made by lab/config_classes.py.
  const { classes, generation } = JSON.parse(
    await readFile(join(CONVERT_FIXTURES, 'classes.json'), 'utf8'),
  ) as {
    classes: Record<string, { modelType: string; defaults: Record<string, unknown> }>
    generation: string[]
  }
  const folders: Record<string, string> = {
    LlamaForCausalLM: 'llama',
    MistralForCausalLM: 'mistral',
    Qwen2ForCausalLM: 'qwen2',
    Qwen3ForCausalLM: 'qwen3',
    Gemma2ForCausalLM: 'gemma2',
    Gemma3ForCausalLM: 'gemma3',
    Phi3ForCausalLM: 'phi3',
  }

  it('should be those that can be converted', () => {
    expect(Object.keys(classes).sort()).toEqual(Object.keys(HF_CLASSES).sort())
    for (const [name, { modelType }] of Object.entries(classes))
      expect(HF_CLASSES[name]!.modelType).toBe(modelType)
  })

  it.each(Object.keys(folders))('should give %s the defaults that the converter has', (name) => {
    for (const [key, value] of Object.entries(HF_CLASSES[name]!.defaults)) {
      expect([key, classes[name]!.defaults[key]]).toEqual([key, value])
    }
  })

  it.each(Object.keys(folders))('should have no key that is unknown here: %s', async (name) => {
    const path = join(CONVERT_FIXTURES, folders[name]!, 'hf/config.json')
    const own = JSON.parse(await readFile(path, 'utf8'))
    const sampling = Object.fromEntries(generation.map((key) => [key, 1]))
    const config = {
      ...sampling,
      ...classes[name]!.defaults,
      ...own,
      id2label: { 0: 'LABEL_0' },
      chunk_size_feed_forward: 0,
    }
    const source = await changedFolder(scratch, folders[name]!, { config })
    await convertModel(source, join(source, 'out.gguf'))
    const { tensors } = await readGguf(join(source, 'out.gguf'))
    expect(tensors.has('token_embd.weight')).toBe(true)
  })

  it('should be read below text_config where a class holds more than a language model', async () => {
    const own = JSON.parse(await readFile(join(CONVERT_FIXTURES, 'gemma3/hf/config.json'), 'utf8'))
    const none = Object.fromEntries(Object.keys(own).map((key) => [key, undefined]))
    const config = {
      ...none,
      ...classes.Gemma3ForConditionalGeneration!.defaults,
      architectures: ['Gemma3ForConditionalGeneration'],
      model_type: 'gemma3',
      eos_token_id: [1, 106],
      text_config: { ...own, architectures: undefined },
      vision_config: { hidden_size: 1152, model_type: 'siglip_vision_model' },
    }
    const plain = await changedFolder(scratch, 'gemma3', {})
    const nested = await changedFolder(scratch, 'gemma3', { config })
    const metadata = async (source: string) => {
      await convertModel(source, join(source, 'out.gguf'), { name: 'one' })
      return new Map((await readGguf(join(source, 'out.gguf'))).metadata)
    }
    expect(await metadata(nested)).toEqual(await metadata(plain))
    // What stands beside text_config is not read by the class.
    const beside = await changedFolder(scratch, 'gemma3', { config: { ...config, rope_theta: 5 } })
    await expect(convertModel(beside, join(beside, 'out.gguf'))).rejects.toMatchObject({
      message: expect.stringMatching(/rope_theta 5/),
    })
  })
})

describe('keys that change nothing', () => {
  const convert = async (folder: string, changes: FolderChanges, ignoreKeys?: string[]) => {
    const source = await changedFolder(scratch, folder, changes)
    const out = join(source, 'out.gguf')
    return { report: await convertModel(source, out, { ignoreKeys }), gguf: await readGguf(out) }
  }

  it('should say why', () => {
    const tables = [INERT_CONFIG_KEYS, INERT_TOKENIZER_KEYS, ...Object.values(INERT_CLASS_KEYS)]
    for (const why of tables.flatMap((table) => Object.values(table))) expect(why.length).toBeGreaterThan(10)
  })

  it('should be passed over when they say nothing', async () => {
    const config = { made_up: null, other: false, third: [], fourth: {}, fifth: '' }
    const { report } = await convert('llama', { config, tokenizerConfig: config })
    expect(report).toMatchObject({ ignoredKeys: [], remarks: [] })
  })

  it.each([
    [
      'llama',
      { is_llama_config: true, 'transformers.js_config': { kv_cache_dtype: {} }, unsloth_fixed: true },
    ],
    [
      'qwen2',
      { dual_chunk_attention_config: { chunk_size: 262144 }, torch_dtype: 'bfloat16', use_mrope: false },
    ],
    ['gemma2', { hidden_act: 'gelu', cache_implementation: 'hybrid', sliding_window_size: 4096 }],
    [
      'phi3',
      { full_attn_mod: 1, interpolate_factor: 1, auto_map: { AutoConfig: 'configuration_phi3.Phi3Config' } },
    ],
  ])('should not be in the way in published folders: %s', async (folder, config) => {
    expect((await convert(folder, { config })).report.ignoredKeys).toEqual([])
  })

  it('should be ignored where the user says so, which the file and the report tell', async () => {
    const config = { made_up: 3, rope_parameters: { rope_type: 'default', rope_theta: 1e6, twist: 2 } }
    const { report, gguf } = await convert('qwen2', { config }, ['rope_parameters.twist', 'made_up'])
    expect(report.ignoredKeys).toEqual(['made_up', 'rope_parameters.twist'])
    expect([...(gguf.metadata.get('traitscope.ignored_keys') as Iterable<string>)]).toEqual(
      report.ignoredKeys,
    )
  })

  it('should not be named in vain', async () => {
    await expect(
      convert('qwen2', { config: { made_up: 3 } }, ['made_up', 'rope_scaling']),
    ).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/names rope_scaling, which/),
    })
  })

  it('should not hide what is known to change the numbers', async () => {
    await expect(convert('qwen2', { config: { hidden_act: 'gelu' } }, ['hidden_act'])).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    })
  })
})

describe('what a converted model does otherwise', () => {
  it.each([
    ['mistral', { sliding_window: 16 }, 'all blocks attend to the last 16 tokens'],
    [
      'qwen2',
      { use_sliding_window: true, sliding_window: 16, max_window_layers: 1, layer_types: null },
      '2 of 3 blocks',
    ],
    ['phi3', {}, 'LongRoPE'],
  ])('should be said: %s %j', async (folder, config, remark) => {
    const source = await changedFolder(scratch, folder, { config })
    const { remarks } = await convertModel(source, join(source, 'out.gguf'))
    expect(remarks.join('\n')).toContain(remark)
  })

  it('should take the window that Mistral has when its folder says none', async () => {
    const source = await changedFolder(scratch, 'mistral', {
      config: { sliding_window: undefined, max_position_embeddings: 8192 },
    })
    expect((await convertModel(source, join(source, 'out.gguf'))).remarks.join()).toContain(
      'last 4096 tokens',
    )
  })
})

describe('sizes that are not those of the weights', () => {
  it.each([
    [
      'llama',
      { num_hidden_layers: 2 },
      /num_hidden_layers 2, and the weights have more blocks \(.*layers\.2\./,
    ],
    [
      'llama',
      { head_dim: 8 },
      /\d heads of 8 \(num_\w+_heads, head_dim\), which is (32|16) rows, and .*_proj.* has (96|48)/,
    ],
    [
      'llama',
      { num_key_value_heads: null },
      /4 heads of 24 \(num_key_value_heads, head_dim\), .*(k|v)_proj.* has 48/,
    ],
    ['gemma3', { num_key_value_heads: 4 }, /4 heads of \d+ \(num_key_value_heads/],
  ])('should be refused for what they are: %s %j', async (folder, config, message) => {
    const source = await changedFolder(scratch, folder, { config })
    await expect(convertModel(source, join(source, 'out.gguf'))).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringMatching(message),
    })
  })
})
