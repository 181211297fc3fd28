import { createHash } from 'node:crypto'
import type { NativeGenerateRequest, NativeOutcome, NativeSequence } from '../binding.js'
import { TraitscopeError } from '../errors.js'
import { checkLength, type PromptLimits } from './base/prompt-limits.js'
import type { GenerateOptions, Generation, LogprobOptions, TokenLogprobs } from './generation.js'
import { type GenerationMemory, integerOption, MAX_SEQUENCES, planGeneration } from './placement.js'

/** What a request needs to know of the model. */
export interface GeneratingModel {
  gguf: Parameters<typeof planGeneration>[0]['gguf']
  info: { architecture: string; nVocab: number; nLayer: number; nEmbd: number }
  limits: PromptLimits
  threads: number
  /** Memory of the GPU that holds blocks, if one does. */
  gpuBytes: number | undefined
  /** The highest layer that can be read; undefined for a whole model. */
  readsUpTo: number | undefined
}

/** Where a native sequence belongs in the caller's lists. */
interface Place {
  prompt: number
  /** Index of the draw, or of the continuation that is scored. */
  draw: number
}

export interface PlannedGeneration {
  request: NativeGenerateRequest
  places: Place[]
  memory: GenerationMemory
}

/** The vectors added to one prompt's block outputs: block to vector. */
type Control = ReadonlyMap<number, Float32Array>

/**
 * Checks what generate() is asked for and plans it. Sequences go in an order of their own, so that neighbours share
 * prefixes and the caller's order changes nothing.
 *
 * @throws TraitscopeError `USAGE`, `PROMPT_TOO_LONG`
 */
export function planGenerate(
  model: GeneratingModel,
  prompts: readonly Int32Array[],
  options: GenerateOptions,
): PlannedGeneration {
  refusePart(model, 'generate')
  const { maxTokens, draws, sampling } = checkSampling(options)
  const { controls, controlOf } = controlsOf(model, prompts.length, options.control)
  const occurrences = new Map<string, number>()
  const sequences = prompts.flatMap((tokens, prompt) => {
    checkPrompt(model, tokens, prompt)
    const room = mostTokens(model, tokens.length) - tokens.length
    if (room <= 0) {
      throw new TraitscopeError(
        'PROMPT_TOO_LONG',
        `prompt ${prompt} has ${tokens.length} tokens, which leaves no room for an answer in the model's context: shorten it`,
      )
    }
    const key = keyOf(tokens)
    const control = controlOf[prompt]!
    // A prompt that is given twice continues the draws of the first; under another control it has the same numbers.
    const before = occurrences.get(`${key} ${control}`) ?? 0
    occurrences.set(`${key} ${control}`, before + 1)
    return Array.from({ length: draws }, (_, draw) => ({
      place: { prompt, draw },
      native: {
        tokens,
        nPrompt: tokens.length,
        maxNew: Math.min(maxTokens, room),
        key,
        draw: before * draws + draw,
        control,
      },
    }))
  })
  return plan(model, sequences, options, {
    ...sampling,
    ...logprobsOf(model, options.logprobs, maxTokens),
    controls,
    layers: layersOf(model, options.layers ?? []),
    ignoreEos: options.ignoreEos ?? false,
    stopTokens: Int32Array.from(checkTokens(model, options.stopTokens ?? [], 'stopTokens')),
    stopTexts: checkStops(options.stop ?? []),
    margins: options.margins ?? false,
  })
}

/**
 * Checks what score() is asked for and plans it.
 *
 * @throws TraitscopeError `USAGE`, `PROMPT_TOO_LONG`
 */
