import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeGguf, type GgufInput, parseGguf } from '../../../lib/formats/gguf/gguf.js'
import { checkBase } from '../../../lib/model/base/check-base.js'
import { openModel } from '../../../lib/model/model.js'

type Metadata = GgufInput['metadata']
type Pair = Metadata[number]
type Shapes = Record<string, number[]>

const METADATA: Metadata = [
  ['general.architecture', 'string', 'llama'],
  ['llama.block_count', 'u32', 1],
  ['llama.context_length', 'u32', 64],
  ['llama.embedding_length', 'u32', 8],
  ['llama.feed_forward_length', 'u32', 4],
  ['llama.attention.head_count', 'u32', 4],
  ['llama.attention.head_count_kv', 'u32', 2],
  ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5],
  ['tokenizer.ggml.model', 'string', 'gpt2'],
  ['tokenizer.ggml.pre', 'string', 'llama-bpe'],
  ['tokenizer.ggml.tokens', 'string[]', ['a', 'b', '']],
  ['tokenizer.ggml.merges', 'string[]', ['a b']],
  ['tokenizer.ggml.bos_token_id', 'u32', 0],
]
const SHAPES: Shapes = {
  'token_embd.weight': [8, 3],
  'output_norm.weight': [8],
  'blk.0.attn_norm.weight': [8],
  'blk.0.attn_q.weight': [8, 8],
  'blk.0.attn_k.weight': [8, 4],
  'blk.0.attn_v.weight': [8, 4],
  'blk.0.attn_output.weight': [8, 8],
  'blk.0.ffn_norm.weight': [8],
  'blk.0.ffn_gate.weight': [8, 4],
  'blk.0.ffn_up.weight': [8, 4],
  'blk.0.ffn_down.weight': [4, 8],
}

function encode(pairs: Metadata = [], shapes: Shapes = {}): Uint8Array {
  const keys = new Set(pairs.map(([key]) => key))
  return encodeGguf({
    metadata: [...METADATA.filter(([key]) => !keys.has(key)), ...pairs],
    tensors: Object.entries({ ...SHAPES, ...shapes }).map(([name, shape]) => ({
      name,
      shape,
      type: 'F32' as const,
      data: new Float32Array(shape.reduce((product, n) => product * n, 1)).fill(0.5),
    })),
  })
}

/** Rewrites the type in a tensor's table entry; `type` must need no more bytes than F32. */
function withType(bytes: Uint8Array, name: string, type: number): Uint8Array {
  const copy = Buffer.from(bytes)
  const at = copy.indexOf(name) + name.length
  copy.writeUInt32LE(type, at + 4 + 8 * copy.readUInt32LE(at))
  return copy
}

const check = async (bytes: Uint8Array) => checkBase(await parseGguf(bytes, 'base.gguf'))

