import { TraitscopeError } from '../../errors.js'
import type { Matrix64 } from '../../estimators/matrix.js'
import { hiddenStates } from '../../hidden-states/hidden-states.js'
import { layerRows } from '../../hidden-states/layer-rows.js'
import { checkLength } from '../../model/base/prompt-limits.js'
import type { Model } from '../../model/model.js'

/** A question and what was answered. */
export interface AnsweredText {
  /** Names it in errors. */
  name: string
  question: string
  answer: string
}

/** Attention within a pass grows with the square of its tokens; few answers at a time share a question well enough. */
const AT_ONCE = 8
/** Numbers of the states of all tokens that are held at once. */
const MOST_NUMBERS = 2 ** 26

/** Numbers that {@link answerStates} makes of an answer, in a model so wide. */
export const statesLength = (nEmbd: number): number => 2 * nEmbd

/**
 * What a fitted judge reads of the text "question, empty line, answer", without a chat template, so that any language model will do:
 * the mean over all tokens, and the last one, where the model has read the whole.
 *
 * @param layers 0-based blocks, ascending
 * @returns per layer `[texts, 2 nEmbd]`: mean, then last
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
  const width = model.info.nEmbd
  const cols = statesLength(width)
  const states = layers.map(
    (): Matrix64 => ({ data: new Float64Array(texts.length * cols), rows: texts.length, cols }),
  )
  // Answers to one question are read together: the question is computed once.
  const order = [...texts.keys()].sort((a, b) => compare(texts[a]!.question, texts[b]!.question) || a - b)
  let done = 0
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
    const tokens = prompts.reduce((sum, { length }) => sum + length, 0)
    const parts = Math.ceil((tokens * layers.length * width) / MOST_NUMBERS)
    const size = Math.ceil(part.length / parts)
    for (let first = 0; first < part.length; first += size) {
      const some = prompts.slice(first, first + size)
      const read = await hiddenStates(model, some, { layers, pool: 'tokens', signal })
      for (const [l, matrix] of states.entries()) {
        const { data } = layerRows(read, l)
        for (const p of some.keys()) {
          const rows = read.promptRows.subarray(p, p + 2)
          pool(data, rows[0]!, rows[1]!, matrix.data.subarray(part[first + p]! * cols).subarray(0, cols))
        }
      }
      done += some.length
      onProgress?.(done / order.length)
    }
  }
  return states
}

/** Mean and last of the rows from `start` to `end`. */
function pool(rows: ArrayLike<number>, start: number, end: number, out: Float64Array): void {
  const width = out.length / 2
  for (let r = start; r < end; r++) for (let c = 0; c < width; c++) out[c]! += rows[r * width + c]!
  for (let c = 0; c < width; c++) {
    out[c]! /= end - start
    out[width + c] = rows[(end - 1) * width + c]!
  }
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
