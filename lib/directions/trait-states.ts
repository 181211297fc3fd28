import { throwIfAborted } from '../errors.js'
import { type HiddenStates, hiddenStates } from '../hidden-states/hidden-states.js'
import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import { type Passages, passageTexts } from '../prompts/passages.js'
import { extractionPrompts } from '../prompts/prompt-sets.js'
import { chatTokens, TokenHash } from '../prompts/prompt-tokens.js'
import type { Trait, TraitPack } from '../prompts/trait-pack-yaml.js'
import type { PromptGrid } from './held-out.js'

/** One trait's states under both poles, and how they are laid out. */
export interface TraitStates {
  trait: Trait
  grid: PromptGrid
  positive: HiddenStates
  negative: HiddenStates
}

/** What traits are read of, and how. */
export interface TraitReading {
  model: Model
  pack: TraitPack
  traits: readonly Trait[]
  template: ChatTemplate
  /** Read instead of the pack's questions and system prompts. */
  passages: Passages | undefined
  layers: readonly number[]
  pool: 'last' | 'mean'
  signal: AbortSignal | undefined
  onProgress: ((fraction: number, trait: string) => void) | undefined
}

/** Reads traits one by one, a pass for each pole, and keeps the account of what was read. */
export class TraitReader {
  readonly tokens = { total: 0, computed: 0 }
  /** Of every prompt, in tokens. */
  readonly lengths: { length: number }[] = []
  readonly tokenHash = new TokenHash()
  readonly #of: TraitReading
  #passes = 0

  constructor(of: TraitReading) {
    this.#of = of
  }

  async read(trait: Trait): Promise<TraitStates> {
    const { poles, grid } = promptsOf(this.#of, trait)
    const positive = await this.#statesOf(trait, poles.positive)
    return { trait, grid, positive, negative: await this.#statesOf(trait, poles.negative) }
  }

  async #statesOf({ name }: Trait, tokenize: () => Promise<Int32Array[]>): Promise<HiddenStates> {
    const { model, traits, layers, pool, signal, onProgress } = this.#of
    throwIfAborted(signal)
    const prompts = await tokenize()
    this.tokenHash.add(prompts)
    this.lengths.push(...prompts.map(({ length }) => ({ length })))
    const states = await hiddenStates(model, prompts, {
      layers,
      pool,
      signal,
      onProgress: (fraction) => onProgress?.((this.#passes + fraction) / (2 * traits.length), name),
    })
    this.#passes++
    this.tokens.total += states.tokens.total
    this.tokens.computed += states.tokens.computed
    return states
  }
}

/** What one trait is read of: token ids of each pole, and how they are laid out. */
function promptsOf(
  { model, pack, template, passages }: TraitReading,
  trait: Trait,
): { poles: Record<'positive' | 'negative', () => Promise<Int32Array[]>>; grid: PromptGrid } {
  if (passages) {
    const { positive, negative } = passageTexts(passages, trait.name)
    const questions = passages.openers.length
    return {
      poles: { positive: () => model.tokenize(positive), negative: () => model.tokenize(negative) },
      grid: { questions, positive: positive.length / questions, negative: negative.length / questions },
    }
  }
  const { positive, negative } = extractionPrompts(pack, trait)
  return {
    poles: {
      positive: () => chatTokens(model, template, positive),
      negative: () => chatTokens(model, template, negative),
    },
    grid: {
      questions: pack.questions.length,
      positive: trait.positiveSystemPrompts.length,
      negative: trait.negativeSystemPrompts.length,
      paired: trait.paired,
    },
  }
}
