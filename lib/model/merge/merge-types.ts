import { TraitscopeError } from '../../errors.js'
import { ggmlType } from '../../formats/gguf/ggml-types.js'
import type { GgmlTypeName, GgufTensor } from '../../formats/gguf/gguf.js'
import { quoted } from '../../formats/json/json-scan.js'

/**
 * Types that merged weights can be written in, with llama.cpp's number for a file mostly of that type. The others need
 * an importance matrix, or ggml asserts on values it did not expect.
 */
const MERGE_TYPES = {
  F32: 0,
  F16: 1,
  BF16: 32,
  Q8_0: 7,
  Q6_K: 18,
  Q5_K: 17,
  Q5_1: 9,
  Q5_0: 8,
  Q4_K: 15,
  Q4_1: 3,
  Q4_0: 2,
  IQ4_NL: 25,
  IQ4_XS: 30,
  Q3_K: 12,
  Q2_K: 10,
} as const

/** A type that merged matrices can be written in. */
export type MergeType = keyof typeof MERGE_TYPES

/** `float`: F32 stays F32 and every other type becomes F16, so that nothing is lost in a quantised type's rounding. */
export type WantedType = MergeType | 'float'

/** In the order of their size. */
export const MERGE_TYPE_NAMES = Object.keys(MERGE_TYPES) as MergeType[]

/** A type by its name in any case, e.g. `q8_0`, or `float`. @throws USAGE */
export function mergeType(name: string): WantedType {
  if (name.toLowerCase() === 'float') return 'float'
  const found = MERGE_TYPE_NAMES.find((type) => type === name.toUpperCase())
  if (found) return found
  throw new TraitscopeError(
    'USAGE',
    `expected a type for merged weights, one of float, ${MERGE_TYPE_NAMES.join(', ').toLowerCase()}, found ${quoted(name)}`,
  )
}

/** Whether weights can be written in a type again: some need an importance matrix. */
export function isMergeType(type: GgmlTypeName): type is MergeType {
  return type in MERGE_TYPES
}

/**
 * The type that a changed tensor is written in: the wanted one, else the one it has; vectors are always F32.
 *
 * @throws UNSUPPORTED when its own type cannot be written and none is wanted, USAGE when the wanted one does not fit
 * its rows.
 */
export function targetType(
  tensor: Pick<GgufTensor, 'name' | 'shape' | 'type'>,
  wanted?: WantedType,
): MergeType {
  const { name, shape, type } = tensor
  if (shape.length < 2) return 'F32'
  if (wanted === 'float') return type === 'F32' ? 'F32' : 'F16'
  const target = wanted ?? (isMergeType(type) ? type : undefined)
  if (target === undefined) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${name} has type ${type}, which cannot be written again without an importance matrix; name a type for the merged weights with --type, e.g. --type bf16`,
    )
  }
  const { blockElements } = ggmlType(target)
  if (shape[0]! % blockElements === 0) return target
  throw new TraitscopeError(
    'USAGE',
    `${name} has rows of ${shape[0]}, which type ${target} cannot hold in blocks of ${blockElements}; choose another --type`,
  )
}

/** `general.file_type` of a file with these tensors: that of the type with the most elements, if it has one. */
export function fileType(tensors: Iterable<Pick<GgufTensor, 'shape' | 'type'>>): number | undefined {
  const elements = new Map<GgmlTypeName, number>()
  for (const { shape, type } of tensors) {
    const count = shape.reduce((product, dimension) => product * dimension, 1)
    elements.set(type, (elements.get(type) ?? 0) + count)
  }
  const [most] = [...elements].sort(([, x], [, y]) => y - x)
  return most && (MERGE_TYPES as Partial<Record<GgmlTypeName, number>>)[most[0]]
}
