import { LLAMA_CPP_VERSION, systemInfo } from '../binding.js'
import type { Conditions } from '../conditions/conditions.js'
import { sha256 } from '../formats/files/hash.js'
import type { Model } from '../model/model.js'
import { packageVersion } from '../package.js'

/**
 * Key of the step-0 cache: everything that can change a bit of what the base says. K and V are always F32 and flash attention is
 * off.
 *
 * @param tokenIds hash of what is read
 */
export function step0Key(
  what: 'step-0' | 'noise' | 'pairs',
  tokenIds: string,
  model: Pick<Model, 'options' | 'device'>,
  { base, pool, template }: Conditions,
  layers: readonly number[],
): string {
  return sha256(
    JSON.stringify({
      schema: 6,
      what,
      base: base.fingerprint,
      adapter: null,
      tokenIds,
      layers,
      pool,
      template: template.sha256,
      kv: 'f32',
      flashAttention: false,
      // Kernels differ by processor, and by how weights lie in memory.
      compute: { ...model.options, device: model.device, system: systemInfo() },
      llamaCpp: LLAMA_CPP_VERSION,
      traitscope: packageVersion,
    }),
  )
}
