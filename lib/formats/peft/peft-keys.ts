import { TraitscopeError } from '../../errors.js'
import { quoted } from '../json/json-scan.js'

const PREFIX = 'base_model.model.'

/**
 * What a tensor is to its module: the halves of a pair (`A`, `B`; `embeddingA`, `embeddingB` for embeddings), the
 * magnitude of DoRA, the bias of lora_B, a whole `weight` or `bias` in place of the base's, embedding rows in place of
 * the base's (`tokens`), or a `copy` of the base's own weights or of what stands elsewhere in the file, which changes
 * nothing.
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

export interface PeftKey {
  /** Module path without `base_model.model.`. */
  path: string
  part: PeftPart
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
  [/^(.+)\.base_layer\.bias$/s, 'bias'],
  [/^(?!.*\.lora_)(.+)\.weight$/s, 'weight'],
  [/^(?!.*\.lora_)(.+)\.bias$/s, 'bias'],
]

/** What a tensor is when it is nothing of the above, first match first. */
const REFUSED_KEYS: readonly (readonly [pattern: RegExp, what: string, remedy: string])[] = [
  [
    /\.lora_[A-Za-z]+\.[^.]+\.weight$/,
    'a tensor with the adapter name left in',
    'save it with save_pretrained',
  ],
  [/\.lora_diag/, 'the diagonal of a LoRA variant', 'train a plain LoRA instead'],
]

/**
 * Reads a tensor name of adapter_model.safetensors.
 *
 * @throws UNSUPPORTED, by name, for every tensor whose effect is not known: skipping one would measure another model
 * than the trained one.
 */
export function parsePeftKey(name: string, where: string): PeftKey {
  const inModel = name.startsWith(PREFIX)
  const rest = inModel ? name.slice(PREFIX.length) : ''
  for (const [pattern, part] of PARTS) {
    const path = pattern.exec(rest)?.[1]
    if (path !== undefined) return { path, part }
  }
  const [, what, remedy] = (inModel ? REFUSED_KEYS.find(([pattern]) => pattern.test(name)) : undefined) ?? [
    undefined,
    'not a tensor that PEFT writes for LoRA',
    'save the adapter with save_pretrained',
  ]
  throw new TraitscopeError('UNSUPPORTED', `tensor ${quoted(name)} of ${where} is ${what}; ${remedy}`)
}