export function planScore(
  model: GeneratingModel,
  prompts: readonly Int32Array[],
  continuations: readonly (readonly Int32Array[])[],
  options: Pick<GenerateOptions, 'adapters' | 'control' | 'sequences'>,
): PlannedGeneration {
  refusePart(model, 'score continuations')
  if (continuations.length !== prompts.length) {
    throw new TraitscopeError(
      'USAGE',
      `expected a list of continuations for each of ${prompts.length} prompts, found ${continuations.length}`,
    )
  }
  const { controls, controlOf } = controlsOf(model, prompts.length, options.control)
  const sequences = prompts.flatMap((tokens, prompt) => {
    checkPrompt(model, tokens, prompt)
    return continuations[prompt]!.map((continuation, draw) => {
      if (continuation.length === 0) {
        throw new TraitscopeError('USAGE', `continuation ${draw} of prompt ${prompt} has no tokens to score`)
      }
      checkTokens(model, continuation, `continuation ${draw} of prompt ${prompt}`)
      const all = new Int32Array(tokens.length + continuation.length)
      all.set(tokens)
      all.set(continuation, tokens.length)
      checkLength(model.limits, all.length, `prompt ${prompt} with continuation ${draw}`)
      const native = { tokens: all, nPrompt: tokens.length, maxNew: 0, key: 0n, draw: 0 }
      return { place: { prompt, draw }, native: { ...native, control: controlOf[prompt]! } }
    })
  })
  return plan(model, sequences, options, {
    ...samplingOf({}),
    ...logprobsOf(model, undefined, 1),
    controls,
    layers: new Int32Array(),
    ignoreEos: false,
    stopTokens: new Int32Array(),
    stopTexts: [],
    margins: false,
  })
}

function plan(
  model: GeneratingModel,
  sequences: { place: Place; native: NativeSequence }[],
  options: Pick<GenerateOptions, 'adapters' | 'sequences'>,
  request: Omit<
    NativeGenerateRequest,
    'sequences' | 'slots' | 'cells' | 'microBatch' | 'threads' | 'adapterIds' | 'adapterStrengths'
  >,
): PlannedGeneration {
  if (sequences.length === 0)
    throw new TraitscopeError('USAGE', 'there is nothing to generate: no prompt was given')
  const { sequences: most, adapters = [] } = options
  checkOneRotation(
    model,
    sequences.map(({ native }) => native),
  )
  if (most !== undefined) integerOption('sequences', most, 1, MAX_SEQUENCES)
  sequences.sort(
    ({ native: a }, { native: b }) =>
      a.control - b.control || compareTokens(a.tokens, b.tokens) || a.nPrompt - b.nPrompt || a.draw - b.draw,
  )
  const memory = planGeneration(model, {
    count: sequences.length,
    length: Math.max(...sequences.map(({ native }) => native.tokens.length + native.maxNew - 1)),
    scores: sequences.some(({ native }) => native.nPrompt < native.tokens.length),
    sequences: most,
  })
  return {
    places: sequences.map(({ place }) => place),
    memory,
    request: {
      ...request,
      sequences: sequences.map(({ native }) => native),
      slots: memory.sequences,
      cells: memory.cells,
      microBatch: memory.microBatch,
      threads: model.threads,
      adapterIds: adapters.map(({ id }) => id),
      adapterStrengths: adapters.map(({ strength }) => strength),
    },
  }
}

/** A sequence's outcome as the caller gets it. */
export function toGeneration(
  { request, places }: PlannedGeneration,
  options: GenerateOptions,
  sequence: number,
  outcome: NativeOutcome,
): Generation {
  const { prompt, draw } = places[sequence]!
  const asked = request.sequences[sequence]!
  const cut = outcome.finish === 'length' && asked.maxNew < (options.maxTokens ?? 256)
  return {
    prompt,
    draw,
    tokens: outcome.tokens,
    text: outcome.text,
    finish: cut ? 'context' : outcome.finish,
    ...(request.logprobPositions > 0 && { logprobs: logprobsFrom(request, outcome) }),
    ...(request.layers.length > 0 && outcome.nPooled > 0 && { states: outcome.pooled }),
    ...(request.layers.length > 0 && { statePositions: outcome.nPooled }),
    ...(request.margins && { margins: outcome.margins }),
  }
}

