import { TraitscopeError } from '../../errors.js'
import type { GgufContents } from '../../formats/gguf/gguf.js'
import type { BaseMetadata } from './base-metadata.js'

/** How long a prompt may be for llama.cpp's graph to compute what the model was trained to compute. */
export interface PromptLimits {
  /** Tokens of the longest such prompt. */
  longest: number
  /** Why a longer one is none, as it follows "but". */
  reason: string
  /** Models with two sets of rotation factors (LongRoPE). */
  longRope?: LongRope
}

/**
 * LongRoPE: prompts of up to `original` tokens rotate by the short factors, longer ones by the long. llama.cpp goes by
 * the size of the context instead, which it rounds up to multiples of 256.
 */
export interface LongRope {
  original: number
  /** The largest context that takes the short factors; 0 when there is none. */
  shortContext: number
}

const CONTEXT_STEP = 256

/** Their graphs follow `attention.sliding_window`; the others know windows only from files that mention one. */
const WITH_WINDOWS: readonly string[] = ['gemma2', 'gemma3']

/** The graph of an architecture reads the two lists of factors. */
function readsLongRope({ metadata }: GgufContents, architecture: string): boolean {
  if (architecture === 'phi3') return true
  const scaling = metadata.get(`${architecture}.rope.scaling.type`)
  return (architecture === 'llama' || architecture === 'mistral3') && scaling === 'longrope'
}

/** The limits that a base's own file states. */
export function promptLimits(gguf: GgufContents, architecture: string): PromptLimits {
  const read = (key: string) => {
    const value = gguf.metadata.get(`${architecture}.${key}`)
    return typeof value === 'number' && value > 0 ? value : undefined
  }
  const context = read('context_length') ?? Number.MAX_SAFE_INTEGER
  const window = WITH_WINDOWS.includes(architecture) ? undefined : read('attention.sliding_window')
  const limits: PromptLimits =
    window !== undefined && window < context
      ? {
          longest: window,
          reason: `blocks of this model attend to the last ${window} tokens only (attention.sliding_window), which llama.cpp's ${architecture} does not follow`,
        }
      : { longest: context, reason: `this model was made for ${context} (context_length)` }
  const factors = ['long', 'short'].some((which) => gguf.tensors.has(`rope_factors_${which}.weight`))
  if (!factors || !readsLongRope(gguf, architecture)) return limits
  const original = read('rope.scaling.original_context_length') ?? context
  const shortContext = Math.floor(original / CONTEXT_STEP) * CONTEXT_STEP
  return { ...limits, longRope: { original, shortContext } }
}

/**
 * Cells of memory for a pass over prompts of up to `tokens` tokens: so many that llama.cpp takes the rotation factors
 * that a prompt of this length has.
 */
export function contextCells({ longRope }: PromptLimits, tokens: number, most: number): number {
  return longRope && tokens <= longRope.original ? Math.min(most, longRope.shortContext) : most
}

/**
 * @param what names the prompt, e.g. `prompt 3`
 * @throws TraitscopeError PROMPT_TOO_LONG for a prompt whose states would not be the model's
 */
export function checkLength(limits: PromptLimits, tokens: number, what: string): void {
  const { longest, reason, longRope } = limits
  if (tokens > longest) {
    throw new TraitscopeError(
      'PROMPT_TOO_LONG',
      `${what} has ${tokens} tokens, but ${reason}; shorten the prompt`,
    )
  }
  if (longRope && tokens <= longRope.original && tokens > longRope.shortContext) {
    throw new TraitscopeError(
      'PROMPT_TOO_LONG',
      `${what} has ${tokens} tokens, but this model rotates up to ${longRope.original} by its short factors, which llama.cpp takes in contexts of ${longRope.shortContext} at most; ${longRope.shortContext > 0 ? 'shorten the prompt' : 'give it more than that, or another base'}`,
    )
  }
}

/**
 * Checks the windows of an architecture that has them: llama.cpp asserts that some block has one.
 *
 * @throws FILE_INVALID
 */
export function checkWindows(base: BaseMetadata): void {
  if (!WITH_WINDOWS.includes(base.architecture)) return
  const key = 'attention.sliding_window'
  const window = base.integer(key)
  if (base.architecture === 'gemma3' && (window === undefined || window === 0)) return
  if (window === 0) base.refuse(key, 'at least 1')
  const pattern = base.gguf.metadata.get(`${base.architecture}.${key}_pattern`)
  const isPeriod = typeof pattern === 'number'
  const none = isPeriod ? pattern === 1 : base.perBlock(`${key}_pattern`)?.every((has) => has === 0)
  if (none) base.refuse(`${key}_pattern`, 'one that gives some block a window')
}
