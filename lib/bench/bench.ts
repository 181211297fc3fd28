import { availableParallelism, cpus } from 'node:os'
import { throwIfAborted } from '../errors.js'
import type { GgmlTypeName } from '../formats/gguf/ggml-types.js'
import type { Model } from '../model/model.js'
import { type AdapterSwap, swapAdapters } from './adapter-swap.js'
import { withPeakMemory } from './memory.js'
import { mainType, neededOperations, roof } from './roofline.js'
import { bestTrial, largestDifference, warmUp } from './search.js'
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
  /** What is being measured, before it is. */
  onProgress?: ((what: string) => void) | undefined
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
  model: { path: string; description: string; type: GgmlTypeName; nLayer: number; nEmbd: number }
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
  const { nLayer, nEmbd } = model.info
  const { seconds = 4, signal, onProgress } = options
  const layer = options.layer ?? Math.floor(nLayer / 2)
  const { result, peakBytes } = await withPeakMemory(async () => {
    onProgress?.('warm-up')
    await warmUp(model, prompts, layer)
    const trials: Trial[] = []
    for (const variant of VARIANTS) {
      trials.push(await bestTrial(model, variant, prompts, { ...options, layer, seconds }))
    }
    onProgress?.('adapter swap')
    const adapter = await swapAdapters(model, prompts[0]!, layer, signal)
    return { trials, adapter }
  })
  const { trials, adapter } = result
  const last = trials.at(-1)!
  throwIfAborted(signal)
  onProgress?.('matrix multiplication alone')
  const operationsPerSecond = await roof(model, last.threads, Math.min(seconds, 2))
  const total = prompts.reduce((sum, prompt) => sum + prompt.length, 0)
  return {
    model: {
      path: model.path,
      description: model.info.description,
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
