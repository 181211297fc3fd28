import { TraitscopeError } from '../../errors.js'
import { refuseWrapped, renaming } from '../hf/module-names.js'
import { quoted } from '../json/json-scan.js'

const PREFIX = 'base_model.model.'
/** What Tinker calls the head, which it trains too; its own tools read it so, and PEFT finds no module of that name. */
export const TINKER_HEAD = 'model.unembed_tokens'

/**
 * What a tensor is to its module: the halves of a pair (`A`, `B`; `embeddingA`, `embeddingB` for embeddings), the
 * magnitude of DoRA, the bias of lora_B, a whole `weight` or `bias` in place of the base's, embedding rows in place of
 * the base's (`tokens`), a `copy` of the base's own weights or of what stands elsewhere in the file, or a `buffer` of the
 * backward pass: the last two change nothing.
 */
export type PeftPart =
  | 'A'
  | 'B'
  | 'embeddingA'
  | 'embeddingB'
  | 'magnitude'
  | 'biasB'
  | 'weight'
  | 'bias'
  | 'tokens'
  | 'copy'
  | 'buffer'

export interface PeftKey {
  /** Module path without `base_model.model.`. */
  path: string
  part: PeftPart
  /** The adapter's name, where the tensor's name has it. */
  adapter?: string
}

/** Ends of tensor names, first match first. */
const PARTS: readonly (readonly [pattern: RegExp, part: PeftPart])[] = [
  [/^(.+)\.lora_A\.weight$/s, 'A'],
  [/^(.+)\.lora_B\.weight$/s, 'B'],
  [/^(.+)\.lora_B\.bias$/s, 'biasB'],
  [/^(.+)\.lora_embedding_A$/s, 'embeddingA'],
  [/^(.+)\.lora_embedding_B$/s, 'embeddingB'],
  [/^(.+)\.lora_magnitude_vector(?:\.weight)?$/s, 'magnitude'],
  [/^(.+)\.token_adapter\.trainable_tokens_delta$/s, 'tokens'],
  [/^(.+?)(?:\.token_adapter)?\.base_layer\.weight$/s, 'copy'],
  // Saved beside the plain name when embedding layers are saved as a whole.
  [/^(.+)\.(?:original_module|modules_to_save)\.(?:weight|bias)$/s, 'copy'],
  // VeLoRA's, which compresses the activations that are kept for the gradient.
  [/^(.+)\.lora_velora_embed$/s, 'buffer'],
  [/^(.+)\.base_layer\.bias$/s, 'bias'],
  [/^(?!.*\.lora_)(.+)\.weight$/s, 'weight'],
  [/^(?!.*\.lora_)(.+)\.bias$/s, 'bias'],
]

/** In a model's own state_dict the adapter has its name in the names of its tensors; a saved one has not. */
const NAMED =
  /(\.(?:lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|modules_to_save|trainable_tokens_delta))\.((?!weight$|bias$)[^.]+)(\.(?:weight|bias))?$/

/**
 * Reads a tensor name of adapter_model.safetensors.
 *
 * @throws UNSUPPORTED, by name, for every tensor whose effect is not known: skipping one would measure another model
 * than the trained one.
 */
export function parsePeftKey(name: string, where: string): PeftKey {
  refuseWrapped(name, where)
  const [found, before, adapter, after = ''] = NAMED.exec(name) ?? []
  // What modules_to_save holds is, in a state_dict, not a copy of anything.
  const plain =
    found === undefined
      ? name
      : name.slice(0, -found.length) + (before === '.modules_to_save' ? after : before + after)
  const key = partOf(plain.startsWith(PREFIX) ? plain.slice(PREFIX.length) : plain)
  if (key && plain.startsWith(PREFIX)) return adapter === undefined ? key : { ...key, adapter }
  if (key && key.part !== 'weight' && key.part !== 'bias') {
    throw unsupported(
      name,
      where,
      `without the "${PREFIX}" in front of it that PEFT looks for, so PEFT loads nothing from such a file; save the adapter with save_pretrained, or ${renaming('', PREFIX)}`,
    )
  }
  const what = /\.lora_diag/.test(name)
    ? 'the diagonal of a LoRA variant; train a plain LoRA instead'
    : 'not a tensor that PEFT writes for LoRA; save the adapter with save_pretrained'
  throw unsupported(name, where, what)
}

function partOf(name: string): PeftKey | undefined {
  for (const [pattern, part] of PARTS) {
    const path = pattern.exec(name)?.[1]
    if (path !== undefined) return { path: path === TINKER_HEAD ? 'lm_head' : path, part }
  }
  return undefined
}

function unsupported(name: string, where: string, what: string): TraitscopeError {
  return new TraitscopeError('UNSUPPORTED', `tensor ${quoted(name)} of ${where} is ${what}`)
}
