import { checkMade, Made, takeOptions, takeTexts, takeTokenLists, takeTokens } from '../arguments.js'
import {
  cancellable,
  fromNative,
  type NativeDeviceMemory,
  type NativeGenerated,
  type NativeModel,
  type NativeSpecialToken,
  type NativeStates,
} from '../binding.js'
import { throwIfAborted } from '../errors.js'
import { namedPath } from '../formats/files/named-path.js'
import type { GgufFile } from '../formats/gguf/gguf.js'
import { PEFT_ADAPTER, type PeftAdapter, readPeftAdapter } from '../formats/peft/peft.js'
import { resolveWeights } from '../formats/run/find-weights.js'
import { ATTACH_OPTIONS, AttachedAdapter, type AttachOptions, checkStrength } from './attached-adapter.js'
import { type PromptLimits, promptLimits } from './base/prompt-limits.js'
import { passesOf, runPasses } from './extract-passes.js'
import { checkAdapters, checkRequest, type ExtractRequest } from './extract-request.js'
import { type PlannedGeneration, planGenerate, planScore } from './generate-request.js'
import {
  GENERATE_OPTIONS,
  type Generated,
  type GenerateOptions,
  SCORE_OPTIONS,
  type Scored,
  type ScoreOptions,
} from './generation.js'
import { checkTokens } from './generation-checks.js'
import { costOf, GenerationListener } from './generation-listener.js'
import { JobQueue } from './job-queue.js'
import { loadModel, type ModelParts } from './load-model.js'
import { toGgufLora } from './lora/lora.js'
import {
  LOAD_OPTIONS,
  type LoadOptions,
  MODEL_OPTIONS,
  type ModelInfo,
  type OpenModelOptions,
  type ResolvedModelOptions,
} from './model-options.js'
import type { ModelPlacement } from './place-model.js'
import { PromptTokenizer } from './prompt-tokenizer.js'

/**
 * An open base model. One model runs one job at a time and queues the rest; all work runs off the event loop.
 * Make one with {@link openModel}.
 */
export class Model implements AsyncDisposable {
  readonly #native: NativeModel
  readonly #queue = new JobQueue()
  #tokenizer: PromptTokenizer | undefined
  /** How long prompts may be, by what the file says of itself. @internal */
  readonly limits: PromptLimits
  readonly path: string
  readonly info: ModelInfo
  /** The parsed header. @internal */
  readonly gguf: GgufFile
  /** Identity of the file: SHA-256 over its size, its header and samples of every tensor. */
  readonly fingerprint: string
  /** How it was opened. */
  readonly options: ResolvedModelOptions
  /** Where its blocks are. */
  readonly placement: ModelPlacement

  /** @internal */
  constructor(parts: ModelParts) {
    this.#native = parts.native
    this.path = parts.path
    // What is passed to the addon is worked out from these.
    this.info = Object.freeze(parts.info)
    this.gguf = parts.gguf
    this.fingerprint = parts.fingerprint
    this.options = Object.freeze(parts.options)
    this.placement = Object.freeze(parts.placement)
    this.limits = promptLimits(parts.gguf, parts.info.architecture)
  }

  /** `cpu`, or the name of the GPU that holds blocks. */
  get device(): string {
    return this.placement.description
  }

  /** Bytes of that GPU's memory that may be taken. */
  get gpuBytes(): number | undefined {
    const { totalBytes } = this.placement
    return totalBytes && Math.min(totalBytes, this.options.maxVram ?? totalBytes)
  }

  /** The highest layer whose states can be read; undefined for a whole model, which also generates. */
  get readsUpTo(): number | undefined {
    return this.options.layers && Math.max(...this.options.layers)
  }

  get threads(): number {
    return this.options.threads
  }

  /** Tokens in memory at once; the longest prompt. */
  get batchTokens(): number {
    return this.options.batchTokens
  }

  /** Opens another file as this one was opened: rows of both are computed alike. @throws as `openModel` */
  async openLike(path: string, options: LoadOptions = {}): Promise<Model> {
    return openModel(path, { ...this.options, ...takeOptions('openLike', options, LOAD_OPTIONS) })
  }

  /** Beginning-of-sequence token, if the vocabulary has one. */
  get bosToken(): NativeSpecialToken | undefined {
    return this.info.bos
  }

