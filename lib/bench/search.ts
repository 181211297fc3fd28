import { availableParallelism } from 'node:os'
import type { Model } from '../model/model.js'
import { runTrial, type Trial } from './trial.js'
import { VARIANTS, type Variant } from './variants.js'

/** One prompt through the whole model: reads every weight from disk once. */
export async function warmUp(model: Model, prompts: readonly Int32Array[], layer: number): Promise<void> {
  await runTrial(model, VARIANTS[0]!, prompts.slice(0, 1), {
    layer,
    threads: model.threads,
    batchTokens: model.batchTokens,
    seconds: 0,
  })
}

export interface SearchOptions {
  layer: number
  /** For the final timing; a short trial gets a sixth of it. */
  seconds: number
  /** To try; default all, half and one of what the process may use. */
  threads?: readonly number[] | undefined
  /** To try; default 256, 512, 1024 and 2048, up to the model's own limit. */
  batchTokens?: readonly number[] | undefined
  signal?: AbortSignal | undefined
  onProgress?: ((what: string) => void) | undefined
}

/** Finds the threads, then the batch size, with short trials, and times the best with a long one. */
export async function bestTrial(
  model: Model,
  variant: Variant,
  prompts: readonly Int32Array[],
  options: SearchOptions,
): Promise<Trial> {
  const { layer, seconds, signal, onProgress } = options
  const all = availableParallelism()
  const threadChoices = options.threads ?? [...new Set([all, Math.ceil(all / 2), 1])]
  const sizes = batchSizes(model, variant, prompts, options.batchTokens ?? [256, 512, 1024, 2048])
  // A size that gives the same batches as the one before needs no trial.
  const counts = sizes.map((size) => variant.plan(prompts, size).length)
  const sizeChoices = sizes.filter((_, i) => i === 0 || counts[i] !== counts[i - 1])
  const time = (threads: number, batchTokens: number, budget: number, within = signal) => {
    onProgress?.(`${variant.name}: ${threads} threads, batches of ${batchTokens}`)
    return runTrial(model, variant, prompts, {
      layer,
      threads,
      batchTokens,
      seconds: budget,
      signal: within,
    })
  }
  const short = seconds / 6
  const first = sizeChoices[Math.min(1, sizeChoices.length - 1)]!
  let best: Trial | undefined
  const offer = async (threads: number, size: number) => {
    if (best === undefined) {
      best = await time(threads, size, short)
      return
    }
    // Who takes longer than the best has lost: a plan of one batch runs whole, however little time a trial is given.
    const lost = AbortSignal.timeout(Math.ceil(1000 * best.seconds))
    try {
      const trial = await time(threads, size, short, signal ? AbortSignal.any([signal, lost]) : lost)
      if (trial.seconds < best.seconds) best = trial
    } catch (error) {
      if (!lost.aborted || signal?.aborted) throw error
    }
  }
  for (const threads of threadChoices) await offer(threads, first)
  for (const size of sizeChoices) {
    if (size !== first) await offer(best!.threads, size)
  }
  // A trial that ran the whole pass needs no repetition.
  return best!.share === 1 && best!.seconds >= short ? best! : time(best!.threads, best!.batchTokens, seconds)
}

/** Of those wanted, the ones that every prompt and the memory allow; the model's own where none does. */
function batchSizes(
  model: Model,
  variant: Variant,
  prompts: readonly Int32Array[],
  wanted: readonly number[],
): readonly number[] {
  if (variant.inGroups) return [model.batchTokens] // any size that holds the prompts gives the same groups
  const longest = prompts.reduce((length, prompt) => Math.max(length, prompt.length), 0)
  const sizes = wanted.filter((size) => size >= longest && size <= model.batchTokens)
  return sizes.length > 0 ? sizes : [model.batchTokens]
}

export function largestDifference(trial: Trial, reference: Trial): number {
  let largest = 0
  for (const [prompt, row] of trial.rows) {
    const expected = reference.rows.get(prompt)
    if (expected === undefined) continue
    let difference = 0
    let norm = 0
    for (const [i, value] of expected.entries()) {
      difference += (row[i]! - value) ** 2
      norm += value ** 2
    }
    largest = Math.max(largest, Math.sqrt(difference / norm))
  }
  return largest
}
