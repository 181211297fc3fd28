import { TraitscopeError } from '../errors.js'
import { dot } from '../estimators/linalg.js'
import { type Matrix64, row, transpose } from '../estimators/matrix.js'
import { readSafetensors, type SafetensorsFile } from '../formats/safetensors/safetensors.js'
import { assertMadeAt } from './made-at.js'

/** The encoder half of a sparse autoencoder: `z = ReLU(W (h − b_in) + b)`. */
export class SparseEncoder {
  /**
   * @param weight shape `[K, nEmbd]`
   * @param bias length K
   * @param offset taken from the input first, length nEmbd
   */
  constructor(
    readonly weight: Matrix64,
    readonly bias: Float64Array,
    readonly offset: Float64Array | undefined,
  ) {}

  /** Feature values of one hidden state, length K, >= 0. */
  encode(state: ArrayLike<number>): Float64Array {
    const input = Float64Array.from(state, (value, c) => value - (this.offset?.[c] ?? 0))
    return this.bias.map((b, k) => Math.max(0, dot(row(this.weight, k), input) + b))
  }
}

/**
 * Reads an encoder from safetensors: `encoder.weight` `[K, nEmbd]` and `encoder.bias`, or SAELens' `W_enc`
 * `[nEmbd, K]` and `b_enc`. SAELens' `b_dec` is subtracted from the input unless the file's metadata has
 * `apply_b_dec_to_input: false`.
 *
 * @param layer 0-based block whose states it will encode; null where nobody knows
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID for other names or shapes; SHAPE for NaN;
 * NOT_COMPARABLE when the file's metadata names another layer
 */
export async function readSparseEncoder(path: string, layer: number | null): Promise<SparseEncoder> {
  const file = await readSafetensors(path)
  const lens = file.tensors.has('W_enc')
  const [weightName, biasName] = lens
    ? (['W_enc', 'b_enc'] as const)
    : (['encoder.weight', 'encoder.bias'] as const)
  const shape = file.tensors.get(weightName)?.shape ?? []
  const bias = vector(file, biasName)
  const [rows = 0, cols = 0] = shape
  const k = lens ? cols : rows
  if (shape.length !== 2 || bias === undefined || bias.length !== k || k === 0) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected ${path} to hold encoder.weight [K, nEmbd] and encoder.bias [K], or W_enc [nEmbd, K] and b_enc [K], found ${[...file.tensors.keys()].join(', ')}`,
    )
  }
  const matrix = { data: Float64Array.from(file.finiteFloat32(weightName)), rows, cols }
  const weight = lens ? transpose(matrix) : matrix
  const applies = lens && file.metadata.get('apply_b_dec_to_input') !== 'false'
  const offset = applies ? vector(file, 'b_dec') : undefined
  if (offset !== undefined && offset.length !== weight.cols) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected b_dec of ${path} to have length ${weight.cols}, found ${offset.length}`,
    )
  }
  assertMadeAt(file, layer)
  return new SparseEncoder(weight, bias, offset)
}

function vector(file: SafetensorsFile, name: string): Float64Array | undefined {
  return file.tensors.has(name) ? Float64Array.from(file.finiteFloat32(name)) : undefined
}
