import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  encodeGguf,
  encodeGgufHeader,
  type GgufInput,
  type GgufTensor,
  readGguf,
} from '../../../lib/formats/gguf/gguf.js'
import { storedMetadata, tensorBytes } from '../../../lib/formats/gguf/gguf-stream.js'
import { mlxAsPeft } from '../../../lib/formats/peft/mlx-adapter.js'
import type { PeftAdapter } from '../../../lib/formats/peft/peft.js'
import { parsePeftConfig } from '../../../lib/formats/peft/peft-config.js'
import type { LoraModule, ReplacedTensor } from '../../../lib/formats/peft/peft-tensors.js'
import { fingerprintGguf } from '../../../lib/model/base/fingerprint.js'
import { mergeAdapter } from '../../../lib/model/merge/merge.js'
import { MERGE_TYPE_NAMES, mergeType } from '../../../lib/model/merge/merge-types.js'
import { openModel } from '../../../lib/model/model.js'
import { packageRoot } from '../../../lib/package.js'
import { TINY_BASE, TINY_RUN } from '../../helpers/tiny.js'

const ADAPTER = join(TINY_RUN, 'checkpoint-60')
const WIDE = join(packageRoot, 'test/fixtures/oracles/llama-wide')
const WIDTH = 8
const VOCABULARY = 10

let folder: string
let out: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'traitscope-merge-'))
  out = join(folder, 'merged.gguf')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function bytesOf(path: string, name: string): Promise<Buffer> {
  const gguf = await readGguf(path)
  const tensor = gguf.tensors.get(name)!
  const pieces: Buffer[] = []
  for await (const piece of tensorBytes(gguf, tensor, 0, tensor.byteLength)) pieces.push(Buffer.from(piece))
  return Buffer.concat(pieces)
}

const floatsOf = async (path: string, name: string) => {
  const bytes = await bytesOf(path, name)
  return new Float32Array(new Uint8Array(bytes).buffer)
}

/** A base of one block: no model, but all that merging looks at. */
async function writeBase(
  architecture: string,
  options: { tied?: boolean; fused?: boolean; biases?: string[] } = {},
): Promise<string> {
  const matrix = (name: string, rows: number) => ({
    name: `${name}.weight`,
    shape: [WIDTH, rows],
    type: 'F32' as const,
    data: Float32Array.from({ length: WIDTH * rows }, (_, i) => Math.sin(i + name.length)),
  })
  const vector = (name: string, length: number) => ({
    name,
    shape: [length],
    type: 'F32' as const,
    data: Float32Array.from({ length }, (_, i) => i),
  })
  const bytes = encodeGguf({
    metadata: [
      ['general.architecture', 'string', architecture],
      ['general.file_type', 'u32', 0],
      [`${architecture}.block_count`, 'u32', 1],
      [`${architecture}.embedding_length`, 'u32', WIDTH],
      [`${architecture}.attention.head_count`, 'u32', 2],
      [`${architecture}.attention.head_count_kv`, 'u32', 1],
    ],
    tensors: [
      matrix('token_embd', VOCABULARY),
      ...(options.tied ? [] : [matrix('output', VOCABULARY)]),
      ...(options.fused
        ? [matrix('blk.0.attn_qkv', 16)]
        : [matrix('blk.0.attn_q', 8), matrix('blk.0.attn_k', 4), matrix('blk.0.attn_v', 4)]),
      matrix('blk.0.ffn_down', WIDTH),
      vector('blk.0.attn_norm.weight', WIDTH),
      ...(options.biases ?? []).map((name) => vector(name, name.includes('_k') ? 4 : 8)),
    ],
  })
  const path = join(folder, 'base.gguf')
  await writeFile(path, bytes)
  return path
}

const numbers = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => Math.cos(seed * 11 + i * 1.3))

function lora(path: string, outFeatures: number, fields: Partial<LoraModule> = {}): LoraModule {
  const a = numbers(2 * WIDTH, 1)
  const b = numbers(outFeatures * 2, 2)
  return { path, a, b, r: 2, inFeatures: WIDTH, outFeatures, scale: 0.5, ...fields }
}

