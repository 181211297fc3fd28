import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  encodeGguf,
  type GgufFile,
  type GgufInput,
  parseGguf,
  readGguf,
} from '../../../lib/formats/gguf/gguf.js'
import { type PeftAdapter, readPeftAdapter } from '../../../lib/formats/peft/peft.js'
import { parsePeftConfig } from '../../../lib/formats/peft/peft-config.js'
import type { LoraModule } from '../../../lib/formats/peft/peft-tensors.js'
import { toGgufLora } from '../../../lib/model/lora/lora.js'
import { fusePairs } from '../../../lib/model/lora/lora-fuse.js'
import { adapterNorms, loraDeltaNorm } from '../../../lib/model/lora/lora-norm.js'
import { permuteRows, rotaryRowOrder } from '../../../lib/model/lora/lora-permute.js'
import { placeModules } from '../../../lib/model/lora/lora-place.js'
import { packageRoot } from '../../../lib/package.js'

const EMBD = 8
const HEADS = 2
const KV_HEADS = 1
const HEAD_DIM = 6 // not n_embd / heads
const ROWS = { q: HEADS * HEAD_DIM, k: KV_HEADS * HEAD_DIM, v: KV_HEADS * HEAD_DIM }

/** Small deterministic numbers, no two alike in a row. */
const numbers = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => Math.sin(seed * 37 + i * 1.7))

function module(path: string, outFeatures: number, options: Partial<LoraModule> = {}): LoraModule {
  const r = options.r ?? 2
  const inFeatures = options.inFeatures ?? EMBD
  const a = numbers(r * inFeatures, path.length)
  const b = numbers(outFeatures * r, path.length + 1)
  return { path, a, b, r, inFeatures, outFeatures, scale: 2, ...options }
}

const adapterOf = (...modules: LoraModule[]): PeftAdapter => ({
  path: 'run/checkpoint-10',
  config: parsePeftConfig({ peft_type: 'LORA' }, 'x'),
  modules,
  replaced: [],
  replacedRows: [],
  buffers: [],
  unsaved: [],
  files: [],
  remarks: [],
  sha256: 'ab'.repeat(32),
})

function baseOf(
  architecture: string,
  options: { fused?: boolean; tied?: boolean; metadata?: GgufInput['metadata'] } = {},
): Promise<GgufFile> {
  const tensor = (name: string, rows: number) => ({
    name: `${name}.weight`,
    shape: [EMBD, rows],
    type: 'F32' as const,
    data: new Float32Array(EMBD * rows),
  })
  const attention = options.fused
    ? [tensor('blk.0.attn_qkv', ROWS.q + ROWS.k + ROWS.v)]
    : [tensor('blk.0.attn_q', ROWS.q), tensor('blk.0.attn_k', ROWS.k), tensor('blk.0.attn_v', ROWS.v)]
  const bytes = encodeGguf({
    metadata: [
      ['general.architecture', 'string', architecture],
      [`${architecture}.block_count`, 'u32', 1],
      [`${architecture}.embedding_length`, 'u32', EMBD],
      [`${architecture}.attention.head_count`, 'u32', HEADS],
      [`${architecture}.attention.head_count_kv`, 'u32', KV_HEADS],
      [`${architecture}.attention.key_length`, 'u32', HEAD_DIM],
      ...(options.metadata ?? []),
    ],
    tensors: [tensor('token_embd', 10), ...(options.tied ? [] : [tensor('output', 10)]), ...attention],
  })
  return parseGguf(bytes, 'base.gguf')
}

/** scale · B·A, row-major `[out, in]`, in float64. */
function product(
  { a, b, r, inFeatures, outFeatures }: Omit<LoraModule, 'path' | 'scale'>,
  scale = 1,
): number[][] {
  return Array.from({ length: outFeatures }, (_, row) =>
    Array.from({ length: inFeatures }, (_, column) => {
      let sum = 0
      for (let k = 0; k < r; k++) sum += b[row * r + k]! * a[k * inFeatures + column]!
      return scale * sum
    }),
  )
}