  /** End-of-sequence token, if the vocabulary has one. */
  get eosToken(): NativeSpecialToken | undefined {
    return this.info.eos
  }

  /** The GGUF's chat template (Jinja source), if it has one. */
  get chatTemplate(): string | undefined {
    const template = this.gguf.metadata.get('tokenizer.chat_template')
    return typeof template === 'string' ? template : undefined
  }

  /**
   * Token ids of each text.
   *
   * @param options.addSpecial add BOS/EOS as the vocabulary asks; off for text that a chat template rendered
   * @param options.parseSpecial read `<|im_start|>` and the like as the special tokens they name
   */
  async tokenize(
    texts: readonly string[],
    options: { addSpecial?: boolean; parseSpecial?: boolean } = {},
  ): Promise<Int32Array[]> {
    const { addSpecial = true, parseSpecial = true } = takeOptions('tokenize', options, TOKENIZE_OPTIONS)
    const own = takeTexts('texts', texts)
    this.#tokenizer ??= new PromptTokenizer(this.gguf)
    const tokenizer = this.#tokenizer
    return this.#run(() => tokenizer.tokenize(this.#native, this.info, own, { addSpecial, parseSpecial }))
  }

  /** Text of each list of generated tokens, special tokens left out. */
  async detokenize(lists: readonly Int32Array[]): Promise<string[]> {
    const own = takeTokens('lists', lists)
    for (const [i, tokens] of own.entries()) checkTokens(this, tokens, `list ${i}`)
    return this.#run(() => this.#native.detokenize(own))
  }

