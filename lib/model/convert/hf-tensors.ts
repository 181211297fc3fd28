import { binding, cancellable } from '../../binding.js'
import { TraitscopeError } from '../../errors.js'
import { ggmlType } from '../../formats/gguf/ggml-types.js'
import type { StreamedTensor } from '../../formats/gguf/gguf-stream.js'
import type { HfTensor, HfWeights } from '../../formats/hf/hf-weights.js'
import { isOtherModality, refuseWrapped } from '../../formats/hf/module-names.js'
import { quoted } from '../../formats/json/json-scan.js'
import { encodeFloats } from '../../formats/safetensors/float-types.js'
import { decodeFloat32, firstNonFinite } from '../../formats/safetensors/safetensors-dtypes.js'
import {
  loadsBias,
  type MappedModule,
  mapModule,
  permutesQueryKey,
  shiftsNorms,
} from '../base/architectures.js'
import { permuteRows, rotaryRowOrder } from '../lora/lora-permute.js'
import type { MergeType } from '../merge/merge-types.js'

/** A tensor of a Hugging Face model and what it is in a GGUF. */
export interface MappedTensor {
  readonly source: HfTensor
  readonly module: MappedModule
  readonly part: 'weight' | 'bias'
  /** GGUF name. */
  readonly name: string
  /** ggml's ne: the first dimension is contiguous. */
  readonly shape: readonly number[]
}

/** What the conversion of a tensor depends on beside its name. */
export interface HfConversion {
  architecture: string
  /** Heads of q, or of k and v, in a block: their rows are reordered head by head. */
  heads(projection: 'q' | 'k', layer: number): number
  /** Rows of the embedding that are kept; the rest is padding. */
  vocabulary: number
  /** Threads for quantising. */
  threads: number
  signal?: AbortSignal | undefined
}

const PIECE_BYTES = 2 ** 23
/** Buffers that old models saved with their weights. */
const BUFFERS = /\.(rotary_emb\.inv_freq|masked_bias)$/

/**
 * Finds the GGUF name of every tensor. Vision and audio parts are left out; so is a head that repeats the embedding.
 *
 * @param tied the head is the embedding, whatever the files hold
 * @throws UNSUPPORTED for a tensor that the architecture has no place for, by name
 */
export function mapTensors(
  weights: HfWeights,
  options: Pick<HfConversion, 'architecture' | 'vocabulary'> & { tied: boolean },
): MappedTensor[] {
  const { architecture, vocabulary, tied } = options
  const mapped: MappedTensor[] = []
  for (const source of weights.tensors.values()) {
    const found = /^(.+)\.(weight|bias)$/s.exec(source.name)
    if (BUFFERS.test(source.name) || isOtherModality(source.name)) continue
    refuseWrapped(source.name, weights.folder)
    if (source.name.startsWith('base_model.model.')) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `tensor ${quoted(source.name)} of ${weights.folder} is of a PEFT model with its adapter in it, as accelerate's save_state writes it; save the adapter alone with model.save_pretrained, or the whole with merge_and_unload().save_pretrained`,
      )
    }
    const module = found ? mapModule(architecture, found[1]!) : undefined
    const part = found?.[2] as 'weight' | 'bias'
    if (!module || (part === 'bias' && !loadsBias(architecture, module))) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `tensor ${quoted(source.name)} of ${weights.folder} has no place in a ${architecture} GGUF; it is another architecture, or holds more than a language model`,
      )
    }
    if (source.shape.includes(0) || source.shape.length < 1 || source.shape.length > 2) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected tensor ${quoted(source.name)} of ${weights.folder} to be a vector or a matrix, found shape [${source.shape}]; a DeepSpeed ZeRO-3 run must gather weights on save (stage3_gather_16bit_weights_on_model_save)`,
      )
    }
    if (module.kind === 'head' && tied) continue
    const shape = [...source.shape].reverse()
    if (module.kind === 'embedding' && shape[1]! > vocabulary) shape[1] = vocabulary
    mapped.push({ source, module, part, name: module.tensor.replace(/weight$/, part), shape })
  }
  return mapped
}

/** The converted tensor, read and written in pieces. Values that the type cannot hold are refused while it is written. */
export function convertTensor(
  weights: HfWeights,
  tensor: MappedTensor,
  type: MergeType,
  conversion: HfConversion,
): StreamedTensor {
  const { source, module, name, shape } = tensor
  const { architecture } = conversion
  const { projection, layer = 0 } = module
  const shift = module.kind === 'norm' && shiftsNorms(architecture) ? 1 : 0
  const permuted = permutesQueryKey(architecture) && (projection === 'q' || projection === 'k')
  const rows = shape.length === 1 ? shape[0]! : shape[1]!
  const columns = shape.length === 1 ? 1 : shape[0]!
  const order = permuted ? rotaryRowOrder(rows, conversion.heads(projection, layer)) : undefined
  const rowBytes = (source.end - source.begin) / (source.shape[0] || 1)
  const headRows = order ? rows / conversion.heads(projection as 'q' | 'k', layer) : 1
  const step = headRows * Math.max(1, Math.floor(PIECE_BYTES / (rowBytes * headRows)))
  const where = `tensor ${quoted(source.name)} of ${weights.folder}`

  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for (let row = 0; row < rows; row += step) {
      const end = Math.min(rows, row + step)
      const bytes = await weights.read(source, row * rowBytes, end * rowBytes)
      const values = decodeFloat32(source.dtype, bytes, where)
      if (shift !== 0) for (let i = 0; i < values.length; i++) values[i] = values[i]! + shift
      checkFinite(values, where)
      // A head is whole in a piece, and its rows stay in it.
      const local = order?.subarray(row, end).map((from) => from - row)
      const sorted = local ? permuteRows(values, columns, local) : values
      yield await encodeRows(name, sorted, columns, type, conversion, where)
    }
  }
  return { name, shape, type, chunks }
}

/** Rows in the type of the output: rounded here, or quantised by ggml as llama.cpp's own quantiser does. */
async function encodeRows(
  name: string,
  values: Float32Array,
  columns: number,
  type: MergeType,
  { threads, signal }: HfConversion,
  where: string,
): Promise<Uint8Array> {
  if (type === 'F32' || type === 'F16' || type === 'BF16') {
    const encoded = encodeFloats(type, values)
    if (type === 'F16') checkHalf(encoded, where)
    return encoded
  }
  const merge = {
    name,
    sourceType: ggmlType('F32').id,
    targetType: ggmlType(type).id,
    rows: values.length / columns,
    columns,
    base: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    rank: 0,
    strength: 1,
    threads,
  }
  return cancellable({ signal }, (token) => binding().mergeRows(merge, token))
}

function checkFinite(values: Float32Array, where: string): void {
  const bad = firstNonFinite(values)
  if (bad < 0) return
  throw new TraitscopeError(
    'FILE_INVALID',
    `expected finite values in ${where}, found ${values[bad]}; the training run has diverged or the file is damaged`,
  )
}

/** Finite values from 65520 on are infinite in F16. */
function checkHalf(encoded: Uint8Array, where: string): void {
  const halves = new Uint16Array(encoded.buffer, encoded.byteOffset, encoded.byteLength / 2)
  if (!halves.some((bits) => (bits & 0x7c00) === 0x7c00)) return
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${where} holds values that F16 cannot represent (65504 at most); use BF16 or F32`,
  )
}
