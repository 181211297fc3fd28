import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LLAMA_CPP_VERSION } from '../../binding.js'
import { isTraitscopeError, TraitscopeError } from '../../errors.js'
import { sha256 } from '../../formats/files/hash.js'
import { KeyedStore } from '../../formats/files/keyed-store.js'
import { makeScratch } from '../../formats/files/scratch.js'
import { readGguf } from '../../formats/gguf/gguf.js'
import type { PeftAdapter } from '../../formats/peft/peft.js'
import { packageVersion } from '../../package.js'
import { adapterArchitecture } from '../base/architectures.js'
import { adapterRemarks } from '../base/base-name.js'
import { fingerprintGguf } from '../base/fingerprint.js'
import { refuseMovedBase } from '../lora/attachable.js'
import { mergeAdapter, neverRounded, planReport } from '../merge/merge.js'
import { type MergePlan, planMerge } from '../merge/merge-plan.js'
import type { Model } from '../model.js'
import type { OpenCheckpoint, OpenCheckpointOptions } from './opened-checkpoint.js'

/**
 * Merges an adapter into a copy of the base and opens it beside the base, as the base was opened. Changed weights are
 * written as F32 or F16, so that a quantised base loses nothing but what its own arithmetic adds. Replaced ones are
 * rounded as the base's own: the base has only rounded ones to compare with.
 *
 * @param reason why it is merged, as half a sentence
 * @throws TraitscopeError as `mergeAdapter` and `openModel`
 */
export async function openMerged(
  base: Model,
  peft: PeftAdapter,
  reason: string,
  options: OpenCheckpointOptions,
): Promise<OpenCheckpoint> {
  const { cacheDir, strength = 1, residualBase, signal } = options
  refuseMovedBase(peft, residualBase)
  const architecture = adapterArchitecture(base.gguf)
  const plan = planMerge(peft, base.gguf, architecture)
  const report = planReport(architecture, peft, plan)
  const write = async (path: string, force: boolean) => {
    await mergeAdapter(base.path, peft, path, {
      type: 'float',
      roundReplaced: true,
      strength,
      residualBase,
      force,
      signal,
    })
    await refuseOtherBase(base, path)
  }
  const open = (path: string) => base.openLike(path, { signal })
  const { model, remove } =
    cacheDir === undefined
      ? await openScratch(write, open)
      : {
          model: await openCached(
            mergedModels(cacheDir, options.cacheBytes),
            cacheKey(base, peft, strength),
            write,
            open,
          ),
          remove: async () => {},
        }
  return {
    how: 'merge',
    reason: reason + unrounded(plan),
    model,
    sha256: peft.sha256,
    files: peft.files,
    remarks: adapterRemarks(peft, base.gguf),
    peft,
    report,
    [Symbol.asyncDispose]: async () => {
      await model.close()
      await remove()
    },
  }
}

/** The file may be another one by now than the model that is open: a copy made from it would be kept under the wrong name. */
async function refuseOtherBase(base: Model, merged: string): Promise<void> {
  const now = await fingerprintGguf(await readGguf(base.path)).catch(() => undefined)
  if (now === base.fingerprint) return
  await rm(merged, { force: true })
  throw new TraitscopeError(
    'FILE_INVALID',
    `expected the base ${base.path} to stay as it was opened, found it changed while an adapter was merged into a copy of it; open it again`,
  )
}

/** A model of 8B parameters in F16 takes 16 GB. */
const DEFAULT_CACHE_BYTES = 20 * 2 ** 30

/** Merged models on disk, so that a checkpoint that has to be merged is merged once. */
function mergedModels(folder: string, maxBytes = DEFAULT_CACHE_BYTES): KeyedStore {
  return new KeyedStore(folder, { prefix: 'merged-', suffix: '.gguf', maxBytes })
}

function unrounded(plan: MergePlan): string {
  const [first] = neverRounded(plan)
  if (first === undefined) return ''
  const { name, source } = first
  return `; its ${name} cannot be rounded as the base's ${source?.type ?? 'own'} is, and that adds to the drift`
}

type Write = (path: string, force: boolean) => Promise<unknown>
type Open = (path: string) => Promise<Model>

async function openCached(cache: KeyedStore, key: string, write: Write, open: Open): Promise<Model> {
  const path = cache.path(key)
  if (await cache.has(key)) {
    try {
      return await open(path)
    } catch (error) {
      // Damaged, or pruned by another process meanwhile: as good as none.
      if (!isTraitscopeError(error) || !REPLACEABLE.has(error.code)) throw error
    }
  }
  await write(path, true)
  await cache.prune(key)
  return open(path)
}

const REPLACEABLE: ReadonlySet<string> = new Set([
  'FILE_NOT_FOUND',
  'FILE_INVALID',
  'FILE_INCOMPLETE',
  'MODEL_LOAD',
])

async function openScratch(write: Write, open: Open): Promise<{ model: Model; remove: () => Promise<void> }> {
  const scratch = await makeScratch(tmpdir())
  const remove = () => rm(scratch, { recursive: true, force: true })
  try {
    const path = join(scratch, 'merged.gguf')
    await write(path, false)
    return { model: await open(path), remove }
  } catch (error) {
    await remove()
    throw error
  }
}

function cacheKey(base: Model, peft: PeftAdapter, strength: number): string {
  return sha256(
    JSON.stringify({
      schema: 2,
      base: base.fingerprint,
      adapter: peft.sha256,
      strength,
      llamaCpp: LLAMA_CPP_VERSION,
      traitscope: packageVersion,
    }),
  )
}
