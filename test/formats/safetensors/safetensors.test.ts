import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  encodeSafetensors,
  readSafetensors,
  readSafetensorsHeader,
  Safetensors,
  type SafetensorsDtype,
} from '../../../lib/formats/safetensors/safetensors.js'
import { packageRoot } from '../../../lib/package.js'

const fixtures = join(packageRoot, 'test/fixtures/formats')

/** A file with this header text and this many zero bytes of data. */
function file(header: string | Uint8Array, dataBytes = 0, length?: bigint): Uint8Array {
  const json = typeof header === 'string' ? new TextEncoder().encode(header) : header
  const bytes = new Uint8Array(8 + json.length + dataBytes)
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true)
  bytes.set(json, 8)
  return bytes
}

const entry = (dtype: string, shape: string, begin: number | string, end: number | string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`

const bitsOf = (values: Float32Array) =>
  [...new Uint32Array(values.buffer)].map((bits) => bits.toString(16).padStart(8, '0'))

describe('Safetensors.parse', () => {
  it('should read what the safetensors library wrote, bit for bit', async () => {
    const read = await readSafetensors(join(fixtures, 'mixed.safetensors'))
    const expected = JSON.parse(await readFile(join(fixtures, 'mixed.json'), 'utf8')) as Record<
      string,
      string[]
    >
    expect(Object.fromEntries(read.metadata)).toEqual({ format: 'pt' })
    expect(read.tensors.size).toBe(12)
    for (const [name, bits] of Object.entries(expected))
      expect(bitsOf(read.float32(name)), name).toEqual(bits)
    expect(read.tensors.get('scalar')?.shape).toEqual([])
    expect(read.tensors.get('empty')).toMatchObject({ shape: [0, 4], begin: 152, end: 152 })
    expect(read.tensors.has('quoted "name" é中')).toBe(true)
    expect([...read.bytes('bool')]).toEqual([1, 0, 1])
    expect(read.sha256).toMatch(/^[0-9a-f]{64}$/)
  })

  it('should decode tensors at any address', () => {
    const values = [1.5, -2, 3e-8]
    const data = new Uint8Array(1 + 12)
    data.set(new Uint8Array(Float32Array.from(values).buffer), 1)
    const header = `{"a":${entry('U8', '[1]', 0, 1)},"b":${entry('F32', '[3]', 1, 13)}}`
    for (let shift = 0; shift < 8; shift++) {
      const whole = file(header + ' '.repeat(shift), 13)
      whole.set(data, whole.length - 13)
      expect([...Safetensors.parse(whole, 'x').float32('b')]).toEqual(values.map(Math.fround))
    }
  })

  it('should decode from a pooled Buffer, whose slices are views', () => {
    const data = {
      F32: Float32Array.of(1.5),
      F64: Float64Array.of(1.5),
      F16: Uint16Array.of(0x3e00),
      BF16: Uint16Array.of(0x3fc0),
    }
    for (const [dtype, bits] of Object.entries(data)) {
      const name = 'a'
      const bytes = encodeSafetensors([{ name, dtype: dtype as SafetensorsDtype, shape: [1], data: bits }])
      for (let shift = 0; shift < 8; shift++) {
        const pooled = Buffer.concat([Buffer.alloc(shift, 0xff), bytes]).subarray(shift)
        expect([...Safetensors.parse(pooled, 'x').float32(name)], `${dtype} at ${shift}`).toEqual([1.5])
      }
    }
  })

  it('should tell every NaN and infinity by the tensor it is in', () => {
    for (const [value, at] of [
      [Number.NaN, 0],
      [Number.POSITIVE_INFINITY, 2],
      [Number.NEGATIVE_INFINITY, 1],
    ] as const) {
      const data = new Float32Array(3)
      data[at] = value
      const bytes = encodeSafetensors([{ name: 'bad.weight', dtype: 'F32', shape: [3], data }])
      const read = Safetensors.parse(bytes, 'x')
      expect(() => read.finiteFloat32('bad.weight')).toThrow(
        `"bad.weight" of x, found ${value} at element ${at}`,
      )
    }
  })

  it('should call an F64 value beyond float32 infinite', () => {
    const data = Float64Array.of(1e300)
    const read = Safetensors.parse(encodeSafetensors([{ name: 'a', dtype: 'F64', shape: [1], data }]), 'x')
    expect(() => read.finiteFloat32('a')).toThrow(expect.objectContaining({ code: 'SHAPE' }))
  })

  it('should take the null that mlx writes for no metadata', () => {
    expect(Safetensors.parse(file('{"__metadata__":null}'), 'x').metadata.size).toBe(0)
  })

  it('should not confuse "__proto__" with anything', () => {
    const read = Safetensors.parse(file(`{"__proto__":${entry('U8', '[1]', 0, 1)}}`, 1), 'x')
    expect([...read.tensors.keys()]).toEqual(['__proto__'])
    expect(read.tensors.get('constructor')).toBeUndefined()
  })

  const f32 = entry('F32', '[2]', 0, 8)
  const big = '9007199254740991'
  const invalid: [string, Uint8Array][] = [
    ['a header length above the limit', file('{}', 0, 100_000_001n)],
    ['a header length of 2^64 - 1', file('{}', 0, 0xffff_ffff_ffff_ffffn)],
    ['a header length of 0', file('', 8)],
    ['a header that is a list', file('[]')],
    ['a header with a leading space', file(' {}')],
    ['a byte order mark', file('\ufeff{}')],
    ['bytes that are not UTF-8', file(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))],
    ['broken JSON', file('{"a":}')],
    ['two JSON values', file('{}{}')],
    ['zero bytes as padding', file('{}\0\0')],
    ['a repeated tensor', file(`{"a":${f32},"a":${f32}}`, 8)],
    [
      'a repeated key inside an entry',
      file('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8),
    ],
    ['a repeated __metadata__', file('{"__metadata__":{},"__metadata__":{}}')],
    ['a repeated __proto__', file(`{"__proto__":${f32},"__proto__":${f32}}`, 8)],
    ['metadata that is not text', file('{"__metadata__":{"a":1}}')],
    ['metadata that is a list', file('{"__metadata__":[]}')],
    ['an entry that is a number', file('{"a":1}')],
    ['an unknown dtype', file(`{"a":${entry('F33', '[2]', 0, 8)}}`, 8)],
    ['a dtype named constructor', file(`{"a":${entry('constructor', '[2]', 0, 8)}}`, 8)],
    ['no dtype', file('{"a":{"shape":[2],"data_offsets":[0,8]}}', 8)],
    ['no shape', file('{"a":{"dtype":"F32","data_offsets":[0,8]}}', 8)],
    ['no offsets', file('{"a":{"dtype":"F32","shape":[2]}}', 8)],
    ['one offset', file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}', 8)],
    ['three offsets', file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}', 8)],
    ['a negative size', file(`{"a":${entry('F32', '[-2]', 0, 8)}}`, 8)],
    ['a fraction', file(`{"a":${entry('F32', '[2.0]', 0, 8)}}`, 8)],
    ['an exponent', file(`{"a":${entry('F32', '[2e0]', 0, 8)}}`, 8)],
    ['a size as text', file(`{"a":${entry('F32', '["2"]', 0, 8)}}`, 8)],
    ['a size above 2^53 - 1', file(`{"a":${entry('F32', '[9007199254740992]', 0, 8)}}`, 8)],
    ['an overflowing product', file(`{"a":${entry('F32', `[${big},${big}]`, 0, 8)}}`, 8)],
    ['an overflowing product before a zero', file(`{"a":${entry('F32', `[${big},${big},0]`, 0, 0)}}`)],
    ['an overflowing byte size', file(`{"a":${entry('F64', `[${big}]`, 0, 8)}}`, 8)],
    ['nine dimensions', file(`{"a":${entry('U8', '[1,1,1,1,1,1,1,1,1]', 0, 1)}}`, 1)],
    ['a part of a byte', file(`{"a":${entry('F4', '[3]', 0, 1)}}`, 1)],
    ['a size unlike its shape', file(`{"a":${entry('F32', '[3]', 0, 8)}}`, 8)],
    ['an end before the beginning', file(`{"a":${entry('F32', '[2]', 8, 0)}}`, 8)],
    ['a hole at the start', file(`{"a":${entry('F32', '[2]', 4, 12)}}`, 12)],
    ['a hole between', file(`{"a":${f32},"b":${entry('F32', '[1]', 12, 16)}}`, 16)],
    ['an overlap', file(`{"a":${f32},"b":${entry('F32', '[2]', 4, 12)}}`, 12)],
    ['two tensors in one place', file(`{"a":${f32},"b":${f32}}`, 8)],
    ['bytes after the last tensor', file(`{"a":${f32}}`, 9)],
    ['a very long name', file(`{"${'n'.repeat(1025)}":${f32}}`, 8)],
    ['deep nesting', file(`{"a":${'['.repeat(5000)}`)],
  ]
  it.each(invalid)('should refuse %s as FILE_INVALID', (_, bytes) => {
    expect(() => Safetensors.parse(bytes, 'x')).toThrow(expect.objectContaining({ code: 'FILE_INVALID' }))
  })

  const cut: [string, Uint8Array][] = [
    ['nothing', new Uint8Array()],
    ['7 bytes', new Uint8Array(7)],
    ['half a header', file('{"a":', 0, 50n)],
    ['no data', file(`{"a":${f32}}`)],
    ['data that stops early', file(`{"a":${f32}}`, 7)],
  ]
  it.each(cut)('should call %s FILE_INCOMPLETE', (_, bytes) => {
    expect(() => Safetensors.parse(bytes, 'x')).toThrow(expect.objectContaining({ code: 'FILE_INCOMPLETE' }))
  })

  it('should call every proper prefix of a real file incomplete', async () => {
    const whole = await readFile(join(fixtures, 'mixed.safetensors'))
    for (let size = 0; size < whole.length; size++) {
      const problem = expect.objectContaining({ code: 'FILE_INCOMPLETE' })
      expect(() => Safetensors.parse(whole.subarray(0, size), 'x'), `${size} bytes`).toThrow(problem)
    }
  })

  it('should come to an end with what is made to take long', () => {
    const many = Array.from({ length: 100_000 }, (_, i) => `"${i}":${entry('U8', '[0]', 0, 0)}`)
    expect(Safetensors.parse(file(`{${many.join(',')}}`), 'x').tensors.size).toBe(100_000)
    expect(() => Safetensors.parse(file(`{"a":"${'\\'.repeat(4_000_001)}`), 'x')).toThrow()
    expect(() => Safetensors.parse(file(`{${' '.repeat(4_000_000)}`), 'x')).toThrow()
    expect(() => Safetensors.parse(file(`{"a":${'9'.repeat(4_000_000)}}`), 'x')).toThrow()
  })

  it('should refuse a header larger than the caller allows', () => {
    const bytes = file(`{${' '.repeat(100)}}`)
    expect(() => Safetensors.parse(bytes, 'x', { maxHeaderBytes: 50 })).toThrow(/at most 50 bytes/)
  })

  it('should refuse to decode integers, by name', () => {
    const bytes = encodeSafetensors([{ name: 'n', dtype: 'I32', shape: [1], data: Int32Array.of(1) }])
    const read = Safetensors.parse(bytes, 'x')
    expect(() => read.float32('n')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    expect(() => read.float32('m')).toThrow('expected x to hold tensor "m"')
  })
})

