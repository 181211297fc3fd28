import { TraitscopeError } from '../../errors.js'
import { quoted } from '../json/json-scan.js'
import { dtypeOrder, type SafetensorsDtype, tensorByteLength } from './safetensors-dtypes.js'

export interface SafetensorsInput {
  name: string
  dtype: SafetensorsDtype
  /** C order. */
  shape: readonly number[]
  /** Little-endian bytes of the elements; a typed array is taken as its bytes. */
  data: ArrayBufferView
}

/**
 * Encodes a safetensors file, byte for byte as the reference writer does: tensors by descending dtype width, then by
 * name; the header padded with spaces to a multiple of 8. Same input, same bytes; metadata keys are sorted.
 *
 * @throws SHAPE when a name repeats or data does not have the bytes its dtype and shape ask for.
 */
export function encodeSafetensors(
  tensors: readonly SafetensorsInput[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const sorted = [...tensors].sort(
    (a, b) => dtypeOrder(b.dtype) - dtypeOrder(a.dtype) || compareUtf8(a.name, b.name),
  )
  const parts: string[] = []
  if (metadata) {
    const keys = Object.keys(metadata).sort(compareUtf8)
    parts.push(`"__metadata__":{${keys.map((key) => `${json(key)}:${json(metadata[key]!)}`).join(',')}}`)
  }
  const names = new Set(['__metadata__'])
  let end = 0
  for (const tensor of sorted) {
    if (names.has(tensor.name)) throw shapeError(tensor.name, 'a name of its own', 'a repeated one')
    names.add(tensor.name)
    const bytes = tensorByteLength(tensor.dtype, tensor.shape)
    if (bytes !== tensor.data.byteLength) {
      const wanted = `${bytes} bytes for [${tensor.shape}] ${tensor.dtype}`
      throw shapeError(tensor.name, wanted, `${tensor.data.byteLength}`)
    }
    const offsets = `${end},${end + bytes}`
    end += bytes
    parts.push(
      `${json(tensor.name)}:{"dtype":"${tensor.dtype}","shape":[${tensor.shape}],"data_offsets":[${offsets}]}`,
    )
  }
  return assemble(`{${parts.join(',')}}`, sorted, end)
}

function assemble(header: string, tensors: readonly SafetensorsInput[], dataBytes: number): Uint8Array {
  const text = new TextEncoder().encode(header)
  const padded = Math.ceil(text.length / 8) * 8
  const file = new Uint8Array(8 + padded + dataBytes)
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true)
  file.fill(0x20, 8, 8 + padded)
  file.set(text, 8)
  let at = 8 + padded
  for (const { data } of tensors) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at)
    at += data.byteLength
  }
  return file
}

function json(text: string): string {
  if (/\p{Surrogate}/u.test(text)) throw shapeError(text, 'whole Unicode characters', 'half a surrogate pair')
  return JSON.stringify(text)
}

function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function shapeError(name: string, expected: string, found: string): TraitscopeError {
  return new TraitscopeError('SHAPE', `expected ${expected} for tensor ${quoted(name)}, found ${found}`)
}