/** What llama.cpp would add to each tensor: B·A as stored, alpha being 0. */
async function deltas(gguf: Uint8Array): Promise<Map<string, number[][]>> {
  const file = await parseGguf(gguf, 'adapter')
  const read = (name: string) => {
    const { offset, byteLength, shape, type } = file.tensors.get(name)!
    expect(type).toBe('F32')
    const start = file.dataOffset + offset
    return { shape, values: new Float32Array(gguf.slice(start, start + byteLength).buffer) }
  }
  const result = new Map<string, number[][]>()
  for (const name of file.tensors.keys()) {
    if (!name.endsWith('.lora_a')) continue
    const tensor = name.slice(0, -'.lora_a'.length)
    const a = read(name)
    const b = read(`${tensor}.lora_b`)
    expect(a.shape[1]).toBe(b.shape[0])
    const dims = { r: a.shape[1]!, inFeatures: a.shape[0]!, outFeatures: b.shape[1]! }
    result.set(tensor, product({ a: a.values, b: b.values, ...dims }))
  }
  return result
}

function expectClose(found: number[][] | undefined, expected: number[][]): void {
  expect(found?.length).toBe(expected.length)
  expected.forEach((row, i) => {
    row.forEach((value, j) => {
      expect(Math.abs(found![i]![j]! - value), `row ${i}, column ${j}`).toBeLessThan(1e-5)
    })
  })
}

const Q = 'model.layers.0.self_attn.q_proj'
const K = 'model.layers.0.self_attn.k_proj'
const V = 'model.layers.0.self_attn.v_proj'
const q = (options?: Partial<LoraModule>) => module(Q, ROWS.q, options)
const k = (options?: Partial<LoraModule>) => module(K, ROWS.k, options)
const v = (options?: Partial<LoraModule>) => module(V, ROWS.v, options)
const permuted = (rows: number[][], heads: number) =>
  [...rotaryRowOrder(rows.length, heads)].map((row) => rows[row]!)

