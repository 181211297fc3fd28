import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { weightsKind } from '../formats/checkpoint-folder.js'
import { type PeftAdapter, readPeftAdapter } from '../formats/peft.js'
import { whyMerge } from './attachable.js'
import type { AttachedAdapter } from './attached-adapter.js'
import { convertCheckpoint } from './full-checkpoint.js'
import type { AttachReport } from './lora.js'
import { type Model, openModel } from './model.js'
import { openMerged } from './open-merged.js'
import { makeScratch } from './scratch.js'

/** A checkpoint on a base model, ready to be run. Dispose it to free what it took; the base stays open. */
export interface OpenCheckpoint extends AsyncDisposable {
  /**
   * `attach`: the base with an adapter applied to it. `merge`: a copy of the base with the adapter merged into it.
   * `convert`: a whole fine-tuned model. The last two are opened beside the base.
   */
  readonly how: 'attach' | 'merge' | 'convert'
  /** Why an adapter is merged, as half a sentence. */
  readonly reason?: string
  /** The model to run: the base, or one of the checkpoint's own. */
  readonly model: Model
  /** Pass it to every call on `model`. */
  readonly adapter?: AttachedAdapter
  /** Identity of the weights, whatever the folder is called. */
  readonly sha256: string
  /** Absent for a whole model. */
  readonly peft?: PeftAdapter
  readonly report?: AttachReport
}

/**
 * How adapters meet the base: `attach` beside its weights, which costs nothing and refuses what llama.cpp cannot apply;
 * `merge` into a copy of the base; `auto`: attached where that is exact, merged otherwise.
 */
export type LoraMode = 'attach' | 'merge' | 'auto'

export interface OpenCheckpointOptions {
  /** Default `auto`. */
  mode?: LoraMode | undefined
  /** Factor on an adapter's effect, default 1. */
  strength?: number | undefined
  /**
   * Folder for GGUF files of the base's size: merged ones are kept there, converted ones removed. Default: the system's
   * temporary folder, where nothing is kept.
   */
  cacheDir?: string | undefined
  /** Largest size of all merged models that are kept, in bytes; default 20 GiB. */
  cacheBytes?: number | undefined
  /** The base is what the adapter's initialisation (PiSSA and the like) left of the original one. */
  residualBase?: boolean | undefined
  signal?: AbortSignal | undefined
}

/**
 * Reads a checkpoint's folder, a PEFT adapter or a whole model in safetensors, and makes it runnable on the base.
 *
 * @throws TraitscopeError as `readPeftAdapter` and `Model.attach`, `mergeAdapter` or `convertCheckpoint`, and `openModel`
 */
export async function openCheckpoint(
  base: Model,
  folder: string,
  options: OpenCheckpointOptions = {},
): Promise<OpenCheckpoint> {
  return (await weightsKind(folder, 'absent')) === 'model'
    ? openConverted(base, folder, options)
    : openAdapter(base, folder, options)
}

async function openAdapter(
  base: Model,
  folder: string,
  options: OpenCheckpointOptions,
): Promise<OpenCheckpoint> {
  const { mode = 'auto', strength = 1, residualBase = false } = options
  const peft = await readPeftAdapter(folder)
  const needed = mode === 'attach' ? undefined : whyMerge(peft, base.gguf)
  const reason = needed ?? (mode === 'merge' ? 'merging was asked for' : undefined)
  if (reason !== undefined) return openMerged(base, peft, reason, options)
  const adapter = await base.attach(peft, { strength, residualBase })
  return {
    how: 'attach',
    model: base,
    adapter,
    sha256: peft.sha256,
    peft,
    report: adapter.report,
    [Symbol.asyncDispose]: () => adapter.detach(),
  }
}

async function openConverted(
  base: Model,
  folder: string,
  { cacheDir = tmpdir(), signal }: OpenCheckpointOptions,
): Promise<OpenCheckpoint> {
  const scratch = await makeScratch(cacheDir)
  const remove = () => rm(scratch, { recursive: true, force: true })
  try {
    const path = join(scratch, 'checkpoint.gguf')
    const sha256 = await convertCheckpoint(base.gguf, folder, path, { threads: base.threads, signal })
    const { gpuLayers, threads, batchTokens, repack } = base
    const model = await openModel(path, {
      gpuLayers,
      threads,
      batchTokens,
      repack,
      ...(signal ? { signal } : {}),
    })
    return {
      how: 'convert',
      model,
      sha256,
      [Symbol.asyncDispose]: async () => {
        await model.close()
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}
