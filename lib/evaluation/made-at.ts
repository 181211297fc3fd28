import { TraitscopeError } from '../errors.js'
import type { SafetensorsFile } from '../formats/safetensors/safetensors.js'

/**
 * Refuses a file whose metadata `layer` says that it was made at another block; one without it is taken as it is.
 *
 * @param layer 0-based block that is read; null where nobody knows
 * @throws TraitscopeError NOT_COMPARABLE
 */
export function assertMadeAt(file: SafetensorsFile, layer: number | null): void {
  const made = file.metadata.get('layer')
  if (made === undefined || layer === null || made === String(layer)) return
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `expected ${file.where} to be made at layer ${layer}, found ${made}; choose --layer ${made} or make it again`,
  )
}
