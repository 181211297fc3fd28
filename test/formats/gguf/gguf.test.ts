import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
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
import { packageRoot } from '../../../lib/package.js'

const values = join(packageRoot, 'test/fixtures/formats/values.gguf')

/** Builds GGUF bytes piece by piece, so that a test can write what an encoder never would. */
class Raw {
  private parts: Buffer[] = []
  raw(bytes: Uint8Array | string): this {
    this.parts.push(Buffer.from(bytes as string))
    return this
  }
  u32(value: number): this {
    const part = Buffer.alloc(4)
    part.writeUInt32LE(value)
    return this.raw(part)
  }
  u64(value: bigint | number): this {
    const part = Buffer.alloc(8)
    part.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)))
    return this.raw(part)
  }
  str(text: string | Uint8Array): this {
    const bytes = Buffer.from(text as string)
    return this.u64(bytes.length).raw(bytes)
  }
  header(tensors: bigint | number, pairs: bigint | number, version = 3): this {
    return this.raw('GGUF').u32(version).u64(tensors).u64(pairs)
  }
  /** A u32 pair. */
  pair(key: string | Uint8Array, value: number): this {
    return this.str(key).u32(4).u32(value)
  }
  tensor(name: string | Uint8Array, shape: (bigint | number)[], type: number, offset: bigint | number): this {
    this.str(name).u32(shape.length)
    for (const dimension of shape) this.u64(dimension)
    return this.u32(type).u64(offset)
  }
  /** Pads to the data section and adds data. */
  data(bytes: number, alignment = 32): Buffer {
    const head = Buffer.concat(this.parts)
    const padding = (alignment - (head.length % alignment)) % alignment
    return Buffer.concat([head, Buffer.alloc(padding + bytes)])
  }
  end(): Buffer {
    return Buffer.concat(this.parts)
  }
}
const raw = () => new Raw()
const plain = (file: GgufFile, key: string) => {
  const value = file.metadata.get(key)
  return typeof value === 'object' ? [...(value as Iterable<unknown>)] : value
}