function logprobsFrom(request: NativeGenerateRequest, outcome: NativeOutcome): TokenLogprobs[] {
  const { logprobTop: top, logprobIds: ids } = request
  return Array.from(outcome.logprobs, (chosen, i) => ({
    chosen,
    top: Array.from({ length: top }, (_, k) => ({
      token: outcome.topIds[i * top + k]!,
      logprob: outcome.topLogprobs[i * top + k]!,
    })),
    of: outcome.idLogprobs.slice(i * ids.length, (i + 1) * ids.length),
  }))
}

/**
 * How answers are drawn, before anything is opened or written.
 *
 * @throws TraitscopeError `USAGE` for numbers out of range, and for what would do nothing at temperature 0
 */
export function checkSampling(options: SamplingChoice) {
  const maxTokens = integerOption('maxTokens', options.maxTokens ?? 256, 1, 2 ** 31 - 1)
  const draws = integerOption('draws', options.draws ?? 1, 1, 1_000_000)
  const sampling = samplingOf(options)
  const { temperature, topK, topP, minP } = sampling
  if (draws > 1 && temperature === 0) {
    throw new TraitscopeError(
      'USAGE',
      `${draws} draws at temperature 0 would all be the same: give a temperature, or one draw`,
    )
  }
  if (temperature === 0 && (topK > 0 || topP < 1 || minP > 0)) {
    throw new TraitscopeError(
      'USAGE',
      `${topK > 0 ? 'topK' : topP < 1 ? 'topP' : 'minP'} does nothing at temperature 0, which takes the likeliest token: give a temperature, or leave it out`,
    )
  }
  return { maxTokens, draws, sampling }
}

type SamplingChoice = Pick<
  GenerateOptions,
  'maxTokens' | 'draws' | 'temperature' | 'topK' | 'topP' | 'minP' | 'seed'
>

function samplingOf(options: SamplingChoice) {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, seed = 0 } = options
  const share = (name: string, value: number, least: boolean) => {
    if (!(value <= 1 && (least ? value >= 0 : value > 0))) {
      throw new TraitscopeError(
        'USAGE',
        `${name} must be a number ${least ? 'from' : 'above'} 0 to 1, found ${value}`,
      )
    }
  }
  if (!(temperature >= 0 && temperature <= 100)) {
    throw new TraitscopeError(
      'USAGE',
      `temperature must be a number from 0 (greedy) to 100, found ${temperature}`,
    )
  }
  integerOption('topK', topK, 0, 2 ** 31 - 1)
  share('topP', topP, false)
  share('minP', minP, true)
  integerOption('seed', seed, 0, Number.MAX_SAFE_INTEGER)
  return { temperature, topK, topP, minP, seed: BigInt(seed) }
}

function logprobsOf(model: GeneratingModel, options: LogprobOptions | undefined, maxTokens: number) {
  const { top = 0, of = [], positions = maxTokens } = options ?? {}
  return {
    logprobPositions:
      options === undefined ? 0 : integerOption('logprobs.positions', positions, 1, 2 ** 31 - 1),
    logprobTop: integerOption('logprobs.top', top, 0, model.info.nVocab),
    logprobIds: Int32Array.from(checkTokens(model, of, 'logprobs.of')),
  }
}

function layersOf(model: GeneratingModel, layers: readonly number[]): Int32Array {
  for (const layer of layers) checkLayer(model, layer)
  return Int32Array.from([...new Set(layers)].sort((a, b) => a - b))
}

function checkLayer({ info }: GeneratingModel, layer: number): void {
  if (Number.isInteger(layer) && layer >= 0 && layer < info.nLayer) return
  throw new TraitscopeError(
    'USAGE',
    `layer ${layer} does not exist: expected 0 to ${info.nLayer - 1} (0-based block outputs)`,
  )
}

