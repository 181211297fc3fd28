import { TraitscopeError } from '../../errors.js'
import type { GgufFile } from '../../formats/gguf/gguf.js'
import { shown } from '../../formats/json/json-scan.js'
import { HF_CLASSES } from './hf-classes.js'
import { HfConfig } from './hf-config.js'
import { modelMetadata, rotationTensors } from './hf-metadata.js'

/**
 * Settings that change every state without a tensor's shape saying so, and what llama.cpp takes where a file does not
 * say; a key without such a value is compared only where both say something.
 */
const SETTINGS: readonly (readonly [key: string, unsaid: unknown])[] = [
  ['attention.layer_norm_rms_epsilon', undefined],
  ['rope.freq_base', 10_000],
  ['rope.scaling.type', 'none'],
  ['rope.scaling.factor', undefined],
  ['rope.scaling.original_context_length', undefined],
  ['rope.scaling.attn_factor', 1],
  ['attn_logit_softcapping', undefined],
  ['final_logit_softcapping', undefined],
  ['attention.sliding_window', undefined],
]

/**
 * Refuses a whole checkpoint whose config.json states other settings than the base computes with: it would be read as
 * another model than was trained.
 *
 * @param json of the checkpoint's config.json; a class that cannot be converted is not compared
 * @throws ADAPTER_MISMATCH, and UNSUPPORTED for settings that llama.cpp does not follow
 */
export function checkSettings(json: Record<string, unknown>, where: string, base: GgufFile): void {
  const architecture = String(base.metadata.get('general.architecture'))
  const [name] = Array.isArray(json.architectures) ? (json.architectures as unknown[]) : []
  const known = typeof name === 'string' && Object.hasOwn(HF_CLASSES, name) ? HF_CLASSES[name] : undefined
  if (known?.architecture !== architecture) return
  const config = new HfConfig(json, where)
  const stated = new Map(modelMetadata(config).map(([key, , value]) => [key, value as unknown]))
  for (const [setting, unsaid] of SETTINGS) {
    const key = `${architecture}.${setting}`
    const [here, there] = [stated.get(key) ?? unsaid, base.metadata.get(key) ?? unsaid]
    if (here === undefined || there === undefined || same(here, there)) continue
    // llama.cpp's converter writes the type of Phi-3's scaling, which its graph does not read.
    if (architecture === 'phi3' && setting === 'rope.scaling.type') continue
    throw differs(where, base, `${key} ${shown(here)}`, shown(there))
  }
  for (const { name: tensor } of rotationTensors(config)) {
    if (!base.tensors.has(tensor)) throw differs(where, base, `rotation factors (${tensor})`, 'none')
  }
}

/** To what a file keeps of a number. */
const same = (a: unknown, b: unknown): boolean =>
  typeof a === 'number' && typeof b === 'number' ? Math.abs(a - b) <= 1e-6 * Math.abs(b) : a === b

function differs(where: string, base: GgufFile, stated: string, found: string): TraitscopeError {
  return new TraitscopeError(
    'ADAPTER_MISMATCH',
    `${where} asks for ${stated}, and ${base.path} computes with ${found}; give the base that the run was trained from, converted from its own folder`,
  )
}