describe('encodeSafetensors', () => {
  it('should write the bytes that the safetensors library writes', async () => {
    const path = join(fixtures, 'mixed.safetensors')
    const read = await readSafetensors(path)
    const tensors = [...read.tensors.values()].map(({ name, dtype, shape }) => ({
      name,
      dtype,
      shape,
      data: read.bytes(name),
    }))
    const again = encodeSafetensors(tensors.reverse(), Object.fromEntries(read.metadata))
    expect(Buffer.from(again).equals(await readFile(path))).toBe(true)
  })

  it('should round-trip any names, shapes and bytes', () => {
    const tensor = fc.record({
      name: fc.string({ unit: 'grapheme', maxLength: 12 }).filter((name) => name !== '__metadata__'),
      dtype: fc.constantFrom<SafetensorsDtype>('F32', 'U8', 'F64', 'BF16'),
      shape: fc.array(fc.nat(3), { maxLength: 3 }),
    })
    const width = { F32: 4, U8: 1, F64: 8, BF16: 2 } as Record<string, number>
    fc.assert(
      fc.property(fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 6 }), (specs) => {
        const tensors = specs.map((spec, i) => {
          const size = spec.shape.reduce((a, b) => a * b, 1) * width[spec.dtype]!
          return { ...spec, data: new Uint8Array(size).fill(i + 1) }
        })
        const read = Safetensors.parse(encodeSafetensors(tensors, { a: 'b' }), 'x')
        expect(read.tensors.size).toBe(tensors.length)
        for (const { name, dtype, shape, data } of tensors) {
          expect(read.tensors.get(name)).toMatchObject({ dtype, shape })
          expect(Buffer.from(read.bytes(name)).equals(data)).toBe(true)
        }
      }),
      { seed: 1 },
    )
  })

  it('should start the data at a multiple of 8', () => {
    for (const name of ['a', 'bb', 'ccc', 'dddd', 'eeeee']) {
      const bytes = encodeSafetensors([{ name, dtype: 'U8', shape: [1], data: Uint8Array.of(1) }])
      expect(bytes.length % 8).toBe(1)
    }
  })

  it.each([
    [
      'a size unlike the shape',
      [{ name: 'a', dtype: 'F32' as const, shape: [3], data: new Float32Array(2) }],
    ],
    [
      'a repeated name',
      [1, 2].map(() => ({ name: 'a', dtype: 'F32' as const, shape: [1], data: new Float32Array(1) })),
    ],
    [
      'the name __metadata__',
      [{ name: '__metadata__', dtype: 'U8' as const, shape: [1], data: new Uint8Array(1) }],
    ],
    [
      'half a surrogate pair',
      [{ name: '\ud800', dtype: 'U8' as const, shape: [1], data: new Uint8Array(1) }],
    ],
  ])('should refuse %s', (_, tensors) => {
    expect(() => encodeSafetensors(tensors)).toThrow(expect.objectContaining({ code: 'SHAPE' }))
  })
})

