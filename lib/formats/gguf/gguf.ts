import { TraitscopeError } from '../../errors.js'
import { readInto, withFile } from '../files/read-whole.js'
import { quoted } from '../json/json-scan.js'
import { GgufCursor, type GgufSource } from './gguf-cursor.js'
import {
  checkTensorLayout,
  type GgufTensor,
  MIN_TENSOR_INFO_BYTES,
  padTo,
  readTensorInfo,
} from './gguf-tensors.js'
import {
  ARRAY_TYPE,
  type GgufScalarType,
  GgufStrings,
  type GgufType,
  type GgufValue,
  numbersFromBytes,
  SCALAR_BYTES,
  SCALAR_TYPES,
} from './gguf-values.js'

export type { GgmlTypeName } from './ggml-types.js'
export { encodeGguf, encodeGgufHeader, type GgufHeader, type GgufInput } from './gguf-writer.js'
export { GgufStrings, type GgufTensor, type GgufType, type GgufValue }

/** What a model says about itself, be it in one file or in several. */
export interface GgufContents {
  readonly path: string
  readonly metadata: ReadonlyMap<string, GgufValue>
  /** The type of each metadata value as stored, which the JavaScript value alone does not tell. */
  readonly types: ReadonlyMap<string, GgufType>
  /** In the order of the file. */
  readonly tensors: ReadonlyMap<string, GgufTensor>
}

/** What a GGUF file says about itself; tensor data stays in the file. */
export interface GgufFile extends GgufContents {
  /** 2 or 3. */
  readonly version: number
  readonly alignment: number
  /** Where the data section starts; a tensor's bytes start at `dataOffset + tensor.offset`. */
  readonly dataOffset: number
  readonly fileSize: number
}

/** ggml compares every name with every earlier one; these caps keep a hostile file from taking minutes. */
const MAX_PAIRS = 65_536
const MAX_TENSORS = 65_536
const MAX_KEY_BYTES = 65_535
const MAX_STRING_BYTES = 1024 ** 3
const MAX_ARRAY_LENGTH = 2 ** 30
const DEFAULT_ALIGNMENT = 32
/** Beyond a huge page there is nothing to align for. */
const MAX_ALIGNMENT = 2 ** 21
/** key length, one key byte, type, one value byte. */
const MIN_PAIR_BYTES = 8 + 1 + 4 + 1

/**
 * Reads a GGUF file's header and checks everything that ggml and llama.cpp check, and what they do not: a broken file
 * handed to llama.cpp can abort the process.
 *
 * @throws FILE_NOT_FOUND, FILE_INCOMPLETE when the file is cut short, FILE_INVALID when it breaks the format,
 * UNSUPPORTED for version 1, big-endian and split files.
 */
export async function readGguf(path: string): Promise<GgufFile> {
  const gguf = await readGgufPart(path)
  refuseSplit(gguf.metadata, path)
  return gguf
}

/** As {@link readGguf}, for one part of a split model too: its tensors are not all there are. */
export async function readGgufPart(path: string): Promise<GgufFile> {
  return withFile(path, 'absent', async (file) => {
    const stats = await file.stat()
    if (!stats.isFile())
      throw new TraitscopeError('FILE_INVALID', `expected ${path} to be a GGUF file, found a folder`)
    return parse({ size: stats.size, read: (target, position) => readInto(file, target, position) }, path)
  })
}

/** As {@link readGguf}, for a file in memory. */
export async function parseGguf(bytes: Uint8Array, where: string): Promise<GgufFile> {
  const read = async (target: Uint8Array, position: number): Promise<number> => {
    target.set(bytes.subarray(position, position + target.length))
    return Math.min(target.length, bytes.length - position)
  }
  const gguf = await parse({ size: bytes.length, read }, where)
  refuseSplit(gguf.metadata, where)
  return gguf
}

async function parse(source: GgufSource, path: string): Promise<GgufFile> {
  const cursor = new GgufCursor(source, path)
  const version = await readVersion(cursor)
  await cursor.need(16, 'the counts')
  const tensorCount = readCount(cursor, 'tensors', MAX_TENSORS, MIN_TENSOR_INFO_BYTES - 8)
  const pairCount = readCount(cursor, 'metadata pairs', MAX_PAIRS, MIN_PAIR_BYTES)

  const metadata = new Map<string, GgufValue>()
  const types = new Map<string, GgufType>()
  for (let i = 0; i < pairCount; i++) {
    const key = await cursor.string(`metadata key ${i}`, MAX_KEY_BYTES)
    if (key === '' || key.includes('\0')) throw cursor.invalid(`metadata key ${i} is empty or holds a NUL`)
    if (metadata.has(key)) throw cursor.invalid(`the metadata key ${quoted(key)} appears twice`)
    const { type, value } = await readValue(cursor, `metadata ${quoted(key)}`)
    metadata.set(key, value)
    types.set(key, type)
  }
  const alignment = alignmentOf(metadata, types, cursor)

  const tensors = new Map<string, GgufTensor>()
  for (let i = 0; i < tensorCount; i++) {
    const tensor = await readTensorInfo(cursor, i)
    if (tensors.has(tensor.name)) throw cursor.invalid(`the tensor ${quoted(tensor.name)} appears twice`)
    tensors.set(tensor.name, tensor)
  }
  const dataOffset = padTo(cursor.position, alignment)
  checkTensorLayout(tensors.values(), { alignment, dataOffset, fileSize: source.size }, cursor)
  return { path, version, alignment, metadata, types, tensors, dataOffset, fileSize: source.size }
}

