import { TraitscopeError } from '../errors.js'
import { norm } from '../estimators/linalg.js'
import { type Matrix64, matrixFromRows } from '../estimators/matrix.js'
import { readSafetensors } from '../formats/safetensors/safetensors.js'
import { assertMadeAt } from './made-at.js'

/**
 * Reads a persona direction from safetensors: `persona` `[nEmbd]`, native activation units of any length. Method section
 * 9.3.
 *
 * @param layer 0-based block that is read
 * @returns the direction at unit length, shape `[1, nEmbd]`
 * @throws TraitscopeError FILE_NOT_FOUND; FILE_INVALID for another name or shape, or zeros; SHAPE for NaN;
 * NOT_COMPARABLE when the file's metadata names another layer
 */
export async function readPersona(path: string, layer: number | null): Promise<Matrix64> {
  const file = await readSafetensors(path)
  const length = file.tensors.get('persona')?.shape.length === 1 ? norm(file.finiteFloat32('persona')) : 0
  if (length === 0) {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected ${path} to hold persona [nEmbd], not all zeros, found ${[...file.tensors].map(([name, { shape }]) => `${name} [${shape}]`).join(', ')}`,
    )
  }
  assertMadeAt(file, layer)
  return matrixFromRows([Float64Array.from(file.float32('persona'), (value) => value / length)])
}