function controlsOf(model: GeneratingModel, nPrompts: number, control: GenerateOptions['control']) {
  const each: readonly (Control | undefined)[] = isList(control)
    ? control
    : Array.from({ length: nPrompts }, () => control)
  if (each.length !== nPrompts) {
    throw new TraitscopeError(
      'USAGE',
      `expected a control for each of ${nPrompts} prompts, found ${each.length}`,
    )
  }
  const distinct = [...new Set(each)].filter((one): one is Control => one !== undefined && one.size > 0)
  const controls = distinct.map((one) => {
    const layers = layersOf(model, [...one.keys()])
    const vectors = new Float32Array(layers.length * model.info.nEmbd)
    layers.forEach((layer, i) => {
      const vector = one.get(layer)!
      if (vector.length !== model.info.nEmbd || !vector.every(Number.isFinite)) {
        throw new TraitscopeError(
          'SHAPE',
          `the control vector of layer ${layer} needs ${model.info.nEmbd} finite values, found ${vector.length}`,
        )
      }
      vectors.set(vector, i * model.info.nEmbd)
    })
    return { layers, vectors }
  })
  return { controls, controlOf: each.map((one) => (one === undefined ? -1 : distinct.indexOf(one))) }
}

function isList(control: GenerateOptions['control']): control is readonly (Control | undefined)[] {
  return Array.isArray(control)
}

function refusePart({ readsUpTo }: GeneratingModel, what: string): void {
  if (readsUpTo === undefined) return
  throw new TraitscopeError(
    'USAGE',
    `expected a whole model to ${what} with, found one that was opened for layers up to ${readsUpTo}: open it without \`layers\``,
  )
}

function checkPrompt(model: GeneratingModel, tokens: Int32Array, index: number): void {
  if (tokens.length === 0) {
    throw new TraitscopeError('USAGE', `prompt ${index} has no tokens; give it a text or leave it out`)
  }
  checkTokens(model, tokens, `prompt ${index}`)
  checkLength(model.limits, tokens.length, `prompt ${index}`)
}

/**
 * Tokens of a prompt and its answer together at most. A LongRoPE base would rotate an answer otherwise once it grows past
 * the original context, and its prompt with it: there it ends.
 */
function mostTokens({ limits: { longest, longRope } }: GeneratingModel, promptTokens: number): number {
  return longRope && promptTokens <= longRope.original ? Math.min(longest, longRope.shortContext) : longest
}

/** llama.cpp takes a LongRoPE base's factors by the size of the memory, so by the longest sequence of a call. */
function checkOneRotation(
  { limits: { longRope } }: GeneratingModel,
  sequences: readonly NativeSequence[],
): void {
  if (!longRope) return
  const isLong = ({ tokens }: NativeSequence) => tokens.length > longRope.original
  if (sequences.every(isLong) || !sequences.some(isLong)) return
  throw new TraitscopeError(
    'USAGE',
    `prompts of up to ${longRope.original} tokens and longer ones rotate by different factors in this model (LongRoPE): generate them in calls of their own`,
  )
}

function checkTokens<T extends ArrayLike<number>>({ info }: GeneratingModel, tokens: T, what: string): T {
  for (const id of Array.from(tokens)) {
    if (Number.isInteger(id) && id >= 0 && id < info.nVocab) continue
    throw new TraitscopeError(
      'USAGE',
      `${what}: expected token ids from 0 to ${info.nVocab - 1}, found ${id}: tokenize with this model`,
    )
  }
  return tokens
}

function checkStops(stops: readonly string[]): readonly string[] {
  if (stops.some((stop) => stop === '')) throw new TraitscopeError('USAGE', 'a stop text must not be empty')
  return stops
}

/** The same prompt has the same key in every list, whatever stands before it. */
function keyOf(tokens: Int32Array): bigint {
  const bytes = Buffer.alloc(4 * tokens.length)
  for (const [i, id] of tokens.entries()) bytes.writeInt32LE(id, 4 * i)
  return createHash('sha256').update(bytes).digest().readBigUInt64LE()
}

function compareTokens(a: Int32Array, b: Int32Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!
  return a.length - b.length
}
