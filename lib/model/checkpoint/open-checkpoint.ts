import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkMade, takeOptions } from '../../arguments.js'
import { throwIfAborted } from '../../errors.js'
import { makeScratch } from '../../formats/files/scratch.js'
import { readPeftAdapter } from '../../formats/peft/peft.js'
import { type FoundWeights, resolveWeights } from '../../formats/run/find-weights.js'
import { adapterRemarks } from '../base/base-name.js'
import { convertCheckpoint } from '../convert/full-checkpoint.js'
import { whyMerge } from '../lora/attachable.js'
import { MODEL, type Model } from '../model.js'
import { openMerged } from './open-merged.js'
import {
  OPEN_CHECKPOINT_OPTIONS,
  type OpenCheckpoint,
  type OpenCheckpointOptions,
} from './opened-checkpoint.js'

/**
 * Reads a checkpoint, a PEFT adapter or a whole model in safetensors, and makes it runnable on the base.
 *
 * @param weights where they are, as a scan of a run has found them; or a path of an adapter's or a model's folder, or of a tensor file
 * @throws TraitscopeError as `readPeftAdapter` and `Model.attach`, `mergeAdapter`, `convertModel` and `openModel`; AMBIGUOUS for a path with several
 */
export async function openCheckpoint(
  base: Model,
  weights: string | Pick<FoundWeights, 'path' | 'kind'>,
  options: OpenCheckpointOptions = {},
): Promise<OpenCheckpoint> {
  checkMade(base, MODEL)
  const own = takeOptions('openCheckpoint', options, OPEN_CHECKPOINT_OPTIONS)
  throwIfAborted(own.signal)
  const isFound = typeof weights === 'object' && weights !== null
  const { path, kind } = isFound ? weights : await resolveWeights(weights, own.adapterName)
  return kind === 'model' ? openConverted(base, path, own) : openAdapter(base, path, own)
}

async function openAdapter(
  base: Model,
  path: string,
  options: OpenCheckpointOptions,
): Promise<OpenCheckpoint> {
  const { mode = 'auto', strength = 1, residualBase = false } = options
  const peft = await readPeftAdapter(path)
  const needed = mode === 'attach' ? undefined : whyMerge(peft, base.gguf, base.readsUpTo !== undefined)
  const reason = needed ?? (mode === 'merge' ? 'merging was asked for' : undefined)
  if (reason !== undefined) return openMerged(base, peft, reason, options)
  const adapter = await base.attach(peft, { strength, residualBase })
  return {
    how: 'attach',
    model: base,
    adapter,
    sha256: peft.sha256,
    files: peft.files,
    remarks: adapterRemarks(peft, base.gguf),
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
    const weights = await convertCheckpoint(base.gguf, folder, path, { threads: base.threads, signal })
    const model = await base.openLike(path, { signal })
    return {
      how: 'convert',
      model,
      ...weights,
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
