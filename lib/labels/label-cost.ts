import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import { chatTokens } from '../prompts/prompt-tokens.js'
import type { Question } from './answers/questions.js'
import { fillRubric, type Rubric } from './answers/rubric.js'
import { costOfCalls, type Prices } from './judges/endpoint-judge.js'
import { MAX_TOKENS } from './label-options.js'

/** What labelling a run takes, before anything is asked. */
export interface LabelCost {
  checkpoints: number
  answers: number
  /** Two per answer. */
  judgeCalls: number
  /** Of the questions through the chat template, all draws and checkpoints; exact. */
  questionTokens: number
  answerTokens: { most: number }
  /** Counted with the monitored model's vocabulary, which need not be the judge's; answers may be empty or as long as allowed. */
  judgeTokens: { least: number; most: number }
  /** In the currency of the prices; null without prices. */
  cost: { least: number; most: number } | null
  /** Every question as it will be asked, and how a judge that reads rubrics is asked about its answer, which stands as `{answer}`. */
  prompts: { id: string; asked: string; judged: Rubric }[]
}

/**
 * Counts what {@link labelRun} would ask.
 *
 * @param checkpoints step 0 included
 */
export async function labelCost(
  model: Model,
  questions: readonly Question[],
  {
    template,
    checkpoints,
    draws = 1,
    maxTokens = MAX_TOKENS,
    prices,
  }: {
    template: ChatTemplate
    checkpoints: number
    draws?: number
    maxTokens?: number
    prices?: Prices | undefined
  },
): Promise<LabelCost> {
  const count = (lists: readonly Int32Array[]) => lists.reduce((sum, { length }) => sum + length, 0)
  const asked = await chatTokens(
    model,
    template,
    questions.map(({ messages }) => messages),
  )
  const judged = await model.tokenize(
    questions.flatMap(({ rubric, messages }) =>
      [rubric.aligned, rubric.coherent].map((text) => fillRubric(text, messages.at(-1)!.content, '')),
    ),
    { addSpecial: false, parseSpecial: false },
  )
  const answers = questions.length * draws * checkpoints
  const least = count(judged) * draws * checkpoints
  const most = least + 2 * answers * maxTokens
  return {
    checkpoints,
    answers,
    judgeCalls: 2 * answers,
    questionTokens: count(asked) * draws * checkpoints,
    answerTokens: { most: answers * maxTokens },
    judgeTokens: { least, most },
    prompts: questions.map(({ id, messages, rubric }) => {
      const filled = (text: string) => fillRubric(text, messages.at(-1)!.content, '{answer}')
      return {
        id,
        asked: template.render(messages, { addGenerationPrompt: true }),
        judged: { aligned: filled(rubric.aligned), coherent: filled(rubric.coherent) },
      }
    }),
    cost: prices ? costOfCalls(prices, 2 * answers, { least, most }) : null,
  }
}
