/** GGUF's value types by their number in the file; 9 is the array type and stands apart. */
export const SCALAR_TYPES = {
  0: 'u8',
  1: 'i8',
  2: 'u16',
  3: 'i16',
  4: 'u32',
  5: 'i32',
  6: 'f32',
  7: 'bool',
  8: 'string',
  10: 'u64',
  11: 'i64',
  12: 'f64',
} as const

export const ARRAY_TYPE = 9

export type GgufScalarType = (typeof SCALAR_TYPES)[keyof typeof SCALAR_TYPES]
/** `u32`, `string`, ... or `u32[]`, `string[]`, ... */
export type GgufType = GgufScalarType | `${GgufScalarType}[]`

/** Fixed sizes in bytes; a string is its u64 length and its bytes. */
export const SCALAR_BYTES: Readonly<Record<GgufScalarType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 8,
  u64: 8,
  i64: 8,
  f64: 8,
}

/** Numbers of 64 bits are plain numbers when they fit 2^53 - 1, else bigints. Booleans in arrays are 0 or 1. */
export type GgufValue = number | bigint | string | boolean | GgufArray
export type GgufArray = GgufNumbers | GgufStrings
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array

/**
 * A string array of a GGUF file, decoded on demand: vocabularies have hundreds of thousands of entries, and most
 * readers want none of them.
 */
export class GgufStrings implements Iterable<string> {
  /**
   * @param bytes holds the strings back to back, each behind its u64 length
   * @param ends one past the last byte of each string, within `bytes`
   */
  constructor(
    private readonly bytes: Buffer,
    private readonly ends: Uint32Array,
  ) {}

  get length(): number {
    return this.ends.length
  }

  /** String `index`, or undefined outside the array. Bytes that are not UTF-8 become U+FFFD. */
  at(index: number): string | undefined {
    const end = this.ends[index]
    if (end === undefined) return undefined
    return this.bytes.toString('utf8', (index === 0 ? 0 : this.ends[index - 1]!) + 8, end)
  }

  /** The bytes of string `index`, one character each: two strings are equal here only if their bytes are. */
  latin1At(index: number): string | undefined {
    const end = this.ends[index]
    if (end === undefined) return undefined
    return this.bytes.toString('latin1', (index === 0 ? 0 : this.ends[index - 1]!) + 8, end)
  }

  /** The strings as the file has them, each behind its u64 length: a view, not a copy. */
  get packed(): Uint8Array {
    return this.bytes.subarray(0, this.ends[this.length - 1] ?? 0)
  }

  *[Symbol.iterator](): Iterator<string> {
    for (let i = 0; i < this.length; i++) yield this.at(i)!
  }
}

const ARRAY_CLASSES = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  bool: Uint8Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  f64: Float64Array,
} as const

/** True for a typed array whose memory is what a file holds for an array of these elements. */
export function isStoredAs(type: GgufScalarType, value: unknown): value is GgufNumbers {
  return type !== 'string' && value instanceof ARRAY_CLASSES[type]
}

/** Little-endian bytes, at any address, as a typed array of their own. */
export function numbersFromBytes(type: Exclude<GgufScalarType, 'string'>, bytes: Uint8Array): GgufNumbers {
  // Not slice(): a Buffer's slice is a view.
  const copy = new Uint8Array(bytes)
  return new ARRAY_CLASSES[type](copy.buffer)
}
