import { availableParallelism, cpus } from 'node:os'
import { throwIfAborted } from '../errors.js'
import type { GgmlTypeName } from '../formats/gguf/ggml-types.js'
import type { Model } from '../model/model.js'
import { type AdapterSwap, swapAdapters } from './adapter-swap.js'
import { withPeakMemory } from './memory.js'
import { mainType, neededOperations, roof } from './roofline.js'
import { bestTrial, expectedSearch, largestDifference, warmUp } from './search.js'
import type { Trial } from './trial.js'
import { VARIANTS } from './variants.js'

export interface BenchOptions {
  /** 0-based block whose output is read; default the middle one. */
  layer?: number | undefined
  /**
   * Seconds per variant for the final timing, and again about as much for finding its threads and batch size. A
   * variant that needs longer is sampled and extrapolated; `share` says how much was run. Default 4.
   */
  seconds?: number | undefined
  /** CPU threads to try; default 1, half and all of what the process may use. */
  threads?: readonly number[] | undefined
  /** Largest batches to try, in tokens; default 256, 512, 1024 and 2048, up to the model's own limit. */
  batchTokens?: readonly number[] | undefined
  signal?: AbortSignal | undefined
  /** Before anything that is measured. */
  onProgress?: ((progress: BenchProgress) => void) | undefined
}

/** Where a benchmark stands. */
export interface BenchProgress {
  /** What is measured next, e.g. `batched: 8 threads, batches of 512`. */
  what: string
  /** It is the n-th of at most so many measurements; both 0 while the model warms up, which they are told by. */
  n: number
  of: number
  /** About how many seconds all of them take; 0 during the warm-up. */
  seconds: number
}

export interface BenchRow {
  variant: string
  /** For all prompts; see `share`. */
  seconds: number
  promptsPerSecond: number
  /** Of the prompts as given, so that computing fewer counts as speed. */
  tokensPerSecond: number
  computedTokens: number
  batches: number
  /** Best found. */
  threads: number
  batchTokens: number
  /** Part of the pass that was run; below 1 the seconds are extrapolated by computed tokens. */
  share: number
  /** Speed against the first variant. */
  speedup: number
  /** Largest relative L2 difference of a prompt's states from the first variant's, over prompts that both ran. */
  difference: number
}

export interface BenchReport {
  model: {
    path: string
    architecture: string
    nParams: number
    type: GgmlTypeName
    nLayer: number
    nEmbd: number
  }
  machine: { cpu: string; threads: number; device: string }
  layer: number
  prompts: { count: number; tokens: number }
  rows: BenchRow[]
  /** Of the last variant. */
  roof: {
    /** Floating-point operations per second of the model's largest product alone. */
    operationsPerSecond: number
    /** Part of that which the pass reaches, counting products with weights only. */
    share: number
  }
  /** Part of the last variant's time spent outside llama.cpp. */
  overheadShare: number
  /** Highest anonymous memory of the process in bytes, Node's own included; null where it cannot be read. */
  peakAnonymousBytes: number | null
  adapter: AdapterSwap
  /** Swap, files and a pass of the last variant: what one checkpoint takes. */
  checkpointSeconds: number
}

/**
 * Measures how fast hidden states are read from a model and what each idea contributes, every variant with the
 * threads and batch size that suit it best.
 *
 * @param prompts token ids, as measured: usually the evaluation prompts through the chat template
 */
export async function benchModel(
  model: Model,
  prompts: readonly Int32Array[],
  options: BenchOptions = {},
): Promise<BenchReport> {
  const { architecture, nParams, nLayer, nEmbd } = model.info
  const { seconds = 4, signal, onProgress } = options
  const layer = options.layer ?? Math.floor(nLayer / 2)
  const roofSeconds = Math.min(seconds, 2)
  const schedule = { n: 0, of: 0, seconds: 0 }
  const next = (what: string) => onProgress?.({ what, ...schedule, n: ++schedule.n })
  const { result, peakBytes } = await withPeakMemory(async () => {
    onProgress?.({ what: 'warm-up', n: 0, of: 0, seconds: 0 })
    const pace = await warmUp(model, prompts, layer)
    const search = { ...options, layer, seconds }
    const expected = VARIANTS.map((variant) => expectedSearch(model, variant, prompts, search, pace))
    schedule.of = expected.reduce((sum, { trials }) => sum + trials, 2)
    schedule.seconds = expected.reduce((sum, one) => sum + one.seconds, roofSeconds)
    const trials: Trial[] = []
    for (const [i, variant] of VARIANTS.entries()) {
      // A search may need fewer trials than it might have.
      const before = expected.slice(0, i).reduce((sum, one) => sum + one.trials, 0)
      schedule.n = before
      trials.push(await bestTrial(model, variant, prompts, { ...search, onTrial: next }))
    }
    schedule.n = schedule.of - 2
    next('adapter swap')
    const adapter = await swapAdapters(model, prompts[0]!, layer, signal)
    return { trials, adapter }
  })
  const { trials, adapter } = result
  const last = trials.at(-1)!
  throwIfAborted(signal)
  next('matrix multiplication alone')
  const operationsPerSecond = await roof(model, last.threads, roofSeconds)
  const total = prompts.reduce((sum, prompt) => sum + prompt.length, 0)
  return {
    model: {
      path: model.path,
      architecture,
      nParams,
      type: mainType(model.gguf),
      nLayer,
      nEmbd,
    },
    machine: { cpu: cpus()[0]?.model ?? 'unknown', threads: availableParallelism(), device: model.device },
    layer,
    prompts: { count: prompts.length, tokens: total },
    rows: trials.map((trial, i) => ({
      variant: VARIANTS[i]!.name,
      seconds: trial.seconds,
      promptsPerSecond: prompts.length / trial.seconds,
      tokensPerSecond: total / trial.seconds,
      computedTokens: trial.computedTokens,
      batches: trial.batches,
      threads: trial.threads,
      batchTokens: trial.batchTokens,
      share: trial.share,
      speedup: trials[0]!.seconds / trial.seconds,
      difference: largestDifference(trial, trials[0]!),
    })),
    roof: {
      operationsPerSecond,
      share: neededOperations(model.gguf, layer, last) / last.seconds / operationsPerSecond,
    },
    overheadShare: last.overheadSeconds / last.seconds,
    peakAnonymousBytes: peakBytes ?? null,
    adapter,
    checkpointSeconds: last.seconds + adapter.readSeconds + adapter.swapSeconds,
  }
}
