import { TraitscopeError } from '../errors.js'
import type { Matrix64 } from '../estimators/matrix.js'
import { hiddenStates } from '../hidden-states/hidden-states.js'
import { layerRows } from '../hidden-states/layer-rows.js'
import { checkLength } from '../model/base/prompt-limits.js'
import type { Model } from '../model/model.js'

/** A question and what was answered. */
export interface AnsweredText {
  /** Names it in errors. */
  name: string
  question: string
  answer: string
}

/** Attention within a pass grows with the square of its tokens; few answers at a time share a question well enough. */
const AT_ONCE = 8

/**
 * What a fitted judge reads: the mean over all tokens of the text "question, empty line, answer", without a chat template, so that any
 * language model will do.
 *
 * @param layers 0-based blocks, ascending
 * @returns per layer `[texts, nEmbd]`
 * @throws TraitscopeError as `hiddenStates`; PROMPT_TOO_LONG
 */
export async function answerStates(
  model: Model,
  texts: readonly AnsweredText[],
  layers: readonly number[],
  {
    signal,
    onProgress,
  }: { signal?: AbortSignal | undefined; onProgress?: ((fraction: number) => void) | undefined } = {},
): Promise<Matrix64[]> {
  const cols = model.info.nEmbd
  const states = layers.map(
    (): Matrix64 => ({ data: new Float64Array(texts.length * cols), rows: texts.length, cols }),
  )
  // Answers to one question are read together: the question is computed once.
  const order = [...texts.keys()].sort((a, b) => compare(texts[a]!.question, texts[b]!.question) || a - b)
  for (let from = 0; from < order.length; from += AT_ONCE) {
    const part = order.slice(from, from + AT_ONCE)
    const prompts = await model.tokenize(
      part.map((i) => `${texts[i]!.question}\n\n${texts[i]!.answer}`),
      { parseSpecial: false },
    )
    for (const [p, { length }] of prompts.entries()) {
      const { name } = texts[part[p]!]!
      checkLength(model.limits, length, name)
      if (length <= model.batchTokens) continue
      throw new TraitscopeError(
        'PROMPT_TOO_LONG',
        `${name} has ${length} tokens, but memory holds ${model.batchTokens} at once; leave it out`,
      )
    }
    const read = await hiddenStates(model, prompts, { layers, pool: 'mean', signal })
    for (const [l, matrix] of states.entries()) {
      const { data } = layerRows(read, l)
      for (const [p, i] of part.entries()) matrix.data.set(data.subarray(p * cols, (p + 1) * cols), i * cols)
    }
    onProgress?.((from + part.length) / order.length)
  }
  return states
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
