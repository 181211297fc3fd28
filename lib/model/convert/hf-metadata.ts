import { TraitscopeError } from '../../errors.js'
import type { GgufInput } from '../../formats/gguf/gguf.js'
import { shown } from '../../formats/json/json-scan.js'
import type { HfConfig } from './hf-config.js'
import type { RotationScaling } from './hf-rotation.js'
import { WINDOW_PERIODS } from './hf-window.js'

type Metadata = GgufInput['metadata'][number][]

/** A small F32 tensor that a configuration, not a weight file, holds. */
export interface ComputedTensor {
  name: string
  values: Float32Array
}

/** Base of the rotation where a file states none. */
const DEFAULT_BASE = 10_000

/** The model's shape and settings as GGUF metadata, the keys that llama.cpp's converter writes. */
export function modelMetadata(config: HfConfig): Metadata {
  const { architecture, settings } = config
  const metadata: Metadata = []
  const integer = (key: string, value: number) => metadata.push([`${architecture}.${key}`, 'u32', value])
  const real = (key: string, value: number) => metadata.push([`${architecture}.${key}`, 'f32', value])
  const optional = (key: string) => {
    if ((settings.get(key) ?? undefined) !== undefined) real(key, settings.positive(key))
  }
  integer('block_count', config.blocks)
  integer('context_length', config.context)
  integer('embedding_length', settings.integer('hidden_size'))
  integer('feed_forward_length', settings.integer('intermediate_size'))
  integer('attention.head_count', config.heads)
  integer('attention.head_count_kv', config.kvHeads)
  real('attention.layer_norm_rms_epsilon', settings.number('rms_norm_eps'))
  // Qwen2 and Phi-3 classes have no head size of their own.
  if (architecture !== 'phi3' && (architecture !== 'qwen2' || config.statesHeadDim)) {
    integer('attention.key_length', config.headDim)
    integer('attention.value_length', config.headDim)
  }
  if (architecture === 'llama') {
    integer('rope.dimension_count', config.headDim)
    integer('vocab_size', settings.integer('vocab_size'))
  }
  if (architecture === 'gemma2') optional('attn_logit_softcapping')
  if (architecture.startsWith('gemma')) optional('final_logit_softcapping')
  metadata.push(...rotationMetadata(config), ...windowMetadata(config))
  return metadata
}

function rotationMetadata(config: HfConfig): Metadata {
  const { architecture, rotation } = config
  const { base, localBase, scaling } = rotation
  const key = (name: string) => `${architecture}.rope.${name}`
  const metadata: Metadata = []
  // llama.cpp's converter writes no base for Gemma 2, whose only one is the default.
  if (architecture !== 'gemma2' || base !== DEFAULT_BASE) metadata.push([key('freq_base'), 'f32', base])
  if (localBase !== undefined) metadata.push([key('freq_base_swa'), 'f32', localBase])
  if (architecture === 'phi3') {
    metadata.push([key('dimension_count'), 'u32', rotaryDimensions(config)])
    metadata.push([key('scaling.original_context_length'), 'u32', originalContext(config)])
  }
  metadata.push(
    ...scalingMetadata(scaling).map(([name, type, value]) => [key(`scaling.${name}`), type, value] as const),
  )
  return metadata
}

function scalingMetadata(scaling: RotationScaling): Metadata {
  switch (scaling.kind) {
    case 'linear':
      return [
        ['type', 'string', 'linear'],
        ['factor', 'f32', scaling.factor],
      ]
    case 'yarn': {
      const attention: Metadata = [['attn_factor', 'f32', scaling.attention]]
      return [
        ['type', 'string', 'yarn'],
        ['factor', 'f32', scaling.factor],
        ['original_context_length', 'u32', scaling.original],
        ...(Math.fround(scaling.attention) === 1 ? [] : attention),
      ]
    }
    case 'longrope':
      return [['attn_factor', 'f32', scaling.attention]]
    // Llama 3's is a tensor; the dynamic one acts beyond the trained context only, where no prompt is read.
    case 'llama3':
    case 'dynamic':
    case 'default':
      return []
  }
}

/**
 * Windows as llama.cpp reads them. Where its graph has none the key is written all the same: it says from how many
 * tokens on a prompt's states are not the model's.
 */
function windowMetadata(config: HfConfig): Metadata {
  const { architecture, window } = config
  const key = (name: string) => `${architecture}.attention.${name}`
  const tokens: Metadata = window ? [[key('sliding_window'), 'u32', window.tokens]] : []
  if (architecture === 'phi3') return window ? tokens : [[key('sliding_window'), 'u32', 0]]
  if (!window) return []
  if (!window.applied) return window.tokens < config.context ? tokens : []
  const period = WINDOW_PERIODS[architecture]!
  if (window.blocks.every((has, i) => has === ((i + 1) % period !== 0))) return tokens
  return [...tokens, [key('sliding_window_pattern'), 'i32[]', Int32Array.from(window.blocks, Number)]]
}

/** Rotation factors that a GGUF holds as tensors: Llama 3's frequencies, LongRoPE's two lists. */
export function rotationTensors(config: HfConfig): ComputedTensor[] {
  const { scaling } = config.rotation
  if (scaling.kind === 'llama3') {
    return [{ name: 'rope_freqs.weight', values: llama3Factors(config, scaling) }]
  }
  if (scaling.kind !== 'longrope') return []
  return (['long', 'short'] as const).map((which) => {
    const list = scaling[which]
    const expected = rotaryDimensions(config) / 2
    const fits = Array.isArray(list) && list.length === expected && list.every(Number.isFinite)
    if (fits) return { name: `rope_factors_${which}.weight`, values: Float32Array.from(list as number[]) }
    throw new TraitscopeError(
      'FILE_INVALID',
      `expected in ${config.where} ${which}_factor to hold ${expected} numbers, found ${shown(list)}`,
    )
  })
}

/**
 * Frequencies divide by these: 1 for short waves, `factor` for long ones, a blend between. Computed in the precision of
 * the converter: frequencies in float32, the rest rounded once.
 */
function llama3Factors(
  { headDim: dimension, rotation: { base } }: HfConfig,
  { factor, low, high, original: context }: Extract<RotationScaling, { kind: 'llama3' }>,
): Float32Array {
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

/** The context that the rotation was trained with, which tells when LongRoPE's long factors are due. */
function originalContext({ rotation: { scaling }, settings }: HfConfig): number {
  return scaling.kind === 'longrope' ? scaling.original : settings.count('original_max_position_embeddings')
}

function rotaryDimensions(config: HfConfig): number {
  const rows = Math.trunc(config.rotation.share * config.settings.integer('hidden_size'))
  return Math.floor(rows / config.heads)
}
