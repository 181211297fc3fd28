import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import { type Passages, passageTexts } from '../prompts/passages.js'
import { planPrompts } from '../prompts/plan.js'
import { extractionPrompts } from '../prompts/prompt-sets.js'
import { chatTokens } from '../prompts/prompt-tokens.js'
import type { Trait, TraitPack } from '../prompts/trait-pack-yaml.js'

/** Held-out figures take so many. */
export const FEWEST = 4

/** So many of `of`, evenly spread. */
export function evenly<T>(all: readonly T[], n: number): T[] {
  return Array.from({ length: n }, (_, i) => all[Math.floor((i * all.length) / n)]!)
}

/**
 * The largest number of questions whose cost fits.
 *
 * @param cost of so many, rising
 * @returns undefined where not even the fewest fit
 */
export function fitting(cost: (n: number) => number, budget: number, all: number): number | undefined {
  const fewest = Math.min(FEWEST, all)
  if (cost(fewest) > budget) return undefined
  let [fits, over] = [fewest, all + 1]
  while (over - fits > 1) {
    const middle = (fits + over) >> 1
    if (cost(middle) <= budget) fits = middle
    else over = middle
  }
  return fits
}

/** Every text that directions are made of: per trait and pole, question-major (openers of passages count as questions). */
export interface ExtractionTexts {
  questions: number
  poles: readonly (readonly Int32Array[])[]
}

export async function extractionTexts(
  model: Model,
  pack: TraitPack,
  traits: readonly Trait[],
  template: ChatTemplate,
  passages: Passages | undefined,
): Promise<ExtractionTexts> {
  const poles: Int32Array[][] = []
  for (const trait of traits) {
    if (passages) {
      const { positive, negative } = passageTexts(passages, trait.name)
      poles.push(await model.tokenize(positive), await model.tokenize(negative))
    } else {
      const { positive, negative } = extractionPrompts(pack, trait)
      poles.push(await chatTokens(model, template, positive), await chatTokens(model, template, negative))
    }
  }
  return { questions: passages ? passages.openers.length : pack.questions.length, poles }
}

/** Tokens to compute for so many of the questions. */
export function tokensOf(model: Model, { questions, poles }: ExtractionTexts, n: number): number {
  const kept = new Set(evenly([...Array(questions).keys()], n))
  return poles.reduce((sum, prompts) => {
    const per = prompts.length / questions
    return (
      sum +
      computedTokens(
        model,
        prompts.filter((_, i) => kept.has(Math.floor(i / per))),
      )
    )
  }, 0)
}

/** Tokens of a pass over prompts, shared beginnings once. */
export function computedTokens(model: Model, prompts: readonly Int32Array[]): number {
  const { batchTokens: maxTokens, limits } = model
  return planPrompts(prompts, { maxTokens, limits, inGroups: true, pool: 'last' }).tokens.computed
}
