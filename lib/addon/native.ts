/** What the native addon exports, as TypeScript sees it: shapes and units of everything that crosses that border. */

export interface NativeCancelToken {
  cancel(): void
}

/** A token with a meaning of its own, by id and text. */
export interface NativeSpecialToken {
  id: number
  text: string
}

/** What llama.cpp says of a model: counts, and bytes of its weights. */
export interface NativeModelInfo {
  nLayer: number
  nEmbd: number
  nVocab: number
  nCtxTrain: number
  hasVocab: boolean
  addBos: boolean
  addEos: boolean
  bos?: NativeSpecialToken
  eos?: NativeSpecialToken
}

/** Which part of a file is opened, and where it goes; field by field as native/core/placement.h. */
export interface NativePlacedModel {
  path: string
  /** Of the GGUF that is opened, whose data are `parts` of the file; without it the whole file. */
  header?: Uint8Array | undefined
  /** `[begin in the data section, bytes, where in the file or -1 for zeros]` of each, in order. */
  parts?: Float64Array | undefined
  /** Blocks of what is opened. */
  blocks: number
  /** ggml's name of a device; empty: the CPU alone. */
  device: string
  /** The first so many blocks go to it; one more than there are means the output head too. */
  onDevice: number
  /** The first block that never runs; `blocks` when all do. */
  runsTo: number
  /** Whether tokens are predicted from what the blocks give. */
  runsHead: boolean
  /** Copy quantised weights into layouts that suit the CPU's instructions. */
  repack: boolean
}

export interface NativeLoadParams extends NativePlacedModel {
  threads: number
  batchTokens: number
  mmap: boolean
  /** False: CUDA may no longer add up products in F16, in the whole process. */
  f16Sums: boolean
  /** The tokenizer without the weights: only `tokenize()` may be called. */
  vocabOnly: boolean
}

/** Bytes of one device. */
export interface NativeDeviceMemory {
  /** ggml's name. */
  device: string
  weights: number
  /** Keys and values. */
  context: number
  /** Intermediate results of the largest graph. */
  compute: number
}

/**
 * One batch of a prompt plan, one decode; field by field as native/core/plan.h. Token `i` is computed once, at
 * `positions[i]`, for the sequences `seqIds[seqOffsets[i] .. seqOffsets[i + 1])`: a contiguous ascending range of ids, a
 * subset of its parent's.
 */
export interface NativeBatch {
  /** Token ids, depth first: every token comes after all tokens of its history. */
  tokens: Int32Array
  positions: Int32Array
  /** CSR offsets into `seqIds`, length `tokens.length + 1`. */
  seqOffsets: Int32Array
  /** Ids are dense from 0 within the batch. The first id of a token decides its attention mask. */
  seqIds: Int32Array
  /** CSR offsets into `rowTokens`, one row more than this batch yields. */
  rowOffsets: Int32Array
  /** Batch token indices; the mean of their states is the row. One index per row unless the pooling is `mean`. */
  rowTokens: Int32Array
  /** Where each of this batch's rows belongs in the result. */
  outputRows: Int32Array
}

export interface NativeRequest {
  batches: readonly NativeBatch[]
  layers: Int32Array
  nRows: number
  /** `[nRows, layers.length, nEmbd]`, filled while the call runs: the `data` of the result. */
  data: Float32Array
  adapterIds: readonly number[]
  adapterStrengths: readonly number[]
  stopEarly: boolean
  /** Cells of memory that groups fill, at least 1; see native/core/extract.h. */
  groupCells: number
  /** Context tokens (no row reads them) from which a group is decoded in two steps; see native/core/extract.h. */
  splitFrom: number
  /** 0: the number given to load(). */
  threads: number
  /** Cells of memory of this pass; 0: the `batchTokens` given to load(), which are the most. */
  maxTokens: number
}

export interface NativeStates {
  data: Float32Array
  computedTokens: number
  /** Of those, tokens that left out the rest of the highest layer's block. */
  contextTokens: number
  /** Spent computing inside llama.cpp. */
  decodeSeconds: number
  /** Spent making the context: in the first pass, and in one that needs more outputs. */
  contextSeconds: number
  nodesAfterStop: number
}

/** One sequence to generate or score, field by field as native/core/generation.h. */
export interface NativeSequence {
  /** The prompt, and behind its first `nPrompt` tokens a continuation to score. */
  tokens: Int32Array
  nPrompt: number
  /** Tokens to generate at most. */
  maxNew: number
  /** 64 bits that name its random numbers, together with `draw`. */
  key: bigint
  draw: number
  /** Index into `controls`, or -1. */
  control: number
}

export interface NativeControl {
  layers: Int32Array
  /** `[layers, nEmbd]`. */
  vectors: Float32Array
}

export interface NativeGenerateRequest {
  /** In the order in which they get slots. */
  sequences: readonly NativeSequence[]
  slots: number
  /** Memory of each slot in tokens. */
  cells: number
  microBatch: number
  threads: number
  temperature: number
  topK: number
  topP: number
  minP: number
  seed: bigint
  ignoreEos: boolean
  stopTokens: Int32Array
  stopTexts: readonly string[]
  adapterIds: readonly number[]
  adapterStrengths: readonly number[]
  controls: readonly NativeControl[]
  /** Layers whose outputs are pooled over generated tokens. */
  layers: Int32Array
  logprobPositions: number
  logprobTop: number
  logprobIds: Int32Array
  margins: boolean
}

export interface NativeOutcome {
  tokens: Int32Array
  text: string
  finish: 'stop' | 'length' | 'aborted'
  scores: Float64Array
  logprobs: Float64Array
  margins: Float64Array
  topIds: Int32Array
  topLogprobs: Float64Array
  idLogprobs: Float64Array
  pooled: Float32Array
  nPooled: number
}

