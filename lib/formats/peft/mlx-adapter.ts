import { TraitscopeError } from '../../errors.js'
import { isJsonObject } from '../json/json.js'
import { quoted } from '../json/json-scan.js'
import type { Safetensors } from '../safetensors/safetensors.js'
import { firstNonFinite } from '../safetensors/safetensors-dtypes.js'
import { type AdapterTensors, invalid, type LoraModule } from './peft-tensors.js'
import { transposeMatrix } from './transpose.js'

/** The file that mlx-lm saves an adapter's tensors to, beside an adapter_config.json of its own. */
export const MLX_TENSORS = 'adapters.safetensors'
/** The same of a checkpoint too. */
const MLX_FILE = /^(?:\d+_)?adapters\.safetensors$/

/**
 * Whether an adapter_config.json is one of mlx-lm, which names what was trained in words of its own. Unsloth's on Apple's chips names
 * PEFT's kind beside them; then the tensor file decides.
 */
export function isMlxConfig(json: unknown, tensors: string): json is Record<string, unknown> {
  if (!isJsonObject(json) || !isJsonObject(json.lora_parameters)) return false
  return json.peft_type === undefined || MLX_FILE.test(tensors)
}

/**
 * What a PEFT configuration would say for an mlx-lm one. Its `scale` is the whole factor on the product.
 *
 * @throws UNSUPPORTED for DoRA and full fine-tuning, ADAPTER_INVALID for a scale or rank that is no number
 */
export function mlxAsPeft(json: Readonly<Record<string, unknown>>, where: string): Record<string, unknown> {
  const kind = json.fine_tune_type ?? 'lora'
  if (kind !== 'lora') {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `expected fine_tune_type "lora" in ${where}, found ${JSON.stringify(kind)}; fuse it with mlx_lm.fuse --de-quantize and measure the whole model`,
    )
  }
  const { rank, scale } = json.lora_parameters as Record<string, unknown>
  if (typeof rank !== 'number' || typeof scale !== 'number' || !(rank > 0) || !Number.isFinite(scale)) {
    throw new TraitscopeError(
      'ADAPTER_INVALID',
      `expected numbers rank and scale in lora_parameters of ${where}, found ${JSON.stringify({ rank, scale })}`,
    )
  }
  const base = [json.model, json.base_model_name_or_path].find((name) => typeof name === 'string')
  const model = base === undefined ? {} : { base_model_name_or_path: base }
  // Its adapted embedding is adapted as a tied head too.
  return { peft_type: 'LORA', r: rank, lora_alpha: rank * scale, ensure_weight_tying: true, ...model }
}

/**
 * Reads mlx-lm's tensors, which are PEFT's transposed: `lora_a` is `[in, r]` and `lora_b` `[r, out]`; of an embedding
 * `lora_a` is `[vocabulary, r]`.
 *
 * @param scaling rank and factor, the same for every module
 * @throws UNSUPPORTED for other tensors, ADAPTER_INVALID for pairs that do not fit and values that are not finite
 */
export function readMlxTensors(file: Safetensors, scaling: { r: number; scale: number }): AdapterTensors {
  const pairs = new Map<string, { a?: string; b?: string }>()
  for (const name of file.tensors.keys()) {
    const found = /^(.+)\.lora_([ab])$/s.exec(name)
    if (!found) {
      throw new TraitscopeError(
        'UNSUPPORTED',
        `tensor ${quoted(name)} of ${file.where} is not one that mlx-lm writes for LoRA; fuse the adapter with mlx_lm.fuse --de-quantize and measure the whole model`,
      )
    }
    pairs.set(found[1]!, { ...pairs.get(found[1]!), [found[2]!]: name })
  }
  if (pairs.size === 0) throw invalid(file, 'LoRA tensors', 'none')
  const modules = [...pairs]
    .sort(([x], [y]) => (x < y ? -1 : 1))
    .map(([path, { a, b }]): LoraModule => {
      if (a === undefined || b === undefined) {
        throw invalid(file, `lora_a and lora_b for module ${quoted(path)}`, 'one of them')
      }
      return readPair(file, path, a, b, scaling)
    })
  return { modules, replaced: [], replacedRows: [], buffers: [], unsaved: [] }
}

function readPair(
  file: Safetensors,
  path: string,
  a: string,
  b: string,
  { r, scale }: { r: number; scale: number },
): LoraModule {
  const [shapeA, shapeB] = [file.tensors.get(a)!.shape, file.tensors.get(b)!.shape]
  if (shapeA.length !== 2 || shapeB.length !== 2 || shapeA[1] !== r || shapeB[0] !== r) {
    throw invalid(file, `rank ${r} for module ${quoted(path)}`, `lora_a [${shapeA}] and lora_b [${shapeB}]`)
  }
  const values = [a, b].map((name) => {
    const numbers = file.float32(name)
    const bad = firstNonFinite(numbers)
    if (bad < 0) return numbers
    throw invalid(file, `finite values in tensor ${quoted(name)}`, `${numbers[bad]} at element ${bad}`)
  })
  const [first, second] = [values[0]!, values[1]!]
  const [rows, columns] = [shapeA[0]!, shapeB[1]!]
  const common = { path, r, scale }
  if (/(^|\.)embed_tokens$/.test(path)) {
    return { ...common, a: second, b: first, inFeatures: columns, outFeatures: rows, embedding: true }
  }
  return {
    ...common,
    a: transposeMatrix(first, rows),
    b: transposeMatrix(second, r),
    inFeatures: rows,
    outFeatures: columns,
  }
}
