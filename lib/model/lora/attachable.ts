import { TraitscopeError } from '../../errors.js'
import type { GgufContents } from '../../formats/gguf/gguf.js'
import { quoted } from '../../formats/json/json-scan.js'
import type { PeftAdapter } from '../../formats/peft/peft.js'

/**
 * Why llama.cpp cannot apply an adapter beside the base's weights, so that it has to be merged into them: the first
 * reason, as half a sentence; undefined when it can be attached.
 *
 * @param isPart the base is open without its head, for which llama.cpp takes the embedding then, an adapter's too
 */
export function whyMerge(adapter: PeftAdapter, base: GgufContents, isPart = false): string | undefined {
  const tied = !base.tensors.has('output.weight')
  for (const { path, magnitude, biasB, embedding } of adapter.modules) {
    if (magnitude) return `module ${quoted(path)} is DoRA, which rescales the base's weights`
    if (biasB) return `lora_B of module ${quoted(path)} has a bias`
    if (embedding && tied) return `module ${quoted(path)} is an embedding that the base has tied to its head`
    if (embedding && isPart) return `module ${quoted(path)} is an embedding, and the base's head is not read`
    if (/(^|\.)lm_head$/.test(path) && tied) {
      return `module ${quoted(path)} is the head, which the base has tied to its embedding`
    }
  }
  const [replaced] = adapter.replaced
  if (replaced) return `it replaces the ${replaced.part} of module ${quoted(replaced.path)}`
  const [rows] = adapter.replacedRows
  if (rows) return `it replaces rows of ${quoted(rows.path)} (trainable tokens)`
  return undefined
}

/**
 * @param isPart as for {@link whyMerge}
 * @throws UNSUPPORTED for an adapter that has to be merged
 */
export function refuseMergeOnly(adapter: PeftAdapter, base: GgufContents, isPart: boolean): void {
  const reason = whyMerge(adapter, base, isPart)
  if (reason === undefined) return
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${adapter.path} cannot be attached to ${base.path}: ${reason}; merge it, with "traitscope merge" or --lora-mode merge`,
  )
}

/**
 * Refuses an adapter whose initialisation moved a part of the base into it, unless the caller says that the base is
 * what remained.
 *
 * @throws UNSUPPORTED
 */
export function refuseMovedBase(adapter: PeftAdapter, residualBase = false): void {
  const { movedBase } = adapter.config
  if (movedBase === undefined || residualBase) return
  // PEFT's conversion subtracts the adapter's start, which for LoftQ leaves the error of the quantisation out.
  const conversion =
    movedBase === 'LoftQ'
      ? ''
      : 'convert it with save_pretrained(path_initial_model_for_weight_conversion=...), '
  throw new TraitscopeError(
    'UNSUPPORTED',
    `${adapter.path} was initialised with ${movedBase}, which moves a part of the base weights into the adapter, so it is no change of the original base; ${conversion}train with the default initialisation, or pass --residual-base if the GGUF holds what remained`,
  )
}
