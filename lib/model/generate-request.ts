import { createHash } from 'node:crypto'
import { integerOption } from '../arguments.js'
import type { NativeGenerateRequest, NativeOutcome, NativeSequence } from '../binding.js'
import { TraitscopeError } from '../errors.js'
import { checkLength } from './base/prompt-limits.js'
import type { GenerateOptions, Generation, TokenLogprobs } from './generation.js'
import {
  checkOneRotation,
  checkPrompt,
  checkSampling,
  checkStops,
  checkTokens,
  controlsOf,
  type GeneratingModel,
  layersOf,
  logprobsOf,
  mostTokens,
  refusePart,
  samplingOf,
} from './generation-checks.js'
import { type GenerationMemory, MAX_SEQUENCES, planGeneration } from './placement.js'

/** Where a native sequence belongs in the caller's lists. */
interface Place {
  prompt: number
  /** Index of the draw, or of the continuation that is scored. */
  draw: number
}

export interface PlannedGeneration {
  request: NativeGenerateRequest
  places: Place[]
  nPrompts: number
  memory: GenerationMemory
}

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
  return plan(model, prompts.length, sequences, options, {
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
  return plan(model, prompts.length, sequences, options, {
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
  nPrompts: number,
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
    nPrompts,
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
