import { TraitscopeError } from '../../errors.js'
import type { GgufInput } from '../../formats/gguf/gguf.js'
import type { HfConfig } from './hf-config.js'

type Metadata = GgufInput['metadata'][number][]

/** A small F32 tensor that a configuration, not a weight file, holds. */
export interface ComputedTensor {
  name: string
  values: Float32Array
}

/** The model's shape and settings as GGUF metadata, the keys that llama.cpp's converter writes. */
export function modelMetadata(config: HfConfig): Metadata {
  const { architecture } = config
  const metadata: Metadata = []
  const integer = (key: string, value: number) => metadata.push([`${architecture}.${key}`, 'u32', value])
  const real = (key: string, value: number) => metadata.push([`${architecture}.${key}`, 'f32', value])
  integer('block_count', config.blocks)
  integer('context_length', config.integer('max_position_embeddings'))
  integer('embedding_length', config.integer('hidden_size'))
  integer('feed_forward_length', config.integer('intermediate_size'))
  integer('attention.head_count', config.heads)
  integer('attention.head_count_kv', config.kvHeads)
  real('attention.layer_norm_rms_epsilon', config.number('rms_norm_eps'))
  // Qwen2 and Phi-3 classes have no head size of their own.
  if (architecture !== 'phi3' && (architecture !== 'qwen2' || config.json.head_dim !== undefined)) {
    integer('attention.key_length', config.headDim)
    integer('attention.value_length', config.headDim)
  }
  if (architecture === 'llama') {
    integer('rope.dimension_count', config.headDim)
    integer('vocab_size', config.integer('vocab_size'))
  }
  if (architecture === 'gemma2') {
    real('attn_logit_softcapping', config.number('attn_logit_softcapping'))
    real('final_logit_softcapping', config.number('final_logit_softcapping'))
    integer('attention.sliding_window', config.integer('sliding_window'))
  } else if (architecture === 'phi3') {
    metadata.push(...phiRotation(config))
    integer('attention.sliding_window', config.integer('sliding_window', 0))
  } else {
    metadata.push(...rotationMetadata(config))
  }
  if (architecture === 'gemma3') {
    const softcap = config.json.final_logit_softcapping
    if (softcap !== undefined) real('final_logit_softcapping', config.number('final_logit_softcapping'))
    integer('attention.sliding_window', config.integer('sliding_window'))
  }
  return metadata
}

function rotationMetadata(config: HfConfig): Metadata {
  const { architecture } = config
  const { parameters, localBase } = config.rotation
  const key = (name: string) => `${architecture}.rope.${name}`
  const metadata: Metadata = [[key('freq_base'), 'f32', number(config, parameters.rope_theta, 'rope_theta')]]
  if (localBase !== undefined) metadata.push([key('freq_base_swa'), 'f32', localBase])
  const type = parameters.rope_type ?? 'default'
  // Dynamic scaling acts beyond the trained context only; Llama 3's is a tensor.
  if (type === 'default' || type === 'dynamic' || (type === 'llama3' && architecture === 'llama'))
    return metadata
  if (type !== 'linear' && type !== 'yarn') throw unknownRotation(config, type)
  metadata.push([key('scaling.type'), 'string', type])
  metadata.push([key('scaling.factor'), 'f32', number(config, parameters.factor, 'factor of the rotation')])
  if (type === 'linear') return metadata
  const original = parameters.original_max_position_embeddings ?? config.json.max_position_embeddings
  const context = count(config, original, 'original_max_position_embeddings')
  metadata.push([key('scaling.original_context_length'), 'u32', context])
  const optional: readonly (readonly [from: string, to: string])[] = [
    ['extrapolation_factor', 'yarn_ext_factor'],
    ['attention_factor', 'yarn_attn_factor'],
    ['beta_fast', 'yarn_beta_fast'],
    ['beta_slow', 'yarn_beta_slow'],
  ]
  for (const [from, to] of optional) {
    const value = parameters[from]
    if (value !== undefined && value !== null)
      metadata.push([key(`scaling.${to}`), 'f32', number(config, value, from)])
  }
  return metadata
}

