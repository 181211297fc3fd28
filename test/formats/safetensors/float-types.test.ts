import { describe, expect, it } from 'vitest'
import { encodeFloats } from '../../../lib/formats/safetensors/float-types.js'
import { decodeFloat32 } from '../../../lib/formats/safetensors/safetensors-dtypes.js'

const halves = (values: number[]) => [
  ...new Uint16Array(encodeFloats('F16', Float32Array.from(values)).buffer),
]
const brains = (values: number[]) => [
  ...new Uint16Array(encodeFloats('BF16', Float32Array.from(values)).buffer),
]

describe('encodeFloats', () => {
  it.each(['F16', 'BF16'] as const)('should give every %s number back', (type) => {
    const bits = Uint16Array.from({ length: 65_536 }, (_, i) => i)
    const values = decodeFloat32(type, new Uint8Array(bits.buffer), type)
    const found = new Uint16Array(encodeFloats(type, values).buffer)
    const wrong = bits.filter((pattern, i) => !Number.isNaN(values[i]) && found[i] !== pattern)
    expect([...wrong]).toEqual([])
    expect(
      [...found].filter((_, i) => Number.isNaN(values[i])).every((pattern) => isNaNBits(type, pattern)),
    ).toBe(true)
  })

  it('should round halves to even', () => {
    expect(halves([1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -20])).toEqual([
      0x3c00, 0x3c02, 0x3c01,
    ])
    expect(halves([-1 - 3 * 2 ** -11])).toEqual([0xbc02])
    expect(halves([65_519, 65_520, -1e9])).toEqual([0x7bff, 0x7c00, 0xfc00])
  })

  it('should round subnormal halves to even', () => {
    expect(halves([2 ** -24, 2 ** -25, 1.5 * 2 ** -25, 1.5 * 2 ** -24, 2.5 * 2 ** -24])).toEqual([
      1, 0, 1, 2, 2,
    ])
    expect(halves([2 ** -14 - 2 ** -25, 1e-30, -1e-30])).toEqual([0x400, 0, 0x8000])
  })

  it('should round BF16 to even', () => {
    expect(brains([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20])).toEqual([0x3f80, 0x3f82, 0x3f81])
    expect(brains([3.4028234e38, Number.NaN])).toEqual([0x7f80, 0x7fc0])
  })
})

function isNaNBits(type: 'F16' | 'BF16', bits: number): boolean {
  return type === 'F16' ? (bits & 0x7fff) > 0x7c00 : (bits & 0x7fff) > 0x7f80
}