describe('toGgufLora', () => {
  it.each(['qwen2', 'qwen3', 'gemma2', 'gemma3'])(
    'should keep the rows of %s and fold the scale in',
    async (name) => {
      const modules = [q(), k({ scale: 0.5, r: 3 }), v({ scale: -1 })]
      const { gguf } = toGgufLora(adapterOf(...modules), await baseOf(name))
      const found = await deltas(gguf)
      expect([...found.keys()]).toEqual(['blk.0.attn_q.weight', 'blk.0.attn_k.weight', 'blk.0.attn_v.weight'])
      modules.forEach((one, i) => {
        expectClose([...found.values()][i], product(one, one.scale))
      })
    },
  )

  it.each(['llama', 'mistral3'])(
    'should permute the rows of q and k, and only these, for %s',
    async (name) => {
      const modules = [q(), k(), v()]
      const found = await deltas(toGgufLora(adapterOf(...modules), await baseOf(name)).gguf)
      expectClose(found.get('blk.0.attn_q.weight'), permuted(product(modules[0]!, 2), HEADS))
      expectClose(found.get('blk.0.attn_k.weight'), permuted(product(modules[1]!, 2), KV_HEADS))
      expectClose(found.get('blk.0.attn_v.weight'), product(modules[2]!, 2))
    },
  )

  const parts: [string, LoraModule[]][] = [
    ['q, k and v', [q(), k({ r: 1, scale: 3 }), v({ r: 4, scale: 0.25 })]],
    ['q and v', [q(), v({ r: 3 })]],
    ['k alone', [k()]],
  ]
  it.each(parts)('should fuse %s into one attn_qkv', async (_, modules) => {
    for (const architecture of ['qwen2', 'llama']) {
      const { gguf, report } = toGgufLora(adapterOf(...modules), await baseOf(architecture, { fused: true }))
      const found = await deltas(gguf)
      expect([...found.keys()]).toEqual(['blk.0.attn_qkv.weight'])
      const rows = (['q', 'k', 'v'] as const).flatMap((projection) => {
        const one = modules.find(({ path }) => path.endsWith(`${projection}_proj`))
        if (!one) return Array.from({ length: ROWS[projection] }, () => new Array<number>(EMBD).fill(0))
        const delta = product(one, one.scale)
        if (architecture !== 'llama' || projection === 'v') return delta
        return permuted(delta, projection === 'q' ? HEADS : KV_HEADS)
      })
      expectClose(found.get('blk.0.attn_qkv.weight'), rows)
      expect(report.modules.map(({ tensor }) => tensor)).toEqual(modules.map(() => 'blk.0.attn_qkv.weight'))
    }
  })

  it('should write the header that llama.cpp asks of an adapter', async () => {
    const { gguf } = toGgufLora(adapterOf(q()), await baseOf('llama'))
    const file = await parseGguf(gguf, 'adapter')
    expect(Object.fromEntries(file.metadata)).toEqual({
      'general.type': 'adapter',
      'general.architecture': 'llama',
      'adapter.type': 'lora',
      'adapter.lora.alpha': 0,
      'traitscope.adapter.sha256': 'ab'.repeat(32),
    })
    expect(file.types.get('adapter.lora.alpha')).toBe('f32')
    expect(file.tensors.get('blk.0.attn_q.weight.lora_a')!.shape).toEqual([EMBD, 2])
    expect(file.tensors.get('blk.0.attn_q.weight.lora_b')!.shape).toEqual([2, ROWS.q])
  })

  it('should write the same bytes for the same adapter, and leave it as it was', async () => {
    const base = await baseOf('llama')
    const adapter = adapterOf(q(), v())
    const first = toGgufLora(adapter, base).gguf
    expect(Buffer.compare(first, toGgufLora(adapter, base).gguf)).toBe(0)
    expect(adapter.modules[0]!.b).toEqual(q().b)
  })

  it('should adapt an untied head', async () => {
    const head = module('lm_head', 10)
    const found = await deltas(toGgufLora(adapterOf(head), await baseOf('qwen2')).gguf)
    expectClose(found.get('output.weight'), product(head, 2))
  })

  it('should change the places of the factors of an embedding, whose rows are looked up', async () => {
    const one = module('model.embed_tokens', 10, { embedding: true })
    const { gguf } = toGgufLora(adapterOf(one), await baseOf('llama'))
    const file = await parseGguf(gguf, 'adapter')
    const read = (name: string) => {
      const { offset, byteLength, shape } = file.tensors.get(name)!
      const start = file.dataOffset + offset
      return { shape, values: [...new Float32Array(gguf.slice(start, start + byteLength).buffer)] }
    }
    const { a, b } = one
    expect(read('token_embd.weight.lora_a')).toEqual({
      shape: [2, 10],
      values: [...b].map((value) => Math.fround(2 * value)),
    })
    expect(read('token_embd.weight.lora_b')).toEqual({
      shape: [2, EMBD],
      values: Array.from({ length: 2 * EMBD }, (_, i) => a[(i % 2) * EMBD + (i >> 1)]),
    })
  })

  it('should place a tied head on the embedding when it is merged, and nowhere when attached', async () => {
    const head = module('lm_head', 10)
    const base = await baseOf('llama', { tied: true })
    const [placement] = placeModules(adapterOf(head), base, 'llama', true)
    expect(placement).toMatchObject({ fused: false, target: { name: 'output.weight', shape: [EMBD, 10] } })
    expect(() => placeModules(adapterOf(head), base, 'llama')).toThrow(/tied to its embedding/)
    expect(placeModules(adapterOf(), base, 'llama')).toEqual([])
  })

  it('should refuse an adapter that lost a module trained whole, and none for a name that no module of the base has', async () => {
    const base = await baseOf('llama')
    const place =
      (architecture: string, ...unsaved: string[]) =>
      () =>
        placeModules({ ...adapterOf(), unsaved }, base, architecture)
    expect(place('llama', 'embed_token', 'score', 'q_norm')).not.toThrow()
    for (const name of ['lm_head', 'embed_tokens', 'mlp', 'layers', 'input_layernorm', 'model.norm']) {
      expect(place('llama', 'embed_token', name)).toThrow(
        expect.objectContaining({ code: 'ADAPTER_INVALID', message: expect.stringContaining(`"${name}"`) }),
      )
    }
    expect(place('qwen3', 'q_norm')).toThrow(/tensors of "q_norm"/)
  })

  it('should leave out what lies above the highest layer that is read, and report it', async () => {
    const embedding = module('model.embed_tokens', 10, { embedding: true })
    const head = module('lm_head', 10)
    const base = await baseOf('llama')
    const attach = (modules: LoraModule[], readsUpTo: number) =>
      toGgufLora(adapterOf(...modules), base, { readsUpTo })
    const { gguf, report } = attach([q(), head], 0)
    expect([...(await parseGguf(gguf, 'adapter')).tensors.keys()]).toEqual([
      'blk.0.attn_q.weight.lora_a',
      'blk.0.attn_q.weight.lora_b',
    ])
    expect(report.modules.map(({ notRun }) => notRun)).toEqual([undefined, true])
    expect(report.allZero).toBe(false)
    // What is left out counts for nothing: the rest is all zero.
    expect(attach([q({ scale: 0 }), head], 0).report.allZero).toBe(true)
    expect(() => attach([head, q()], -1)).toThrow(
      /all 2 modules of run\/checkpoint-10 lie above layer -1, the highest that is read/,
    )
    // llama.cpp takes the embedding's shape from the head, which a part of the base does not have.
    expect(() => attach([embedding, q()], 0)).toThrow(
      /is an embedding, and the base's head is not read; merge it/,
    )
    expect(toGgufLora(adapterOf(head, q()), base).report.modules.some(({ notRun }) => notRun)).toBe(false)
  })

  it('should report what matched', async () => {
    const zero = v({ b: new Float32Array(ROWS.v * 2) })
    const { report } = toGgufLora(adapterOf(q(), zero), await baseOf('llama'), { norms: true })
    expect(report).toMatchObject({ architecture: 'llama', allZero: false })
    expect(report.modules).toEqual([
      {
        path: Q,
        tensor: 'blk.0.attn_q.weight',
        r: 2,
        scale: 2,
        bIsZero: false,
        deltaNorm: loraDeltaNorm(q()),
      },
      { path: V, tensor: 'blk.0.attn_v.weight', r: 2, scale: 2, bIsZero: true, deltaNorm: 0 },
    ])
    expect(report.deltaNorm).toBe(loraDeltaNorm(q()))
    expect(toGgufLora(adapterOf(q()), await baseOf('llama')).report).not.toHaveProperty('deltaNorm')
  })

  it.each([
    ['every B is zero', q({ b: new Float32Array(ROWS.q * 2) })],
    ['every B is minus zero', q({ b: new Float32Array(ROWS.q * 2).fill(-0) })],
    ['every A is zero', q({ a: new Float32Array(2 * EMBD) })],
    ['alpha is 0', q({ scale: 0 })],
  ])('should say that nothing changes when %s', async (_, one) => {
    const { gguf, report } = toGgufLora(adapterOf(one), await baseOf('llama'))
    expect(report.allZero).toBe(true)
    for (const row of (await deltas(gguf)).get('blk.0.attn_q.weight')!)
      expect(row.every((value) => value === 0)).toBe(true)
  })

  const refused: [string, LoraModule[], Parameters<typeof baseOf>, string, RegExp][] = [
    [
      'nothing in common',
      [module('transformer.h.0.attn.c_attn', 6)],
      ['llama'],
      'ADAPTER_NO_EFFECT',
      /none of the 1 modules/,
    ],
    [
      'layers that do not exist',
      [module('model.layers.7.self_attn.q_proj', ROWS.q)],
      ['llama'],
      'ADAPTER_NO_EFFECT',
      /layers\.7/,
    ],
    [
      'one layer too many',
      [q(), module('model.layers.1.self_attn.q_proj', ROWS.q)],
      ['llama'],
      'ADAPTER_MISMATCH',
      /1 of 2 modules.*llama, 1 blocks.*layers\.1\.self_attn\.q_proj/,
    ],
    [
      'too many rows',
      [module(Q, ROWS.q + 1)],
      ['llama'],
      'ADAPTER_MISMATCH',
      /to be \[12, 8\].*found \[13, 8\]/,
    ],
    [
      'too many columns',
      [q({ inFeatures: 9 })],
      ['llama'],
      'ADAPTER_MISMATCH',
      /to be \[12, 8\].*found \[12, 9\]/,
    ],
    [
      'swapped q and k',
      [module(K, ROWS.q)],
      ['qwen2'],
      'ADAPTER_MISMATCH',
      /to be \[6, 8\].*found \[12, 8\]/,
    ],
    [
      'a part too large for a fused base',
      [module(V, 7)],
      ['qwen2', { fused: true }],
      'ADAPTER_MISMATCH',
      /to be \[6, 8\].*found \[7, 8\]/,
    ],
    [
      'one module under two names',
      [q(), { ...q(), path: 'layers.0.self_attn.q_proj' }],
      ['llama'],
      'ADAPTER_INVALID',
      /one module per tensor/,
    ],
    [
      'a head tied to the embedding',
      [module('lm_head', 10)],
      ['llama', { tied: true }],
      'UNSUPPORTED',
      /tied to its embedding/,
    ],
    [
      'linear factors for the embedding',
      [module('model.embed_tokens', 10)],
      ['llama'],
      'ADAPTER_INVALID',
      /embedding/,
    ],
    [
      'embedding factors for a linear module',
      [q({ embedding: true })],
      ['llama'],
      'ADAPTER_INVALID',
      /embedding/,
    ],
    ['a vision part', [q(), module('model.visual.blocks.0.attn.qkv', 6)], ['llama'], 'UNSUPPORTED', /vision/],
    ['an unknown architecture', [q()], ['gpt2'], 'UNSUPPORTED', /expected one of llama/],
    [
      'a mixture of experts',
      [q()],
      ['llama', { metadata: [['llama.expert_count', 'u32', 8]] }],
      'UNSUPPORTED',
      /mixture of experts/,
    ],
    ['a scale that overflows', [q({ scale: 1e39 })], ['llama'], 'ADAPTER_INVALID', /overflow/],
    ['split projections on phi3', [q()], ['phi3'], 'ADAPTER_NO_EFFECT', /fused qkv_proj/],
    [
      'other modules on phi3, without that hint',
      [module('model.layers.9.self_attn.o_proj', 8)],
      ['phi3'],
      'ADAPTER_NO_EFFECT',
      /\(phi3\): "model\.layers\.9\.self_attn\.o_proj"; the adapter was trained on another/,
    ],
    [
      'split projections elsewhere, without that hint',
      [module('model.layers.7.self_attn.q_proj', ROWS.q)],
      ['llama'],
      'ADAPTER_NO_EFFECT',
      /q_proj"; the adapter was trained on another/,
    ],
    [
      'one split projection of many on phi3',
      [module('model.layers.9.self_attn.o_proj', 8), q()],
      ['phi3'],
      'ADAPTER_NO_EFFECT',
      /fused qkv_proj/,
    ],
    [
      'three unknown modules by name',
      ['a', 'b', 'c'].map((name) => module(`model.${name}`, 6)),
      ['llama'],
      'ADAPTER_NO_EFFECT',
      /none of the 3 .*: "model\.a", "model\.b", "model\.c"; the/,
    ],
    [
      'five unknown modules, three by name',
      ['a', 'b', 'c', 'd', 'e'].map((name) => module(`model.${name}`, 6)),
      ['llama'],
      'ADAPTER_NO_EFFECT',
      /none of the 5 .*: "model\.a", "model\.b", "model\.c" and 2 more; the/,
    ],
    [
      'a norm',
      [q(), module('model.norm', 8)],
      ['llama'],
      'ADAPTER_MISMATCH',
      /1 of 2 modules.*"model\.norm"/,
    ],
    [
      'a head of another vocabulary',
      [module('lm_head', 12)],
      ['llama'],
      'ADAPTER_MISMATCH',
      /"lm_head" of the adapter has 12 rows, and output\.weight of base\.gguf has 10/,
    ],
    [
      'an embedding of a smaller vocabulary',
      [module('model.embed_tokens', 9, { embedding: true })],
      ['llama'],
      'ADAPTER_MISMATCH',
      /has 9 rows, and token_embd\.weight of base\.gguf has 10/,
    ],
    [
      'a head of another width',
      [module('lm_head', 10, { inFeatures: 9 })],
      ['llama'],
      'ADAPTER_MISMATCH',
      /"lm_head" to be \[10, 8\] as output\.weight .* found \[10, 9\]/,
    ],
  ]
  it.each(refused)('should refuse %s', async (_, modules, base, code, message) => {
    const file = await baseOf(...base)
    expect(() => toGgufLora(adapterOf(...modules), file)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
  })

  it('should refuse a fused base whose rows are not those of its heads', async () => {
    const metadata: GgufInput['metadata'] = [['qwen2.attention.value_length', 'u32', HEAD_DIM + 1]]
    const file = await baseOf('qwen2', { fused: true, metadata })
    expect(() => toGgufLora(adapterOf(q()), file)).toThrow(/12 \+ 6 \+ 7 rows for q, k and v, found 24/)
  })

  it('should refuse heads that do not divide the rows', async () => {
    const file = await baseOf('llama')
    const metadata = new Map(file.metadata).set('llama.attention.head_count', 5)
    expect(() => toGgufLora(adapterOf(q()), { ...file, metadata })).toThrow(
      expect.objectContaining({ code: 'ADAPTER_MISMATCH' }),
    )
  })

  it('should refuse an NVFP4 tensor', async () => {
    const file = await baseOf('llama')
    const tensors = new Map(file.tensors)
    const name = 'blk.0.attn_q.weight'
    tensors.set(name, { ...tensors.get(name)!, type: 'NVFP4' })
    expect(() => toGgufLora(adapterOf(q()), { ...file, tensors })).toThrow(/NVFP4/)
  })

  it.each(['gemma2', 'gemma3', 'llama', 'mistral', 'phi3', 'phi4', 'qwen2', 'qwen3'])(
    'should match every module of the adapters trained on the %s oracle',
    async (name) => {
      const folder = join(packageRoot, 'test/fixtures/oracles', name)
      const base = await readGguf(join(folder, 'model.gguf'))
      for (const variant of ['plain', 'rslora', 'patterns']) {
        const adapter = await readPeftAdapter(join(folder, `adapter-${variant}`))
        const { report } = toGgufLora(adapter, base)
        expect(report.modules).toHaveLength(adapter.modules.length)
        expect(report.allZero).toBe(false)
      }
    },
  )

  it('should rewrite a rank 16 adapter of an 8B model', async () => {
    const layers = 32
    const rows = { q_proj: 4096, v_proj: 1024 }
    const modules = Array.from({ length: layers }, (_, layer) =>
      Object.entries(rows).map(([name, out]) =>
        module(`model.layers.${layer}.self_attn.${name}`, out, { r: 16, inFeatures: 4096 }),
      ),
    ).flat()
    const head = (key: string, value: number) => [`llama.${key}`, 'u32', value] as const
    const file = await parseGguf(
      encodeGguf({
        metadata: [
          ['general.architecture', 'string', 'llama'],
          head('embedding_length', 4096),
          head('attention.head_count', 32),
          head('attention.head_count_kv', 8),
        ],
        tensors: [],
      }),
      'base.gguf',
    )
    const tensors = new Map(
      Array.from({ length: layers }, (_, layer) =>
        Object.entries({ attn_q: 4096, attn_v: 1024 }).map(([name, out]) => {
          const tensor = `blk.${layer}.${name}.weight`
          return [
            tensor,
            { name: tensor, shape: [4096, out], type: 'Q4_K' as const, offset: 0, byteLength: 0 },
          ] as const
        }),
      ).flat(),
    )
    const { gguf, report } = toGgufLora(adapterOf(...modules), { ...file, tensors })
    expect(gguf.length).toBeGreaterThan(27_000_000)
    expect(report.modules).toHaveLength(2 * layers)
  })
})

describe('rotaryRowOrder', () => {
  const golden = JSON.parse(
    readFileSync(join(packageRoot, 'test/fixtures/formats/permute.json'), 'utf8'),
  ) as { heads: number; rows: number; order: number[] }[]

  it.each(golden)('should order $rows rows in $heads heads as numpy does', ({ heads, rows, order }) => {
    expect([...rotaryRowOrder(rows, heads)]).toEqual(order)
  })

  it('should be a permutation within each head that its inverse undoes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 9 }), (heads, half) => {
        const rows = heads * half * 2
        const order = rotaryRowOrder(rows, heads)
        const inverse = new Uint32Array(rows)
        order.forEach((source, row) => {
          inverse[source] = row
          expect(Math.floor(source / (2 * half))).toBe(Math.floor(row / (2 * half)))
        })
        const matrix = numbers(rows * 3, rows)
        expect(permuteRows(permuteRows(matrix, 3, order), 3, inverse)).toEqual(matrix)
      }),
      { seed: 1 },
    )
  })

  it.each([
    [10, 4],
    [9, 3],
    [6, 2],
  ])('should refuse %i rows in %i heads, which have no even size', (rows, heads) => {
    expect(() => rotaryRowOrder(rows, heads)).toThrow(expect.objectContaining({ code: 'ADAPTER_MISMATCH' }))
  })

  it('should commute with the product: permuting B permutes B·A', () => {
    const one = q({ r: 3 })
    const order = rotaryRowOrder(ROWS.q, HEADS)
    const rows = product(one)
    expectClose(
      product({ ...one, b: permuteRows(one.b, 3, order) }),
      [...order].map((row) => rows[row]!),
    )
  })
})

