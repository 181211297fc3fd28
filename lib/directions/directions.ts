import { Made } from '../arguments.js'
import type { Conditions } from '../conditions/conditions.js'
import { TraitscopeError } from '../errors.js'
import { type Matrix64, matrixFromRows } from '../estimators/matrix.js'
import { sha256 } from '../formats/files/hash.js'
import { encodeSafetensors } from '../formats/safetensors/safetensors.js'
import type { DirectionMethod } from './difference.js'
import type { HeldOut } from './held-out.js'

/** What one layer's directions look like; nothing here gates anything. */
export interface LayerDiagnostics {
  layer: number
  /** Mean ‖h‖ over all extraction prompts, native activation units. */
  activationNorm: number
  /** ‖mean(positive) − mean(negative)‖ per trait, native activation units. */
  separation: Record<string, number>
  /**
   * What each trait's direction is worth on questions and system prompts that it was not made of. Null for the `pca`
   * method, whose directions are not checked, and in folders of the first schema.
   */
  heldOut: Record<string, HeldOut | null>
  /**
   * Cross-validated accuracy in [0, 1] per trait of a probe whose folds share questions and system prompts, so it is
   * near 1 whatever the directions are worth; null where a pole is too small or probes were off.
   */
  probeAccuracy: Record<string, number | null>
  /** `a_vs_b` -> cosine in [-1, 1]. */
  cosines: Record<string, number>
  averageCosine: number | null
}

/** Trait directions of one base model: a unit vector per layer and trait. */
export interface Directions {
  /** 0-based blocks whose output was read, ascending. */
  layers: readonly number[]
  /** Trait order: the order of every projection and drift made with these directions. */
  traits: readonly string[]
  nEmbd: number
  /** Unit rows, float32, shape `[nLayers, nTraits, nEmbd]`. */
  vectors: Float32Array
  method: DirectionMethod
  conditions: Conditions
  /** SHA-256 of the passages that they were made of, where it was not the trait pack's prompts. */
  passagesSha256?: string
  /** SHA-256 over the token ids of all extraction prompts, trait by trait, positive pole first. */
  tokenIdsSha256: string
  /** Tokens of the extraction prompts, and how many were computed. */
  tokens: { total: number; computed: number }
  /** What there is to know of how the base read the prompts, in sentences; absent in folders of earlier versions. */
  remarks?: readonly string[]
  diagnostics: readonly LayerDiagnostics[]
  /** Releases that made the directions. */
  versions: { traitscope: string; llamaCpp: string }
  /** SHA-256 of {@link encodeDirections}: the identity of the vectors. */
  sha256: string
}

export const DIRECTIONS = new Made<Directions>('directions as loadDirections reads them', 'vectors', true)

/**
 * The vector of one layer (index on the layer axis, not the layer's number) and trait (index in trait order): a view of `vectors`.
 *
 * @throws TraitscopeError USAGE for an index that there is none of
 */
export function directionVector(
  { vectors, traits, nEmbd }: Pick<Directions, 'vectors' | 'traits' | 'nEmbd'>,
  layerIndex: number,
  traitIndex: number,
): Float32Array {
  const at = (layerIndex * traits.length + traitIndex) * nEmbd
  const layers = vectors.length / (traits.length * nEmbd)
  if (!isIndex(layerIndex, layers) || !isIndex(traitIndex, traits.length)) {
    throw new TraitscopeError(
      'USAGE',
      `expected the index of one of ${layers} layers and of one of ${traits.length} traits, found ${layerIndex} and ${traitIndex}: look them up by indexOf() in \`layers\` and \`traits\``,
    )
  }
  return vectors.subarray(at, at + nEmbd)
}

const isIndex = (index: number, length: number) => Number.isInteger(index) && index >= 0 && index < length

/** All directions of one layer as rows, in trait order; `layer` counts along the layer axis. */
export const directionRows = (directions: Directions, layer: number): Matrix64 =>
  matrixFromRows(directions.traits.map((_, t) => directionVector(directions, layer, t)))

/** Where a layer stands among those of the directions. @throws TraitscopeError NOT_COMPARABLE for one that they were not made at */
export function layerIndex({ layers }: Directions, layer: number): number {
  const index = layers.indexOf(layer)
  if (index >= 0) return index
  throw new TraitscopeError(
    'NOT_COMPARABLE',
    `the directions were made at layer ${layers.join(', ')}, not at ${layer}; make them at that layer too`,
  )
}

/**
 * The same directions at some of their layers, in the order given.
 *
 * @throws TraitscopeError NOT_COMPARABLE for a layer that they were not made at
 */
export function directionsAt(directions: Directions, layers: readonly number[]): Directions {
  const { traits, nEmbd } = directions
  const size = traits.length * nEmbd
  const vectors = new Float32Array(layers.length * size)
  const at = layers.map((layer, i) => {
    const index = layerIndex(directions, layer)
    vectors.set(directions.vectors.subarray(index * size, (index + 1) * size), i * size)
    return index
  })
  const chosen = { layers: [...layers], traits, nEmbd, vectors }
  return {
    ...directions,
    ...chosen,
    diagnostics: at.map((index) => directions.diagnostics[index]!),
    sha256: sha256(encodeDirections(chosen)),
  }
}

/** Name of a vector in `directions.safetensors`: `<layer>/<trait>`, also when there is one layer only. */
export function directionName(layer: number, trait: string): string {
  return `${layer}/${trait}`
}

/** The bytes of `directions.safetensors`: one F32 tensor of shape `[nEmbd]` per layer and trait. */
export function encodeDirections(
  directions: Pick<Directions, 'layers' | 'traits' | 'nEmbd' | 'vectors'>,
): Uint8Array {
  return encodeSafetensors(
    directions.layers.flatMap((layer, l) =>
      directions.traits.map((trait, t) => ({
        name: directionName(layer, trait),
        dtype: 'F32' as const,
        shape: [directions.nEmbd],
        data: directionVector(directions, l, t),
      })),
    ),
  )
}
