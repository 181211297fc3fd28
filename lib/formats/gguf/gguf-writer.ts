import { TraitscopeError } from '../../errors.js'
import { quoted } from '../json/json-scan.js'
import { type GgmlTypeName, ggmlType } from './ggml-types.js'
import { MAX_TENSOR_NAME_BYTES, padTo } from './gguf-tensors.js'
import {
  ARRAY_TYPE,
  type GgufScalarType,
  GgufStrings,
  type GgufType,
  isStoredAs,
  SCALAR_TYPES,
} from './gguf-values.js'

export type GgufInputValue = number | bigint | boolean | string
export type GgufInputTensor =
  | { name: string; shape: readonly number[]; type: 'F32'; data: Float32Array }
  /** Half-precision bit patterns. */
  | { name: string; shape: readonly number[]; type: 'F16'; data: Uint16Array }

export interface GgufInput {
  /** In the order they are written. `general.alignment` (u32) sets the alignment of the file. */
  metadata: readonly (readonly [
    key: string,
    type: GgufType,
    value: GgufInputValue | Iterable<GgufInputValue>,
  ])[]
  /** `shape` is ggml's ne: the first dimension is contiguous. */
  tensors: readonly GgufInputTensor[]
}

const TYPE_IDS = new Map(Object.entries(SCALAR_TYPES).map(([id, type]) => [type, Number(id)]))
const INTEGER_BITS: Partial<Record<GgufScalarType, readonly [bits: number, signed: boolean]>> = {
  u8: [8, false],
  i8: [8, true],
  u16: [16, false],
  i16: [16, true],
  u32: [32, false],
  i32: [32, true],
  u64: [64, false],
  i64: [64, true],
}

/** Everything before the data of a GGUF file, for files whose data is streamed. */
export interface GgufHeader {
  /** Padded: the data section starts right behind it. */
  bytes: Uint8Array
  /** Where each tensor's data starts within the data section, in order. */
  offsets: number[]
  /** Size of the data section, padding after the last tensor included. */
  dataBytes: number
}

/**
 * Encodes the header of a little-endian GGUF version 3 file. Same input, same bytes.
 *
 * @throws INTERNAL when a name repeats or is too long, a value does not fit its type, or a shape does not fit its tensor
 * type: callers choose all of these.
 */
export function encodeGgufHeader(
  metadata: GgufInput['metadata'],
  tensors: readonly { name: string; shape: readonly number[]; type: GgmlTypeName }[],
): GgufHeader {
  const alignment = alignmentOf(metadata)
  const header = new ByteWriter()
  header.bytes(Buffer.from('GGUF'))
  header.scalar('u32', 3)
  header.scalar('u64', tensors.length)
  header.scalar('u64', metadata.length)
  writeMetadata(header, metadata)
  const names = new Set<string>()
  const offsets: number[] = []
  let dataBytes = 0
  for (const { name, shape, type } of tensors) {
    if (names.has(name) || Buffer.byteLength(name) > MAX_TENSOR_NAME_BYTES) {
      throw internal(
        `the tensor name ${quoted(name)} is repeated or longer than ${MAX_TENSOR_NAME_BYTES} bytes`,
      )
    }
    names.add(name)
    header.string(name)
    header.scalar('u32', shape.length)
    for (const dimension of shape) header.scalar('i64', dimension)
    header.scalar('i32', ggmlType(type).id)
    header.scalar('u64', dataBytes)
    offsets.push(dataBytes)
    dataBytes += padTo(tensorByteLength(name, shape, type), alignment)
  }
  const bytes = new Uint8Array(padTo(header.length, alignment))
  header.copyTo(bytes)
  return { bytes, offsets, dataBytes }
}

/** Encodes a whole file in memory; see {@link encodeGgufHeader}. */
export function encodeGguf({ metadata, tensors }: GgufInput): Uint8Array {
  const { bytes, offsets, dataBytes } = encodeGgufHeader(metadata, tensors)
  const file = new Uint8Array(bytes.length + dataBytes)
  file.set(bytes)
  for (const [i, { name, shape, type, data }] of tensors.entries()) {
    if (data.byteLength !== tensorByteLength(name, shape, type)) {
      throw internal(`tensor ${quoted(name)} has shape [${shape}] and ${data.length} values`)
    }
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), bytes.length + offsets[i]!)
  }
  return file
}

