import { TraitscopeError } from '../../errors.js'
import type { BaseMetadata } from './base-metadata.js'

/** YaRN settings that converters write and these architectures' graphs do not read, with what is computed instead. */
const UNREAD: readonly (readonly [key: string, computed: number])[] = [
  ['yarn_beta_fast', 32],
  ['yarn_beta_slow', 1],
  ['yarn_ext_factor', 1],
]
/** Its graph reads the betas. */
const READS_BETAS = 'mistral3'

/**
 * Refuses a base that states a rotation that llama.cpp's graph drops: every state would be another model's.
 *
 * @throws UNSUPPORTED by key and value
 */
export function checkRotation(base: BaseMetadata): void {
  const key = (name: string) => `rope.scaling.${name}`
  if (base.gguf.metadata.get(`${base.architecture}.${key('type')}`) !== 'yarn') return
  const factor = base.number(key('factor')) ?? 1
  // llama.cpp goes by the factor alone, whatever this key says.
  const attention = 1 + 0.1 * Math.log(Math.max(1, factor))
  for (const [name, computed] of [...UNREAD, ['yarn_attn_factor', attention] as const]) {
    if (base.architecture === READS_BETAS && name.startsWith('yarn_beta')) continue
    const stated = base.number(key(name))
    if (stated === undefined || Math.abs(stated - computed) < 1e-4) continue
    throw new TraitscopeError(
      'UNSUPPORTED',
      `${base.gguf.path} has ${base.architecture}.${key(name)} ${stated}, but llama.cpp's ${base.architecture} computes with ${Number(computed.toFixed(4))}; convert the model with "traitscope convert", which follows what it can`,
    )
  }
}
