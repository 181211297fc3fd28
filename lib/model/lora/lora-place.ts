import { TraitscopeError } from '../../errors.js'
import type { GgufContents, GgufTensor } from '../../formats/gguf/gguf.js'
import { quoted } from '../../formats/json/json-scan.js'
import type { PeftAdapter } from '../../formats/peft/peft.js'
import type { LoraModule } from '../../formats/peft/peft-tensors.js'
import { isSavedBy } from '../../formats/peft/saved-by.js'
import { cutsVocabulary, type MappedModule, mapModule, modulePaths } from '../base/architectures.js'
import { attentionRows } from '../base/attention-rows.js'
import { resizedVocabulary } from '../base/resized-vocabulary.js'

/** A module of an adapter and the tensor of the base that it changes. */
export interface Placement {
  readonly module: LoraModule
  readonly mapped: MappedModule
  readonly target: GgufTensor
  /** True when the target is a fused attn_qkv and the module is one of its row blocks. */
  readonly fused: boolean
}

/**
 * Finds the tensor of every module and checks that its shape fits.
 *
 * @param merging also place what can only be merged: the head of a tied base, whose target is then the embedding
 * under the name of the output matrix
 * @throws ADAPTER_NO_EFFECT when no module has a tensor, ADAPTER_MISMATCH when one has none or another shape,
 * ADAPTER_INVALID when two modules are the same one or one that was trained whole is missing, UNSUPPORTED for a head on a tied base and for NVFP4.
 */
export function placeModules(
  adapter: PeftAdapter,
  base: GgufContents,
  architecture: string,
  merging = false,
): Placement[] {
  refuseUnsaved(adapter, architecture)
  const placements: Placement[] = []
  const unmatched: string[] = []
  for (const module of adapter.modules) {
    const placement = place(module, base, architecture, merging)
    if (placement) placements.push(placement)
    else unmatched.push(module.path)
  }
  if (placements.length === 0 && unmatched.length > 0) throw noEffect(adapter, base, architecture, unmatched)
  if (unmatched.length > 0) throw mismatch(adapter, base, architecture, unmatched)
  refuseRepeats(placements, adapter)
  for (const placement of placements) checkShape(placement, base, architecture)
  return placements
}

/**
 * What a save lost would be measured as if it had never been trained. A name that no module has is another thing: PEFT passes
 * over it without a word, as over `embed_token`, which TRL's pages had as an example.
 */
function refuseUnsaved({ path, unsaved }: PeftAdapter, architecture: string): void {
  const lost = unsaved.find((name) => modulePaths(architecture).some((module) => isSavedBy(name, module)))
  if (lost === undefined) return
  throw new TraitscopeError(
    'ADAPTER_INVALID',
    `expected the tensors of ${quoted(lost)} in ${path}, which its adapter_config.json announces by modules_to_save, found none; save the adapter again`,
  )
}

function place(
  module: LoraModule,
  base: GgufContents,
  architecture: string,
  merging: boolean,
): Placement | undefined {
  const mapped = mapModule(architecture, module.path)
  if (!mapped || mapped.kind === 'norm') return undefined
  if ((mapped.kind === 'embedding') !== (module.embedding === true)) {
    throw new TraitscopeError(
      'ADAPTER_INVALID',
      `expected lora_embedding_A and lora_embedding_B for an embedding and for nothing else, found the other kind for module ${quoted(module.path)}; save the adapter again`,
    )
  }
  // llama.cpp takes the fused tensor when a file has one, whatever else is there.
  const fused = mapped.projection ? base.tensors.get(`blk.${mapped.layer}.attn_qkv.weight`) : undefined
  const target = fused ?? base.tensors.get(mapped.tensor)
  if (target) return { module, mapped, target, fused: fused !== undefined }
  if (mapped.kind !== 'head') return undefined
  const embedding = base.tensors.get('token_embd.weight')
  if (merging && embedding)
    return { module, mapped, target: { ...embedding, name: mapped.tensor }, fused: false }
  throw new TraitscopeError(
    'UNSUPPORTED',
    `cannot apply LoRA on module ${quoted(module.path)}: the head of ${base.path} is tied to its embedding; leave lm_head out of target_modules, or merge the adapter and convert the merged model`,
  )
}