describe('readGguf', () => {
  it('should read every value type that gguf-py wrote', async () => {
    const file = await readGguf(values)
    const expected: Record<string, [string, unknown]> = {
      'general.architecture': ['string', 'llama'],
      't.u8': ['u8', 200],
      't.i8': ['i8', -100],
      't.u16': ['u16', 60000],
      't.i16': ['i16', -30000],
      't.u32': ['u32', 4000000000],
      't.i32': ['i32', -2000000000],
      't.f32': ['f32', 0.5],
      't.bool': ['bool', true],
      't.string': ['string', 'héllo'],
      't.u64': ['u64', 2n ** 63n + 5n],
      't.i64': ['i64', -(2 ** 40)],
      't.f64': ['f64', 1 / 3],
      't.strings': ['string[]', ['a', '', '中文', '<|eot|>']],
      't.ints': ['i32[]', [1, -2, 3]],
      't.floats': ['f32[]', [0.25, -0.5]],
      't.bools': ['bool[]', [1, 0]],
    }
    for (const [key, [type, value]] of Object.entries(expected)) {
      expect(plain(file, key), key).toEqual(value)
      expect(file.types.get(key), key).toBe(type)
    }
    expect(file).toMatchObject({ path: values, version: 3, alignment: 32 })
  })

  it('should read the tensor table that gguf-py wrote', async () => {
    const file = await readGguf(values)
    expect(
      [...file.tensors.values()].map(({ name, shape, type, byteLength }) => [name, shape, type, byteLength]),
    ).toEqual([
      ['odd.weight', [5], 'F32', 20],
      ['f32.weight', [256, 3], 'F32', 3072],
      ['f16.weight', [256, 3], 'F16', 1536],
      ['bf16.weight', [256, 3], 'BF16', 1536],
      ['q8_0.weight', [256, 3], 'Q8_0', 816],
      ['q4_0.weight', [256, 3], 'Q4_0', 432],
    ])
    expect(file.tensors.get('f32.weight')!.offset).toBe(32)
    expect(file.dataOffset % 32).toBe(0)
    const bytes = await readFile(values)
    expect(file.fileSize).toBe(bytes.length)
  })

  it('should read a vocabulary of 150,000 tokens and 280,000 merges without trouble', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'traitscope-gguf-'))
    try {
      const path = join(folder, 'vocabulary.gguf')
      const tokens = Array.from({ length: 150_000 }, (_, i) => `token-${i}`)
      const merges = Array.from({ length: 280_000 }, (_, i) => `left${i} right${i}`)
      const metadata: GgufInput['metadata'] = [
        ['tokenizer.ggml.tokens', 'string[]', tokens],
        ['tokenizer.ggml.scores', 'f32[]', tokens.map((_, i) => i)],
        ['tokenizer.ggml.merges', 'string[]', merges],
      ]
      await writeFile(path, encodeGguf({ metadata, tensors: [] }))
      const file = await readGguf(path)
      const read = file.metadata.get('tokenizer.ggml.tokens') as {
        length: number
        at(i: number): string | undefined
      }
      expect([read.length, read.at(0), read.at(149_999), read.at(150_000)]).toEqual([
        150_000,
        'token-0',
        'token-149999',
        undefined,
      ])
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('should read the header only, whatever the size of the data', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'traitscope-gguf-'))
    try {
      const path = join(folder, 'large.gguf')
      const head = raw()
        .header(1, 0)
        .tensor('w', [2 ** 20, 2 ** 12], 0, 0)
        .data(0)
      await writeFile(path, head)
      const file = await open(path, 'r+')
      await file.truncate(head.length + 2 ** 34) // sparse: 16 GiB that occupy nothing
      await file.close()
      const before = process.memoryUsage().arrayBuffers
      const read = await readGguf(path)
      expect(read.tensors.get('w')!.byteLength).toBe(2 ** 34)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 2 ** 20)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('should read version 2 as version 3', async () => {
    const file = await parseGguf(raw().header(0, 1, 2).pair('a', 7).end(), 'x')
    expect([file.version, file.metadata.get('a')]).toEqual([2, 7])
  })

  it('should honour general.alignment', async () => {
    const bytes = raw()
      .header(2, 1)
      .pair('general.alignment', 64)
      .tensor('a', [3], 0, 0)
      .tensor('b', [1], 0, 64)
      .data(68, 64)
    const file = await parseGguf(bytes, 'x')
    expect([file.alignment, file.dataOffset % 64, file.tensors.get('b')!.offset]).toEqual([64, 0, 64])
  })

  const name63 = 'n'.repeat(63)
  const valid: [string, Buffer][] = [
    ['no tensors and no metadata', raw().header(0, 0).end()],
    ['a name of 63 bytes', raw().header(1, 0).tensor(name63, [1], 0, 0).data(4)],
    ['a tensor without dimensions', raw().header(1, 0).tensor('a', [], 0, 0).data(4)],
    ['no padding after the last tensor', raw().header(1, 0).tensor('a', [1], 0, 0).data(4)],
    ['an empty array', raw().header(0, 1).str('a').u32(9).u32(8).u64(0).end()],
  ]
  it.each(valid)('should accept %s', async (_, bytes) => {
    await expect(parseGguf(bytes, 'x')).resolves.toMatchObject({ version: 3 })
  })

  const one = (shape: (bigint | number)[], type = 0, offset: bigint | number = 0) =>
    raw().header(1, 0).tensor('a', shape, type, offset).data(4096)
  const invalid: [string, Buffer][] = [
    ['another magic', raw().raw('GGML').u32(3).u64(0).u64(0).end()],
    ['a safetensors file', raw().u64(2).raw('{}').end()],
    ['a negative tensor count', raw().header(-1n, 0).end()],
    ['a negative pair count', raw().header(0, -1n).end()],
    ['more tensors than the cap', raw().header(65_537, 0).data(100)],
    ['more pairs than the cap', raw().header(0, 65_537).data(100)],
    ['an empty key', raw().header(0, 1).pair('', 1).end()],
    ['a key with a NUL', raw().header(0, 1).pair('a\0b', 1).end()],
    [
      'a key that is not UTF-8',
      raw()
        .header(0, 1)
        .pair(new Uint8Array([0xff]), 1)
        .end(),
    ],
    [
      'a key of 2^63 bytes',
      raw()
        .header(0, 1)
        .u64(2n ** 63n)
        .data(64),
    ],
    ['a repeated key', raw().header(0, 2).pair('a', 1).pair('a', 2).end()],
    ['an unknown value type', raw().header(0, 1).str('a').u32(13).u64(0).end()],
    ['an array of arrays', raw().header(0, 1).str('a').u32(9).u32(9).u64(1).data(64)],
    ['an array of an unknown type', raw().header(0, 1).str('a').u32(9).u32(77).u64(1).data(64)],
    [
      'an array of 2^62 elements',
      raw()
        .header(0, 1)
        .str('a')
        .u32(9)
        .u32(0)
        .u64(2n ** 62n)
        .data(64),
    ],
    ['an alignment of 0', raw().header(0, 1).pair('general.alignment', 0).end()],
    ['an alignment of 48', raw().header(0, 1).pair('general.alignment', 48).end()],
    [
      'an alignment of 2^31',
      raw()
        .header(0, 1)
        .pair('general.alignment', 2 ** 31)
        .end(),
    ],
    ['an alignment that is text', raw().header(0, 1).str('general.alignment').u32(8).str('32').end()],
    ['an alignment that is an i32', raw().header(0, 1).str('general.alignment').u32(5).u32(32).end()],
    [
      'an alignment that is a list',
      raw().header(0, 1).str('general.alignment').u32(9).u32(4).u64(1).u32(32).end(),
    ],
    ['a name of 64 bytes', raw().header(1, 0).tensor('n'.repeat(64), [1], 0, 0).data(4)],
    ['a name with a NUL', raw().header(1, 0).tensor('a\0', [1], 0, 0).data(4)],
    ['a repeated name', raw().header(2, 0).tensor('a', [1], 0, 0).tensor('a', [1], 0, 32).data(64)],
    ['five dimensions', one([1, 1, 1, 1, 1])],
    ['a dimension of 0', one([0])],
    ['a negative dimension', one([-4n])],
    ['a dimension of 2^63', one([2n ** 63n])],
    ['an overflowing shape', one([2n ** 31n, 2n ** 31n, 2n ** 31n])],
    ['a withdrawn type', one([32], 4)],
    ['an unknown type', one([32], 99)],
    ['a negative type', one([32], 0xffff_ffff)],
    ['rows that are no whole blocks', one([48], 2)],
    ['K-quant rows of 128', one([128], 12)],
    ['a first offset that is not 0', one([1], 0, 32)],
    ['an offset of 2^64 - 1', one([1], 0, 2n ** 64n - 1n)],
    ['a hole', raw().header(2, 0).tensor('a', [1], 0, 0).tensor('b', [1], 0, 64).data(96)],
    ['an overlap', raw().header(2, 0).tensor('a', [16], 0, 0).tensor('b', [1], 0, 32).data(96)],
    ['tensors out of order', raw().header(2, 0).tensor('a', [1], 0, 32).tensor('b', [1], 0, 0).data(96)],
    [
      'an offset off the alignment',
      raw().header(2, 0).tensor('a', [1], 0, 0).tensor('b', [1], 0, 4).data(96),
    ],
  ]
  it.each(invalid)('should refuse %s as FILE_INVALID', async (_, bytes) => {
    await expect(parseGguf(bytes, 'x')).rejects.toMatchObject({ code: 'FILE_INVALID' })
  })

  const unsupported: [string, Buffer][] = [
    ['version 1', raw().header(0, 0, 1).end()],
    ['version 0', raw().header(0, 0, 0).end()],
    ['version 4', raw().header(0, 0, 4).end()],
    ['a big-endian file', raw().header(0, 0, 0x0300_0000).end()],
    ['a part of a split model', raw().header(0, 1).pair('split.count', 3).end()],
  ]
  it.each(unsupported)('should refuse %s as UNSUPPORTED', async (_, bytes) => {
    await expect(parseGguf(bytes, 'x')).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  const cut: [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['three bytes', Buffer.from('GGU')],
    ['more tensors than fit', raw().header(1000, 0).data(100)],
    ['more pairs than fit', raw().header(0, 1000).data(100)],
    ['an array longer than the file', raw().header(0, 1).str('a').u32(9).u32(4).u64(1000).data(64)],
    [
      'strings longer than the file',
      raw().header(0, 1).str('a').u32(9).u32(8).u64(2).u64(1).raw('x').u64(900).end(),
    ],
    ['data that stops early', raw().header(1, 0).tensor('a', [8], 0, 0).data(31)],
    ['data that never starts', raw().header(1, 0).tensor('a', [8], 0, 0).end()],
    ['a tensor of petabytes', one([2n ** 40n, 2n ** 10n])],
  ]
  it.each(cut)('should call %s FILE_INCOMPLETE', async (_, bytes) => {
    await expect(parseGguf(bytes, 'x')).rejects.toMatchObject({ code: 'FILE_INCOMPLETE' })
  })

  it('should call every proper prefix of a real file incomplete', async () => {
    const whole = await readFile(values)
    const { dataOffset, tensors } = await parseGguf(whole, 'x')
    const last = [...tensors.values()].at(-1)!
    const end = dataOffset + last.offset + last.byteLength
    for (let size = 0; size < end; size += size < dataOffset ? 1 : 97) {
      const reading = parseGguf(whole.subarray(0, size), 'x')
      await expect(reading, `${size} bytes`).rejects.toMatchObject({ code: 'FILE_INCOMPLETE' })
    }
  })

  it('should survive any change of any byte of the header', async () => {
    const whole = await readFile(values)
    const { dataOffset } = await parseGguf(whole, 'x')
    await fc.assert(
      fc.asyncProperty(fc.nat(dataOffset - 1), fc.nat(255), async (at, byte) => {
        const broken = Buffer.from(whole)
        broken[at] = byte
        await parseGguf(broken, 'x').catch((error: unknown) => {
          expect(error).toMatchObject({ name: 'TraitscopeError' })
        })
      }),
      { seed: 1, numRuns: 2000 },
    )
  })

  it('should refuse in time what is made to take long', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'traitscope-gguf-'))
    try {
      const path = join(folder, 'zeros.gguf')
      // 2^27 empty strings announced in a sparse file that is large enough for them.
      await writeFile(
        path,
        raw()
          .header(0, 1)
          .str('a')
          .u32(9)
          .u32(8)
          .u64(2 ** 27)
          .end(),
      )
      const file = await open(path, 'r+')
      await file.truncate(2 ** 31)
      await file.close()
      await expect(readGguf(path)).rejects.toMatchObject({ code: 'FILE_INVALID' })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('should name a missing file and a folder', async () => {
    await expect(readGguf('/nowhere/x.gguf')).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await expect(readGguf(tmpdir())).rejects.toMatchObject({ code: 'FILE_INVALID' })
  })
})

describe('encodeGguf', () => {
  it('should round-trip every value type and both tensor types', async () => {
    const metadata: GgufInput['metadata'] = [
      ['u8', 'u8', 255],
      ['i8', 'i8', -128],
      ['u16', 'u16', 65535],
      ['i16', 'i16', -32768],
      ['u32', 'u32', 4294967295],
      ['i32', 'i32', -2147483648],
      ['f32', 'f32', -0.5],
      ['bool', 'bool', true],
      ['string', 'string', 'é'],
      ['u64', 'u64', 2n ** 64n - 1n],
      ['i64', 'i64', -(2n ** 63n)],
      ['f64', 'f64', Math.PI],
      ['strings', 'string[]', ['a', 'bc', '']],
      ['bools', 'bool[]', [false, true]],
      ['u64s', 'u64[]', [1, 2n ** 60n]],
      ['none', 'i16[]', []],
    ]
    const data = Float32Array.of(1, 2, 3, 4, 5, 6)
    const bytes = encodeGguf({
      metadata,
      tensors: [
        { name: 'a', shape: [3, 2], type: 'F32', data },
        { name: 'b', shape: [3], type: 'F16', data: Uint16Array.of(0x3c00, 0xc000, 0) },
      ],
    })
    const file = await parseGguf(bytes, 'x')
    for (const [key, type, value] of metadata) {
      expect(file.types.get(key)).toBe(type)
      const wanted = type === 'bool[]' ? [0, 1] : type === 'u64[]' ? [1n, 2n ** 60n] : value
      expect(plain(file, key), key).toEqual(wanted)
    }
    const a = file.tensors.get('a')!
    expect(a).toMatchObject({ shape: [3, 2], type: 'F32', offset: 0, byteLength: 24 })
    const start = file.dataOffset + a.offset
    expect([...new Float32Array(bytes.slice(start, start + 24).buffer)]).toEqual([...data])
    expect(file.tensors.get('b')).toMatchObject({ shape: [3], type: 'F16', offset: 32, byteLength: 6 })
    expect(bytes.length % 32).toBe(0)
  })

  it('should honour general.alignment', async () => {
    const tensor = { name: 'a', shape: [1], type: 'F32' as const, data: Float32Array.of(1) }
    const bytes = encodeGguf({
      metadata: [['general.alignment', 'u32', 256]],
      tensors: [tensor, { ...tensor, name: 'b' }],
    })
    const file = await parseGguf(bytes, 'x')
    expect([file.dataOffset % 256, file.tensors.get('b')!.offset]).toEqual([0, 256])
  })

  const tensor = { name: 'a', shape: [1], type: 'F32' as const, data: Float32Array.of(1) }
  const wrong: [string, GgufInput][] = [
    [
      'a repeated key',
      {
        metadata: [
          ['a', 'u8', 1],
          ['a', 'u8', 1],
        ],
        tensors: [],
      },
    ],
    ['an empty key', { metadata: [['', 'u8', 1]], tensors: [] }],
    ['a u8 of 256', { metadata: [['a', 'u8', 256]], tensors: [] }],
    ['a negative u32', { metadata: [['a', 'u32', -1]], tensors: [] }],
    ['a fraction as integer', { metadata: [['a', 'i32', 0.5]], tensors: [] }],
    ['a repeated tensor', { metadata: [], tensors: [tensor, tensor] }],
    ['a long name', { metadata: [], tensors: [{ ...tensor, name: 'n'.repeat(64) }] }],
    ['another shape', { metadata: [], tensors: [{ ...tensor, shape: [2] }] }],
    ['five dimensions', { metadata: [], tensors: [{ ...tensor, shape: [1, 1, 1, 1, 1] }] }],
    ['an alignment of 24', { metadata: [['general.alignment', 'u32', 24]], tensors: [] }],
  ]
  it.each(wrong)('should refuse %s', (_, input) => {
    expect(() => encodeGguf(input)).toThrow(expect.objectContaining({ code: 'INTERNAL' }))
  })
})
