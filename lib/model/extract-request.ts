import { checkMade, integerOption } from '../arguments.js'
import type { NativeBatch, NativeModelInfo } from '../binding.js'
import { TraitscopeError } from '../errors.js'
import { ADAPTER, type AttachedAdapter } from './attached-adapter.js'
import { MAX_BATCH_TOKENS, MAX_THREADS } from './placement.js'

/** What one pass over a plan is asked for; `hiddenStates()` is the comfortable form. */
export interface ExtractRequest {
  batches: readonly NativeBatch[]
  nRows: number
  /** 0-based block indices, ascending and unique. */
  layers: readonly number[]
  adapters?: readonly AttachedAdapter[]
  /** End the graph at the highest layer (default true); false computes the whole model. */
  stopEarly?: boolean
  /**
   * Cells of memory, at least 1: a batch is computed in groups that fill the cells in use up to a multiple of this, and
   * complete sequences are forgotten between them. Default: the whole batch. `hiddenStates()` decides; rows that are means
   * need the whole.
   */
  groupCells?: number
  /**
   * Context tokens (tokens that no row reads) from which a group is decoded in two steps, so that they leave out the
   * rest of the highest layer's block. Default: never. `hiddenStates()` decides when it pays.
   */
  splitFrom?: number
  /** CPU threads of this pass; default those of the model. */
  threads?: number
  signal?: AbortSignal | undefined
  onProgress?: ((fraction: number) => void) | undefined
}

/**
 * Checks what the addon takes for granted.
 *
 * @throws TraitscopeError `USAGE`
 */
export function checkRequest(
  request: ExtractRequest,
  model: { info: Pick<NativeModelInfo, 'nLayer' | 'nVocab'>; readsUpTo?: number | undefined },
): void {
  const { adapters = [], batches, layers, nRows, splitFrom, groupCells, threads } = request
  checkAdapters(model, adapters)
  const { nLayer, nVocab } = model.info
  for (const layer of layers) {
    if (!Number.isInteger(layer) || layer < 0 || layer >= nLayer) {
      throw new TraitscopeError(
        'USAGE',
        `layer ${layer} does not exist: expected 0 to ${nLayer - 1} (0-based block outputs)`,
      )
    }
  }
  const { readsUpTo = nLayer } = model
  if (layers.some((layer) => layer > readsUpTo) || (readsUpTo < nLayer && request.stopEarly === false)) {
    throw new TraitscopeError(
      'USAGE',
      `expected ${request.stopEarly === false ? 'a whole model to compute all of it' : `layers up to ${readsUpTo}`}, found a model that was opened for layers up to ${readsUpTo}${request.stopEarly === false ? '' : ` and [${layers.join(', ')}]`}: open it for the layers that you read`,
    )
  }
  if (layers.length === 0 || layers.some((layer, i) => i > 0 && layer <= layers[i - 1]!)) {
    throw new TraitscopeError(
      'USAGE',
      `expected layers that ascend, at least one, found [${layers.join(', ')}]: sort them, each once`,
    )
  }
  integerOption('nRows', nRows, 1, 2 ** 31 - 1)
  if (groupCells !== undefined) integerOption('groupCells', groupCells, 1, MAX_BATCH_TOKENS)
  if (splitFrom !== undefined) integerOption('splitFrom', splitFrom, 0, Number.MAX_SAFE_INTEGER)
  if (threads !== undefined) integerOption('threads', threads, 1, MAX_THREADS)
  for (const { tokens } of batches) {
    const foreign = tokens.find((id) => id < 0 || id >= nVocab)
    if (foreign === undefined) continue
    throw new TraitscopeError(
      'USAGE',
      `expected token ids from 0 to ${nVocab - 1}, found ${foreign}: tokenize with this model`,
    )
  }
}

/** @throws TraitscopeError `USAGE` for an adapter that the model does not hold, or that is there twice */
export function checkAdapters(model: object, adapters: readonly AttachedAdapter[]): void {
  for (const [i, adapter] of adapters.entries()) {
    checkMade(adapter, ADAPTER)
    // llama.cpp keeps one strength of an adapter: the others would be dropped without a word.
    if (adapters.slice(0, i).some(({ id }) => id === adapter.id)) {
      throw new TraitscopeError(
        'USAGE',
        'expected each adapter once, found one twice: give it once, at the strength that they come to together, as adapter.at(2)',
      )
    }
    if (adapter.model !== model) {
      throw new TraitscopeError('USAGE', 'the adapter is attached to another model: attach it to this one')
    }
    if (adapter.detached) {
      throw new TraitscopeError('USAGE', 'the adapter was detached: attach it again before using it')
    }
  }
}
