/** What can be asked of a generation, and what comes out. */
import type { OptionKinds } from '../arguments.js'
import type { AttachedAdapter } from './attached-adapter.js'
import type { GenerationMemory } from './placement.js'

/** What to generate, and how. */
export interface GenerateOptions {
  /** Tokens to generate per sequence at most, default 256. */
  maxTokens?: number | undefined
  /** 0 (default): the most probable token each time. Else logits are divided by it. */
  temperature?: number | undefined
  /** Keep the so many most probable tokens; 0 (default): all. */
  topK?: number | undefined
  /** Of these the fewest whose probability reaches this; default 1. */
  topP?: number | undefined
  /** Of these the ones at least so probable, relative to the most probable; default 0. */
  minP?: number | undefined
  /** Non-negative integer, default 0. Together with the prompt's tokens and the draw it decides every random number. */
  seed?: number | undefined
  /** Sequences per prompt, default 1; more need a temperature. */
  draws?: number | undefined
  /** Texts that end a sequence, and are cut off its text. */
  stop?: readonly string[] | undefined
  /** Tokens that end a sequence, beside those that end an answer for this vocabulary. */
  stopTokens?: readonly number[] | undefined
  /** Go on after the tokens that end an answer. */
  ignoreEos?: boolean | undefined
  /** Applied together, each with its strength. */
  adapters?: readonly AttachedAdapter[] | undefined
  /**
   * Vectors added to block outputs at every position, prompt included: block (0-based, any) to a vector of nEmbd values,
   * already times its dose. One for all prompts, or one per prompt. Block L is llama.cpp's `l_out-L`; a control-vector GGUF
   * counts alike, but the files of llama.cpp's own generator name the block after the one where they were measured.
   */
  control?:
    | ReadonlyMap<number, Float32Array>
    | readonly (ReadonlyMap<number, Float32Array> | undefined)[]
    | undefined
  /** Blocks whose outputs are averaged over the generated tokens, `mean_output` of the method; any order. */
  layers?: readonly number[] | undefined
  logprobs?: LogprobOptions | undefined
  /** How near each choice was to another one; see {@link Generation.margins}. */
  margins?: boolean | undefined
  /** Sequences computed at once, 1 to 256; default: what {@link GenerationMemory} has room for. */
  sequences?: number | undefined
  /** Several times a second: what was generated since the last call, in order. */
  onTokens?: ((tokens: readonly GeneratedToken[]) => void) | undefined
  /** Each sequence as it ends. */
  onGeneration?: ((generation: Generation) => void) | undefined
  onProgress?: ((progress: GenerationProgress) => void) | undefined
  /** Once, before anything is computed. */
  onPlan?: ((memory: GenerationMemory) => void) | undefined
  /** Rejects with `ABORTED`; with `partial`, and once the work has begun, resolves with what there is. */
  signal?: AbortSignal | undefined
  partial?: boolean | undefined
}

/** Which probabilities to report. */
export interface LogprobOptions {
  /** The so many most probable tokens, default 0. */
  top?: number | undefined
  /** These tokens. */
  of?: readonly number[] | undefined
  /** At the first so many generated tokens; default all. */
  positions?: number | undefined
}

const LOGPROB_OPTIONS: OptionKinds<LogprobOptions> = { top: 'number', of: 'numbers', positions: 'number' }

/** What of a generation there is to ask where answers are given. */
export type ScoreOptions = Pick<
  GenerateOptions,
  'adapters' | 'control' | 'sequences' | 'signal' | 'onProgress'
>

export const SCORE_OPTIONS: OptionKinds<ScoreOptions> = {
  adapters: 'list',
  control: 'data',
  sequences: 'number',
  signal: 'signal',
  onProgress: 'function',
}

export const GENERATE_OPTIONS: OptionKinds<GenerateOptions> = {
  ...SCORE_OPTIONS,
  maxTokens: 'number',
  temperature: 'number',
  topK: 'number',
  topP: 'number',
  minP: 'number',
  seed: 'number',
  draws: 'number',
  stop: 'strings',
  stopTokens: 'numbers',
  ignoreEos: 'boolean',
  layers: 'numbers',
  logprobs: LOGPROB_OPTIONS,
  margins: 'boolean',
  onTokens: 'function',
  onGeneration: 'function',
  onPlan: 'function',
  partial: 'boolean',
}

/** Natural logarithms of probabilities at temperature 1, over the whole vocabulary, at one generated token. */
export interface TokenLogprobs {
  /** Of the token that was generated. */
  chosen: number
  /** Most probable first. */
  top: { token: number; logprob: number }[]
  /** In the order of `of`. */
  of: Float64Array
}

/** A token as it is chosen. */
export interface GeneratedToken {
  prompt: number
  draw: number
  token: number
}

/** How far a generation is. */
export interface GenerationProgress {
  /** Generated so far. */
  tokens: number
  tokensPerSecond: number
  /** Sequences that have ended, of all. */
  finished: number
  sequences: number
}

/** `stop`: a stop token or text. `length`: maxTokens. `context`: the model's context is full
 * (of a LongRoPE base the one that it rotates short prompts for). `aborted`: by the signal. */
export type FinishReason = 'stop' | 'length' | 'context' | 'aborted'

/** One generated sequence. */
export interface Generation {
  /** Index into the prompts. */
  prompt: number
  draw: number
  /** Generated token ids, a stop token included. */
  tokens: Int32Array
  /** Of the tokens, without special ones and without the stop text. */
  text: string
  finish: FinishReason
  logprobs?: TokenLogprobs[]
  /** `[layers, nEmbd]`, layers ascending; missing where no generated token was fed back, and after an abort. */
  states?: Float32Array
  /** Tokens that `states` is the mean of: all generated ones but the last, which the model never reads. */
  statePositions?: number
  /**
   * Per token, how sure the choice was, in units of logits: it stays as long as no logit moves by half as much. Greedy: the
   * lead of the most probable token. Sampled: its lead once every token has its random number, times the temperature, or
   * how near top-k, top-p and min-p were to keeping others. Infinite where nothing else could be chosen.
   */
  margins?: Float64Array
}

/** What a generation computed. */
export interface GenerationCost {
  tokens: {
    /** Of all sequences, as given. */
    prompt: number
    /** Through the model: prompts, and generated tokens that were fed back. */
    computed: number
    /** Of prompts, taken over from a sequence that begins alike. */
    shared: number
    generated: number
  }
  /** Passes through the model. */
  decodes: number
  /** Inside llama.cpp. */
  decodeSeconds: number
  memory: GenerationMemory
}

/** All sequences of a generation. */
export interface Generated extends GenerationCost {
  /** `[prompt][draw]`. */
  generations: Generation[][]
  /** Layers of `states`, ascending. */
  layers: number[]
}

/** Probabilities of given continuations. */
export interface Scored extends GenerationCost {
  /** `[prompt][continuation]`: the log-probability of each token of the continuation, natural, at temperature 1. */
  logprobs: Float64Array[][]
}
