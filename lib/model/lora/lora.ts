import { TraitscopeError } from '../../errors.js'
import { encodeGguf, type GgufContents } from '../../formats/gguf/gguf.js'
import { quoted } from '../../formats/json/json-scan.js'
import type { PeftAdapter } from '../../formats/peft/peft.js'
import type { LoraModule } from '../../formats/peft/peft-tensors.js'
import { transposeMatrix } from '../../formats/peft/transpose.js'
import { firstNonFinite } from '../../formats/safetensors/safetensors-dtypes.js'
import { adapterArchitecture, type MappedModule } from '../base/architectures.js'
import { attentionRows } from '../base/attention-rows.js'
import { refuseMergeOnly, refuseMovedBase } from './attachable.js'
import { type FusedBlock, fusePairs, type LoraPair } from './lora-fuse.js'
import { loraDeltaNorm } from './lora-norm.js'
import { permuteRows, rowOrder } from './lora-permute.js'
import { type Placement, placeModules } from './lora-place.js'

/** How one module of an adapter was matched. */
export interface AttachedModule {
  /** Module path in the adapter. */
  readonly path: string
  /** GGUF tensor that it changes. */
  readonly tensor: string
  readonly r: number
  /** Factor on B·A, as trained: alpha / r or alpha / sqrt(r). */
  readonly scale: number
  /** True when lora_B is all zero, as at the start of training: the module changes nothing. */
  readonly bIsZero: boolean
  /** True for a module above the layers that the model was opened for: it exists in the base and is not run. */
  readonly notRun?: true
  /** Frobenius norm of the weight change scale·B·A; present when asked for. */
  readonly deltaNorm?: number
}

/** What an adapter changes in its base. */
export interface AttachReport {
  readonly architecture: string
  /** In the order of the adapter: by module path. */
  readonly modules: readonly AttachedModule[]
  /** True when every module that runs has a zero scale or an all-zero matrix: the adapter changes nothing. */
  readonly allZero: boolean
  /** Frobenius norm of the whole weight change; present when asked for. */
  readonly deltaNorm?: number
}

/** How an adapter becomes one of llama.cpp. */
export interface GgufLoraOptions {
  /** Compute `deltaNorm`: about 1 ms per module of an 8B model at rank 16, growing with the square of the rank. */
  norms?: boolean | undefined
  /** The base is what an initialisation such as PiSSA left of the original. */
  residualBase?: boolean | undefined
  /** The highest layer that is read: what lies above is matched and checked, and left out. */
  readsUpTo?: number | undefined
}

/**
 * Rewrites a PEFT adapter as a llama.cpp LoRA file in memory, for this base: names mapped, q and k rows permuted where
 * the converter permuted the base, PEFT's scale folded into B (alpha is written as 0, so the strength given to
 * llama.cpp is exactly the factor on the trained adapter), all F32.
 *
 * Everything that llama.cpp would abort on, or silently accept, is checked first.
 *
 * @throws ADAPTER_NO_EFFECT when nothing matches the base, ADAPTER_MISMATCH when a module or a shape does not,
 * ADAPTER_INVALID, UNSUPPORTED, FILE_INVALID for a base without the metadata needed.
 */
export function toGgufLora(
  adapter: PeftAdapter,
  base: GgufContents,
  options: GgufLoraOptions = {},
): { gguf: Uint8Array; report: AttachReport } {
  const architecture = adapterArchitecture(base)
  refuseMovedBase(adapter, options.residualBase)
  refuseMergeOnly(adapter, base, options.readsUpTo !== undefined)
  const placements = placeModules(adapter, base, architecture)
  const running = placements.filter(({ mapped }) => runs(mapped, options.readsUpTo))
  if (running.length === 0) throw nothingRuns(adapter, options.readsUpTo!)
  const groups = new Map<string, Placement[]>()
  for (const placement of running) {
    const group = groups.get(placement.target.name)
    if (group) group.push(placement)
    else groups.set(placement.target.name, [placement])
  }
  const tensors = [...groups].flatMap(([tensor, group]) => {
    const { a, b, r, inFeatures, outFeatures } = pairFor(group, base, architecture)
    if (group[0]!.module.embedding) {
      // Rows are looked up in the first factor, so for an embedding the factors change places.
      return [
        { name: `${tensor}.lora_a`, shape: [r, outFeatures], type: 'F32' as const, data: b },
        {
          name: `${tensor}.lora_b`,
          shape: [r, inFeatures],
          type: 'F32' as const,
          data: transposeMatrix(a, r),
        },
      ]
    }
    return [
      { name: `${tensor}.lora_a`, shape: [inFeatures, r], type: 'F32' as const, data: a },
      { name: `${tensor}.lora_b`, shape: [r, outFeatures], type: 'F32' as const, data: b },
    ]
  })
  const gguf = encodeGguf({
    metadata: [
      ['general.type', 'string', 'adapter'],
      ['general.architecture', 'string', architecture],
      ['adapter.type', 'string', 'lora'],
      ['adapter.lora.alpha', 'f32', 0],
      ['traitscope.adapter.sha256', 'string', adapter.sha256],
    ],
    tensors,
  })
  return { gguf, report: describeAttachment(architecture, placements, options) }
}