/** Bytes of a tensor's data, without padding. @throws INTERNAL when a row is no whole number of blocks. */
export function tensorByteLength(name: string, shape: readonly number[], type: GgmlTypeName): number {
  const { blockElements, blockBytes } = ggmlType(type)
  const elements = shape.reduce((product, dimension) => product * dimension, 1)
  if (shape.length < 1 || shape.length > 4 || elements < 1 || shape[0]! % blockElements !== 0) {
    throw internal(`tensor ${quoted(name)} of type ${type} cannot have shape [${shape}]`)
  }
  return (elements / blockElements) * blockBytes
}

function alignmentOf(metadata: GgufInput['metadata']): number {
  const pair = metadata.find(([key]) => key === 'general.alignment')
  if (!pair) return 32
  if (pair[1] !== 'u32' || !Number.isInteger(Math.log2(Number(pair[2])))) {
    throw internal('general.alignment must be a u32 power of two')
  }
  return Number(pair[2])
}

function writeMetadata(header: ByteWriter, metadata: GgufInput['metadata']): void {
  const keys = new Set<string>()
  for (const [key, type, value] of metadata) {
    if (key === '' || keys.has(key)) throw internal(`the metadata key ${quoted(key)} is empty or repeated`)
    keys.add(key)
    header.string(key)
    if (type.endsWith('[]')) {
      const element = type.slice(0, -2) as GgufScalarType
      // Arrays that came from a file go back as they are: vocabularies have hundreds of thousands of entries.
      const stored = value instanceof GgufStrings || isStoredAs(element, value) ? value : undefined
      const items = stored ?? [...(value as Iterable<GgufInputValue>)]
      header.scalar('i32', ARRAY_TYPE)
      header.scalar('i32', TYPE_IDS.get(element)!)
      header.scalar('u64', items.length)
      if (stored instanceof GgufStrings) header.bytes(stored.packed)
      else if (stored) header.bytes(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength))
      else for (const item of items as GgufInputValue[]) header.scalar(element, item)
    } else {
      header.scalar('i32', TYPE_IDS.get(type as GgufScalarType)!)
      header.scalar(type as GgufScalarType, value as GgufInputValue)
    }
  }
}

/** Grows by doubling; headers are small, so nothing cleverer is needed. */
class ByteWriter {
  private buffer = Buffer.alloc(4096)
  length = 0

  scalar(type: GgufScalarType, value: GgufInputValue): void {
    if (type === 'string') this.string(String(value))
    else if (type === 'bool') this.integer('u8', value === true || value === 1 ? 1 : 0)
    else if (type === 'f32') this.length = this.room(4).writeFloatLE(Number(value), this.length)
    else if (type === 'f64') this.length = this.room(8).writeDoubleLE(Number(value), this.length)
    else this.integer(type, value)
  }

  string(text: string): void {
    const encoded = Buffer.from(text, 'utf8')
    this.scalar('u64', encoded.length)
    this.bytes(encoded)
  }

  bytes(bytes: Uint8Array): void {
    this.room(bytes.length).set(bytes, this.length)
    this.length += bytes.length
  }

  copyTo(target: Uint8Array): void {
    target.set(this.buffer.subarray(0, this.length))
  }

  private integer(type: GgufScalarType, value: GgufInputValue): void {
    const [bits, signed] = INTEGER_BITS[type]!
    const integral = typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value))
    const whole = integral ? BigInt(value) : undefined
    if (
      whole === undefined ||
      (signed ? BigInt.asIntN(bits, whole) : BigInt.asUintN(bits, whole)) !== whole
    ) {
      throw internal(`${String(value)} is not a ${type}`)
    }
    // Two's complement little-endian: the low bytes of the 64-bit pattern are the pattern of every narrower type.
    const pattern = Buffer.alloc(8)
    pattern.writeBigUInt64LE(BigInt.asUintN(64, whole))
    this.bytes(pattern.subarray(0, bits / 8))
  }

  private room(count: number): Buffer {
    if (this.length + count > this.buffer.length) {
      const grown = Buffer.alloc(Math.max(this.buffer.length * 2, this.length + count))
      this.buffer.copy(grown)
      this.buffer = grown
    }
    return this.buffer
  }
}

function internal(problem: string): TraitscopeError {
  return new TraitscopeError('INTERNAL', `cannot encode a GGUF file: ${problem}`)
}
