import { quoted } from '../json/json-scan.js'
import { type GgmlTypeName, ggmlTypeById } from './ggml-types.js'
import type { GgufCursor } from './gguf-cursor.js'

export interface GgufTensor {
  readonly name: string
  /** ggml's ne: the first dimension is contiguous, so a Hugging Face `[out, in]` matrix reads `[in, out]`. */
  readonly shape: readonly number[]
  readonly type: GgmlTypeName
  /** Bytes from the start of the data section. */
  readonly offset: number
  readonly byteLength: number
}

const MAX_DIMENSIONS = 4
/** ggml keeps names in 64 bytes with the terminating zero. */
export const MAX_TENSOR_NAME_BYTES = 63
/** name length, n_dims, one dimension, type, offset. */
export const MIN_TENSOR_INFO_BYTES = 8 + 4 + 8 + 4 + 8

/** `3 F32, 2 Q8_0`: how often each comes, in the order in which they come. */
export function countedKinds(kinds: Iterable<string>): string {
  const counts = new Map<string, number>()
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ')
}

/** Reads one entry of the tensor table and checks what the entry alone can tell. */
export async function readTensorInfo(cursor: GgufCursor, index: number): Promise<GgufTensor> {
  const name = await cursor.string(`the name of tensor ${index}`, MAX_TENSOR_NAME_BYTES)
  const what = `tensor ${quoted(name)}`
  if (name.includes('\0')) throw cursor.invalid(`${what} has a NUL in its name`)
  await cursor.need(4, what)
  const rank = cursor.u32()
  if (rank > MAX_DIMENSIONS)
    throw cursor.invalid(`${what} has ${rank} dimensions, more than ${MAX_DIMENSIONS}`)
  await cursor.need(8 * rank + 12, what)
  const shape = Array.from({ length: rank }, () => cursor.size())
  const elements = shape.reduce((product, dimension) => product * dimension, 1)
  if (!(elements >= 1 && elements <= Number.MAX_SAFE_INTEGER)) {
    throw cursor.invalid(`${what} has the impossible shape [${shape}]`)
  }
  const typeId = cursor.i32()
  const type = ggmlTypeById(typeId)
  if (!type)
    throw cursor.invalid(`${what} has type number ${typeId}, which ggml does not know or has withdrawn`)
  const row = shape[0] ?? 1
  if (row % type.blockElements !== 0) {
    throw cursor.invalid(
      `${what} has rows of ${row}, not a multiple of ${type.name}'s block of ${type.blockElements}`,
    )
  }
  const byteLength = (elements / type.blockElements) * type.blockBytes
  if (byteLength > Number.MAX_SAFE_INTEGER)
    throw cursor.invalid(`${what} has the impossible shape [${shape}]`)
  return { name, shape, type: type.name, offset: cursor.size(), byteLength }
}

/** ggml wants tensors back to back in the order of the table, each padded to the alignment, all inside the file. */
export function checkTensorLayout(
  tensors: Iterable<GgufTensor>,
  layout: { alignment: number; dataOffset: number; fileSize: number },
  cursor: GgufCursor,
): void {
  let expected = 0
  for (const tensor of tensors) {
    const what = `tensor ${quoted(tensor.name)}`
    if (tensor.offset !== expected) {
      throw cursor.invalid(`${what} starts at ${tensor.offset}, expected ${expected}`)
    }
    const end = layout.dataOffset + expected + tensor.byteLength
    if (end > layout.fileSize) {
      throw cursor.incomplete(`${what} ends at byte ${end}, found a file of ${layout.fileSize} bytes`)
    }
    expected = padTo(expected + tensor.byteLength, layout.alignment)
  }
}

/** Tables that go with a rotary embedding; nobody trains them. */
const NO_WEIGHTS = /^rope_(freqs|factors_long|factors_short)\.weight$/

/** Parameters of a model, counted from its tensors: a head that is the embedding too, and is stored once, counts once. */
export function parameterCount({
  tensors,
}: {
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>
}): number {
  let count = 0
  for (const [name, { shape }] of tensors) {
    if (!NO_WEIGHTS.test(name)) count += shape.reduce((product, dimension) => product * dimension, 1)
  }
  return count
}

/** `134.5M`, `7.6B`: a count of parameters as the field writes it. */
export function parametersText(count: number): string {
  const [unit, name] = count >= 1e9 ? [1e9, 'B'] : count >= 1e6 ? [1e6, 'M'] : [1e3, 'K']
  return count < 1e3 ? String(count) : `${(count / unit).toFixed(1)}${name}`
}

/** Smallest multiple of `alignment` that is not below `value`. */
export function padTo(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}