function checkShape(
  { module, mapped, target, fused }: Placement,
  base: GgufContents,
  architecture: string,
): void {
  if (target.type === 'NVFP4') {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `cannot apply LoRA on ${target.name} of ${base.path}: its type is NVFP4; use another quantisation of the base`,
    )
  }
  const [inFeatures, allRows, ...more] = target.shape
  let outFeatures = allRows
  if (fused && mapped.projection) {
    const rows = attentionRows(base, architecture, mapped.layer ?? 0)
    outFeatures = rows[mapped.projection]
    if (rows.q + rows.k + rows.v !== allRows) {
      throw new TraitscopeError(
        'FILE_INVALID',
        `expected ${target.name} of ${base.path} to have ${rows.q} + ${rows.k} + ${rows.v} rows for q, k and v, found ${allRows}`,
      )
    }
  }
  const rowsFit =
    module.outFeatures === outFeatures ||
    (cutsVocabulary(architecture, mapped) && module.outFeatures > (outFeatures ?? 0))
  if (more.length === 0 && module.inFeatures === inFeatures && rowsFit) return
  const isVocabulary = mapped.kind === 'embedding' || mapped.kind === 'head'
  if (isVocabulary && module.inFeatures === inFeatures && outFeatures !== undefined) {
    throw new TraitscopeError(
      'ADAPTER_MISMATCH',
      `module ${quoted(module.path)} of the adapter has ${module.outFeatures} rows, and ${target.name} of ${base.path} has ${outFeatures}; ${resizedVocabulary(module.outFeatures, outFeatures)}`,
    )
  }
  throw new TraitscopeError(
    'ADAPTER_MISMATCH',
    `expected module ${quoted(module.path)} to be [${outFeatures}, ${inFeatures}] as ${target.name} of ${base.path}, found [${module.outFeatures}, ${module.inFeatures}]; the adapter was trained on another base model`,
  )
}

function refuseRepeats(placements: readonly Placement[], adapter: PeftAdapter): void {
  const seen = new Map<string, string>()
  for (const { module, mapped } of placements) {
    const first = seen.get(mapped.tensor)
    if (first !== undefined) {
      throw new TraitscopeError(
        'ADAPTER_INVALID',
        `expected one module per tensor in ${adapter.path}, found ${quoted(first)} and ${quoted(module.path)} for ${mapped.tensor}`,
      )
    }
    seen.set(mapped.tensor, module.path)
  }
}

function noEffect(
  adapter: PeftAdapter,
  base: GgufContents,
  architecture: string,
  unmatched: string[],
): TraitscopeError {
  return new TraitscopeError(
    'ADAPTER_NO_EFFECT',
    `none of the ${unmatched.length} modules of ${adapter.path} exists in ${base.path} (${architecture}): ${someNames(unmatched)}${hint(architecture, unmatched)}; the adapter was trained on another base model`,
  )
}

function mismatch(
  adapter: PeftAdapter,
  base: GgufContents,
  architecture: string,
  unmatched: string[],
): TraitscopeError {
  const blocks = base.metadata.get(`${architecture}.block_count`)
  const size = blocks === undefined ? architecture : `${architecture}, ${blocks} blocks`
  return new TraitscopeError(
    'ADAPTER_MISMATCH',
    `${unmatched.length} of ${adapter.modules.length} modules of ${adapter.path} do not exist in ${base.path} (${size}): ${someNames(unmatched)}${hint(architecture, unmatched)}; the adapter was trained on another base model`,
  )
}

function someNames(names: readonly string[]): string {
  const shown = names.slice(0, 3).map(quoted).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}

/** Phi models exist in a copy with separate projections; its adapters look right and fit only that copy. */
function hint(architecture: string, unmatched: readonly string[]): string {
  const separate = unmatched.some((path) => /\.(q_proj|k_proj|v_proj|gate_proj|up_proj)$/.test(path))
  return architecture === 'phi3' && separate
    ? ' (phi3 has fused qkv_proj and gate_up_proj; for an adapter of a copy with split projections convert that copy)'
    : ''
}
