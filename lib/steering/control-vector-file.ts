import { basename } from 'node:path'
import { checkMade, takeOptions } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import { writeFileAtomic } from '../formats/files/atomic.js'
import { encodeGguf, type GgufFile, type GgufInput, readGguf } from '../formats/gguf/gguf.js'
import { tensorBytes } from '../formats/gguf/gguf-stream.js'
import { packageVersion } from '../package.js'
import { STEERING_VECTOR, type SteeringVector } from './steering-vector.js'

const ARCHITECTURE = 'controlvector'
const UNITS: readonly unknown[] = ['norm', 'file'] satisfies SteeringVector['unit'][]

/**
 * The bytes of a control-vector GGUF, as llama.cpp reads it (`--control-vector-scaled FILE DOSE`): a tensor `direction.L` of
 * shape `[nEmbd]` in F32 per block L, added to the output of block L as it is read here. The scale that llama.cpp is given
 * is the dose. Where it comes from is in the metadata under `traitscope.`.
 *
 * @throws TraitscopeError UNSUPPORTED for block 0, which the format cannot name
 */
function encodeControlVector({ name, vectors, unit, origin }: SteeringVector): Uint8Array {
  const layers = [...vectors.keys()].sort((a, b) => a - b)
  if (layers[0] === 0) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      'block 0 has no place in a control-vector GGUF, whose first vector is added to the output of block 1; take another layer, or steer from the directions folder',
    )
  }
  const { architecture, baseFingerprint, directionsSha256 } = origin
  const texts: [string, string | null][] = [
    ['traitscope.trait', name],
    ['traitscope.unit', unit],
    ['traitscope.directions_sha256', directionsSha256],
    ['traitscope.base_fingerprint', baseFingerprint],
    ['traitscope.written_by', `traitscope ${packageVersion}`],
  ]
  const metadata: GgufInput['metadata'][number][] = [
    ['general.architecture', 'string', ARCHITECTURE],
    ['controlvector.model_hint', 'string', architecture ?? ''],
    ['controlvector.layer_count', 'u32', layers.length],
  ]
  for (const [key, value] of texts) if (value !== null) metadata.push([key, 'string', value])
  return encodeGguf({
    metadata,
    tensors: layers.map((layer) => {
      const data = vectors.get(layer)!
      return { name: `direction.${layer}`, shape: [data.length], type: 'F32' as const, data }
    }),
  })
}

/**
 * Writes a control-vector GGUF, as llama.cpp reads it (`--control-vector-scaled FILE DOSE`): a tensor per block, added to the output of
 * the block as it is read here.
 *
 * @throws TraitscopeError UNSUPPORTED for block 0, which the format cannot name; FILE_EXISTS unless `force`; FILE_ACCESS
 */
export async function writeControlVector(
  vector: SteeringVector,
  path: string,
  options: { force?: boolean | undefined } = {},
): Promise<void> {
  checkMade(vector, STEERING_VECTOR)
  for (const [layer, values] of vector.vectors) {
    if (values.every(Number.isFinite)) continue
    throw new TraitscopeError(
      'SHAPE',
      `expected finite numbers in the vector of layer ${layer}, found some that are not; make it again`,
    )
  }
  const { force = false } = takeOptions('writeControlVector', options, { force: 'boolean' })
  await writeFileAtomic(path, encodeControlVector(vector), { force })
}

/** How a control-vector file is read. */
export interface ReadControlVectorOptions {
  /**
   * Blocks to move every vector down by: `direction.L` is then added at block L - shift. Default: 1 for a file of llama.cpp's own
   * generator, which names the block after the one that it measured (and writes the number of vectors as a signed
   * integer, by which it is known); else 0.
   */
  shift?: 0 | 1 | undefined
}

/**
 * Reads a control-vector GGUF of whoever wrote it. What was made of it is in `remarks`.
 *
 * @throws TraitscopeError FILE_NOT_FOUND, FILE_INCOMPLETE; FILE_INVALID for a GGUF that is no control vector, or breaks the form
 */
