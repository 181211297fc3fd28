import { checkMade, Needed, type OptionKinds, takeOptions, takeTokens } from '../arguments.js'
import { TraitscopeError } from '../errors.js'
import type { AttachedAdapter } from '../model/attached-adapter.js'
import { MODEL, type Model } from '../model/model.js'
import { groupCells, splitThreshold } from '../model/placement.js'
import { POOLINGS, type Pooling, planPrompts } from '../prompts/plan.js'

/** What to read, and how. */
export interface HiddenStatesOptions {
  /** 0-based blocks whose output is read; any order, duplicates are dropped. */
  layers: readonly number[]
  /**
   * `last` (default): the last input token. `mean`: mean over all input tokens, template included. `tokens`: every
   * input token on its own row.
   */
  pool?: Pooling | undefined
  /** Adapter(s) applied during the pass; none means the bare base. */
  adapter?: AttachedAdapter | readonly AttachedAdapter[] | undefined
  signal?: AbortSignal | undefined
  /** Fraction of tokens done, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

const OPTIONS: OptionKinds<HiddenStatesOptions> = {
  layers: new Needed('numbers'),
  pool: POOLINGS,
  adapter: 'any',
  signal: 'signal',
  onProgress: 'function',
}

/** Block outputs of prompts. */
export interface HiddenStates {
  /** Row-major; row r at layer index l starts at `(r * nLayers + l) * nEmbd`. Native activation units, float32. */
  data: Float32Array
  /** `[nRows, nLayers, nEmbd]`. */
  shape: [number, number, number]
  /** The layers read, ascending; index l of the layer axis is `layers[l]`. */
  layers: number[]
  /** Rows of prompt p are `promptRows[p]` up to `promptRows[p + 1]`; one row per prompt unless `pool` is `tokens`. */
  promptRows: Int32Array
  /** Input tokens of all prompts, and how many of them were computed (shared prefixes are computed once). */
  tokens: { total: number; computed: number }
}

/**
 * Block outputs (residual stream after block L: llama.cpp `l_out-L`, TransformerLens `blocks.L.hook_resid_post`, HF
 * `hidden_states[L + 1]`, before the final norm also for the last block) of tokenized prompts, all layers in one pass.
 *
 * @throws TraitscopeError `USAGE`, `PROMPT_TOO_LONG`, `COMPUTE` (non-finite states), `ABORTED`, `MODEL_CLOSED`
 */
export async function hiddenStates(
  model: Model,
  prompts: readonly Int32Array[],
  options: HiddenStatesOptions,
): Promise<HiddenStates> {
  checkMade(model, MODEL)
  const { pool = 'last', adapter, signal, onProgress, ...own } = takeOptions('hiddenStates', options, OPTIONS)
  const lists = takeTokens('prompts', prompts)
  const layers = [...new Set(own.layers)].sort((a, b) => a - b)
  if (layers.length === 0) {
    throw new TraitscopeError('USAGE', 'no layer was asked for: name at least one block, e.g. layers: [14]')
  }
  if (lists.length === 0) throw new TraitscopeError('USAGE', 'there are no prompts to read')
  const plan = planPrompts(lists, {
    maxTokens: model.batchTokens,
    limits: model.limits,
    inGroups: true,
    pool,
  })
  const states = await model.extract({
    batches: plan.batches,
    nRows: plan.nRows,
    layers,
    adapters:
      adapter === undefined ? [] : Array.isArray(adapter) ? [...adapter] : [adapter as AttachedAdapter],
    groupCells: groupCells(model),
    splitFrom: splitThreshold(layers.at(-1)!),
    signal,
    onProgress,
  })
  return {
    data: states.data,
    shape: [plan.nRows, layers.length, model.info.nEmbd],
    layers,
    promptRows: plan.promptRows,
    tokens: plan.tokens,
  }
}
