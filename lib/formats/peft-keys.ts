import { TraitscopeError } from '../errors.js'
import { quoted } from './json-scan.js'

const PREFIX = 'base_model.model.'
const LORA_KEY = /^(.+)\.lora_([AB])\.weight$/s

/** Which half of which module a tensor is. */
export interface LoraKey {
  /** Module path without `base_model.model.`. */
  path: string
  part: 'A' | 'B'
}

const MERGE = 'merge the adapter into the model with PEFT and convert the merged model to GGUF'

/** What a tensor is when it is not half of a plain pair, first match first. */
const REFUSED_KEYS: readonly (readonly [pattern: RegExp, what: string, remedy: string])[] = [
  [/\.lora_magnitude_vector(\.|$)/, 'the magnitude of a DoRA module', `train without DoRA, or ${MERGE}`],
  [/\.lora_B\.bias$/, 'a bias of lora_B', `train with lora_bias=False, or ${MERGE}`],
  [/\.lora_embedding_[AB]$/, 'LoRA on an embedding', `leave embeddings out of target_modules, or ${MERGE}`],
  [
    /\.trainable_tokens_delta$/,
    'replaced embedding rows (trainable tokens)',
    `train without them, or ${MERGE}`,
  ],
  [
    /\.lora_[A-Za-z]+\.[^.]+\.weight$/,
    'a tensor with the adapter name left in',
    'save it with save_pretrained',
  ],
  [/\.lora_diag/, 'the diagonal of a LoRA variant', 'train a plain LoRA instead'],
  [/\.base_layer\.weight$/, 'a copy of an adapted embedding', `leave embeddings out, or ${MERGE}`],
  [/\.bias$/, 'a replaced bias', `train with bias="none", or ${MERGE}`],
  [/\.weight$/, 'a replaced module (modules_to_save or resized embeddings)', `train without, or ${MERGE}`],
]

/**
 * Reads a tensor name of adapter_model.safetensors.
 *
 * @throws UNSUPPORTED, by name, for every tensor that is not lora_A or lora_B of a linear module: skipping one would
 * measure another model than the trained one.
 */
export function parseLoraKey(name: string, where: string): LoraKey {
  const inModel = name.startsWith(PREFIX)
  const found = inModel ? LORA_KEY.exec(name.slice(PREFIX.length)) : null
  if (found) return { path: found[1]!, part: found[2] as 'A' | 'B' }
  const [, what, remedy] = (inModel ? REFUSED_KEYS.find(([pattern]) => pattern.test(name)) : undefined) ?? [
    undefined,
    'not a tensor that PEFT writes for LoRA',
    'save the adapter with save_pretrained',
  ]
  throw new TraitscopeError('UNSUPPORTED', `tensor ${quoted(name)} of ${where} is ${what}; ${remedy}`)
}