describe('readSafetensors', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'traitscope-safetensors-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('should name a missing file, a folder and a file that is too large', async () => {
    const path = join(folder, 'a.safetensors')
    await expect(readSafetensors(path)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await expect(readSafetensors(path, { missing: 'vanished' })).rejects.toMatchObject({
      code: 'FILE_VANISHED',
    })
    await expect(readSafetensors(folder)).rejects.toMatchObject({ code: 'FILE_INVALID' })
    await writeFile(path, file(`{"a":${entry('U8', '[100]', 0, 100)}}`, 100))
    await expect(readSafetensors(path, { maxBytes: 50 })).rejects.toThrow(/at most 50 bytes/)
    expect((await readSafetensorsHeader(path)).tensors.get('a')?.end).toBe(100)
  })

  it('should judge a file by its header alone', async () => {
    const path = join(folder, 'cut.safetensors')
    const whole = await readFile(join(fixtures, 'mixed.safetensors'))
    await writeFile(path, whole.subarray(0, whole.length - 1))
    await expect(readSafetensorsHeader(path)).rejects.toMatchObject({ code: 'FILE_INCOMPLETE' })
    await writeFile(path, '')
    await expect(readSafetensorsHeader(path)).rejects.toMatchObject({ code: 'FILE_INCOMPLETE' })
  })
})
