import { createHash } from 'node:crypto'
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convertModel } from '../../../lib/conversion/convert-model.js'
import { type GgufFile, GgufStrings, readGguf } from '../../../lib/formats/gguf/gguf.js'
import { tensorBytes } from '../../../lib/formats/gguf/gguf-stream.js'
import { encodeFloats } from '../../../lib/formats/safetensors/float-types.js'
import { readSafetensorsHeader } from '../../../lib/formats/safetensors/safetensors.js'
import type { ConvertOptions } from '../../../lib/model/convert/convert.js'
import { openModel } from '../../../lib/model/model.js'
import { packageRoot } from '../../../lib/package.js'

const FIXTURES = join(packageRoot, 'test/fixtures/convert')
const MODELS = ['llama', 'mistral', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'phi4-mini', 'phi4']
const TYPES = ['F32', 'F16', 'BF16'] as const

/**
 * What llama.cpp's converter derives from names and sizes for model cards, and a separator that decoder-only models do
 * not have (it says "false").
 */
const LEFT_OUT = ['general.size_label', 'general.basename', 'tokenizer.ggml.add_sep_token']

interface Expected {
  name: string
  metadata: Record<string, { type: string; value?: unknown; count?: number; sha256?: string }>
  tensors: Record<string, Record<string, { type: string; shape: number[]; sha256: string }>>
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-convert-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const expected = async (name: string): Promise<Expected> =>
  JSON.parse(await readFile(join(FIXTURES, name, 'expected.json'), 'utf8'))

async function converted(name: string, options: ConvertOptions = {}): Promise<GgufFile> {
  const out = join(folder, `${name}-${options.type ?? 'as-is'}.gguf`)
  await convertModel(join(FIXTURES, name, 'hf'), out, { force: true, ...options })
  return readGguf(out)
}

async function tensorHashes(gguf: GgufFile) {
  const found: Expected['tensors'][string] = {}
  for (const tensor of gguf.tensors.values()) {
    const hash = createHash('sha256')
    for await (const piece of tensorBytes(gguf, tensor, 0, tensor.byteLength)) hash.update(piece)
    found[tensor.name] = { type: tensor.type, shape: [...tensor.shape], sha256: hash.digest('hex') }
  }
  return found
}

/** Metadata in the form of expected.json. */
function metadataOf(gguf: GgufFile): Expected['metadata'] {
  const found: Expected['metadata'] = {}
  for (const [key, value] of gguf.metadata) {
    const type = gguf.types
      .get(key)!
      .replace('f32', 'float32')
      .replace(/^u32/, 'uint32')
      .replace(/^i32/, 'int32')
    if (typeof value !== 'object') found[key] = { type: type.toUpperCase(), value }
    else {
      const bytes =
        value instanceof GgufStrings
          ? Buffer.from([...value].join('\0'))
          : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      found[key] = { type: type.toUpperCase(), count: value.length, sha256 }
    }
  }
  return found
}

describe.each(MODELS)('convertModel on %s', (name) => {
  it.each(TYPES)("should give the tensors of llama.cpp's converter in %s, bit for bit", async (type) => {
    const { name: modelName, tensors } = await expected(name)
    expect(await tensorHashes(await converted(name, { type, name: modelName }))).toEqual(
      tensors[type.toLowerCase()],
    )
  })

  it('should give its metadata and vocabulary', async () => {
    const { name: modelName, metadata } = await expected(name)
    const wanted = Object.entries(metadata).filter(([key]) => !LEFT_OUT.includes(key))
    expect(metadataOf(await converted(name, { type: 'BF16', name: modelName }))).toEqual(
      Object.fromEntries(wanted),
    )
  })

  it('should give the token ids of the Hugging Face tokenizer', async () => {
    const { name: modelName } = await expected(name)
    await using model = await openModel((await converted(name, { type: 'F32', name: modelName })).path)
    const tokens = JSON.parse(
      await readFile(join(packageRoot, 'test/fixtures/oracles', name, 'tokens.json'), 'utf8'),
    ) as {
      plain: { text: string; ids: number[]; idsWithSpecial: number[] }[]
      chat: { text: string; ids: number[] }[]
    }
    const plain = await model.tokenize(tokens.plain.map(({ text }) => text))
    expect(plain.map((ids) => [...ids])).toEqual(tokens.plain.map(({ idsWithSpecial }) => idsWithSpecial))
    const chat = await model.tokenize(
      tokens.chat.map(({ text }) => text),
      { addSpecial: false },
    )
    expect(chat.map((ids) => [...ids])).toEqual(tokens.chat.map(({ ids }) => ids))
  })
})

describe('the splitting rules that no oracle has', () => {
  it.each(['tekken', 'smollm', 'gpt-2'])(
    'should give the token ids of the Hugging Face tokenizer with %s',
    async (rule) => {
      const tokenizer = join(FIXTURES, 'tokenizers', rule)
      const source = await mkdtemp(join(folder, 'rule-'))
      await cp(join(FIXTURES, 'llama/hf'), source, { recursive: true })
      await cp(join(tokenizer, 'tokenizer.json'), join(source, 'tokenizer.json'))
      const out = join(source, 'out.gguf')
      expect(await convertModel(source, out)).toMatchObject({ pre: rule })
      await using model = await openModel(out)
      const tokens = JSON.parse(await readFile(join(tokenizer, 'tokens.json'), 'utf8')) as {
        text: string
        ids: number[]
      }[]
      const found = await model.tokenize(
        tokens.map(({ text }) => text),
        { addSpecial: false },
      )
      expect(found.map((ids) => [...ids])).toEqual(tokens.map(({ ids }) => ids))
    },
  )
})

describe('convertModel', () => {
  /** A copy of a fixture with its config.json or tokenizer.json changed. */
  async function changed(
    name: string,
    change: { config?: object; tokenizer?: object; remove?: string[] },
  ): Promise<string> {
    const copy = await mkdtemp(join(folder, 'copy-'))
    await cp(join(FIXTURES, name, 'hf'), copy, { recursive: true })
    for (const file of change.remove ?? []) await rm(join(copy, file))
    for (const [file, values] of [
      ['config.json', change.config],
      ['tokenizer.json', change.tokenizer],
    ] as const) {
      if (!values) continue
      const path = join(copy, file)
      await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...values }))
    }
    return copy
  }
  const convert = async (source: string, options: ConvertOptions = {}) => {
    const out = join(source, 'out.gguf')
    await convertModel(source, out, options)
    return readGguf(out)
  }

  it('should keep the type of the weights, and name the model after its folder', async () => {
    const gguf = await convert(await changed('qwen2', {}))
    expect(gguf.tensors.get('blk.0.ffn_up.weight')!.type).toBe('F16')
    expect(gguf.tensors.get('blk.0.attn_q.bias')!.type).toBe('F32')
    expect(gguf.metadata.get('general.name')).toMatch(/^copy-/)
  })

  it('should put Phi-3 into the name where the tokenizer hangs on it', async () => {
    expect((await convert(await changed('phi3', {}))).metadata.get('general.name')).toMatch(/^Phi-3 copy-/)
    expect((await convert(await changed('phi4', {}))).metadata.get('general.name')).toMatch(/^copy-/)
  })

  it.each([
    [
      'llama',
      { rope_theta: 500000, head_dim: null, rope_parameters: null },
      {
        type: 'llama3',
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 64,
      },
    ],
    [
      'gemma3',
      { rope_theta: 1e6, rope_local_base_freq: 1e4, rope_parameters: null },
      { rope_type: 'linear', factor: 8 },
    ],
    ['qwen2', { rope_theta: 1e6, rope_parameters: null }, null],
  ])('should read the older configuration of %s', async (name, config, scaling) => {
    const head = name === 'llama' ? { head_dim: 24 } : {}
    const source = await changed(name, { config: { ...config, ...head, rope_scaling: scaling } })
    const older = await convert(source, { name: 'one' })
    const newer = await converted(name, { name: 'one' })
    expect(new Map(older.metadata)).toEqual(new Map(newer.metadata))
    expect(await tensorHashes(older)).toEqual(await tensorHashes(newer))
  })

  it('should leave out a head that the configuration ties to the embedding', async () => {
    const gguf = await convert(await changed('llama', { config: { tie_word_embeddings: true } }))
    expect(gguf.tensors.has('output.weight')).toBe(false)
  })

  it.each([
    [
      'an architecture',
      'llama',
      { config: { architectures: ['MixtralForCausalLM'] } },
      /"MixtralForCausalLM".*LlamaForCausalLM/,
    ],
    ['quantised weights', 'llama', { config: { quantization_config: { bits: 4 } } }, /quantization_config/],
    ['another activation', 'llama', { config: { hidden_act: 'gelu' } }, /hidden_act "gelu"/],
    [
      'another attention scale',
      'gemma2',
      { config: { query_pre_attn_scalar: 144 } },
      /query_pre_attn_scalar 144/,
    ],
    ['an unknown rotation', 'llama', { config: { rope_parameters: { rope_type: 'spiral' } } }, /"spiral"/],
    [
      'an unknown splitting rule',
      'qwen3',
      { tokenizer: { pre_tokenizer: { type: 'Whitespace' } } },
      /none of llama-bpe, qwen2.*--pre/,
    ],
    [
      'another normalizer',
      'qwen3',
      { tokenizer: { normalizer: { type: 'Lowercase' } } },
      /"Lowercase".*"NFC"/,
    ],
    [
      'a sentencepiece tokenizer without its model',
      'mistral',
      { remove: ['tokenizer.model'] },
      /copy tokenizer\.model/,
    ],
    [
      'a tensor of another architecture',
      'qwen3',
      { config: { architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2' } },
      /"model\.layers\.0\.self_attn\.k_norm\.weight".*no place in a qwen2/,
    ],
  ])('should refuse %s by name', async (_, name, change, message) => {
    const source = await changed(name, change)
    await expect(convert(source)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(message),
    })
    expect(await readdir(source)).not.toContain('out.gguf')
  })

  // Found by fuzzing: the first took minutes, the others were refused by the GGUF writer without a word of the cause.
  it.each([
    ['more blocks than llama.cpp has', 'llama', { num_hidden_layers: 4_000_000_000 }, /from 1 to 512/],
    ['no blocks', 'llama', { num_hidden_layers: 0 }, /num_hidden_layers to be from 1/],
    ['empty heads', 'llama', { head_dim: 0 }, /head_dim to be a positive integer/],
    [
      'a fraction of a context',
      'phi3',
      { rope_parameters: { rope_theta: 1e4, original_max_position_embeddings: 1 / 3 } },
      /original_max_position_embeddings to be a positive integer, found 0\.33/,
    ],
  ])('should refuse %s', async (_, name, config, message) => {
    await expect(convert(await changed(name, { config }))).rejects.toMatchObject({
      code: 'FILE_INVALID',
      message: expect.stringMatching(message),
    })
  })

  it.each([
    [
      'a setting',
      'llama',
      { config: { rms_norm_eps: null } },
      'FILE_INVALID',
      /rms_norm_eps to be a number, found null/,
    ],
    [
      'a block',
      'llama',
      { config: { num_hidden_layers: 4 } },
      'FILE_INVALID',
      /blk\.3\.attn_q\.weight.* and 6 more/,
    ],
    ['tokens', 'llama', { config: { vocab_size: 383 } }, 'FILE_INVALID', /vocab_size to be the 384 rows/],
    [
      'a head',
      'qwen3',
      { config: { tie_word_embeddings: false } },
      'FILE_INVALID',
      /none for output\.weight/,
    ],
    [
      'a shard',
      'mistral',
      { remove: ['model-00002-of-00002.safetensors'] },
      'FILE_INCOMPLETE',
      /00002-of-00002/,
    ],
    ['the index', 'mistral', { remove: ['model.safetensors.index.json'] }, 'FILE_INCOMPLETE', /index\.json/],
    [
      'weights',
      'llama',
      { remove: ['model.safetensors'] },
      'FILE_NOT_FOUND',
      /name a Hugging Face model folder/,
    ],
    [
      'config.json',
      'llama',
      { remove: ['config.json'] },
      'FILE_NOT_FOUND',
      /expected config\.json in .*, found none; name the folder of a Hugging Face model .* below snapshots/,
    ],
  ])('should say that %s is missing', async (_, name, change, code, message) => {
    await expect(convert(await changed(name, change))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    })
  })

  it('should take the splitting rule that is named, when it gives the same tokens', async () => {
    const path = join(FIXTURES, 'qwen3/hf/tokenizer.json')
    const { pre_tokenizer } = JSON.parse(await readFile(path, 'utf8'))
    // The same rule in another spelling, which nobody has written down.
    const [split, bytes] = pre_tokenizer.pretokenizers
    const spelt = { ...split, pattern: { Regex: `(?:${split.pattern.Regex})` } }
    const source = await changed('qwen3', {
      tokenizer: { pre_tokenizer: { type: 'Sequence', pretokenizers: [spelt, bytes] } },
    })
    await expect(convert(source)).rejects.toMatchObject({ message: expect.stringMatching(/--pre/) })
    expect((await convert(source, { pre: 'qwen2' })).metadata.get('tokenizer.ggml.pre')).toBe('qwen2')
    await expect(convert(source, { pre: 'none-such', force: true })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('"none-such"'),
    })
    await expect(convert(source, { pre: 'llama-bpe', force: true })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/would not give the ids of Hugging Face's for .*misread/),
    })
    await expect(convert(await changed('gemma2', {}), { pre: 'qwen2', force: true })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('sentencepiece'),
    })
  })

  it('should refuse a pickle', async () => {
    const source = await changed('llama', { remove: ['model.safetensors'] })
    await writeFile(join(source, 'pytorch_model.bin'), '')
    await expect(convert(source)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/pickle.*safe_serialization/),
    })
  })

  it.each([
    [Number.NaN, 'BF16', 'FILE_INVALID', /finite values in tensor "model\.norm\.weight".*NaN/],
    [1e6, 'F16', undefined, undefined],
  ] as const)('should accept or refuse a norm of %s in %s', async (value, type, code, message) => {
    const source = await changed('llama', {})
    await overwrite(source, 'model.norm.weight', value)
    const result = convert(source, { type })
    if (code) await expect(result).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
    else expect((await result).tensors.get('output_norm.weight')?.type).toBe('F32')
  })

  it('should refuse weights that F16 cannot hold, and leave nothing behind', async () => {
    const source = await changed('llama', {})
    await overwrite(source, 'lm_head.weight', 70_000)
    await expect(convert(source, { type: 'F16' })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/"lm_head\.weight".*65504.*BF16/),
    })
    expect((await readdir(source)).filter((name) => name.includes('out.gguf'))).toEqual([])
  })

  it('should not overwrite a file, and stop when it is told to', async () => {
    const source = await changed('llama', {})
    await convert(source)
    await expect(convert(source)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    await expect(convert(source, { force: true, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
  })
})

/** Sets the first element of a BF16 tensor. */
async function overwrite(source: string, name: string, value: number): Promise<void> {
  const path = join(source, 'model.safetensors')
  const header = await readSafetensorsHeader(path)
  const bytes = await readFile(path)
  bytes.set(encodeFloats('BF16', Float32Array.of(value)), header.dataStart + header.tensors.get(name)!.begin)
  await writeFile(path, bytes)
}
