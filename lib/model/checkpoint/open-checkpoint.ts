import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeScratch } from '../../formats/files/scratch.js'
import { readPeftAdapter } from '../../formats/peft/peft.js'
import { weightsKind } from '../../formats/run/checkpoint-folder.js'
import { convertCheckpoint } from '../convert/full-checkpoint.js'
import { whyMerge } from '../lora/attachable.js'
import type { Model } from '../model.js'
import { openMerged } from './open-merged.js'
import type { OpenCheckpoint, OpenCheckpointOptions } from './opened-checkpoint.js'

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
    const model = await base.openLike(path, { signal })
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