async function readVersion(cursor: GgufCursor): Promise<number> {
  if (cursor.remaining < 4) throw cursor.incomplete(`found ${cursor.remaining} bytes`)
  await cursor.need(4, 'the magic')
  const magic = cursor.take(4).toString('latin1')
  if (magic !== 'GGUF') throw cursor.invalid(`it starts with ${quoted(magic)} instead of "GGUF"`)
  await cursor.need(4, 'the version')
  const version = cursor.u32()
  if (version === 2 || version === 3) return version
  const bigEndian = version !== 0 && (version & 0xffff) === 0
  const kind = bigEndian ? 'a big-endian file' : `version ${version}`
  throw new TraitscopeError(
    'UNSUPPORTED',
    `expected ${cursor.where} to be little-endian GGUF version 2 or 3, found ${kind}; convert the model again with a current llama.cpp`,
  )
}

function readCount(cursor: GgufCursor, what: string, most: number, minBytes: number): number {
  const count = cursor.size()
  if (count > most) throw cursor.invalid(`it announces ${count} ${what}, more than ${most}`)
  if (count * minBytes > cursor.remaining) {
    throw cursor.incomplete(`it announces ${count} ${what} and has ${cursor.remaining} bytes left`)
  }
  return count
}

async function readValue(cursor: GgufCursor, what: string): Promise<{ type: GgufType; value: GgufValue }> {
  await cursor.need(4, what)
  const typeId = cursor.i32()
  if (typeId === ARRAY_TYPE) return readArray(cursor, what)
  const type = scalarType(cursor, typeId, what)
  if (type === 'string') return { type, value: await cursor.string(what, MAX_STRING_BYTES) }
  await cursor.need(SCALAR_BYTES[type], what)
  return { type, value: readScalar(cursor, type) }
}

async function readArray(cursor: GgufCursor, what: string): Promise<{ type: GgufType; value: GgufValue }> {
  await cursor.need(12, what)
  const type = scalarType(cursor, cursor.i32(), `${what} (an array's elements)`)
  const count = cursor.size()
  if (count > MAX_ARRAY_LENGTH) throw cursor.invalid(`${what} has ${count} elements, more than 2^30`)
  const bytes = count * SCALAR_BYTES[type]
  if (bytes > cursor.remaining) {
    throw cursor.incomplete(`${what} needs at least ${bytes} bytes, found ${cursor.remaining}`)
  }
  await cursor.need(bytes, what)
  if (type === 'string') {
    const { bytes: packed, ends } = await cursor.strings(count, what)
    return { type: 'string[]', value: new GgufStrings(packed, ends) }
  }
  return { type: `${type}[]`, value: numbersFromBytes(type, cursor.take(bytes)) }
}

function readScalar(cursor: GgufCursor, type: Exclude<GgufScalarType, 'string'>): GgufValue {
  if (type === 'bool') return cursor.i8() !== 0
  const value = cursor[type]()
  return typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value
}

function scalarType(cursor: GgufCursor, id: number, what: string): GgufScalarType {
  const type = (SCALAR_TYPES as Readonly<Record<number, GgufScalarType>>)[id]
  if (type === undefined)
    throw cursor.invalid(`${what} has the value type ${id}, which GGUF does not define there`)
  return type
}

function alignmentOf(
  metadata: ReadonlyMap<string, GgufValue>,
  types: ReadonlyMap<string, GgufType>,
  cursor: GgufCursor,
): number {
  const alignment = metadata.get('general.alignment')
  if (alignment === undefined) return DEFAULT_ALIGNMENT
  const sound = types.get('general.alignment') === 'u32' && Number.isInteger(Math.log2(alignment as number))
  if (!sound || (alignment as number) > MAX_ALIGNMENT) {
    throw cursor.invalid(
      `general.alignment must be a u32 power of two up to ${MAX_ALIGNMENT}, found ${alignment}`,
    )
  }
  return alignment as number
}

function refuseSplit(metadata: ReadonlyMap<string, GgufValue>, path: string): void {
  const count = metadata.get('split.count')
  if (count === undefined || Number(count) <= 1) return
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${path} is one of ${count} parts of a split model, expected a single file; join the parts with "llama-gguf-split --merge FIRST_PART OUTPUT"`,
  )
}
