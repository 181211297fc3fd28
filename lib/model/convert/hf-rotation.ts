import { shown } from '../../formats/json/json-scan.js'
import type { Settings } from './settings.js'

/** What scaling does to a rotation, as transformers reads it from a config.json. */
export type RotationScaling =
  | { kind: 'default' }
  /** As `default` up to the trained context. */
  | { kind: 'dynamic' }
  | { kind: 'linear'; factor: number }
  /** `attention`: what queries and keys are multiplied with, over what YaRN does by itself (0.1 ln factor + 1). */
  | { kind: 'yarn'; factor: number; original: number; attention: number }
  | { kind: 'llama3'; factor: number; original: number; low: number; high: number }
  | { kind: 'longrope'; long: unknown; short: unknown; original: number; attention: number }

/** How positions rotate queries and keys. */
export interface Rotation {
  /** Of all blocks, or of those with full attention where a model has two kinds. */
  base: number
  /** Of the blocks with a sliding window, where they have one of their own. */
  localBase?: number
  /** Part of a head's rows that rotate. */
  share: number
  scaling: RotationScaling
}

/** Kinds that llama.cpp's graph of an architecture can follow. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  llama: ['default', 'dynamic', 'linear', 'yarn', 'llama3'],
  qwen2: ['default', 'dynamic', 'linear', 'yarn'],
  qwen3: ['default', 'dynamic', 'linear', 'yarn'],
  gemma2: ['default', 'linear'],
  gemma3: ['default', 'linear'],
  phi3: ['default', 'longrope'],
}

/** llama.cpp's `yarn_beta_fast` and `yarn_beta_slow`, which these architectures cannot set. */
export const YARN_BETAS = { beta_fast: 32, beta_slow: 1 }

/**
 * Reads the rotation of a model.
 *
 * @throws UNSUPPORTED by name for kinds and values that llama.cpp's graph has no place for, FILE_INVALID
 */
export function readRotation(config: Settings, architecture: string): Rotation {
  const stated = statedRotation(config)
  if (architecture === 'gemma3') return readTwoKinds(config, stated)
  return readOne(config, stated ?? config, architecture, 10_000)
}

/** transformers 5 writes `rope_parameters`, older releases `rope_scaling`. */
function statedRotation(config: Settings): Settings | undefined {
  const [newer, older] = [config.child('rope_parameters'), config.child('rope_scaling')]
  if (newer && older && shown(config.get('rope_parameters')) !== shown(config.get('rope_scaling'))) {
    config.refuse('rope_scaling', 'and rope_parameters that differ from it; leave one of them')
  }
  return newer ?? older
}

/** Gemma 3: blocks with a window have a rotation of their own. */
function readTwoKinds(config: Settings, stated: Settings | undefined): Rotation {
  const full = stated?.child('full_attention')
  const sliding = stated?.child('sliding_attention')
  // Flat rope_parameters are not read by the class: nothing reads them here, so they are refused.
  const flat = config.get('rope_parameters') === undefined || config.get('rope_parameters') === null
  const rotation = readOne(config, full ?? (flat ? (stated ?? config) : config), 'gemma3', 1e6)
  if (sliding) {
    const type = sliding.get('rope_type') ?? sliding.get('type') ?? 'default'
    if (type !== 'default') {
      sliding.refuse(
        'rope_type',
        "but llama.cpp's gemma3 does not scale the rotation of blocks with a window",
      )
    }
  }
  const own = sliding?.get('rope_theta') ?? undefined
  const outer = config.get('rope_local_base_freq') ?? undefined
  const localBase = sliding && own !== undefined ? sliding.positive('rope_theta') : undefined
  const outerBase = outer === undefined ? undefined : config.positive('rope_local_base_freq')
  return { ...rotation, localBase: localBase ?? outerBase ?? 1e4 }
}

