import { TraitscopeError } from '../../errors.js'
import type { GgufContents } from '../../formats/gguf/gguf.js'
import { isOtherModality } from '../../formats/hf/module-names.js'
import { quoted } from '../../formats/json/json-scan.js'

/** The part of a GGUF base that a module of the Hugging Face model became. */
export interface MappedModule {
  /** GGUF tensor name, with `.weight`; a bias is the same name with `.bias`. */
  readonly tensor: string
  readonly kind: 'linear' | 'norm' | 'embedding' | 'head'
  /** Block number; undefined outside the blocks. */
  readonly layer?: number
  /** Which attention projection this is, where that matters: row permutation, fused bases. */
  readonly projection?: 'q' | 'k' | 'v'
}

const ATTENTION = {
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
}
const MLP = { 'mlp.gate_proj': 'ffn_gate', 'mlp.up_proj': 'ffn_up', 'mlp.down_proj': 'ffn_down' }
const DENSE: Readonly<Record<string, string>> = { ...ATTENTION, ...MLP }

/** Linear modules of a block, per GGUF architecture. */
const BLOCK_MODULES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  llama: DENSE,
  mistral3: DENSE,
  qwen2: DENSE,
  qwen3: DENSE,
  gemma2: DENSE,
  gemma3: DENSE,
  phi3: {
    'self_attn.qkv_proj': 'attn_qkv',
    'self_attn.o_proj': 'attn_output',
    'mlp.gate_up_proj': 'ffn_up', // gate rows first, as in the Hugging Face model
    'mlp.down_proj': 'ffn_down',
  },
}

const PRE_NORMS = { input_layernorm: 'attn_norm', post_attention_layernorm: 'ffn_norm' }
const GEMMA_NORMS = {
  input_layernorm: 'attn_norm',
  post_attention_layernorm: 'post_attention_norm',
  pre_feedforward_layernorm: 'ffn_norm',
  post_feedforward_layernorm: 'post_ffw_norm',
}
const HEAD_NORMS = { 'self_attn.q_norm': 'attn_q_norm', 'self_attn.k_norm': 'attn_k_norm' }

/** Norms of a block, per GGUF architecture. */
const BLOCK_NORMS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  llama: PRE_NORMS,
  mistral3: PRE_NORMS,
  qwen2: PRE_NORMS,
  qwen3: { ...PRE_NORMS, ...HEAD_NORMS },
  gemma2: GEMMA_NORMS,
  gemma3: { ...GEMMA_NORMS, ...HEAD_NORMS },
  phi3: PRE_NORMS,
}

/** Modules outside the blocks. */
const OUTER_MODULES: Readonly<Record<string, MappedModule>> = {
  lm_head: { tensor: 'output.weight', kind: 'head' },
  'model.embed_tokens': { tensor: 'token_embd.weight', kind: 'embedding' },
  'model.norm': { tensor: 'output_norm.weight', kind: 'norm' },
}

/** Their norms multiply by weight + 1, and the converter stores the sum. */
const SHIFTED_NORMS = new Set(['gemma2', 'gemma3'])

/** Their graphs have one matrix for embedding and output, whatever the file holds. */
const ALWAYS_TIED = new Set(['gemma2'])

/** Their rotary embedding pairs neighbouring rows, so the converter reorders the rows of q and k. */
const PERMUTED = new Set(['llama', 'mistral3'])

const PROJECTIONS: Readonly<Record<string, 'q' | 'k' | 'v'>> = {
  'self_attn.q_proj': 'q',
  'self_attn.k_proj': 'k',
  'self_attn.v_proj': 'v',
}
const BLOCK_PATH = /^(?:model\.)?layers\.(0|[1-9]\d{0,5})\.(.+)$/s
const EXPERTS = /(^|\.)(experts|shared_expert|block_sparse_moe|moe|router)(\.|$)|(^|\.)mlp\.gate$/

/** GGUF architectures whose LoRA modules can be mapped. */
export const SUPPORTED_ARCHITECTURES: readonly string[] = Object.keys(BLOCK_MODULES)

/**
 * The base's `general.architecture`: what its converter chose, which the Hugging Face configuration does not tell
 * (Mistral models, for instance, become `llama`).
 *
 * @throws UNSUPPORTED for architectures without a module map and for mixtures of experts, FILE_INVALID without a name.
 */
export function adapterArchitecture(base: GgufContents): string {
  const name = base.metadata.get('general.architecture')
  if (typeof name !== 'string') {
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected general.architecture in ${base.path}, found none; it is no model`,
    )
  }
  if (!Object.hasOwn(BLOCK_MODULES, name)) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `adapters on architecture ${quoted(name)} are not supported, expected one of ${SUPPORTED_ARCHITECTURES.join(', ')}`,
    )
  }
  const experts = base.metadata.get(`${name}.expert_count`)
  if ((experts !== undefined && Number(experts) > 0) || hasExpertTensors(base)) {
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${base.path} is a mixture of experts, whose stacked weights are not supported; use a dense model`,
    )
  }
  return name
}

