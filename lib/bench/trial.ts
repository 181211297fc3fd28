import type { Model } from '../model/model.js'
import { groupCells, splitThreshold } from '../model/placement.js'
import type { PlanBatch } from '../prompts/plan.js'
import type { Variant } from './variants.js'

export interface TrialSettings {
  /** 0-based block whose output is read. */
  layer: number
  threads: number
  /** Tokens of the largest batch, or in memory at once where batches are computed in groups. */
  batchTokens: number
  /** No further batch is started once this much time is spent. */
  seconds: number
  signal?: AbortSignal | undefined
}

/** One variant at one setting. */
export interface Trial {
  threads: number
  batchTokens: number
  /** For all prompts; extrapolated by computed tokens where `share` is below 1. */
  seconds: number
  /** Of all threads, waiting in one for another included; extrapolated as `seconds` is. Load moves it less. */
  cpuSeconds: number
  /** Of `seconds`, spent outside llama.cpp: planning, crossing into the addon, copying rows. */
  overheadSeconds: number
  /** Part of the computed tokens that was run. */
  share: number
  /** Of a whole pass. */
  batches: number
  computedTokens: number
  /** Extrapolated as `seconds` is. */
  contextTokens: number
  /** States that were read, by prompt. */
  rows: Map<number, Float32Array>
}

/** Runs batches of a variant, spread over the plan, until all are done or the time is spent. */
export async function runTrial(
  model: Model,
  variant: Variant,
  prompts: readonly Int32Array[],
  settings: TrialSettings,
): Promise<Trial> {
  const { layer, threads, batchTokens, signal } = settings
  const planned = performance.now()
  const batches = variant.plan(prompts, batchTokens)
  const planSeconds = (performance.now() - planned) / 1000
  const computedTokens = batches.reduce((sum, batch) => sum + batch.tokens.length, 0)
  const rows = new Map<number, Float32Array>()
  const done = { seconds: 0, cpuSeconds: 0, decodeSeconds: 0, tokens: 0, contextTokens: 0 }
  for (const index of spread(batches.length)) {
    const { batch, prompts: owners } = alone(batches[index]!)
    const started = performance.now()
    const cpuStarted = process.cpuUsage()
    const states = await model.extract({
      batches: [batch],
      nRows: owners.length,
      layers: [layer],
      stopEarly: variant.stopEarly,
      ...(variant.inGroups ? { groupCells: groupCells(model) } : {}),
      ...(variant.contextFirst ? { splitFrom: splitThreshold(layer) } : {}),
      threads,
      signal,
    })
    done.seconds += (performance.now() - started) / 1000 - states.contextSeconds
    const { user, system } = process.cpuUsage(cpuStarted)
    done.cpuSeconds += (user + system) / 1e6
    done.decodeSeconds += states.decodeSeconds
    done.tokens += states.computedTokens
    done.contextTokens += states.contextTokens
    const { nEmbd } = model.info
    for (const [row, prompt] of owners.entries()) {
      rows.set(prompt, states.data.subarray(row * nEmbd, (row + 1) * nEmbd))
    }
    if (done.seconds >= settings.seconds) break
  }
  const share = done.tokens / computedTokens
  return {
    threads,
    batchTokens,
    seconds: planSeconds + done.seconds / share,
    cpuSeconds: planSeconds + done.cpuSeconds / share,
    overheadSeconds: planSeconds + (done.seconds - done.decodeSeconds) / share,
    share,
    batches: batches.length,
    computedTokens,
    contextTokens: Math.round(done.contextTokens / share),
    rows,
  }
}

/** A batch as a request of its own: its rows from 0, and the prompts that they belong to. */
function alone(batch: PlanBatch): { batch: PlanBatch; prompts: number[] } {
  const outputRows = Int32Array.from(batch.outputRows, (_, row) => row)
  return { batch: { ...batch, outputRows }, prompts: [...batch.outputRows] }
}

/** 0 to n - 1 in an order whose every beginning is spread over the range: steps of about the golden ratio. */
export function spread(n: number): number[] {
  const coprime = (step: number): boolean => {
    let [a, b] = [n, step]
    while (b > 0) [a, b] = [b, a % b]
    return a === 1
  }
  let step = Math.max(1, Math.round(n * 0.618))
  while (!coprime(step)) step++
  return Array.from({ length: n }, (_, i) => (i * step) % n)
}
