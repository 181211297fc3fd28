import { basename } from 'node:path'
import { throwIfAborted } from '../errors.js'
import { sha256 } from '../formats/files/hash.js'
import { generateText, scoreText } from '../generation/generate.js'
import type { Model } from '../model/model.js'
import type { ChatTemplate } from '../prompts/chat-template.js'
import type { Judge } from './judge.js'
import { type Ask, gradeByRubric } from './rubric-judge.js'

/** Enough for CODE, REFUSAL or a number, and for a line that some models begin with. */
const REPLY_TOKENS = 10

/** 0 to 100, and the numbers above that begin like 100 (1000 and so on begin like them): what a whole number may go on with. */
const NUMBERS = Array.from({ length: 110 }, (_, i) => String(i))

/** How a language model of one’s own is asked to judge. */
export interface GgufJudgeOptions {
  template: ChatTemplate
  /** Default `expected`. */
  reader?: 'sampled' | 'expected' | undefined
}

/**
 * A judge that is a language model of one's own, read by this engine. `expected` takes the probability of every number
 * from 0 to 100 as the model's reply and averages; `sampled` reads the number that greedy generation writes. How good such
 * a judge is must be measured: small models give a number to everything.
 */
export function ggufJudge(model: Model, { template, reader = 'expected' }: GgufJudgeOptions): Judge {
  const ask: Ask = async (prompt, signal) => {
    throwIfAborted(signal)
    const messages = [{ role: 'user' as const, content: prompt }]
    const { generations } = await generateText(model, [{ messages }], {
      template,
      maxTokens: REPLY_TOKENS,
      signal,
    })
    const text = generations[0]![0]!.text
    return reader === 'sampled'
      ? { text }
      : { text, numbers: await numberProbabilities(model, template, messages, signal) }
  }
  return {
    identity: {
      kind: 'gguf',
      name: model.info.name ?? basename(model.path),
      version: model.fingerprint,
      reader,
    },
    concurrency: 1,
    cacheKey: sha256(JSON.stringify([template.sha256, template.systemRole, template.date])),
    grade: (answer, signal) => gradeByRubric(answer, ask, signal),
    [Symbol.asyncDispose]: () => model.close(),
  }
}

/**
 * Probability of every number from 0 to 100 as what the reply says, however the vocabulary cuts numbers into tokens: that of its
 * tokens, less that of the longer numbers which begin with the same tokens.
 */
async function numberProbabilities(
  model: Model,
  template: ChatTemplate,
  messages: { role: 'user'; content: string }[],
  signal: AbortSignal | undefined,
): Promise<Map<number, number>> {
  const [tokens, scores] = await Promise.all([
    model.tokenize(NUMBERS, { addSpecial: false, parseSpecial: false }),
    scoreText(model, [{ messages }], [NUMBERS], { template, signal }),
  ])
  const probabilities = scores.logprobs[0]!.map((logprobs) =>
    Math.exp(logprobs.reduce((sum, one) => sum + one, 0)),
  )
  return exactNumbers(tokens, probabilities)
}

/**
 * From probabilities of beginnings to probabilities of whole numbers.
 *
 * @param tokens of the numbers 0, 1, 2, ...
 * @param probabilities that a reply begins with these tokens
 */
export function exactNumbers(
  tokens: readonly ArrayLike<number>[],
  probabilities: readonly number[],
): Map<number, number> {
  const keys = tokens.map((ids) => Array.from(ids).join())
  return new Map(
    keys.slice(0, 101).map((key, number) => {
      const depth = tokens[number]!.length
      // Of the longer ones only the next token counts: it holds all that go on further.
      const longer = keys.reduce(
        (sum, other, i) =>
          tokens[i]!.length === depth + 1 && other.startsWith(`${key},`) ? sum + probabilities[i]! : sum,
        0,
      )
      return [number, Math.max(0, probabilities[number]! - longer)]
    }),
  )
}
