import { type GenerateTextOptions, generateText } from '../generation/generate.js'
import { hiddenStates } from '../hidden-states/hidden-states.js'
import type { Model } from '../model/model.js'
import type { FilePrompt } from '../prompts/prompt-file.js'
import { computedTokens, evenly } from './budget.js'

const since = (started: number) => (performance.now() - started) / 1000

/** Answers that are generated together: as the model is, and with the direction added and taken away. */
const ARMS = 3
/** Tokens that tell the pace of an answer. */
const PROBE_TOKENS = 4

/**
 * Computed tokens a second of passes over ever more of the prompts, until one takes so many seconds or reads them all: a small
 * pass tells of a large one too little, and a large one is not affordable before it is known. The first is not counted: it brings
 * the weights from the disk.
 */
export async function readingPace(
  model: Model,
  prompts: readonly Int32Array[],
  layers: readonly number[],
  seconds: number,
  signal?: AbortSignal,
): Promise<number> {
  await hiddenStates(model, prompts.slice(0, 1), { layers, signal })
  for (let n = 1; ; n *= 2) {
    const some = evenly(prompts, Math.min(n, prompts.length))
    const started = performance.now()
    await hiddenStates(model, some, { layers, signal })
    const took = since(started)
    if (took >= seconds || n >= prompts.length) return computedTokens(model, some) / took
  }
}

/** Seconds for a token of each of {@link ARMS} answers; their prompt is in it, so it is rather too long. */
export async function answeringPace(
  model: Model,
  prompt: FilePrompt,
  options: Pick<GenerateTextOptions, 'template' | 'signal'>,
): Promise<number> {
  const started = performance.now()
  await generateText(model, Array(ARMS).fill(prompt), {
    ...options,
    maxTokens: PROBE_TOKENS,
    ignoreEos: true,
  })
  return since(started) / PROBE_TOKENS
}