describe('fusePairs', () => {
  it('should stack A and keep B block-diagonal', () => {
    const pair = (r: number, rows: number, fill: number) => ({
      a: new Float32Array(r * 2).fill(fill),
      b: new Float32Array(rows * r).fill(10 * fill),
      r,
      inFeatures: 2,
      outFeatures: rows,
    })
    const fused = fusePairs(
      [{ rows: 1, pair: pair(1, 1, 1) }, { rows: 1 }, { rows: 2, pair: pair(2, 2, 2) }],
      2,
    )
    expect(fused).toMatchObject({ r: 3, inFeatures: 2, outFeatures: 4 })
    expect([...fused.a]).toEqual([1, 1, 2, 2, 2, 2])
    expect([...fused.b]).toEqual([10, 0, 0, 0, 0, 0, 0, 20, 20, 0, 20, 20])
  })
})

describe('adapterNorms', () => {
  const paths = [
    'lm_head',
    'model.layers.10.self_attn.q_proj',
    'model.layers.2.mlp.down_proj',
    'model.layers.2.self_attn.v_proj',
    'model.layers.2.self_attn.q_proj',
    'model.embed_tokens',
  ]
  const modules = paths.map((path, i) => module(path, 6, { scale: 1 + i }))

  it('should go through the blocks by number, q before v, the head last', async () => {
    const { deltaNorm, deltaNorms } = (await adapterNorms(modules, 'llama'))!
    expect(deltaNorms).toEqual([5, 4, 3, 2, 1, 0].map((i) => loraDeltaNorm(modules[i]!)))
    expect(deltaNorm).toBe(Math.hypot(...deltaNorms))
  })

  it('should have no norm for DoRA', async () => {
    const dora = module('model.layers.0.self_attn.q_proj', 6, { magnitude: new Float32Array(6).fill(1) })
    expect(await adapterNorms([...modules, dora], 'llama')).toBeUndefined()
  })

  it('should stop when it is told to', async () => {
    await expect(adapterNorms(modules, 'llama', AbortSignal.abort())).rejects.toMatchObject({
      code: 'ABORTED',
    })
  })
})

describe('loraDeltaNorm', () => {
  it('should equal the norm of the product', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        (r, rows, columns) => {
          const one = module('m', rows, { r, inFeatures: columns, scale: -1.5 })
          const exact = Math.hypot(...product(one, one.scale).flat())
          expect(Math.abs(loraDeltaNorm(one) - exact)).toBeLessThan(1e-9 * Math.max(1, exact))
        },
      ),
      { seed: 1 },
    )
  })

  it('should be 0 for a zero scale and for zero matrices', () => {
    expect(loraDeltaNorm(q({ scale: 0 }))).toBe(0)
    expect(loraDeltaNorm(q({ b: new Float32Array(ROWS.q * 2) }))).toBe(0)
  })
})
