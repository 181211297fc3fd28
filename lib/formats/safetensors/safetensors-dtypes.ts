import { TraitscopeError } from '../../errors.js'

/**
 * Bits of one element per dtype. The order is the format's own (by alignment, then as its writer lists them), and
 * current writers lay tensors out from the last dtype to the first.
 */
const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const

export type SafetensorsDtype = keyof typeof DTYPE_BITS

const DTYPES = Object.keys(DTYPE_BITS) as SafetensorsDtype[]

export function isSafetensorsDtype(value: unknown): value is SafetensorsDtype {
  return typeof value === 'string' && (DTYPES as string[]).includes(value)
}

/** Position in the format's dtype order; wider types come later. */
export function dtypeOrder(dtype: SafetensorsDtype): number {
  return DTYPES.indexOf(dtype)
}

/** Bytes of a tensor, or undefined when its size overflows 2^53 - 1 or is not a whole number of bytes. */
export function tensorByteLength(dtype: SafetensorsDtype, shape: readonly number[]): number | undefined {
  let elements = 1
  for (const dimension of shape) {
    elements *= dimension
    if (elements > Number.MAX_SAFE_INTEGER) return undefined
  }
  const bits = elements * DTYPE_BITS[dtype]
  return bits > Number.MAX_SAFE_INTEGER || bits % 8 !== 0 ? undefined : bits / 8
}

/**
 * Decodes little-endian F32, F16, BF16 or F64 bytes into a fresh Float32Array. F64 values are rounded to float32.
 *
 * The bytes may start anywhere: foreign writers do not align tensors, and typed arrays cannot view unaligned memory.
 *
 * @throws UNSUPPORTED for every other dtype; `what` names the tensor.
 */
export function decodeFloat32(dtype: SafetensorsDtype, bytes: Uint8Array, what: string): Float32Array {
  switch (dtype) {
    case 'F32':
      return new Float32Array(copyOf(bytes).buffer)
    case 'BF16': {
      const source = aligned16(bytes)
      const result = new Uint32Array(source.length)
      for (let i = 0; i < source.length; i++) result[i] = source[i]! << 16
      return new Float32Array(result.buffer)
    }
    case 'F16': {
      const source = aligned16(bytes)
      const table = halfTable()
      const result = new Float32Array(source.length)
      for (let i = 0; i < source.length; i++) result[i] = table[source[i]!]!
      return result
    }
    case 'F64':
      return Float32Array.from(new Float64Array(copyOf(bytes).buffer))
    default:
      throw new TraitscopeError(
        'UNSUPPORTED',
        `expected ${what} to be F32, F16, BF16 or F64, found ${dtype}; save it in one of these types`,
      )
  }
}

/** Index of the first NaN or infinite value, or -1. */
export function firstNonFinite(values: Float32Array): number {
  // x - x is 0 for every finite x and NaN otherwise, and a sum keeps a NaN: the common case needs no branch per value.
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]! - values[i]!
  return sum === 0 ? -1 : values.findIndex((value) => !Number.isFinite(value))
}

function aligned16(bytes: Uint8Array): Uint16Array {
  const usable = bytes.byteOffset % 2 === 0 ? bytes : copyOf(bytes)
  return new Uint16Array(usable.buffer, usable.byteOffset, usable.length / 2)
}

/** Not slice(): when the bytes are a Buffer, that is a view. */
function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}

let halves: Float32Array | undefined

/** All 65536 half-precision values; a look-up is several times faster than decoding bits. */
function halfTable(): Float32Array {
  halves ??= Float32Array.from({ length: 65_536 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1
    const exponent = (bits >> 10) & 31
    const fraction = bits & 1023
    if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
  })
  return halves
}
