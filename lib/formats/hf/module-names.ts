import { TraitscopeError } from '../../errors.js'
import { quoted } from '../json/json-scan.js'

const OTHER_MODALITY =
  /(^|\.)(vision|visual|audio|image|multi_modal_projector|mm_projector|connector|embed_vision)/

/** True for modules of a multi-modal model's vision or audio part, which a text GGUF does not have. */
export function isOtherModality(path: string): boolean {
  return OTHER_MODALITY.test(path)
}

/** What wraps a module leaves its own name among those of the tensors. */
const WRAPPERS: readonly (readonly [pattern: RegExp, by: string, within?: string])[] = [
  [/^(base_model\.model\.base_model\.model)\./, 'get_peft_model on a PEFT model', 'base_model.model.'],
  [/(?:^|\.)(_orig_mod)\./, 'torch.compile'],
  [/(?:^|\.)(_fsdp_wrapped_module)\./, 'FSDP'],
  [/(?:^|\.)(_checkpoint_wrapped_module)\./, 'activation checkpointing'],
  [/^(module)\./, 'DistributedDataParallel or DeepSpeed'],
]

/**
 * Refuses a tensor that was saved through a wrapper: its name is that of no module, so transformers and PEFT would not
 * load it either (they warn, and go on without it).
 *
 * @throws UNSUPPORTED
 */
export function refuseWrapped(tensor: string, where: string): void {
  for (const [pattern, by, within = ''] of WRAPPERS) {
    const part = pattern.exec(tensor)?.[1]
    if (part === undefined) continue
    throw new TraitscopeError(
      'UNSUPPORTED',
      `tensor ${quoted(tensor)} of ${where} was saved through a wrapper: "${part}" in its name comes from ${by}, so loaders find no module of that name and go on without the tensor; save the model inside the wrapper, or ${renaming(`${part}.`, within)}`,
    )
  }
}

/** A remedy for tensors of one file whose names are wrong, as half a sentence. */
export function renaming(from: string, to: string): string {
  const name = from === '' ? `"${to}" + k` : `k.replace("${from}", "${to}")`
  return `rename the tensors of the file f in Python: from safetensors.torch import load_file, save_file; save_file({${name}: v for k, v in load_file(f).items()}, f)`
}
