import { checkMade, Made } from '../arguments.js'
import { DIRECTIONS, type Directions, directionVector, layerIndex } from '../directions/directions.js'
import { TraitscopeError } from '../errors.js'
import type { Model } from '../model/model.js'

/** Something to steer by: what is added to block outputs at dose 1. */
export interface SteeringVector {
  /** The trait, or what the file is called. */
  name: string
  /** Block (0-based) to the vector that dose 1 adds to its output, `[nEmbd]`. */
  vectors: ReadonlyMap<number, Float32Array>
  /**
   * What dose 1 is. `norm`: at each block as long as the block's mean output at the last token of the extraction prompts
   * (R, native activation units). `file`: the vectors as a file of somebody else's has them.
   */
  unit: 'norm' | 'file'
  /** Where it comes from, for the record. */
  origin: SteeringOrigin
  /** What was assumed of it, in sentences. */
  remarks: readonly string[]
}

export const STEERING_VECTOR = new Made<SteeringVector>(
  'a vector as steeringVector or readControlVector gives it',
  'vectors',
)

/** Where a steering vector comes from; null where a file does not say. */
export interface SteeringOrigin {
  /** SHA-256 of the directions that it is one of. */
  directionsSha256: string | null
  /** Fingerprint of the base that they were made on. */
  baseFingerprint: string | null
  /** Architecture of the base, as GGUF names it. */
  architecture: string | null
  /** Who wrote it: `traitscope 0.1.0`, or what the form of a file tells. */
  writtenBy: string
}

/**
 * A trait's direction as something to steer by, at one layer or at several at once. Dose 1 is as long as the mean state
 * there, so doses mean the same at every layer and in every model. Method section 4.6.
 *
 * @throws TraitscopeError USAGE for a trait that the directions lack; NOT_COMPARABLE for a layer that they lack
 */
export function steeringVector(
  directions: Directions,
  trait: string,
  layers?: readonly number[] | undefined,
): SteeringVector {
  checkMade(directions, DIRECTIONS)
  const at = layers ?? directions.layers
  if (!Array.isArray(at) || at.length === 0)
    throw new TraitscopeError('USAGE', 'expected the layers to steer at as a list, at least one')
  const t = directions.traits.indexOf(trait)
  if (t < 0) {
    throw new TraitscopeError(
      'USAGE',
      `expected a trait of the directions (${directions.traits.join(', ')}), found ${trait}`,
    )
  }
  const vectors = at.map((layer: number): [number, Float32Array] => {
    const l = layerIndex(directions, layer)
    const norm = directions.diagnostics[l]!.activationNorm
    return [layer, directionVector(directions, l, t).map((value) => value * norm)]
  })
  const { fingerprint, architecture } = directions.conditions.base
  return {
    name: trait,
    vectors: new Map(vectors),
    unit: 'norm',
    origin: {
      directionsSha256: directions.sha256,
      baseFingerprint: fingerprint,
      architecture,
      writtenBy: `traitscope ${directions.versions.traitscope}`,
    },
    remarks: [],
  }
}

/** The vectors of a dose, as `GenerateOptions.control` takes them. A dose of 0 is none. */
export function controlAt(
  { vectors }: Pick<SteeringVector, 'vectors'>,
  dose: number,
): ReadonlyMap<number, Float32Array> | undefined {
  if (dose === 0) return undefined
  return new Map([...vectors].map(([layer, vector]) => [layer, vector.map((value) => value * dose)]))
}

/**
 * What is to be said of a vector on this model.
 *
 * @returns a sentence where it was made on another base of the same shape, which may be the same model stored in another type
 * @throws TraitscopeError NOT_COMPARABLE for a vector of another width, or of blocks that the model lacks
 */
export function fitRemarks(
  { info, fingerprint }: Pick<Model, 'info' | 'fingerprint'>,
  { name, vectors, origin }: SteeringVector,
): string[] {
  for (const [layer, { length }] of vectors) {
    if (length === info.nEmbd && layer < info.nLayer) continue
    throw new TraitscopeError(
      'NOT_COMPARABLE',
      `the vector of ${name} at layer ${layer} has ${length} values, but this model has ${info.nLayer} layers of ${info.nEmbd}; take one that was made on this base`,
    )
  }
  const { baseFingerprint, architecture } = origin
  if (architecture !== null && architecture !== info.architecture)
    return [
      `the vector of ${name} was made for a ${architecture} model, and this one is ${info.architecture}: only its width is the same`,
    ]
  if (baseFingerprint === null || baseFingerprint === fingerprint) return []
  return [
    `the vector of ${name} was made on another file (${baseFingerprint.slice(0, 12)}) than this one (${fingerprint.slice(0, 12)})`,
  ]
}