export interface NativeGenerated {
  /** In the order of the sequences. */
  outcomes: NativeOutcome[]
  computedTokens: number
  /** Prompt tokens taken over from another sequence's memory. */
  copiedTokens: number
  decodes: number
  decodeSeconds: number
}

/** What is new since the last report of a generation. */
export interface NativeStep {
  /** Which sequence each token belongs to. */
  sequences: Int32Array
  tokens: Int32Array
  finished: (NativeOutcome & { sequence: number })[]
}

export interface NativeModel {
  load(
    params: NativeLoadParams,
    cancel: NativeCancelToken,
    onProgress?: (fraction: number) => void,
  ): Promise<NativeModelInfo>
  tokenize(
    texts: readonly string[],
    addSpecial: boolean,
    parseSpecial: boolean,
  ): Promise<{ ids: Int32Array; offsets: Int32Array }>
  detokenize(lists: readonly Int32Array[]): Promise<string[]>
  attach(gguf: Uint8Array): Promise<number>
  detach(id: number): Promise<void>
  extract(
    request: NativeRequest,
    cancel: NativeCancelToken,
    onProgress?: (fraction: number) => void,
  ): Promise<NativeStates>
  generate(
    request: NativeGenerateRequest,
    cancel: NativeCancelToken,
    onStep?: (step: NativeStep) => void,
  ): Promise<NativeGenerated>
  /** Of the weights and of the context that states are read with. */
  memory(): Promise<NativeDeviceMemory[]>
  close(): Promise<void>
}

/**
 * Consecutive rows of a matrix and what happens to them, field by field as native/core/merge_rows.h. The arrays are read
 * while the call runs and must not be changed meanwhile.
 */
export interface NativeRowMerge {
  /** Names the tensor in errors. */
  name: string
  /** ggml type ids. */
  sourceType: number
  targetType: number
  rows: number
  columns: number
  /** Rows of the source type; zeros without it. */
  base?: Uint8Array | undefined
  rank: number
  /** `[rank, columns]` and `[rows, rank]`: their product is added. */
  a?: Float32Array | undefined
  b?: Float32Array | undefined
  /** Per row the row of `replacement` that takes its place, or -1. */
  replaced?: Int32Array | undefined
  replacement?: Float32Array | undefined
  /** What each row is scaled to have as its norm. */
  rowNorms?: Float32Array | undefined
  columnFactors?: Float32Array | undefined
  /** Factor on the whole change. */
  strength: number
  threads: number
}

/** A device that the build can compute on. */
export interface NativeDevice {
  name: string
  description: string
  /** What drives it, as ggml names it: `CPU`, `CUDA`, `Vulkan`. */
  backend: string
  isGpu: boolean
  /** Bytes. */
  memoryFree: number
  /** Bytes. */
  memoryTotal: number
}

/** Relative L2 distance of a device's worst row from the CPU's, for weights of one type. */
export interface NativeSelfCheck {
  type: string
  /** In one decode. */
  unsplit: number
  /** Context tokens in a decode of their own. */
  split: number
}

/** A variable of the environment by which a backend's products are as precise as their types say. */
export interface NativePrecisionSwitch {
  name: string
  /** In force. */
  value: string
  /** Set by traitscope before the backend was loaded; else the user's own, which stays. */
  ours: boolean
}

export interface NativeBinding {
  /** Of traitscope, that the addon was built for. */
  version: string
  CancelToken: new () => NativeCancelToken
  Model: new () => NativeModel
  /** The changed rows in the target type. */
  mergeRows(merge: NativeRowMerge, cancel?: NativeCancelToken): Promise<Uint8Array<ArrayBuffer>>
  /** Per column the sum over the rows of each squared element, after the product is added; targetType is not read. */
  columnSquares(merge: NativeRowMerge, cancel?: NativeCancelToken): Promise<Float64Array>
  /** Loads ggml's backends from a folder alone, for a prebuild; a source build has them linked in. Goes first. */
  loadBackends(folder: string): void
  /** Whether the build takes backends as libraries; else they are linked in. */
  takesBackends: boolean
  /** Opens libraries by path or name, and keeps them, so that those which need them search for nothing. */
  openLibraries(names: readonly string[]): void
  /** Adds the backend in a library, after loadBackends(). */
  loadBackend(path: string): void
  /** Cancels the jobs of the whole process and waits for their end, so many milliseconds at most. */
  stopJobs(patience: number): void
  devices(): NativeDevice[]
  /** Of the backends that are loaded. */
  precision(): NativePrecisionSwitch[]
  systemInfo(): string
  /** A small model with random weights, on a device and on the CPU. */
  selfCheck(device: string, threads: number): Promise<NativeSelfCheck[]>
  /** What {@link NativeModel.memory} will be, without allocating it; needs a header. */
  planMemory(model: NativePlacedModel & { batchTokens: number }): Promise<NativeDeviceMemory[]>
  /**
   * Writes a GGUF again with its matrices as `F32`, `F16`, `BF16`, `Q8_0`, `Q4_0` or `Q4_K_M`, by llama.cpp's rules. Neither
   * file is checked and the output is not written atomically: for tests and benchmarks.
   */
  quantize(input: string, output: string, type: string, threads: number): Promise<void>
  /** Best floating-point operations per second of one product of the shape, weights of a ggml type times F32 rows. */
  matmulRate(measurement: NativeMatmul): Promise<number>
}

export interface NativeMatmul {
  /** Of the weights, as GGUF numbers it. */
  type: number
  nIn: number
  nOut: number
  nTokens: number
  threads: number
  /** How long to go on, per weight layout. */
  seconds: number
  /** The first GPU instead of the CPU. */
  gpu: boolean
}