function replaced(path: string, part: 'weight' | 'bias', shape: number[], seed = 5): ReplacedTensor {
  const columns = shape[1] ?? 1
  const all = numbers(shape[0]! * columns, seed)
  const rows = (indices: ArrayLike<number>) =>
    Float32Array.from(
      { length: indices.length * columns },
      (_, i) => all[indices[Math.floor(i / columns)]! * columns + (i % columns)]!,
    )
  return { path, part, shape, rows }
}

const adapterOf = (fields: Partial<PeftAdapter>, json: object = {}): PeftAdapter => ({
  path: 'run/checkpoint-10',
  config: parsePeftConfig({ peft_type: 'LORA', ...json }, 'x'),
  modules: [],
  replaced: [],
  replacedRows: [],
  buffers: [],
  unsaved: [],
  files: [],
  remarks: [],
  sha256: 'ab'.repeat(32),
  ...fields,
})

const Q = 'model.layers.0.self_attn.q_proj'
const K = 'model.layers.0.self_attn.k_proj'
const V = 'model.layers.0.self_attn.v_proj'
const DOWN = 'model.layers.0.mlp.down_proj'
const EMBED = 'model.embed_tokens'

describe('mergeAdapter', () => {
  it('should copy what the adapter does not change byte for byte, metadata too', async () => {
    const seen: number[] = []
    const report = await mergeAdapter(TINY_BASE, ADAPTER, out, { onProgress: (f) => seen.push(f) })
    const [base, merged] = [await readGguf(TINY_BASE), await readGguf(out)]
    const changed = new Set(report.changed.map(({ tensor }) => tensor))
    expect(changed.size).toBe(report.modules.length)
    expect(changed.size).toBeGreaterThan(3)
    expect([...merged.tensors.keys()]).toEqual([...base.tensors.keys()])
    for (const { name, type } of base.tensors.values()) {
      const same = (await bytesOf(TINY_BASE, name)).equals(await bytesOf(out, name))
      expect([name, same]).toEqual([name, !changed.has(name)])
      expect(merged.tensors.get(name)!.type).toBe(type)
    }
    const own = storedMetadata(merged).filter(([key]) => key.startsWith('traitscope.merge.'))
    const others = storedMetadata(merged).filter(([key]) => !key.startsWith('traitscope.merge.'))
    const header = (pairs: GgufInput['metadata']) => Buffer.from(encodeGgufHeader(pairs, []).bytes)
    expect(header(others).equals(header(storedMetadata(base)))).toBe(true)
    expect(Object.fromEntries(own.map(([key, , value]) => [key, value]))).toMatchObject({
      'traitscope.merge.base': await fingerprintGguf(base),
      'traitscope.merge.adapter': expect.stringMatching(/^[0-9a-f]{64}$/),
      'traitscope.merge.strength': 1,
    })
    expect(seen.at(-1)).toBe(1)
  })

  it('should be a base for further merges', async () => {
    await mergeAdapter(TINY_BASE, ADAPTER, out)
    const back = join(folder, 'back.gguf')
    await mergeAdapter(out, ADAPTER, back, { strength: -1 })
    const [base, again] = [
      await floatsOf(TINY_BASE, 'blk.1.attn_v.weight'),
      await floatsOf(back, 'blk.1.attn_v.weight'),
    ]
    for (const [i, value] of again.entries()) expect(Math.abs(value - base[i]!)).toBeLessThan(1e-6)
    expect((await readGguf(back)).metadata.get('traitscope.merge.strength')).toBe(-1)
  })

  it('should say of an adapter that the base has already', async () => {
    expect((await mergeAdapter(TINY_BASE, ADAPTER, out)).remarks).toEqual([])
    const again = await mergeAdapter(out, ADAPTER, join(folder, 'twice.gguf'))
    expect(again.remarks).toEqual([expect.stringMatching(/merged into the base already.*twice/)])
    const back = await mergeAdapter(out, ADAPTER, join(folder, 'back.gguf'), { strength: -1 })
    expect(back.remarks).toEqual([])
    const other = await mergeAdapter(out, join(TINY_RUN, 'checkpoint-40'), join(folder, 'other.gguf'))
    expect(other.remarks).toEqual([])
  })

  it('should not depend on the number of threads', async () => {
    await mergeAdapter(TINY_BASE, ADAPTER, out, { threads: 1 })
    const other = join(folder, 'other.gguf')
    await mergeAdapter(TINY_BASE, ADAPTER, other, { threads: 5 })
    expect((await readFile(other)).equals(await readFile(out))).toBe(true)
  })

  it('should merge every kind of part into every block of a fused tensor', async () => {
    const base = await writeBase('llama', { fused: true })
    const q = lora(Q, 8)
    const report = await mergeAdapter(
      base,
      adapterOf({
        modules: [q, lora(V, 4, { biasB: numbers(4, 9) })],
        replaced: [replaced(K, 'weight', [4, WIDTH])],
      }),
      out,
    )
    expect(report.added).toEqual(['blk.0.attn_qkv.bias'])
    const before = await floatsOf(base, 'blk.0.attn_qkv.weight')
    const after = await floatsOf(out, 'blk.0.attn_qkv.weight')
    // Heads of 4 rows: 0 2 1 3 of the Hugging Face model.
    const order = [0, 2, 1, 3]
    const k = replaced(K, 'weight', [4, WIDTH]).rows(order)
    for (let row = 0; row < 16; row++) {
      const source = row < 8 ? row - (row % 4) + order[row % 4]! : row - 12
      for (let j = 0; j < WIDTH; j++) {
        const product = 0.5 * (q.b[2 * source]! * q.a[j]! + q.b[2 * source + 1]! * q.a[WIDTH + j]!)
        const at = row * WIDTH + j
        const expected = row < 8 || row >= 12 ? before[at]! + product : k[(row - 8) * WIDTH + j]!
        expect(Math.abs(after[at]! - expected), `row ${row}`).toBeLessThan(1e-6)
      }
    }
    const bias = await floatsOf(out, 'blk.0.attn_qkv.bias')
    const halves = numbers(4, 9).map((value) => value * 0.5)
    expect([...bias]).toEqual([...new Float32Array(12), ...halves])
  })

  it('should keep row blocks of a fused tensor that no module changes', async () => {
    const base = await writeBase('qwen2', { fused: true })
    await mergeAdapter(base, adapterOf({ modules: [lora(K, 4)] }), out)
    const [before, after] = [
      await bytesOf(base, 'blk.0.attn_qkv.weight'),
      await bytesOf(out, 'blk.0.attn_qkv.weight'),
    ]
    const row = 4 * WIDTH
    expect(after.subarray(0, 8 * row).equals(before.subarray(0, 8 * row))).toBe(true)
    expect(after.subarray(8 * row, 12 * row).equals(before.subarray(8 * row, 12 * row))).toBe(false)
    expect(after.subarray(12 * row).equals(before.subarray(12 * row))).toBe(true)
  })

  it('should go a part of the way for a strength, whatever the change is', async () => {
    const base = await writeBase('llama')
    const adapter = adapterOf({
      modules: [lora(DOWN, WIDTH, { magnitude: numbers(WIDTH, 3) })],
      replaced: [replaced('model.layers.0.input_layernorm', 'weight', [WIDTH])],
      replacedRows: [{ path: EMBED, tokens: [7, 2], width: WIDTH, values: numbers(2 * WIDTH, 4) }],
    })
    await mergeAdapter(base, adapter, out)
    const half = join(folder, 'half.gguf')
    await mergeAdapter(base, adapter, half, { strength: 0.5 })
    for (const name of ['blk.0.ffn_down.weight', 'blk.0.attn_norm.weight', 'token_embd.weight']) {
      const [x, y, z] = [await floatsOf(base, name), await floatsOf(out, name), await floatsOf(half, name)]
      expect(x).not.toEqual(y)
      for (const [i, value] of z.entries()) expect(Math.abs(value - (x[i]! + y[i]!) / 2)).toBeLessThan(1e-6)
    }
  })

  it('should add 1 to the norms of Gemma and read its cut vocabulary', async () => {
    const base = await writeBase('gemma3', { tied: true })
    const norm = replaced('model.layers.0.input_layernorm', 'weight', [WIDTH])
    await mergeAdapter(
      base,
      adapterOf({
        modules: [lora(EMBED, VOCABULARY + 2, { embedding: true })],
        replaced: [norm],
      }),
      out,
    )
    const all = Int32Array.from({ length: WIDTH }, (_, i) => i)
    expect([...(await floatsOf(out, 'blk.0.attn_norm.weight'))]).toEqual([
      ...norm.rows(all).map((v) => v + 1),
    ])
    expect((await readGguf(out)).tensors.get('token_embd.weight')!.shape).toEqual([WIDTH, VOCABULARY])
  })

  describe('on a base whose head is its embedding', () => {
    const embedding = lora(EMBED, VOCABULARY, { embedding: true })
    const head = lora('lm_head', VOCABULARY)
    const tokens = { path: EMBED, tokens: [3], width: WIDTH, values: numbers(WIDTH, 4) }
    const cases: [string, PeftAdapter, boolean, boolean][] = [
      ['an embedding', adapterOf({ modules: [embedding] }), true, false],
      ['a head', adapterOf({ modules: [head] }), false, true],
      ['both', adapterOf({ modules: [embedding, head] }), true, true],
      [
        'a replaced head',
        adapterOf({ replaced: [replaced('lm_head', 'weight', [VOCABULARY, WIDTH])] }),
        false,
        true,
      ],
    ]
    it.each(cases)('should part the two for %s', async (_, adapter, embeddingChanges, headChanges) => {
      const base = await writeBase('llama', { tied: true })
      const report = await mergeAdapter(base, adapter, out)
      expect(report.added).toEqual(['output.weight'])
      const before = await floatsOf(base, 'token_embd.weight')
      const same = async (name: string) => Buffer.from(before.buffer).equals(await bytesOf(out, name))
      expect(await same('token_embd.weight')).toBe(!embeddingChanges)
      expect(await same('output.weight')).toBe(!headChanges)
    })

    it.each([
      ['trained tokens', adapterOf({ replacedRows: [tokens] })],
      ['modules trained as one', adapterOf({ modules: [embedding, head] }, { ensure_weight_tying: true })],
      [
        'an embedding of mlx-lm, which it reads the output with too',
        adapterOf({ modules: [embedding] }, mlxAsPeft({ lora_parameters: { rank: 2, scale: 0.5 } }, 'x')),
      ],
    ])('should keep them one for %s', async (_, adapter) => {
      const base = await writeBase('gemma2', { tied: true })
      const report = await mergeAdapter(base, adapter, out)
      expect([report.added, report.changed.map(({ tensor }) => tensor)]).toEqual([[], ['token_embd.weight']])
    })

    it.each(cases.map(([title, adapter]) => [title, adapter] as const))(
      'should refuse %s where the graph has one matrix',
      async (_, adapter) => {
        const base = await writeBase('gemma2', { tied: true })
        await expect(mergeAdapter(base, adapter, out)).rejects.toMatchObject({
          code: 'UNSUPPORTED',
          message: expect.stringMatching(/gemma2 has one matrix for both/),
        })
      },
    )
  })

  const refused: [string, Partial<PeftAdapter>, string, RegExp][] = [
    [
      'a module that does not exist',
      { modules: [lora('model.layers.4.mlp.down_proj', 8)] },
      'ADAPTER_NO_EFFECT',
      /none of the 1/,
    ],
    ['a norm with LoRA', { modules: [lora('model.norm', 8), lora(Q, 8)] }, 'ADAPTER_MISMATCH', /model\.norm/],
    ['another shape', { modules: [lora(Q, 12)] }, 'ADAPTER_MISMATCH', /expected module .* \[8, 8\]/],
    [
      'a resized vocabulary',
      { replaced: [replaced(EMBED, 'weight', [VOCABULARY + 1, WIDTH])] },
      'ADAPTER_MISMATCH',
      /has 10; its vocabulary was resized from 10 to 11 rows.*resize_token_embeddings\(11\)/,
    ],
    [
      'a token outside the vocabulary',
      { replacedRows: [{ path: EMBED, tokens: [VOCABULARY], width: WIDTH, values: numbers(WIDTH, 1) }] },
      'ADAPTER_MISMATCH',
      /rows of "model\.embed_tokens" up to 10/,
    ],
    [
      'rows of something that has no tokens',
      { replacedRows: [{ path: DOWN, tokens: [1], width: WIDTH, values: numbers(WIDTH, 1) }] },
      'ADAPTER_MISMATCH',
      /rows of/,
    ],
    [
      'a bias that the graph does not add',
      { replaced: [replaced(DOWN, 'bias', [8])] },
      'UNSUPPORTED',
      /ffn_down\.bias, which qwen2/,
    ],
    [
      'a norm of another length',
      { replaced: [replaced('model.layers.0.input_layernorm', 'weight', [9])] },
      'ADAPTER_MISMATCH',
      /8 values/,
    ],
    [
      'an unknown module',
      { replaced: [replaced('model.score', 'weight', [8, 8])] },
      'ADAPTER_MISMATCH',
      /"model\.score"/,
    ],
    [
      'two changes of one tensor',
      {
        replaced: [
          replaced(K, 'weight', [4, WIDTH]),
          replaced(K.replace('model.', ''), 'weight', [4, WIDTH]),
        ],
      },
      'ADAPTER_INVALID',
      /expected one change/,
    ],
    [
      'an overflow',
      { modules: [lora(DOWN, 8, { a: numbers(16, 1).fill(1), b: numbers(16, 1).fill(3e38), scale: 1 })] },
      'ADAPTER_INVALID',
      /ffn_down\.weight is not finite/,
    ],
  ]
  it.each(refused)('should refuse %s and leave nothing behind', async (_, fields, code, message) => {
    const base = await writeBase('qwen2')
    await expect(mergeAdapter(base, adapterOf(fields), out)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    })
    expect(await readdir(folder)).toEqual(['base.gguf'])
  })

  it('should refuse PiSSA unless the base is what it left', async () => {
    const base = await writeBase('llama')
    const adapter = adapterOf({ modules: [lora(Q, 8)] }, { init_lora_weights: 'pissa' })
    await expect(mergeAdapter(base, adapter, out)).rejects.toThrow(/PiSSA.*--residual-base/)
    expect((await mergeAdapter(base, adapter, out, { residualBase: true })).changed).toHaveLength(1)
  })

  it('should say of an adapter at its start that it changes nothing', async () => {
    const base = await writeBase('llama')
    const start = adapterOf({ modules: [lora(Q, 8, { b: new Float32Array(16) })] })
    expect(await mergeAdapter(base, start, out)).toMatchObject({
      allZero: true,
      lost: ['blk.0.attn_q.weight'],
    })
    const norm = adapterOf({
      ...start,
      replaced: [replaced('model.layers.0.input_layernorm', 'weight', [WIDTH])],
    })
    expect((await mergeAdapter(base, norm, out, { force: true })).allZero).toBe(false)
  })

  it('should not overwrite, nor write onto the base', async () => {
    await writeFile(out, 'precious')
    await expect(mergeAdapter(TINY_BASE, ADAPTER, out)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    expect(await readFile(out, 'utf8')).toBe('precious')
    await mergeAdapter(TINY_BASE, ADAPTER, out, { force: true })
    await symlink(folder, `${folder}-link`)
    const before = await readFile(out)
    for (const name of [out, join(`${folder}-link`, 'merged.gguf')])
      await expect(mergeAdapter(out, ADAPTER, name, { force: true })).rejects.toMatchObject({ code: 'USAGE' })
    await rm(`${folder}-link`)
    expect((await readFile(out)).equals(before)).toBe(true)
  })

  it('should stop when the signal fires, with nothing left behind', async () => {
    const stop = new AbortController()
    const merging = mergeAdapter(TINY_BASE, ADAPTER, out, {
      signal: stop.signal,
      onProgress: () => stop.abort(),
    })
    await expect(merging).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await readdir(folder)).toEqual([])
  })

  it('should read a split base and write one file', async () => {
    const gguf = await readGguf(TINY_BASE)
    const all = [...gguf.tensors.values()]
    const path = (no: number) => join(folder, `base-0000${no + 1}-of-00002.gguf`)
    for (const no of [0, 1]) {
      const mine = all.slice(no === 0 ? 0 : 7, no === 0 ? 7 : all.length)
      await writeFile(path(no), await partOf(TINY_BASE, mine, no, all.length))
    }
    const whole = join(folder, 'whole.gguf')
    await mergeAdapter(TINY_BASE, ADAPTER, whole)
    await mergeAdapter(path(0), ADAPTER, out)
    const data = async (file: string) => (await readFile(file)).subarray((await readGguf(file)).dataOffset)
    expect((await data(out)).equals(await data(whole))).toBe(true)
    await using model = await openModel(out)
    expect(model.info.nLayer).toBeGreaterThan(1)
  })

  /** One part of a split copy of a model. */
  async function partOf(base: string, tensors: GgufTensor[], no: number, count: number): Promise<Uint8Array> {
    const gguf = await readGguf(base)
    const split: GgufInput['metadata'] = [
      ['split.no', 'u16', no],
      ['split.count', 'u16', 2],
      ['split.tensors.count', 'i32', count],
    ]
    const { bytes, offsets, dataBytes } = encodeGgufHeader(
      [...(no === 0 ? storedMetadata(gguf) : []), ...split],
      tensors,
    )
    const file = new Uint8Array(bytes.length + dataBytes)
    file.set(bytes)
    for (const [i, { name }] of tensors.entries())
      file.set(await bytesOf(base, name), bytes.length + offsets[i]!)
    return file
  }
})

