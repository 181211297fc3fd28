import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { weightsKind } from '../formats/checkpoint-folder.js'
import { fileError } from '../formats/file-errors.js'
import { hashWeights } from '../formats/hf-weights.js'
import { type PeftAdapter, readPeftAdapter } from '../formats/peft.js'
import { convertCheckpoint } from './full-checkpoint.js'
import type { AttachReport } from './lora.js'
import { type AttachedAdapter, type Model, openModel } from './model.js'

/** A checkpoint on a base model, ready to be run. Dispose it to free what it took; the base stays open. */
export interface OpenCheckpoint extends AsyncDisposable {
  /** `attach`: the base with an adapter applied to it. `convert`: a whole fine-tuned model, opened beside the base. */
  readonly how: 'attach' | 'convert'
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

export interface OpenCheckpointOptions {
  /** Folder for a temporary GGUF of the base's size; default: the system's. */
  scratchDir?: string | undefined
  /** The base is what the adapter's initialisation (PiSSA and the like) left of the original one. */
  residualBase?: boolean | undefined
  signal?: AbortSignal | undefined
}

/**
 * Reads a checkpoint's folder, a PEFT adapter or a whole model in safetensors, and makes it runnable on the base.
 *
 * @throws TraitscopeError as `readPeftAdapter` and `Model.attach`, or as `convertCheckpoint` and `openModel`
 */
export async function openCheckpoint(
  base: Model,
  folder: string,
  options: OpenCheckpointOptions = {},
): Promise<OpenCheckpoint> {
  return (await weightsKind(folder)) === 'model'
    ? openConverted(base, folder, options)
    : openAttached(base, folder, options)
}

async function openAttached(
  base: Model,
  folder: string,
  { residualBase = false }: OpenCheckpointOptions,
): Promise<OpenCheckpoint> {
  const peft = await readPeftAdapter(folder)
  const adapter = await base.attach(peft, { residualBase })
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
  { scratchDir = tmpdir(), signal }: OpenCheckpointOptions,
): Promise<OpenCheckpoint> {
  const scratch = await makeScratch(scratchDir)
  const remove = () => rm(scratch, { recursive: true, force: true })
  try {
    const path = join(scratch, 'checkpoint.gguf')
    // First what can refuse the checkpoint by its headers alone.
    await convertCheckpoint(base.gguf, folder, path, { threads: base.threads, signal })
    const sha256 = await hashWeights(folder, signal)
    const { gpuLayers, threads, batchTokens } = base
    const model = await openModel(path, { gpuLayers, threads, batchTokens, ...(signal ? { signal } : {}) })
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

async function makeScratch(parent: string): Promise<string> {
  try {
    await mkdir(parent, { recursive: true })
    return await mkdtemp(join(parent, 'checkpoint-'))
  } catch (error) {
    throw fileError(error, parent)
  }
}