function readOne(config: Settings, rope: Settings, architecture: string, defaultBase: number): Rotation {
  const [type, older] = rope === config ? [undefined, undefined] : [rope.get('rope_type'), rope.get('type')]
  const named = type ?? older ?? 'default'
  // As transformers: these were the names of Phi-3's first releases.
  const kind = architecture === 'phi3' && (named === 'su' || named === 'yarn') ? 'longrope' : named
  if (typeof kind !== 'string' || !KINDS[architecture]!.includes(kind)) {
    rope.refuse(
      type === undefined || type === null ? 'type' : 'rope_type',
      `a rotation that is not known for ${architecture}`,
      named,
    )
  }
  const base = innerOrOuter(config, rope, 'rope_theta', defaultBase)
  const share = innerOrOuter(config, rope, 'partial_rotary_factor', 1)
  if (share !== 1 && architecture !== 'phi3') {
    refuseEither(config, rope, 'partial_rotary_factor', `but llama.cpp's ${architecture} rotates whole heads`)
  }
  return { base, share, scaling: readScaling(config, rope, architecture, kind as RotationScaling['kind']) }
}

function readScaling(
  config: Settings,
  rope: Settings,
  architecture: string,
  kind: RotationScaling['kind'],
): RotationScaling {
  switch (kind) {
    case 'linear':
      return { kind, factor: rope.positive('factor') }
    case 'yarn':
      return readYarn(config, rope, architecture)
    case 'llama3':
      return {
        kind,
        factor: rope.positive('factor'),
        original: original(config, rope),
        low: rope.positive('low_freq_factor'),
        high: rope.positive('high_freq_factor'),
      }
    case 'longrope':
      return readLongRope(config, rope)
    case 'dynamic':
      rope.positive('factor')
      return { kind }
    case 'default':
      original(config, rope)
      return { kind }
  }
}

function readYarn(config: Settings, rope: Settings, architecture: string): RotationScaling {
  const context = original(config, rope)
  const factor = rope.positive('factor', config.count('max_position_embeddings') / context)
  for (const [key, value] of Object.entries(YARN_BETAS)) {
    const found = rope.get(key) || value // transformers takes 0 for the default, too
    if (found !== value) rope.refuse(key, `but llama.cpp's ${architecture} computes YaRN with ${value}`)
  }
  if ((rope.get('truncate') ?? true) !== true) {
    rope.refuse('truncate', 'but llama.cpp always rounds the range that YaRN blends in')
  }
  const mscale = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1)
  const stated = rope.get('attention_factor')
  const [scale, all] = [rope.get('mscale') || 0, rope.get('mscale_all_dim') || 0]
  let attention = mscale(1)
  if (stated !== null && stated !== undefined) attention = rope.positive('attention_factor')
  else if (scale && all) attention = mscale(rope.positive('mscale')) / mscale(rope.positive('mscale_all_dim'))
  return { kind: 'yarn', factor, original: context, attention: attention / mscale(1) }
}

function readLongRope(config: Settings, rope: Settings): RotationScaling {
  const context = original(config, rope)
  const factor = rope.positive('factor', config.count('max_position_embeddings') / context)
  const computed = factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(context)) : 1
  return {
    kind: 'longrope',
    long: rope.get('long_factor'),
    short: rope.get('short_factor'),
    original: context,
    attention: rope.positive('attention_factor', computed),
  }
}

/** The context before scaling. transformers 5 takes the outer one, or its class's default, older releases the inner one. */
function original(config: Settings, rope: Settings): number {
  const key = 'original_max_position_embeddings'
  if (rope === config) return config.count(key, config.count('max_position_embeddings'))
  if (isStated(rope, key)) rope.count(key)
  return isInner(config, rope, key)
    ? rope.count(key)
    : config.count(key, config.count('max_position_embeddings'))
}

/** A value that stood at the top in older releases; two that differ are read differently by transformers' releases. */
function innerOrOuter(config: Settings, rope: Settings, key: string, fallback: number): number {
  return isInner(config, rope, key) ? rope.positive(key) : config.positive(key, fallback)
}

/** Whether a value stands inside; another one outside is refused. */
function isInner(config: Settings, rope: Settings, key: string): boolean {
  if (isStated(rope, key) && isStated(config, key) && rope.get(key) !== config.get(key)) {
    const outer = shown(config.get(key))
    rope.refuse(key, `and another one, ${outer}, outside; transformers' releases differ in which they take`)
  }
  return isStated(rope, key)
}

const isStated = (settings: Settings, key: string): boolean => (settings.get(key) ?? undefined) !== undefined

function refuseEither(config: Settings, rope: Settings, key: string, why: string): never {
  const holder = (rope.get(key) ?? undefined) !== undefined ? rope : config
  return holder.refuse(key, why)
}
