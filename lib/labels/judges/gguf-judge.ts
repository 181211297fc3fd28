import { basename } from 'node:path'
import { checkMade, Needed, type OptionKinds, takeOptions } from '../../arguments.js'
import { throwIfAborted } from '../../errors.js'
import { sha256 } from '../../formats/files/hash.js'
import { MODEL, type Model } from '../../model/model.js'
import { type ChatTemplate, TEMPLATE } from '../../prompts/chat-template.js'
import { chatTokens } from '../../prompts/prompt-tokens.js'
import type { Judge } from './judge.js'
import { type Ask, gradeByRubric, REPLY_TOKENS } from './rubric-judge.js'

/** 0 to 100, and the numbers above that begin like 100 (1000 and so on begin like them): what a whole number may go on with. */
const NUMBERS = Array.from({ length: 110 }, (_, i) => String(i))

/** How a language model of one’s own is asked to judge. */
export interface GgufJudgeOptions {
  template: ChatTemplate
  /** Default `expected`. */
  reader?: 'sampled' | 'expected' | 'constrained' | undefined
}

const OPTIONS: OptionKinds<GgufJudgeOptions> = {
  template: new Needed(TEMPLATE),
  reader: ['sampled', 'expected', 'constrained'],
}

/**
 * A judge that is a language model of one's own, read by this engine. `expected` takes the probability of every number
 * from 0 to 100 as the model's reply and averages, where a quarter of all probability lies on them; `constrained` averages as if a
 * grammar allowed nothing but a number, so it never says CODE, REFUSAL or nothing; `sampled` reads the number that greedy generation
 * writes. How good such a judge is must be measured: small models give a number to everything.
 */
export function ggufJudge(model: Model, options: GgufJudgeOptions): Judge {
  checkMade(model, MODEL)
  const { template, reader = 'expected' } = takeOptions('ggufJudge', options, OPTIONS)
  let numbers: Promise<NumberTokens> | undefined
  const ask: Ask = async (prompt, signal) => {
    throwIfAborted(signal)
    const [tokens] = await chatTokens(model, template, [[{ role: 'user', content: prompt }]])
    numbers ??= numberTokens(model)
    const { tokensOf, follow } = await numbers
    const of = [...follow.get('')!]
    const { generations } = await model.generate([tokens!], {
      ...{ maxTokens: REPLY_TOKENS, signal },
      ...(reader !== 'sampled' && { logprobs: { of, positions: 1 } }),
    })
    const { text, logprobs } = generations[0]![0]!
    if (reader === 'sampled') return { text }
    const first = new Map(of.map((token, i) => [token, logprobs![0]!.of[i]!]))
    const after = await logprobsAfter(model, tokens!, follow, signal)
    const probabilities = tokensOf.map((ids) =>
      Math.exp(
        ids.reduce((sum, id, i) => sum + (i === 0 ? first : after.get(ids.slice(0, i).join())!).get(id)!, 0),
      ),
    )
    return { text, numbers: exactNumbers(tokensOf, probabilities), isConstrained: reader === 'constrained' }
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

/** How a vocabulary cuts {@link NUMBERS}. */
interface NumberTokens {
  tokensOf: readonly number[][]
  /** By what a number begins with (token ids with commas; '' is nothing): the tokens that go on. */
  follow: ReadonlyMap<string, ReadonlySet<number>>
}

async function numberTokens(model: Model): Promise<NumberTokens> {
  const cut = await model.tokenize(NUMBERS, { addSpecial: false, parseSpecial: false })
  const tokensOf = cut.map((ids) => [...ids])
  const follow = new Map<string, Set<number>>()
  for (const ids of tokensOf) {
    for (const [i, id] of ids.entries()) {
      const key = ids.slice(0, i).join()
      follow.set(key, (follow.get(key) ?? new Set()).add(id))
    }
  }
  return { tokensOf, follow }
}

/** Log-probabilities of what may go on, behind the prompt and each beginning of a number: a dozen at most, the prompt read once. */
async function logprobsAfter(
  model: Model,
  prompt: Int32Array,
  follow: NumberTokens['follow'],
  signal: AbortSignal | undefined,
): Promise<Map<string, Map<number, number>>> {
  const begun = [...follow.keys()].filter((key) => key !== '')
  if (begun.length === 0) return new Map()
  const of = [...new Set(begun.flatMap((key) => [...follow.get(key)!]))]
  const { generations } = await model.generate(
    begun.map((key) => Int32Array.from([...prompt, ...key.split(',').map(Number)])),
    { maxTokens: 1, logprobs: { of, positions: 1 }, signal },
  )
  return new Map(
    begun.map((key, i) => [
      key,
      new Map(of.map((token, t) => [token, generations[i]![0]!.logprobs![0]!.of[t]!])),
    ]),
  )
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