describe('types of merged weights', () => {
  it.each(MERGE_TYPE_NAMES)('should be %s if asked for, and llama.cpp should open the file', async (type) => {
    const report = await mergeAdapter(join(WIDE, 'model.gguf'), join(WIDE, 'adapter-plain'), out, { type })
    expect(new Set(report.changed.map(({ to }) => to))).toEqual(new Set([type]))
    await using model = await openModel(out)
    expect(model.gguf.tensors.get('blk.0.attn_q.weight')!.type).toBe(type)
    expect(model.gguf.tensors.get('blk.0.ffn_up.weight')!.type).toBe('F16')
  })

  it('should be those of the base otherwise, each its own', async () => {
    await mergeAdapter(join(WIDE, 'model.gguf'), join(WIDE, 'adapter-plain'), out, { type: 'Q4_K' })
    const again = join(folder, 'again.gguf')
    const report = await mergeAdapter(out, join(WIDE, 'adapter-plain'), again, { strength: -1 })
    expect(report.changed.every(({ from, to }) => from === 'Q4_K' && to === 'Q4_K')).toBe(true)
  })

  it('should be known by name in any case', () => {
    expect(mergeType('q4_k')).toBe('Q4_K')
    expect(() => mergeType('iq2_xxs')).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  it('should fit the rows', async () => {
    const base = await writeBase('llama')
    await expect(
      mergeAdapter(base, adapterOf({ modules: [lora(Q, 8)] }), out, { type: 'Q4_K' }),
    ).rejects.toMatchObject({ code: 'USAGE', message: expect.stringMatching(/rows of 8.*blocks of 256/) })
  })

  it('should have to be named where the base has one that needs an importance matrix', async () => {
    const source = join(folder, 'iq.gguf')
    await writeFile(source, await retyped('blk.0.attn_q.weight', 'IQ2_XXS'))
    await expect(mergeAdapter(source, join(WIDE, 'adapter-plain'), out)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringMatching(/IQ2_XXS.*--type bf16/),
    })
    const report = await mergeAdapter(source, join(WIDE, 'adapter-plain'), out, { type: 'Q8_0' })
    expect(report.changed.find(({ tensor }) => tensor === 'blk.0.attn_q.weight')).toMatchObject({
      from: 'IQ2_XXS',
      to: 'Q8_0',
    })
  })

  it('should refuse a change that is lost in rounding', async () => {
    const coarse = join(folder, 'coarse.gguf')
    await mergeAdapter(join(WIDE, 'model.gguf'), join(WIDE, 'adapter-plain'), coarse, { type: 'Q4_0' })
    await expect(
      mergeAdapter(coarse, join(WIDE, 'adapter-plain'), out, { strength: 1e-7 }),
    ).rejects.toMatchObject({
      code: 'ADAPTER_NO_EFFECT',
      message: expect.stringMatching(/lost in the rounding.*--type f16/),
    })
    expect(await readdir(folder)).toEqual(['coarse.gguf'])
  })

  /** The wide oracle with one tensor of zeros in another type. */
  async function retyped(name: string, type: GgufTensor['type']): Promise<Uint8Array> {
    const path = join(WIDE, 'model.gguf')
    const gguf = await readGguf(path)
    const tensors = [...gguf.tensors.values()].map((tensor) =>
      tensor.name === name ? { ...tensor, type } : tensor,
    )
    const { bytes, offsets, dataBytes } = encodeGgufHeader(storedMetadata(gguf), tensors)
    const file = new Uint8Array(bytes.length + dataBytes)
    file.set(bytes)
    for (const [i, tensor] of tensors.entries()) {
      if (tensor.name !== name) file.set(await bytesOf(path, tensor.name), bytes.length + offsets[i]!)
    }
    return file
  }
})