  /**
   * Reads a PEFT LoRA folder, maps it onto this base and loads it. Nothing is applied until it is passed to a call.
   *
   * @throws TraitscopeError `ADAPTER_MISMATCH`, `ADAPTER_INVALID`, `ADAPTER_NO_EFFECT`, `UNSUPPORTED`
   */
  async attach(adapter: string | PeftAdapter, options: AttachOptions = {}): Promise<AttachedAdapter> {
    const { strength = 1, ...how } = takeOptions('attach', options, ATTACH_OPTIONS)
    checkStrength(strength)
    const peft =
      typeof adapter === 'object' ? adapter : await readPeftAdapter((await resolveWeights(adapter)).path)
    checkMade(peft, PEFT_ADAPTER)
    const { gguf, report } = toGgufLora(peft, this.gguf, { ...how, readsUpTo: this.readsUpTo })
    const id = await this.#run(() => this.#native.attach(gguf))
    return new AttachedAdapter({
      model: this,
      id,
      report,
      sha256: peft.sha256,
      strength,
      release: async () => {
        if (!this.#queue.closed) await this.#run(() => this.#native.detach(id))
      },
    })
  }

  /**
   * Runs a prompt plan and returns rows of shape `[nRows, layers.length, nEmbd]`; see `hiddenStates()`.
   *
   * @throws TraitscopeError `USAGE`, `PROMPT_TOO_LONG`, `OUT_OF_MEMORY` when the rows do not fit, `COMPUTE`, `ABORTED`, `MODEL_CLOSED`; what
   * `onProgress` throws comes back as it is
   * @internal
   */
  async extract(request: ExtractRequest): Promise<NativeStates> {
    checkRequest(request, this)
    const { adapters = [], groupCells = this.batchTokens, threads = this.threads } = request
    const job = () =>
      cancellable(request, (token, onProgress) =>
        runPasses(
          this.#native,
          passesOf(request.batches, this.limits, this.batchTokens),
          {
            layers: Int32Array.from(request.layers),
            nRows: request.nRows,
            data: new Float32Array(request.nRows * request.layers.length * this.info.nEmbd),
            adapterIds: adapters.map((adapter) => adapter.id),
            adapterStrengths: adapters.map((adapter) => adapter.strength),
            stopEarly: request.stopEarly ?? true,
            groupCells,
            splitFrom: request.splitFrom ?? Number.MAX_SAFE_INTEGER,
            threads,
          },
          token,
          onProgress,
        ),
      )
    return this.#queue.run(job, request.signal)
  }

  /**
   * Generates a sequence per prompt and draw, many at once: what prompts share is computed once, and a sequence that ends
   * makes room for the next. Each has random numbers of its own, named by seed, prompt and draw, so neither the other
   * prompts nor their order change them.
   *
   * @param prompts token ids, from `tokenize()` or a chat template
   * @throws TraitscopeError `USAGE`, `SHAPE` (control vectors), `PROMPT_TOO_LONG`, `OUT_OF_MEMORY`, `COMPUTE`, `ABORTED`,
   * `MODEL_CLOSED`; what a callback throws comes back as it is
   */
  async generate(prompts: readonly Int32Array[], options: GenerateOptions = {}): Promise<Generated> {
    const own = takeOptions('generate', options, GENERATE_OPTIONS)
    const planned = planGenerate(this, takeTokens('prompts', prompts), own)
    own.onPlan?.(planned.memory)
    const listener = new GenerationListener(planned, own)
    const native = await this.#generate(planned, own, listener)
    if (!own.partial && native.outcomes.some(({ finish }) => finish === 'aborted')) throwIfAborted(own.signal)
    const generations: Generated['generations'] = Array.from({ length: planned.nPrompts }, () => [])
    for (const [i, outcome] of native.outcomes.entries()) {
      const generation = listener.toGeneration(i, outcome)
      generations[generation.prompt]![generation.draw] = generation
    }
    return { generations, layers: [...planned.request.layers], ...costOf(planned, native) }
  }

  /**
   * Log-probabilities of given continuations, token by token, each behind its prompt: teacher forcing. Prompts and
   * beginnings that continuations share are computed once.
   *
   * @param continuations per prompt any number of them, in token ids
   * @throws as `generate`
   */
  async score(
    prompts: readonly Int32Array[],
    continuations: readonly (readonly Int32Array[])[],
    options: ScoreOptions = {},
  ): Promise<Scored> {
    const own = takeOptions('score', options, SCORE_OPTIONS)
    const planned = planScore(
      this,
      takeTokens('prompts', prompts),
      takeTokenLists('continuations', continuations),
      own,
    )
    const native = await this.#generate(planned, own, new GenerationListener(planned, own))
    if (native.outcomes.some(({ finish }) => finish === 'aborted')) throwIfAborted(own.signal)
    const logprobs: Float64Array[][] = Array.from({ length: planned.nPrompts }, () => [])
    for (const [i, { scores }] of native.outcomes.entries()) {
      const { prompt, draw } = planned.places[i]!
      logprobs[prompt]![draw] = scores
    }
    return { logprobs, ...costOf(planned, native) }
  }

  async #generate(
    { request }: PlannedGeneration,
    { adapters = [], signal }: GenerateOptions,
    listener: GenerationListener,
  ): Promise<NativeGenerated> {
    const job = () => {
      checkAdapters(this, adapters)
      listener.start()
      return cancellable({ signal, onProgress: listener.onStep }, (token, onStep) =>
        this.#native.generate(request, token, onStep),
      )
    }
    return this.#queue.run(job, signal)
  }

  /** Bytes that weights and reading states take of each device, by ggml's name. @internal */
  memory(): Promise<NativeDeviceMemory[]> {
    return this.#run(() => this.#native.memory())
  }

  /** Waits for work in flight, then frees everything; idempotent. Later calls reject with `MODEL_CLOSED`. */
  close(): Promise<void> {
    return this.#queue.close(() => this.#native.close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #run<T>(job: () => Promise<T>): Promise<T> {
    try {
      return await this.#queue.run(job)
    } catch (error) {
      throw fromNative(error)
    }
  }
}

const TOKENIZE_OPTIONS = { addSpecial: 'boolean', parseSpecial: 'boolean' } as const

/** What takes a model takes one that is open, not the path of one. */
export const MODEL = new Made<Model>('a model as openModel opens it', 'fingerprint')

/**
 * Opens a base model. The file is checked here before llama.cpp sees it, because a malformed GGUF can abort inside
 * ggml and would take the whole process with it.
 *
 * @throws TraitscopeError `FILE_NOT_FOUND`, `FILE_INVALID`, `UNSUPPORTED`, `MODEL_LOAD`, `DEVICE`, `OUT_OF_MEMORY`, `ABORTED`
 */
export async function openModel(path: string, options: OpenModelOptions = {}): Promise<Model> {
  const own = takeOptions('openModel', options, { ...MODEL_OPTIONS, ...LOAD_OPTIONS })
  return new Model(await loadModel(namedPath(path, 'a base model'), own))
}