function phiRotation(config: HfConfig): Metadata {
  const { parameters } = config.rotation
  const original = originalContext(config)
  const metadata: Metadata = [
    ['phi3.rope.freq_base', 'f32', number(config, parameters.rope_theta, 'rope_theta')],
    ['phi3.rope.dimension_count', 'u32', phiRotaryDimensions(config)],
    ['phi3.rope.scaling.original_context_length', 'u32', original],
  ]
  if (!isLongRope(config)) return metadata
  const scale = config.integer('max_position_embeddings') / original
  const attention = scale > 1 ? Math.sqrt(1 + Math.log(scale) / Math.log(original)) : 1
  metadata.push(['phi3.rope.scaling.attn_factor', 'f32', attention])
  return metadata
}

/** Rotation factors that a GGUF holds as tensors: Llama 3's frequencies, LongRoPE's two lists. */
export function rotationTensors(config: HfConfig): ComputedTensor[] {
  const { parameters } = config.rotation
  if (config.architecture === 'llama' && parameters.rope_type === 'llama3') {
    return [{ name: 'rope_freqs.weight', values: llama3Factors(config) }]
  }
  if (config.architecture !== 'phi3' || !isLongRope(config)) return []
  return (['long', 'short'] as const).map((which) => {
    const list = parameters[`${which}_factor`]
    const expected = phiRotaryDimensions(config) / 2
    const fits = Array.isArray(list) && list.length === expected && list.every(Number.isFinite)
    if (!fits) return config.fail(`${which}_factor to hold ${expected} numbers`, list)
    return { name: `rope_factors_${which}.weight`, values: Float32Array.from(list as number[]) }
  })
}

/**
 * Frequencies divide by these: 1 for short waves, `factor` for long ones, a blend between. Computed in the precision of
 * the converter: frequencies in float32, the rest rounded once.
 */
function llama3Factors(config: HfConfig): Float32Array {
  const { parameters } = config.rotation
  const read = (key: string, fallback: number) => number(config, parameters[key] ?? fallback, key)
  const base = read('rope_theta', 10_000)
  const factor = read('factor', 8)
  const low = read('low_freq_factor', 1)
  const high = read('high_freq_factor', 4)
  const context = read('original_max_position_embeddings', 8192)
  const dimension = config.headDim
  return Float32Array.from({ length: Math.ceil(dimension / 2) }, (_, i) => {
    const exponent = Math.fround(Math.fround(2 * i) / dimension)
    const frequency = Math.fround(1 / Math.fround(base ** exponent))
    const wavelength = Math.fround(Math.fround(2 * Math.PI) / frequency)
    if (wavelength < context / high) return 1
    if (wavelength > context / low) return factor
    const smooth = Math.fround(Math.fround(Math.fround(context / wavelength) - low) / (high - low))
    const blend = Math.fround(Math.fround(Math.fround(1 - smooth) / factor) + smooth)
    return Math.fround(1 / blend)
  })
}

function isLongRope(config: HfConfig): boolean {
  const { parameters } = config.rotation
  const type = parameters.rope_type ?? 'default'
  if (type === 'default') return false
  if ((type !== 'longrope' && type !== 'su') || !parameters.long_factor) throw unknownRotation(config, type)
  return true
}

function originalContext(config: HfConfig): number {
  const stated = config.rotation.parameters.original_max_position_embeddings ?? 4096
  return count(config, stated, 'original_max_position_embeddings')
}

function phiRotaryDimensions(config: HfConfig): number {
  const share = number(config, config.rotation.parameters.partial_rotary_factor ?? 1, 'partial_rotary_factor')
  return Math.floor(Math.trunc(share * config.integer('hidden_size')) / config.heads)
}

function number(config: HfConfig, value: unknown, what: string): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0
    ? value
    : config.fail(`${what} to be a positive number`, value)
}

function count(config: HfConfig, value: unknown, what: string): number {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) < 2 ** 32
    ? (value as number)
    : config.fail(`${what} to be a positive integer`, value)
}

function unknownRotation(config: HfConfig, type: unknown): TraitscopeError {
  return new TraitscopeError(
    'UNSUPPORTED',
    `${config.where} scales its rotation by ${JSON.stringify(type)}, which is not known for ${config.architecture}`,
  )
}
