import { checkMade } from '../arguments.js'
import type { Message } from './messages.js'
import { TRAIT_PACK, type Trait, type TraitPack } from './trait-pack-yaml.js'

/**
 * The conversations of one trait: every question under every system prompt of each pole, question-major (outer loop
 * questions, inner loop system prompts). 30 questions and 5 system prompts give 150 per pole; the poles may differ in
 * size. Method section 2.1.
 */
export function extractionPrompts(
  pack: Pick<TraitPack, 'questions'>,
  trait: Trait,
): { positive: Message[][]; negative: Message[][] } {
  const underEach = (systemPrompts: readonly string[]) =>
    pack.questions.flatMap((question) =>
      systemPrompts.map((system): Message[] => [
        { role: 'system', content: system },
        { role: 'user', content: question },
      ]),
    )
  return {
    positive: underEach(trait.positiveSystemPrompts),
    negative: underEach(trait.negativeSystemPrompts),
  }
}

/** The evaluation prompts as single user turns, flattened in the pack's category order. Method section 2.2. */
export function evaluationPrompts(
  pack: Pick<TraitPack, 'evalPrompts'>,
): { category: string; messages: Message[] }[] {
  checkMade(pack as TraitPack, TRAIT_PACK)
  return pack.evalPrompts.flatMap(({ category, prompts }) =>
    prompts.map((prompt) => ({ category, messages: [{ role: 'user' as const, content: prompt }] })),
  )
}