export async function readControlVector(
  path: string,
  options: ReadControlVectorOptions = {},
): Promise<SteeringVector> {
  const { shift: asked } = takeOptions('readControlVector', options, { shift: 'number' })
  const file = await readGguf(path)
  if (file.metadata.get('general.architecture') !== ARCHITECTURE) {
    invalid(path, `the architecture ${ARCHITECTURE}`, String(file.metadata.get('general.architecture')))
  }
  const text = (key: string) => {
    const value = file.metadata.get(key)
    return typeof value === 'string' && value !== '' ? value : null
  }
  const ours = text('traitscope.written_by')
  const unit = text('traitscope.unit') ?? 'file'
  if (!UNITS.includes(unit)) invalid(path, "traitscope.unit to be 'norm' or 'file'", unit)
  const fromGenerator = ours === null && file.types.get('controlvector.layer_count') === 'i32'
  const shift = asked ?? (fromGenerator ? 1 : 0)
  return {
    name: text('traitscope.trait') ?? basename(path, '.gguf'),
    vectors: await readVectors(file, shift),
    unit: unit as SteeringVector['unit'],
    origin: {
      directionsSha256: text('traitscope.directions_sha256'),
      baseFingerprint: text('traitscope.base_fingerprint'),
      architecture: text('controlvector.model_hint'),
      writtenBy: ours ?? (fromGenerator ? "llama.cpp's generator" : 'unknown'),
    },
    remarks: remarksOn(path, { ours, fromGenerator, shift, asked }),
  }
}

function remarksOn(
  path: string,
  of: { ours: string | null; fromGenerator: boolean; shift: number; asked: number | undefined },
): string[] {
  if (of.ours !== null && of.shift === 0) return []
  const how =
    of.shift === 1 ? 'one block before the one that it is named after' : 'the block that it is named after'
  const why =
    of.asked !== undefined
      ? 'as asked'
      : of.fromGenerator
        ? "the file has the form of llama.cpp's generator, which names the block after the one that it measured"
        : 'the file does not say where its vectors were measured'
  return [`${path}: every vector is added at ${how} (${why})`]
}

async function readVectors(file: GgufFile, shift: number): Promise<Map<number, Float32Array>> {
  const { path } = file
  const vectors = new Map<number, Float32Array>()
  let width: number | undefined
  for (const tensor of file.tensors.values()) {
    const found = /^direction\.(\d+)$/.exec(tensor.name)
    if (!found || Number(found[1]) === 0)
      invalid(path, 'tensors direction.1, direction.2, ... only', tensor.name)
    width ??= tensor.shape[0]
    if (tensor.type !== 'F32' || tensor.shape.length !== 1 || tensor.shape[0] !== width) {
      invalid(path, `${tensor.name} to be F32 of shape [${width}]`, `${tensor.type} of [${tensor.shape}]`)
    }
    const values = await readFloats(file, tensor)
    if (!values.every(Number.isFinite)) invalid(path, `finite numbers in ${tensor.name}`, 'NaN or Inf')
    vectors.set(Number(found[1]) - shift, values)
  }
  if (vectors.size === 0) invalid(path, 'at least one tensor direction.L', 'none')
  return new Map([...vectors].sort(([a], [b]) => a - b))
}

async function readFloats(file: GgufFile, tensor: Parameters<typeof tensorBytes>[1]): Promise<Float32Array> {
  const bytes = new Uint8Array(tensor.byteLength)
  let at = 0
  for await (const piece of tensorBytes(file, tensor, 0, tensor.byteLength)) {
    bytes.set(piece, at)
    at += piece.length
  }
  const view = new DataView(bytes.buffer)
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true))
}

function invalid(path: string, expected: string, found: string): never {
  throw new TraitscopeError(
    'FILE_INVALID',
    `expected ${path} to be a control vector with ${expected}, found ${found}`,
  )
}