/** Whether states up to a layer depend on the module. */
function runs({ kind, layer }: MappedModule, readsUpTo: number | undefined): boolean {
  return readsUpTo === undefined || (layer === undefined ? kind === 'embedding' : layer <= readsUpTo)
}

function nothingRuns({ path, modules }: PeftAdapter, readsUpTo: number): TraitscopeError {
  return new TraitscopeError(
    'ADAPTER_NO_EFFECT',
    `all ${modules.length} modules of ${path} lie above layer ${readsUpTo}, the highest that is read, and change no state up to there: read a higher layer`,
  )
}

/** The pair for one tensor of the base, from the one module it has or from the parts of a fused tensor. */
function pairFor(group: readonly Placement[], base: GgufContents, architecture: string): LoraPair {
  const pairs = group.map((placement) => ({ placement, pair: readyPair(placement, base, architecture) }))
  const { placement, pair } = pairs[0]!
  if (!placement.fused) return pair
  const rows = attentionRows(base, architecture, placement.mapped.layer!)
  const blocks = (['q', 'k', 'v'] as const).map((projection): FusedBlock => {
    const part = pairs.find((candidate) => candidate.placement.mapped.projection === projection)
    return { rows: rows[projection], ...(part ? { pair: part.pair } : {}) }
  })
  return fusePairs(blocks, pair.inFeatures)
}

/** A module's matrices with the scale in B and its rows in the order of the base. */
export function readyPair(
  { module, mapped }: Pick<Placement, 'module' | 'mapped'>,
  base: GgufContents,
  architecture: string,
): LoraPair {
  const b = scaled(module)
  const order = rowOrder(mapped, module.outFeatures, base, architecture)
  return { ...module, b: order ? permuteRows(b, module.r, order) : b }
}

/** One rounding to float32 per element, as the product is taken in float64. */
function scaled({ path, b, scale }: LoraModule): Float32Array {
  const result = new Float32Array(b.length)
  for (let i = 0; i < b.length; i++) result[i] = b[i]! * scale
  if (firstNonFinite(result) < 0) return result
  throw new TraitscopeError(
    'ADAPTER_INVALID',
    `expected lora_B of module ${quoted(path)} times its scale ${scale} to fit float32, found an overflow; check lora_alpha`,
  )
}

export function describeAttachment(
  architecture: string,
  placements: readonly Placement[],
  { norms = false, readsUpTo }: GgufLoraOptions,
): AttachReport {
  const modules = placements.map(({ module, mapped, target }): AttachedModule => {
    const { path, r, scale } = module
    const common = {
      ...{ path, tensor: target.name, r, scale, bIsZero: isZero(module.b) },
      ...(runs(mapped, readsUpTo) ? {} : { notRun: true as const }),
    }
    return norms ? { ...common, deltaNorm: loraDeltaNorm(module) } : common
  })
  const allZero = placements.every(
    ({ module }, i) => modules[i]!.notRun || module.scale === 0 || modules[i]!.bIsZero || isZero(module.a),
  )
  if (!norms) return { architecture, modules, allZero }
  return { architecture, modules, allZero, deltaNorm: Math.hypot(...modules.map((m) => m.deltaNorm ?? 0)) }
}

function isZero(values: Float32Array): boolean {
  return values.every((value) => value === 0)
}
