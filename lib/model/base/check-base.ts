import { TraitscopeError } from '../../errors.js'
import type { GgmlTypeName } from '../../formats/gguf/ggml-types.js'
import { type GgufFile, GgufStrings, type GgufTensor } from '../../formats/gguf/gguf.js'
import { quoted } from '../../formats/json/json-scan.js'
import { SUPPORTED_ARCHITECTURES } from './architectures.js'
import { BaseMetadata } from './base-metadata.js'
import { checkAttention } from './check-attention.js'
import { checkRotation } from './check-rotation.js'
import { checkWindows } from './prompt-limits.js'

/** llama.cpp keeps per-block settings in arrays of this length. */
export const MAX_BLOCKS = 512
const MAX_EXPERTS = 1024
const ROPE_SCALINGS = ['none', 'linear', 'yarn', 'longrope']
/** The tokenizers of decoder-only models; the others abort on vocabularies that were made for these. */
const TOKENIZERS = ['gpt2', 'llama', 'gemma4']
const NO_TOKENIZER = ['none', 'no_vocab']
/** Types that ggml stores but cannot multiply with. */
const NO_WEIGHTS: ReadonlySet<GgmlTypeName> = new Set(['F64', 'I8', 'I16', 'I32', 'I64', 'Q8_1', 'Q8_K'])

/**
 * Checks what llama.cpp asserts, or takes for granted, about a base model: an assertion of its ends the process.
 * What it reports as an error (missing keys and tensors, wrong shapes) is left to it.
 *
 * @returns the base's `general.architecture`
 * @throws TraitscopeError FILE_INVALID naming the key or tensor, UNSUPPORTED
 */
export function checkBase(gguf: GgufFile): string {
  const architecture = gguf.metadata.get('general.architecture')
  if (typeof architecture !== 'string') {
    throw new TraitscopeError(
      'FILE_INVALID',
      `${gguf.path} names no general.architecture: it is not a model GGUF`,
    )
  }
  // Others may load, but their files cannot be checked for what llama.cpp asserts, and no adapter maps onto them.
  if (!SUPPORTED_ARCHITECTURES.includes(architecture)) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${gguf.path} has architecture ${quoted(architecture)}, expected one of ${SUPPORTED_ARCHITECTURES.join(', ')}`,
    )
  }
  const base = new BaseMetadata(gguf, architecture)
  checkCounts(base)
  checkVocabulary(base)
  for (const tensor of gguf.tensors.values()) checkWeightType(base, tensor)
  checkAttention(base)
  checkWindows(base)
  checkRotation(base)
  return architecture
}

function checkCounts(base: BaseMetadata): void {
  const blocks = base.integer('block_count')
  if (blocks !== undefined && (blocks < 1 || blocks > MAX_BLOCKS))
    base.refuse('block_count', `from 1 to ${MAX_BLOCKS}`)
  const predicting = base.integer('nextn_predict_layers') ?? 0
  if (blocks !== undefined && predicting >= blocks) base.refuse('nextn_predict_layers', `below ${blocks}`)

  const experts = base.integer('expert_count') ?? 0
  const used = Math.max(0, ...(base.perBlock('expert_used_count') ?? []))
  const groups = base.integer('expert_group_count') ?? 0
  if (experts > MAX_EXPERTS) base.refuse('expert_count', `at most ${MAX_EXPERTS}`)
  if (experts > 0 ? used < 1 || used > experts : used > 0)
    base.refuse('expert_used_count', `from 1 to the ${experts} experts`)
  if (groups > 0 && (groups >= experts || experts % groups !== 0))
    base.refuse('expert_group_count', `a divisor of the ${experts} experts`)
  const groupsUsed = base.integer('expert_group_used_count') ?? 0
  if (groups > 1 && (groupsUsed < 1 || groupsUsed >= groups))
    base.refuse('expert_group_used_count', `from 1 to ${groups - 1}`)

  const scaling = base.gguf.metadata.get(`${base.architecture}.rope.scaling.type`)
  if (scaling !== undefined && !ROPE_SCALINGS.includes(scaling as string))
    base.refuse('rope.scaling.type', `one of ${ROPE_SCALINGS.join(', ')}`)
  for (const key of ['attention.layer_norm_rms_epsilon', 'attention.layer_norm_epsilon']) {
    if ((base.number(key) ?? 0) < 0) base.refuse(key, 'at least 0')
  }
  const causal = base.gguf.metadata.get(`${base.architecture}.attention.causal`)
  if (causal === false) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${base.gguf.path} attends to later tokens too, expected a decoder-only model; give the causal language model`,
    )
  }
}

/**
 * Checks what llama.cpp asserts of a vocabulary.
 *
 * @throws TraitscopeError FILE_INVALID, UNSUPPORTED
 */
export function checkVocabulary(base: BaseMetadata): void {
  const { metadata, path } = base.gguf
  const model = metadata.get('tokenizer.ggml.model')
  if (typeof model !== 'string' || NO_TOKENIZER.includes(model)) return
  if (!TOKENIZERS.includes(model)) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${path} has the tokenizer ${quoted(model)}, expected one of ${TOKENIZERS.join(', ')}`,
    )
  }
  const tokens = metadata.get('tokenizer.ggml.tokens')
  if (!(tokens instanceof GgufStrings)) return
  if (tokens.length === 0) base.fail('tokenizer.ggml.tokens to hold tokens, found none')
  const seen = new Map<string, number>()
  for (let i = 0; i < tokens.length; i++) {
    // As llama.cpp reads them: up to the first NUL, and with a name where nothing is left.
    const text = tokens.latin1At(i)!.split('\0', 1)[0] || `[EMPTY_${i}]`
    const before = seen.get(text)
    if (before !== undefined)
      base.fail(`tokenizer.ggml.tokens to differ, found one text for tokens ${before} and ${i}`)
    seen.set(text, i)
  }
}

function checkWeightType(base: BaseMetadata, { name, shape, type }: GgufTensor): void {
  const isVector = shape.slice(1).every((dimension) => dimension === 1)
  if (isVector ? type === 'F32' : !NO_WEIGHTS.has(type)) return
  base.fail(
    `the tensor ${quoted(name)} to be of ${isVector ? 'type F32' : 'a type for weights'}, found ${type}`,
  )
}