/** True when the converter reordered the rows of q and k, so that lora_B needs the same. */
export function permutesQueryKey(architecture: string): boolean {
  return PERMUTED.has(architecture)
}

/** True when the converter stores a norm's weight plus 1. */
export function shiftsNorms(architecture: string): boolean {
  return SHIFTED_NORMS.has(architecture)
}

/** True when llama.cpp's graph has a place for a bias of the module. */
export function loadsBias(architecture: string, { kind, projection, tensor }: MappedModule): boolean {
  if (kind === 'head') return architecture === 'qwen2'
  if (kind !== 'linear') return false
  return PERMUTED.has(architecture) || projection !== undefined || tensor.includes('.attn_qkv.')
}

/**
 * Names of the tensors that every model of an architecture has, apart from a head of its own.
 *
 * @param biased linear modules that have a bias, by the last part of their path
 */
export function requiredTensors(architecture: string, blocks: number, biased: readonly string[]): string[] {
  const modules = Object.entries(BLOCK_MODULES[architecture] ?? {})
  const inBlock = [
    ...[...modules.map(([, name]) => name), ...Object.values(BLOCK_NORMS[architecture] ?? {})].map(
      (name) => `${name}.weight`,
    ),
    ...modules
      .filter(([path]) => biased.includes(path.slice(path.lastIndexOf('.') + 1)))
      .map(([, name]) => `${name}.bias`),
  ]
  return [
    'token_embd.weight',
    'output_norm.weight',
    ...Array.from({ length: blocks }, (_, i) => inBlock.map((name) => `blk.${i}.${name}`)).flat(),
  ]
}

/** A path of every module that an architecture has; of those in the blocks that of the first block. */
export function modulePaths(architecture: string): string[] {
  const inBlock = [BLOCK_MODULES, BLOCK_NORMS].flatMap((table) => Object.keys(table[architecture] ?? {}))
  return [...Object.keys(OUTER_MODULES), ...inBlock.map((name) => `model.layers.0.${name}`)]
}

/** True when a file may hold an output matrix beside its embedding. */
export function canUntie(architecture: string): boolean {
  return !ALWAYS_TIED.has(architecture)
}

/** True when the converter leaves out rows beyond the vocabulary, so that a module may have more than the base. */
export function cutsVocabulary(architecture: string, { kind }: MappedModule): boolean {
  return architecture === 'gemma3' && (kind === 'embedding' || kind === 'head')
}

/**
 * Module path of the Hugging Face model to GGUF tensor. Accepts paths with and without `model.`, and with a
 * `language_model` component anywhere, as multi-modal wrappers have.
 *
 * @returns undefined when the architecture has no such module
 * @throws UNSUPPORTED for experts and parts for other modalities, by name
 */
export function mapModule(architecture: string, path: string): MappedModule | undefined {
  refuseForeignParts(path)
  const parts = path.split('.').filter((part) => part !== 'language_model')
  const normal = parts.join('.').replace(/^(?=(embed_tokens|norm)$)/, 'model.')
  if (Object.hasOwn(OUTER_MODULES, normal)) return OUTER_MODULES[normal]
  const found = BLOCK_PATH.exec(normal)
  if (!found) return undefined
  const layer = Number(found[1])
  const name = found[2]!
  const linear = entry(BLOCK_MODULES[architecture], name)
  if (linear !== undefined) {
    const projection = PROJECTIONS[name]
    return {
      tensor: `blk.${layer}.${linear}.weight`,
      kind: 'linear',
      layer,
      ...(projection ? { projection } : {}),
    }
  }
  const norm = entry(BLOCK_NORMS[architecture], name)
  return norm === undefined ? undefined : { tensor: `blk.${layer}.${norm}.weight`, kind: 'norm', layer }
}

function entry(table: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  return table && Object.hasOwn(table, key) ? table[key] : undefined
}

function refuseForeignParts(path: string): void {
  if (isOtherModality(path)) {
    throw unsupported(
      path,
      'it belongs to a vision or audio part that a text GGUF does not have',
      'train the adapter on the language model only',
    )
  }
  if (EXPERTS.test(path)) {
    throw unsupported(path, 'it belongs to a mixture of experts', 'adapt attention modules of a dense model')
  }
}

function hasExpertTensors(base: GgufContents): boolean {
  for (const name of base.tensors.keys()) if (/\.ffn_\w+_exps\./.test(name)) return true
  return false
}

function unsupported(path: string, reason: string, remedy: string): TraitscopeError {
  return new TraitscopeError(
    'UNSUPPORTED',
    `cannot apply LoRA on module ${quoted(path)}: ${reason}; ${remedy}`,
  )
}
