import { checkMade, takeOptions } from '../arguments.js'
import {
  GENERATE_OPTIONS,
  type Generated,
  type GenerateOptions,
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

/**
 * Answers to conversations, or continuations of texts.
 *
 * @throws TraitscopeError as `Model.generate`; `TEMPLATE`; `USAGE` for messages without a template
 */
export async function generateText(
  model: Model,
  prompts: readonly FilePrompt[],
  given: GenerateTextOptions = {},
): Promise<Generated> {
  checkMade(model, MODEL)
  const { template, ...options } = takeOptions('generateText', given, {
    ...GENERATE_OPTIONS,
    template: TEMPLATE,
  })
  return model.generate(await promptTokens(model, prompts, template), options)
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
  given: Pick<GenerateTextOptions, 'template' | 'adapters' | 'control' | 'sequences' | 'signal'> = {},
): Promise<Scored> {
  checkMade(model, MODEL)
  const { onProgress: _, ...kinds } = SCORE_OPTIONS
  const { template, ...options } = takeOptions('scoreText', given, { ...kinds, template: TEMPLATE })
  const flat = await model.tokenize(answers.flat(), { addSpecial: false, parseSpecial: false })
  let next = 0
  const continuations = answers.map((list) => list.map(() => flat[next++]!))
  return model.score(await promptTokens(model, prompts, template), continuations, options)
}
