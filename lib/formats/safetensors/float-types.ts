/** Types that weights are stored in without blocks. */
export type FloatType = 'F32' | 'F16' | 'BF16'

/** Little-endian bytes of float32 values in another type, rounded to nearest, ties to even; F16 overflows to infinity. */
export function encodeFloats(type: FloatType, values: Float32Array): Uint8Array {
  if (type === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const result = new Uint16Array(values.length)
  const round = type === 'F16' ? halfBits : brainBits
  for (let i = 0; i < bits.length; i++) result[i] = round(bits[i]!)
  return new Uint8Array(result.buffer)
}

function brainBits(bits: number): number {
  // A NaN stays one: rounding could carry it into infinity.
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 64
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  // 65520 and more rounds up past the largest half.
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  if (magnitude >= 0x38800000) {
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  }
  // Subnormal: a multiple of 2^-24; half of that and less is zero.
  if (magnitude <= 0x33000000) return sign
  const shift = 126 - (magnitude >>> 23)
  const mantissa = (magnitude & 0x7fffff) | 0x800000
  const quotient = mantissa >>> shift
  const rest = mantissa & ((1 << shift) - 1)
  const half = 1 << (shift - 1)
  return sign | (rest > half || (rest === half && (quotient & 1) === 1) ? quotient + 1 : quotient)
}
