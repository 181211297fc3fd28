import { checkList, checkMade, type OptionKinds, takeOptions, takeTexts } from '../arguments.js'
import {
  GENERATE_OPTIONS,
  type Generated,
  type GenerateOptions,
  type GenerationProgress,
  SCORE_OPTIONS,
  type Scored,
} from '../model/generation.js'
import { MODEL, type Model } from '../model/model.js'
import { type ChatTemplate, TEMPLATE } from '../prompts/chat-template.js'
import type { FilePrompt } from '../prompts/prompt-file.js'
import { promptTokens } from '../prompts/prompt-tokens.js'

/** {@link GenerateOptions}, and the template that prompts go through. */
export interface GenerateTextOptions extends GenerateOptions {
  /** Writes conversations, and texts as a user's turn, as the model reads them; without one texts are taken as they are. */
  template?: ChatTemplate | undefined
}

export const GENERATE_TEXT_OPTIONS: OptionKinds<GenerateTextOptions> = {
  ...GENERATE_OPTIONS,
  template: TEMPLATE,
}

/** How much is done, 0 to 1: sequences that run side by side end late and all at once, so their tokens count too. */
export const shareDone = (
  { tokens, finished, sequences }: Pick<GenerationProgress, 'tokens' | 'finished' | 'sequences'>,
  maxTokens: number,
): number => Math.max(finished / sequences, tokens / (sequences * maxTokens))

/**
 * Answers to conversations, or continuations of texts.
 *
 * @throws TraitscopeError as `Model.generate`; `TEMPLATE`; `USAGE` for messages without a template
 */
export async function generateText(
  model: Model,
  prompts: readonly FilePrompt[],
  options: GenerateTextOptions = {},
): Promise<Generated> {
  checkMade(model, MODEL)
  const { template, ...own } = takeOptions('generateText', options, GENERATE_TEXT_OPTIONS)
  return model.generate(await promptTokens(model, prompts, template), own)
}

/**
 * Log-probabilities of given answers, token by token. An answer is tokenized by itself, without special tokens: behind a
 * chat template's header that is what a model generates; behind a text, the tokens of both together may be others.
 *
 * @param answers per prompt any number of them
 * @throws TraitscopeError as `Model.score`; `TEMPLATE`; `USAGE`
 */
export async function scoreText(
  model: Model,
  prompts: readonly FilePrompt[],
  answers: readonly (readonly string[])[],
  options: Pick<GenerateTextOptions, 'template' | 'adapters' | 'control' | 'sequences' | 'signal'> = {},
): Promise<Scored> {
  checkMade(model, MODEL)
  const { onProgress: _, ...kinds } = SCORE_OPTIONS
  const { template, ...own } = takeOptions('scoreText', options, { ...kinds, template: TEMPLATE })
  checkList('answers', answers)
  const texts = answers.map((list) => takeTexts('the answers to a prompt', list))
  // Both begin at once: what happens to the prompts while answers are tokenized changes nothing.
  const [tokens, flat] = await Promise.all([
    promptTokens(model, prompts, template),
    model.tokenize(texts.flat(), { addSpecial: false, parseSpecial: false }),
  ])
  let next = 0
  const continuations = texts.map((list) => list.map(() => flat[next++]!))
  return model.score(tokens, continuations, own)
}
