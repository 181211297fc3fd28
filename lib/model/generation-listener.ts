import type { NativeGenerated, NativeOutcome, NativeStep } from '../binding.js'
import { type PlannedGeneration, toGeneration } from './generate-request.js'
import type { GenerateOptions, Generation, GenerationCost } from './generation.js'

/** Passes on what happens during a generation to whoever asked for it, in the caller's terms. */
export class GenerationListener {
  /** Undefined when nobody listens: then nothing crosses the threads. */
  readonly onStep: ((step: NativeStep) => void) | undefined
  #started = performance.now()
  #tokens = 0
  #finished = 0

  constructor(
    readonly planned: PlannedGeneration,
    readonly options: GenerateOptions,
  ) {
    const { onTokens, onGeneration, onProgress } = options
    if (onTokens || onGeneration || onProgress) this.onStep = (step) => this.#pass(step)
  }

  /** The work begins: what it waited for in the queue is not its pace. */
  start(): void {
    this.#started = performance.now()
  }

  toGeneration(sequence: number, outcome: NativeOutcome): Generation {
    return toGeneration(this.planned, this.options, sequence, outcome)
  }

  #pass({ sequences, tokens, finished }: NativeStep): void {
    const { onTokens, onGeneration, onProgress } = this.options
    if (tokens.length > 0) {
      onTokens?.(Array.from(tokens, (token, i) => ({ ...this.planned.places[sequences[i]!]!, token })))
    }
    for (const outcome of finished) onGeneration?.(this.toGeneration(outcome.sequence, outcome))
    this.#tokens += tokens.length
    this.#finished += finished.length
    onProgress?.({
      tokens: this.#tokens,
      tokensPerSecond: this.#tokens / ((performance.now() - this.#started) / 1000),
      finished: this.#finished,
      sequences: this.planned.places.length,
    })
  }
}

export function costOf({ request, memory }: PlannedGeneration, native: NativeGenerated): GenerationCost {
  return {
    tokens: {
      prompt: request.sequences.reduce((sum, { nPrompt }) => sum + nPrompt, 0),
      computed: native.computedTokens,
      shared: native.copiedTokens,
      generated: native.outcomes.reduce((sum, { tokens }) => sum + tokens.length, 0),
    },
    decodes: native.decodes,
    decodeSeconds: native.decodeSeconds,
    memory,
  }
}
