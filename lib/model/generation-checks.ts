/** What a generation may be asked for, and what of it a model can do. */
import { types } from 'node:util'
import { integerOption } from '../arguments.js'
import type { NativeSequence } from '../binding.js'
import { TraitscopeError } from '../errors.js'
import { checkLength, type PromptLimits } from './base/prompt-limits.js'
import type { GenerateOptions, LogprobOptions } from './generation.js'
import type { planGeneration } from './placement.js'

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

/** The vectors added to one prompt's block outputs: block to vector. */
type Control = ReadonlyMap<number, Float32Array>

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

export function samplingOf(options: SamplingChoice) {
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

export function logprobsOf(model: GeneratingModel, options: LogprobOptions | undefined, maxTokens: number) {
  const { top = 0, of = [], positions = maxTokens } = options ?? {}
  return {
    logprobPositions:
      options === undefined ? 0 : integerOption('logprobs.positions', positions, 1, 2 ** 31 - 1),
    logprobTop: integerOption('logprobs.top', top, 0, model.info.nVocab),
    logprobIds: Int32Array.from(checkTokens(model, of, 'logprobs.of')),
  }
}

export function layersOf(model: GeneratingModel, layers: readonly number[]): Int32Array {
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

export function controlsOf(model: GeneratingModel, nPrompts: number, control: GenerateOptions['control']) {
  const each: readonly (Control | undefined)[] = isList(control)
    ? control
    : Array.from({ length: nPrompts }, () => control)
  if (each.length !== nPrompts) {
    throw new TraitscopeError(
      'USAGE',
      `expected a control for each of ${nPrompts} prompts, found ${each.length}`,
    )
  }
  for (const one of each) {
    if (one === undefined || types.isMap(one)) continue
    throw new TraitscopeError('USAGE', `expected a control as a Map of block to vector, found ${typeof one}`)
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
          `the control vector of layer ${layer} needs ${model.info.nEmbd} finite values, found ${vector.length === model.info.nEmbd ? 'some that are not' : vector.length}`,
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

export function refusePart({ readsUpTo }: GeneratingModel, what: string): void {
  if (readsUpTo === undefined) return
  throw new TraitscopeError(
    'USAGE',
    `expected a whole model to ${what} with, found one that was opened for layers up to ${readsUpTo}: open it without \`layers\``,
  )
}

export function checkPrompt(model: GeneratingModel, tokens: Int32Array, index: number): void {
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
export function mostTokens({ limits: { longest, longRope } }: GeneratingModel, promptTokens: number): number {
  return longRope && promptTokens <= longRope.original ? Math.min(longest, longRope.shortContext) : longest
}

/** llama.cpp takes a LongRoPE base's factors by the size of the memory, so by the longest sequence of a call. */
export function checkOneRotation(
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

export function checkTokens<T extends ArrayLike<number>>(
  { info }: GeneratingModel,
  tokens: T,
  what: string,
): T {
  for (const id of Array.from(tokens)) {
    if (Number.isInteger(id) && id >= 0 && id < info.nVocab) continue
    throw new TraitscopeError(
      'USAGE',
      `${what}: expected token ids from 0 to ${info.nVocab - 1}, found ${id}: tokenize with this model`,
    )
  }
  return tokens
}

export function checkStops(stops: readonly string[]): readonly string[] {
  if (stops.some((stop) => stop === '')) throw new TraitscopeError('USAGE', 'a stop text must not be empty')
  return stops
}
