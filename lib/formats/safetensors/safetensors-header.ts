import { TraitscopeError } from '../../errors.js'
import { type JsonMap, type JsonNode, quoted, scanJson } from '../json/json-scan.js'
import { isSafetensorsDtype, type SafetensorsDtype, tensorByteLength } from './safetensors-dtypes.js'

export interface TensorEntry {
  readonly name: string
  readonly dtype: SafetensorsDtype
  /** C order; `[]` is a scalar. */
  readonly shape: readonly number[]
  /** First byte and one past the last byte, relative to the data section. */
  readonly begin: number
  readonly end: number
}

export interface SafetensorsHeader {
  /** The `__metadata__` strings; PEFT writes `format: pt`. */
  readonly metadata: ReadonlyMap<string, string>
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, TensorEntry>
  /** Where the data section starts in the file. */
  readonly dataStart: number
}

const MAX_RANK = 8
const MAX_ENTRIES = 1_000_000
const MAX_NAME_LENGTH = 1024

/** The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000

/**
 * Reads the length field: bytes 0..8 of the file, little-endian.
 *
 * @returns where the data section starts: 8 + header length.
 * @throws FILE_INCOMPLETE when the file is shorter than its header, FILE_INVALID when the length is impossible.
 */
export function safetensorsDataStart(
  prefix: Uint8Array,
  fileSize: number,
  where: string,
  maxHeaderBytes = MAX_HEADER_BYTES,
): number {
  if (fileSize < 8 || prefix.length < 8) {
    throw incomplete(where, `expected at least 8 bytes, found ${Math.min(fileSize, prefix.length)}`)
  }
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength)
  const length = view.getBigUint64(0, true)
  if (length > BigInt(maxHeaderBytes)) {
    const start = Buffer.from(prefix.subarray(0, 8)).toString('latin1')
    const found = /^[ -~\s]{8}$/.test(start)
      ? `text that begins with ${quoted(start)}`
      : `a length of ${length}`
    throw invalid(where, `expected a header of at most ${maxHeaderBytes} bytes, found ${found}`)
  }
  if (length < 2n) throw invalid(where, `expected a JSON header, found a header length of ${length}`)
  const dataStart = 8 + Number(length)
  if (dataStart > fileSize) {
    throw incomplete(where, `expected a header of ${length} bytes, found a file of ${fileSize} bytes`)
  }
  return dataStart
}

/**
 * Validates a whole header against the size of its file; everything the reference implementation rejects is rejected,
 * and repeated keys and absurd sizes too.
 *
 * @param json the bytes between the length field and the data section
 * @throws FILE_INCOMPLETE when data is missing at the end, FILE_INVALID otherwise
 */
export function parseSafetensorsHeader(json: Uint8Array, fileSize: number, where: string): SafetensorsHeader {
  if (json[0] !== 0x7b) throw invalid(where, 'expected the header to start with "{"')
  const root = scanJson(decodeUtf8(json, where), {
    where: `the header of ${where}`,
    duplicateKeys: 'reject',
    numbers: 'unsigned',
    nonFinite: false,
    maxDepth: 8,
  }) as JsonMap
  if (root.size > MAX_ENTRIES) {
    throw invalid(where, `expected at most ${MAX_ENTRIES} tensors, found ${root.size}`)
  }
  const metadata = parseMetadata(root.get('__metadata__'), where)
  const tensors = new Map<string, TensorEntry>()
  for (const [name, node] of root) {
    if (name !== '__metadata__') tensors.set(name, parseEntry(name, node, where))
  }
  const dataStart = 8 + json.length
  checkLayout([...tensors.values()], fileSize - dataStart, where)
  return { metadata, tensors, dataStart }
}

function decodeUtf8(json: Uint8Array, where: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json)
  } catch (error) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `${where}: expected the header to be UTF-8, found other bytes`,
      {
        cause: error,
      },
    )
  }
}

function parseMetadata(node: JsonNode | undefined, where: string): Map<string, string> {
  const metadata = new Map<string, string>()
  // mlx writes null when it has nothing to say, which the reference reader accepts.
  if (node === undefined || node === null) return metadata
  if (!(node instanceof Map)) throw invalid(where, 'expected __metadata__ to be an object of strings')
  for (const [key, value] of node) {
    if (typeof value !== 'string') throw invalid(where, `expected __metadata__ ${quoted(key)} to be a string`)
    metadata.set(key, value)
  }
  return metadata
}

function parseEntry(name: string, node: JsonNode, where: string): TensorEntry {
  if (name.length > MAX_NAME_LENGTH) {
    throw invalid(
      where,
      `expected tensor names of at most ${MAX_NAME_LENGTH} characters, found ${name.length}`,
    )
  }
  const what = `tensor ${quoted(name)}`
  if (!(node instanceof Map)) throw invalid(where, `expected ${what} to be an object`)
  const dtype = node.get('dtype')
  if (!isSafetensorsDtype(dtype)) {
    throw invalid(where, `expected a known dtype for ${what}, found ${describe(dtype)}`)
  }
  const shape = integers(node.get('shape'))
  if (!shape) throw invalid(where, `expected ${what} to have a shape, found ${describe(node.get('shape'))}`)
  if (shape.length > MAX_RANK) {
    throw invalid(where, `expected ${what} to have at most ${MAX_RANK} dimensions, found ${shape.length}`)
  }
  const [begin, end, ...more] = integers(node.get('data_offsets')) ?? []
  if (begin === undefined || end === undefined || more.length > 0) {
    throw invalid(where, `expected ${what} to have two data_offsets`)
  }
  const bytes = tensorByteLength(dtype, shape)
  if (bytes === undefined) throw invalid(where, `the size of ${what} [${shape}] ${dtype} is impossible`)
  if (end - begin !== bytes) {
    throw invalid(where, `expected ${bytes} bytes for ${what} [${shape}] ${dtype}, found ${end - begin}`)
  }
  return { name, dtype, shape, begin, end }
}

/** The data section must be covered exactly: no hole, no overlap, nothing after the last tensor. */
function checkLayout(entries: TensorEntry[], dataBytes: number, where: string): void {
  let end = 0
  for (const entry of entries.sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin !== end) {
      const problem = entry.begin > end ? 'a hole before' : 'an overlap at'
      throw invalid(where, `expected tensors without gaps, found ${problem} tensor ${quoted(entry.name)}`)
    }
    end = entry.end
  }
  if (end > dataBytes) throw incomplete(where, `expected ${end} bytes of tensors, found ${dataBytes}`)
  if (end < dataBytes) throw invalid(where, `expected ${end} bytes of tensors, found ${dataBytes}`)
}

function integers(node: JsonNode | undefined): number[] | undefined {
  // The scanner has admitted only non-negative integers as numbers.
  return Array.isArray(node) && node.every((item) => typeof item === 'number')
    ? (node as number[])
    : undefined
}

function describe(node: JsonNode | undefined): string {
  if (typeof node === 'string') return quoted(node)
  if (node === undefined) return 'none'
  return node instanceof Map ? 'an object' : Array.isArray(node) ? 'a list of other things' : String(node)
}

function invalid(where: string, problem: string): TraitscopeError {
  return new TraitscopeError('FILE_INVALID', `${where} is not a valid safetensors file: ${problem}`)
}

function incomplete(where: string, problem: string): TraitscopeError {
  return new TraitscopeError(
    'FILE_INCOMPLETE',
    `${where} is cut short: ${problem}; it may still be being written, otherwise copy it again`,
  )
}
