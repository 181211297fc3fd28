import { dirname } from 'node:path'
import { TraitscopeError } from '../errors.js'
import type { FileHash } from '../formats/files/hash.js'
import { readPeftAdapter } from '../formats/peft/peft.js'
import { resolveWeights } from '../formats/run/find-weights.js'
import { filesBelow } from '../formats/run/read-files.js'
import type { AttachedAdapter } from '../model/attached-adapter.js'
import { adapterRemarks } from '../model/base/base-name.js'
import { openCheckpoint } from '../model/checkpoint/open-checkpoint.js'
import type { OpenCheckpointOptions } from '../model/checkpoint/opened-checkpoint.js'
import type { Model } from '../model/model.js'
import { templateRemark } from '../prompts/own-template.js'

/** Weights to apply: a folder or tensor file, and the factor on their effect. */
export interface WeightsToApply {
  folder: string
  strength: number
}

/** What was read of one of them. */
export interface AppliedWeights {
  /** As it was named. */
  folder: string
  /** Identity of the weights, whatever the folder is called. */
  sha256: string
  /** Under their paths below `folder`. */
  files: readonly FileHash[]
  /** What was left out, and how base and template differ from their own, in sentences. */
  remarks: readonly string[]
}

/** Weights on a base, ready to be run. Dispose it to free what they took. */
export interface AppliedToBase extends AsyncDisposable {
  /** What to run: the base, or a model of the checkpoint's own. */
  model: Model
  adapters: AttachedAdapter[]
  /** In the order given. */
  weights: AppliedWeights[]
  /** Why an adapter was merged, as half a sentence. */
  reason?: string | undefined
}

export interface ApplyOptions extends Omit<OpenCheckpointOptions, 'strength'> {
  /** Source of the chat template that prompts are rendered with; absent when they are not. */
  template?: string | undefined
}

/**
 * Applies one checkpoint as it needs (attached, merged or converted), or several adapters attached together.
 *
 * @throws TraitscopeError as `openCheckpoint` and `Model.attach`; USAGE for several with mode `merge`
 */
export async function applyWeights(
  base: Model,
  list: readonly WeightsToApply[],
  { template, ...options }: ApplyOptions,
): Promise<AppliedToBase> {
  const [only, second] = list
  if (only && !second) {
    const { folder, strength } = only
    const checkpoint = await openCheckpoint(base, folder, { ...options, strength })
    return {
      model: checkpoint.model,
      adapters: checkpoint.adapter ? [checkpoint.adapter] : [],
      weights: [await described(folder, checkpoint, template)],
      reason: checkpoint.reason,
      [Symbol.asyncDispose]: () => checkpoint[Symbol.asyncDispose](),
    }
  }
  if (second && options.mode === 'merge') {
    throw new TraitscopeError(
      'USAGE',
      '--lora-mode merge takes one adapter; merge several one after the other with `traitscope merge`',
    )
  }
  const adapters: AttachedAdapter[] = []
  const weights: AppliedWeights[] = []
  for (const { folder, strength } of list) {
    const peft = await readPeftAdapter((await resolveWeights(folder, options.adapterName)).path)
    adapters.push(await base.attach(peft, { strength, residualBase: options.residualBase }))
    const read = { ...peft, remarks: adapterRemarks(peft, base.gguf) }
    weights.push(await described(folder, read, template))
  }
  return {
    model: base,
    adapters,
    weights,
    [Symbol.asyncDispose]: async () => {
      for (const adapter of adapters) await adapter.detach()
    },
  }
}

async function described(
  folder: string,
  { sha256, files, remarks }: Omit<AppliedWeights, 'folder'>,
  template: string | undefined,
): Promise<AppliedWeights> {
  const folders = [dirname(files[0]!.path), folder]
  const other = template === undefined ? undefined : await templateRemark(folders, template)
  return {
    folder,
    sha256,
    files: filesBelow(folder, files),
    remarks: other === undefined ? remarks : [...remarks, other],
  }
}
