import { availableParallelism } from 'node:os'
import type { Model } from '../model/model.js'
import { runTrial, spread, type Trial } from './trial.js'
import { VARIANTS, type Variant } from './variants.js'

/** Seconds per token of the whole model, of prompts on their own and side by side in a batch. */
export interface Pace {
  alone: number
  batched: number
}

/** Prompts of the batch that tells the pace. */
const PACED = 4

/** A prompt through the whole model, which reads every weight from disk, then one for the pace and a batch of a few. */
export async function warmUp(model: Model, prompts: readonly Int32Array[], layer: number): Promise<Pace> {
  const pass = async (variant: Variant, some: readonly Int32Array[]) => {
    const { threads, batchTokens } = model
    const { seconds, computedTokens } = await runTrial(model, variant, some, {
      layer,
      threads,
      batchTokens,
      seconds: 0,
    })
    return seconds / computedTokens
  }
  const [one, together] = [VARIANTS[0]!, VARIANTS[1]!]
  await pass(one, prompts.slice(0, 1))
  return {
    alone: await pass(one, prompts.slice(0, 1)),
    batched: await pass(together, prompts.slice(0, PACED)),
  }
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
  /** A trial is about to begin. */
  onTrial?: ((what: string) => void) | undefined
}

/** Part of the final timing that a short trial gets. */
const SHORT = 1 / 6

/** What is tried for a variant: all threads with the second of the sizes, the other sizes with the best threads. */
function settingsOf(
  model: Model,
  variant: Variant,
  prompts: readonly Int32Array[],
  options: Pick<SearchOptions, 'threads' | 'batchTokens'>,
): { threads: readonly number[]; sizes: number[] } {
  const all = availableParallelism()
  const sizes = batchSizes(model, variant, prompts, options.batchTokens ?? [256, 512, 1024, 2048])
  // A size that gives the same batches as the one before needs no trial.
  const counts = sizes.map((size) => variant.plan(prompts, size).length)
  return {
    threads: options.threads ?? [...new Set([all, Math.ceil(all / 2), 1])],
    sizes: sizes.filter((_, i) => i === 0 || counts[i] !== counts[i - 1]),
  }
}

/**
 * How much work {@link bestTrial} will be: trials, the final timing included, and about how long they take. A trial is cut
 * off when it has had its time, but a batch that has begun is ended: which batches come first is known. A search whose first
 * trial is the whole pass, and all there is to try, times nothing again.
 *
 * @param pace see {@link warmUp}
 */
export function expectedSearch(
  model: Model,
  variant: Variant,
  prompts: readonly Int32Array[],
  options: SearchOptions,
  pace: Pace,
): { trials: number; seconds: number } {
  const { threads, sizes } = settingsOf(model, variant, prompts, options)
  const blocks = variant.stopEarly ? (options.layer + 1) / model.info.nLayer : 1
  const perToken = blocks * (variant === VARIANTS[0] ? pace.alone : pace.batched)
  const time = (size: number, budget: number) =>
    expectedTrial(
      variant.plan(prompts, size).map(({ tokens }) => tokens.length * perToken),
      budget,
    )
  const first = sizes[Math.min(1, sizes.length - 1)]!
  const short = SHORT * options.seconds
  const tried = [...threads.map(() => first), ...sizes.filter((size) => size !== first)]
  const trials = tried.map((size) => time(size, short))
  // Which size is the best is not known yet.
  const last = sizes.map((size) => time(size, options.seconds))
  const again = trials.length === 1 && trials[0]!.whole && trials[0]!.seconds >= short ? 0 : mean(last)
  return {
    trials: tried.length + 1,
    seconds: trials.reduce((sum, { seconds }) => sum + seconds, again),
  }
}

/** How long a trial takes whose batches take so long, and whether it is the whole pass. */
function expectedTrial(batches: readonly number[], budget: number): { seconds: number; whole: boolean } {
  let seconds = 0
  for (const [n, index] of spread(batches.length).entries()) {
    seconds += batches[index]!
    if (seconds >= budget) return { seconds, whole: n === batches.length - 1 }
  }
  return { seconds, whole: true }
}

const mean = (trials: readonly { seconds: number }[]): number =>
  trials.reduce((sum, { seconds }) => sum + seconds, 0) / trials.length

/** Finds the threads, then the batch size, with short trials, and times the best with a long one. */
export async function bestTrial(
  model: Model,
  variant: Variant,
  prompts: readonly Int32Array[],
  options: SearchOptions,
): Promise<Trial> {
  const { layer, seconds, signal, onTrial } = options
  const { threads: threadChoices, sizes: sizeChoices } = settingsOf(model, variant, prompts, options)
  const time = (threads: number, batchTokens: number, budget: number, within = signal) => {
    const of = threads === 1 ? '1 thread' : `${threads} threads`
    onTrial?.(`${variant.name}: ${of}, batches of ${batchTokens}`)
    return runTrial(model, variant, prompts, {
      layer,
      threads,
      batchTokens,
      seconds: budget,
      signal: within,
    })
  }
  const short = SHORT * seconds
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