describe('checkBase', () => {
  it('should accept a sound base and name its architecture', async () => {
    expect(await check(encode())).toBe('llama')
  })

  it.each<[string, Pair, RegExp]>([
    ['no blocks', ['llama.block_count', 'u32', 0], /block_count to be from 1 to 512, found 0/],
    ['too many blocks', ['llama.block_count', 'u32', 513], /found 513/],
    ['a text for a count', ['llama.block_count', 'string', '1'], /block_count to be an integer/],
    ['more prediction blocks than blocks', ['llama.nextn_predict_layers', 'u32', 1], /nextn_predict_layers/],
    ['too many experts', ['llama.expert_count', 'u32', 1025], /expert_count/],
    ['experts of which none is used', ['llama.expert_count', 'u32', 8], /expert_used_count/],
    ['used experts without experts', ['llama.expert_used_count', 'u32', 2], /expert_used_count/],
    ['expert groups without experts', ['llama.expert_group_count', 'u32', 2], /expert_group_count/],
    ['an unknown rope scaling', ['llama.rope.scaling.type', 'string', 'x'], /rope\.scaling\.type/],
    ['a negative epsilon', ['llama.attention.layer_norm_rms_epsilon', 'f32', -1], /at least 0, found -1/],
    [
      'a NaN epsilon',
      ['llama.attention.layer_norm_rms_epsilon', 'f32', Number.NaN],
      /finite number, found NaN/,
    ],
    ['no heads', ['llama.attention.head_count', 'u32', 0], /head_count to be at least 1/],
    ['no key heads', ['llama.attention.head_count_kv', 'u32', 0], /a divisor of the 4 heads/],
    ['key heads that do not divide', ['llama.attention.head_count_kv', 'u32', 3], /a divisor of the 4 heads/],
    [
      'a list of heads of another length',
      ['llama.attention.head_count', 'u32[]', [4, 4]],
      /one integer per block/,
    ],
    ['an odd head count', ['llama.attention.head_count', 'u32', 3], /a divisor of the 3 heads/],
    [
      'an embedding that heads do not divide',
      ['llama.embedding_length', 'u32', 9],
      /a multiple of the 4 heads/,
    ],
    ['no embedding', ['llama.embedding_length', 'u32', 0], /embedding_length to be at least 1/],
    ['other values than keys', ['llama.attention.value_length', 'u32', 4], /the key length 2/],
    [
      'keys that matrices lack',
      ['llama.attention.key_length', 'u32', 4],
      /value_length to be the key length 4/,
    ],
    ['other rotary dimensions', ['llama.rope.dimension_count', 'u32', 4], /even and the key length 2/],
    [
      'repeated tokens',
      ['tokenizer.ggml.tokens', 'string[]', ['a', 'b', 'a']],
      /one text for tokens 0 and 2/,
    ],
    [
      'tokens that a NUL makes equal',
      ['tokenizer.ggml.tokens', 'string[]', ['a', 'a\0b', 'c']],
      /tokens 0 and 1/,
    ],
    [
      'the name of an empty token',
      ['tokenizer.ggml.tokens', 'string[]', ['', '[EMPTY_0]', 'c']],
      /tokens 0 and 1/,
    ],
    ['no tokens', ['tokenizer.ggml.tokens', 'string[]', []], /found none/],
  ])('should refuse %s', async (_, pair, message) => {
    const refused = expect.objectContaining({ code: 'FILE_INVALID', message: expect.stringMatching(message) })
    await expect(check(encode([pair]))).rejects.toEqual(refused)
  })

  it.each<[string, Pair]>([
    ['a tokenizer of encoders', ['tokenizer.ggml.model', 'string', 'bert']],
    ['a diffusion model', ['general.architecture', 'string', 'llada']],
    ['an architecture that no adapter maps onto', ['general.architecture', 'string', 'falcon']],
    ['attention to later tokens', ['llama.attention.causal', 'bool', false]],
  ])('should refuse %s by name', async (_, pair) => {
    await expect(check(encode([pair]))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it.each<[string, Shapes, RegExp]>([
    [
      'queries of another size',
      { 'blk.0.attn_q.weight': [8, 10] },
      /attn_q\.weight of shape \[8,8\], found \[8,10\]/,
    ],
    ['a three-dimensional matrix', { 'blk.0.attn_k.weight': [8, 4, 1] }, /found \[8,4,1\]/],
    [
      'a fused matrix of another size',
      { 'blk.0.attn_qkv.weight': [8, 15] },
      /attn_qkv\.weight of shape \[8,16\]/,
    ],
    ['an output that takes other heads', { 'blk.0.attn_output.weight': [6, 8] }, /found \[6,8\]/],
  ])('should refuse %s', async (_, shapes, message) => {
    const refused = expect.objectContaining({ code: 'FILE_INVALID', message: expect.stringMatching(message) })
    await expect(check(encode([], shapes))).rejects.toEqual(refused)
  })

  it('should refuse a block without attention matrices', async () => {
    const missing = expect.objectContaining({
      message: expect.stringMatching(/blk\.1\.attn_q\.weight .* found none/),
    })
    await expect(check(encode([['llama.block_count', 'u32', 2]]))).rejects.toEqual(missing)
  })

  it.each<[string, number, RegExp]>([
    // The last tensor, so that the smaller type leaves the others where they are.
    ['blk.0.ffn_down.weight', 24, /a type for weights, found I8/],
    ['blk.0.ffn_down.weight', 26, /a type for weights, found I32/],
    ['blk.0.zz.bias', 1, /type F32, found F16/],
  ])('should refuse %s of type %i', async (name, type, message) => {
    const bytes = withType(encode([], name in SHAPES ? {} : { [name]: [8] }), name, type)
    const refused = expect.objectContaining({ code: 'FILE_INVALID', message: expect.stringMatching(message) })
    await expect(check(bytes)).rejects.toEqual(refused)
  })
})

describe('openModel', () => {
  const open = async (pairs: Metadata) => {
    const folder = await mkdtemp(join(tmpdir(), 'traitscope-base-'))
    try {
      await writeFile(join(folder, 'base.gguf'), encode(pairs))
      await using model = await openModel(join(folder, 'base.gguf'), { batchTokens: 256, gpuLayers: 0 })
      return await model.tokenize(['ab c'])
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  it('should refuse a base that adds a token which it does not have', async () => {
    await expect(open([['tokenizer.ggml.bos_token_id', 'u32', 99]])).rejects.toMatchObject({
      code: 'MODEL_LOAD',
      message: expect.stringContaining('asks for BOS tokens'),
    })
  })

  it('should say that a vocabulary lacks a byte', async () => {
    const sentencePiece: Metadata = [
      ['tokenizer.ggml.model', 'string', 'llama'],
      ['tokenizer.ggml.scores', 'f32[]', [0, 0, 0]],
      ['tokenizer.ggml.token_type', 'i32[]', [1, 1, 1]],
      ['tokenizer.ggml.eos_token_id', 'u32', 1],
    ]
    await expect(open(sentencePiece)).rejects.toMatchObject({
      code: 'MODEL_LOAD',
      message: expect.stringContaining('no token for some byte'),
    })
  })
})
