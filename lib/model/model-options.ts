import type { OptionKinds } from '../arguments.js'
import type { NativeModelInfo } from '../binding.js'
import { PLACEMENT_OPTIONS, type PlacementOptions } from './place-model.js'

/** How a model is computed: everything that two models must share to be open alike. */
export interface ModelOptions extends PlacementOptions {
  /**
   * The layers whose states will be read. The model then holds the blocks up to the highest of them alone: what lies above
   * is not read from the file, `generate()` and `score()` are refused, and nothing else differs, not even in a bit. Default:
   * the whole model.
   */
  layers?: readonly number[] | undefined
  /** CPU threads; default: what the process may use, but 1 for a file under 64 MiB. */
  threads?: number | undefined
  /**
   * Tokens in memory at once (KV cache, attention scores), 256 to 8192: bounds the longest prompt, and batches whose rows
   * are means. Default: up to 2048, less where that would take more than about 700 MB beside the weights.
   */
  batchTokens?: number | undefined
  /** Map the file instead of reading it (default true): on the CPU, where the whole model is opened. */
  mmap?: boolean | undefined
  /**
   * Let weights be copied into layouts that suit the CPU's instructions, where llama.cpp has some for their type, and queries
   * be laid out for its products (default true). False leaves weights in the mapped file: memory falls by up to the size of
   * the file, quantised types get slower, and F16 rounds what it multiplies to F16, as on processors without AMX. States are
   * then those of a device that has the CPU's kernels, bit for bit.
   */
  repack?: boolean | undefined
}

export const MODEL_OPTIONS: OptionKinds<ModelOptions> = {
  ...PLACEMENT_OPTIONS,
  layers: 'numbers',
  threads: 'number',
  batchTokens: 'number',
  mmap: 'boolean',
  repack: 'boolean',
}

/** What belongs to one opening alone. */
export interface LoadOptions {
  signal?: AbortSignal | undefined
  /** Fraction loaded, 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined
}

export const LOAD_OPTIONS: OptionKinds<LoadOptions> = { signal: 'signal', onProgress: 'function' }

/** How to open a model. */
export interface OpenModelOptions extends ModelOptions, LoadOptions {}

/** {@link ModelOptions} with every default filled in, as a second model must have them to be open alike. */
export interface ResolvedModelOptions extends Readonly<ModelOptions> {
  /** `'cpu'` or ggml's name. */
  readonly device: string
  /** More than there are mean all. */
  readonly gpuLayers: number
  readonly threads: number
  readonly batchTokens: number
  readonly mmap: boolean
  readonly repack: boolean
}

/** What is known of an open model. */
export interface ModelInfo extends NativeModelInfo {
  /** GGUF architecture, e.g. `llama`, `qwen2`, `gemma2`. */
  architecture: string
  /** `general.name` of the GGUF, if it has one. */
  name?: string
  /** Numbers in all tensors of weights. */
  nParams: number
}
